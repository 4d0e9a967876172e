//! The circuits at work: what goes on while the store is out of order, and what waits.

use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::core::tests::world::World;
use crate::core::tests::{expecting, group, leader, secs};
use crate::io::event::{Event, OpId, OpOwner, RequestId};
use crate::io::notice::Notice;
use crate::link::circuits::{Gate, StoreCircuit};
use crate::model::time::Instant;
use crate::ports::store::{StoreError, StoreErrorKind};
use crate::resilience::breaker::{Circuit, CircuitState};

const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// The changes of a circuit that a node has told, by the state they lead to.
fn changes(world: &World, node: usize, wanted: Circuit) -> Vec<CircuitState> {
    let changed = |notice: &Notice| {
        let Notice::CircuitChanged { circuit, to, .. } = notice else {
            return None;
        };
        (*circuit == wanted).then_some(*to)
    };
    world.nodes[node]
        .notices
        .iter()
        .filter_map(changed)
        .collect()
}

/// An outage once cost the leader its leadership and the group its leases: a minute of repair for three
/// seconds of trouble.
#[test]
fn an_open_circuit_costs_neither_the_lease_nor_the_leadership_and_decides_nothing() {
    for kind in [StoreErrorKind::Unavailable, StoreErrorKind::Unknown] {
        let mut world = World::new(4);
        group(&mut world, 2);
        world.run(secs(20));
        let leading = leader(&world);
        let before = world.nodes[leading].core.status();
        (world.fails, world.plans) = (Some(kind), Vec::new());
        // With the time since the last renewal, it must not be a lease.
        world.run(millis(2_500));
        assert!(changes(&world, leading, Circuit::Store).contains(&CircuitState::Open));
        world.asked.clear();
        world.run(millis(700));
        let strangers = world
            .asked
            .iter()
            .filter(|owner| **owner != OpOwner::Session);
        assert_eq!(strangers.count(), 0, "only renewals are probes");
        assert!(!world.asked.is_empty(), "renewals must not be starved");
        world.fails = None;
        world.run(secs(20));
        let after = world.nodes[leading].core.status();
        assert_eq!(
            changes(&world, leading, Circuit::Store).last(),
            Some(&CircuitState::Closed)
        );
        assert!(after.is_leader);
        assert_eq!((after.term, after.version), (before.term, before.version));
        assert!(world.plans.is_empty() && world.evictions.is_empty());
        for node in &world.nodes {
            let lost = |notice: &Notice| matches!(notice, Notice::LeaseLost { .. });
            assert!(!node.notices.iter().any(lost), "{kind:?}");
        }
    }
}

/// A retry that plans again, or takes a new version, moves partitions for a fault of the store.
#[test]
fn a_commit_that_fails_is_sent_again_as_it_was() {
    let mut world = World::new(4);
    group(&mut world, 2);
    world.run(secs(20));
    let leading = leader(&world);
    let before = world.nodes[leading].core.status().version;
    world.plans.clear();
    let request = RequestId(1);
    world.tell(1 - leading, Event::Trigger { request });
    world.run(secs(1));
    let done = world.nodes[leading].core.status().version;
    assert_eq!(done.get(), before.get() + 1);
    world.start(expecting(3));
    world.plans.clear();
    world.fails = Some(StoreErrorKind::Unavailable);
    world.fails_for = [OpOwner::Leader].into();
    while world.plans.is_empty() {
        world.run(millis(100));
        assert!(world.now < Instant::from_millis(90_000), "no plan");
    }
    world.run(secs(3));
    assert_eq!(world.nodes[leading].core.status().version, done);
    let sent = world
        .asked
        .iter()
        .filter(|owner| **owner == OpOwner::Leader);
    assert!(sent.count() > 1, "it is tried again");
    world.fails = None;
    world.run(secs(3));
    assert_eq!(world.plans.len(), 1, "it is not planned again");
    let after = world.nodes[leading].core.status();
    assert!(after.is_leader && after.version > done);
}

/// A watch that cannot be set up is tried as often as its circuit allows, and health needs it.
#[test]
fn a_watch_that_keeps_getting_lost_opens_its_own_circuit() {
    let mut world = World::new(4);
    group(&mut world, 1);
    world.run(secs(20));
    for _ in 0..5 {
        world.silence_watches(0);
        world.run(secs(4));
        world.nodes[0].watch_silent = true;
    }
    world.run(secs(30));
    assert!(changes(&world, 0, Circuit::Watch).contains(&CircuitState::Open));
    assert!(changes(&world, 0, Circuit::Store).is_empty());
    let stuck = world.nodes[0].core.status();
    assert!(
        stuck.store.watch_failures >= 5,
        "{} failures",
        stuck.store.watch_failures
    );
    world.nodes[0].watch_silent = false;
    world.run(secs(20));
    let heard = world.nodes[0].core.status();
    assert_eq!(heard.store.watch_failures, stuck.store.watch_failures);
    assert!(heard.store.watch_successes > stuck.store.watch_successes);
    assert_eq!(
        changes(&world, 0, Circuit::Watch).last(),
        Some(&CircuitState::Closed)
    );
    assert_eq!(
        world.nodes[0].core.status().store.watch_circuit.state,
        CircuitState::Closed
    );
}

/// A probe that is a leader's commit, or a read, proves less than a renewal and keeps the lease waiting.
#[test]
fn while_a_circuit_is_not_closed_only_claims_and_renewals_may_ask() {
    use OpOwner::{Candidate, Claim, Leader, Reconcile, Request, Session};
    let config = Config::builder("g").build().expect("coherent");
    let mut circuit = StoreCircuit::new(&config);
    let op = |seq| OpId {
        owner: Session,
        seq,
    };
    let fail = |circuit: &mut StoreCircuit, seq, now| {
        circuit.sent(op(seq), now);
        let failed = StoreError::new(StoreErrorKind::Unavailable, "scripted");
        circuit.answered(op(seq), now, &Err(failed));
    };
    let now = Instant::from_millis(1_000);
    for seq in 0..5 {
        fail(&mut circuit, seq, now);
    }
    assert_eq!(circuit.state(), CircuitState::Open);
    let until = now + config.circuit_breaker().timeout();
    let others = [Candidate, Reconcile, Request, Leader];
    let shut = |circuit: &StoreCircuit, now| {
        let gates = others.map(|owner| circuit.gate(owner, now));
        gates == [Gate::Shut; 4]
    };
    for probe in [Claim, Session] {
        assert_eq!(circuit.gate(probe, now), Gate::Until(until));
        assert_eq!(circuit.gate(probe, until), Gate::Free);
    }
    assert!(shut(&circuit, now) && shut(&circuit, until));
    circuit.sent(op(5), until);
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    assert_eq!(circuit.gate(Session, until), Gate::Shut, "one at a time");
    assert!(shut(&circuit, until));
}
