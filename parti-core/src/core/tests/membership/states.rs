//! What a worker says of itself, and that nothing it goes through leaves it in a wrong place. The
//! world checks every step against the table of transitions.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::world::World;
use crate::core::tests::{causes, counts, expecting, group, leader, secs};
use crate::io::effect::RevokeCause;
use crate::io::event::{Event, RequestId, StopMode};
use crate::io::notice::{DegradedReason, Notice};
use crate::model::state::{Cause, State};

const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// The states a node went through, from the first on; checks that no step is missing.
fn path(world: &World, node: usize) -> Vec<State> {
    let mut path = Vec::from([State::Init]);
    for notice in &world.nodes[node].notices {
        let Notice::StateChanged { from, to } = notice else {
            continue;
        };
        assert_eq!(path.last(), Some(from), "a step is missing");
        path.push(*to);
    }
    assert_eq!(path.last(), Some(&world.nodes[node].core.status().state));
    path
}

fn stop(world: &mut World, node: usize, mode: StopMode) {
    world.tell(node, Event::Stop { mode });
}

fn stopped(world: &World, node: usize) -> bool {
    let stopped = |notice: &Notice| matches!(notice, Notice::Stopped { .. });
    world.nodes[node].notices.iter().any(stopped)
}

/// A subscriber builds its picture from the steps; one that is missing or out of order spoils it.
#[test]
fn rapid_transitions_are_all_seen_in_order() {
    let mut world = World::new(6);
    world.start(|builder| builder);
    world.run(secs(40));
    world.start(|builder| builder);
    world.run(secs(20));
    stop(&mut world, 0, StopMode::Handoff);
    world.run(secs(1));
    use State::{
        ClaimingId, Election, Init, Rebalancing, Scaling, Shutdown, Stable, WaitingAssignment,
    };
    let leader = path(&world, 0);
    let begin = [
        Init,
        ClaimingId,
        Election,
        WaitingAssignment,
        Scaling,
        Rebalancing,
    ];
    assert_eq!(leader[..6], begin);
    assert!(leader.contains(&Stable));
    assert_eq!(leader.last(), Some(&Shutdown));
    let follower = path(&world, 1);
    assert_eq!(
        follower[..4],
        [Init, ClaimingId, Election, WaitingAssignment]
    );
    assert!(
        !follower[..4].contains(&Scaling),
        "only a leader collects changes"
    );
}

/// Ten candidates and no leader, or two, and the group stands still or fights.
#[test]
fn of_ten_concurrent_candidates_exactly_one_leads() {
    let mut world = World::new(20);
    group(&mut world, 10);
    let leaders = |world: &World| {
        let alive = world.nodes.iter().filter(|node| !node.cut_off);
        alive.filter(|node| node.core.status().is_leader).count()
    };
    assert_eq!(leaders(&world), 1);
    let first = leader(&world);
    let term = world.nodes[first].core.status().term;
    world.nodes[first].cut_off = true;
    world.run(secs(10));
    assert_eq!(leaders(&world), 1);
    let next = world.nodes[leader(&world)].core.status();
    assert_eq!(next.term, term.next(), "no term was wasted in a fight");
    let causes = causes(&world);
    assert_eq!(causes.len(), 2, "{causes:?}");
    for cause in [Cause::ColdStart, Cause::Emergency] {
        assert!(causes.contains(&cause), "{causes:?}");
    }
}

/// A dashboard that repeats its request must not repeat the work.
#[test]
fn identical_requests_at_once_are_idempotent_and_each_is_answered() {
    let mut world = World::new(6);
    group(&mut world, 2);
    world.run(secs(1));
    let before = [0, 1].map(|node| world.nodes[node].held.clone());
    for (node, request) in [(0, 1), (0, 2), (1, 3)] {
        let request = RequestId(request);
        world.nodes[node]
            .core
            .handle(world.now, Event::Trigger { request });
    }
    for node in [0, 1] {
        world.tell(node, Event::SourceChanged);
    }
    world.run(secs(1));
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    let done = notices.filter_map(|notice| {
        let Notice::RequestDone { request, .. } = notice else {
            return None;
        };
        Some(request.0)
    });
    let done: BTreeSet<u64> = done.collect();
    assert_eq!(done, BTreeSet::from([1, 2, 3]));
    let after = [0, 1].map(|node| world.nodes[node].held.clone());
    assert_eq!(after, before, "nothing moves, and tokens stay");
}

/// A stop in the middle of something must not leave the something behind.
#[test]
fn a_stop_in_a_window_a_rebalance_or_an_emergency_cleans_up() {
    let scenes: [fn(&mut World); 3] = [
        |world| {
            world.start(|builder| builder);
            world.run(secs(1));
            assert_eq!(world.nodes[0].core.status().state, State::Scaling);
        },
        |world| {
            world.nodes[0].slow = true;
            world.start(|builder| builder);
            world.run(millis(10_500));
            assert_eq!(world.nodes[0].core.status().state, State::Rebalancing);
        },
        |world| {
            world.nodes[1].slow = true;
            world.nodes[2].cut_off = true;
            world.run(secs(7));
        },
    ];
    for scene in scenes {
        let mut world = World::new(12);
        for _ in 0..3 {
            world.start(|builder| builder);
            world.run(secs(1));
        }
        world.run(secs(50));
        assert!(world.nodes[0].core.status().is_leader);
        scene(&mut world);
        stop(&mut world, 0, StopMode::Now);
        for node in 0..world.nodes.len() {
            world.let_go(node);
        }
        world.run(secs(40));
        assert!(stopped(&world, 0));
        assert_eq!(path(&world, 0).last(), Some(&State::Shutdown));
        let alive = world.nodes.iter().filter(|node| !node.cut_off);
        assert_eq!(alive.map(|node| node.held.len()).sum::<usize>(), 12);
        let status = world.nodes[leader(&world)].core.status();
        assert_eq!(status.state, State::Stable);
    }
}

/// Callers stop twice, start twice, and stop what never started.
#[test]
fn start_and_stop_out_of_order_are_harmless() {
    let mut world = World::new(2);
    group(&mut world, 1);
    world.tell(0, Event::Start);
    world.run(secs(1));
    assert_eq!(counts(&world), [2]);
    stop(&mut world, 0, StopMode::Now);
    stop(&mut world, 0, StopMode::Handoff);
    world.run(secs(1));
    assert!(stopped(&world, 0));
    let told = world.nodes[0].notices.len();
    world.tell(0, Event::Start);
    stop(&mut world, 0, StopMode::Now);
    world.run(secs(20));
    assert_eq!(world.nodes[0].notices.len(), told, "it is over");
    assert_eq!(path(&world, 0).last(), Some(&State::Shutdown));
}

/// A group without work is a group all the same, until there is some.
#[test]
fn zero_partitions_are_a_stable_group() {
    let mut world = World::new(0);
    group(&mut world, 2);
    assert_eq!(counts(&world), [0, 0]);
    let stable = |node: &crate::core::tests::world::Node| node.core.status().state == State::Stable;
    assert!(world.nodes.iter().all(stable));
    world.partitions = World::new(4).partitions;
    let request = RequestId(1);
    world.tell(0, Event::Refresh { request });
    world.run(secs(1));
    assert_eq!(counts(&world), [2, 2]);
}

/// Spare workers must wait in peace: stable, with nothing, ready to take over.
#[test]
fn more_workers_than_partitions_leaves_stable_spares() {
    let mut world = World::new(2);
    group(&mut world, 5);
    let mut held = counts(&world);
    held.sort_unstable();
    assert_eq!(held, [0, 0, 0, 1, 1]);
    for node in 0..5 {
        assert_eq!(path(&world, node).last(), Some(&State::Stable));
    }
}

/// A watch that ends is daily life; the worker sets it up again and misses nothing.
#[test]
fn a_watch_that_ends_is_set_up_again_and_nothing_is_missed() {
    let mut world = World::new(6);
    group(&mut world, 2);
    world.run(secs(2));
    for node in [0, 1] {
        world.lose_watches(node);
    }
    world.run(secs(3));
    world.start(expecting(3));
    world.run(secs(20));
    assert_eq!(counts(&world), [2, 2, 2]);
    assert_eq!(causes(&world), [Cause::ColdStart, Cause::PlannedScale]);
    let renewed = |n: &Notice| matches!(n, Notice::WatchRenewed { .. });
    for node in [0, 1] {
        assert!(world.nodes[node].notices.iter().any(renewed));
        assert!(!path(&world, node).contains(&State::Degraded));
    }
}

/// A watch that is silent looks like a calm group; the worker must notice, judge nobody, and recover.
#[test]
fn a_silent_watch_degrades_without_losing_partitions_and_recovers() {
    let mut world = World::new(6);
    group(&mut world, 3);
    world.run(secs(4));
    for node in &mut world.nodes {
        node.watch_silent = true;
    }
    world.run(secs(30));
    let reason = DegradedReason::WatchSilent;
    let silent = Notice::Degraded { reason };
    for node in 0..3 {
        assert!(world.nodes[node].notices.contains(&silent));
        assert_eq!(path(&world, node).last(), Some(&State::Degraded));
    }
    assert_eq!(
        counts(&world),
        [2, 2, 2],
        "renewals are applied, so guards are valid"
    );
    assert_eq!(world.evictions, []);
    for node in &mut world.nodes {
        node.watch_silent = false;
    }
    world.run(secs(15));
    for node in 0..3 {
        assert!(world.nodes[node].notices.contains(&Notice::Recovered));
        assert_eq!(path(&world, node).last(), Some(&State::Stable));
    }
    assert_eq!(causes(&world), [Cause::ColdStart]);
    assert_eq!(world.evictions, []);
}

/// What the watch does not tell, the reconcile finds: a joiner is taken in all the same.
#[test]
fn a_join_that_the_watch_never_told_is_found_by_the_reconcile() {
    let mut world = World::new(6);
    group(&mut world, 2);
    world.run(secs(2));
    let leading = leader(&world);
    world.nodes[leading].watch_silent = true;
    world.start(expecting(3));
    world.run(millis(500));
    world.nodes[leading].watch_silent = false;
    world.run(secs(75));
    assert_eq!(counts(&world), [2, 2, 2]);
    assert_eq!(world.evictions, []);
}

/// A rolling update that moves everything twice takes hours; with held slots it moves nothing.
#[test]
fn a_rolling_restart_of_ten_workers_with_held_slots_keeps_all_of_a_hundred_partitions() {
    let mut world = World::new(100);
    group(&mut world, 10);
    let mut slots: Vec<BTreeSet<_>> = Vec::new();
    for leaving in 0..10 {
        slots.push(world.nodes[leaving].held.keys().cloned().collect());
        let hold = secs(20);
        stop(&mut world, leaving, StopMode::Restart { hold });
        world.run(secs(2));
        world.start(expecting(10));
        world.run(secs(3));
    }
    for (slot, before) in slots.iter().enumerate() {
        let after: BTreeSet<_> = world.nodes[slot + 10].held.keys().cloned().collect();
        assert_eq!((after.len(), &after), (10, before));
    }
    assert_eq!(world.evictions, []);
}

/// Many changes at once are one picture, not a sequence of half-done ones.
#[test]
fn many_changes_at_once_are_settled_in_few_rebalances() {
    let mut world = World::new(12);
    group(&mut world, 6);
    world.run(secs(20));
    world.plans.clear();
    let leading = leader(&world);
    let others: Vec<usize> = (0..6).filter(|&node| node != leading).collect();
    world.nodes[others[0]].cut_off = true;
    stop(&mut world, others[1], StopMode::Now);
    stop(&mut world, others[2], StopMode::Handoff);
    world.start(expecting(6));
    world.start(expecting(6));
    world.run(secs(40));
    let alive = world.nodes.iter().filter(|node| !node.cut_off);
    assert_eq!(alive.map(|node| node.held.len()).sum::<usize>(), 12);
    assert!(world.plans.len() <= 5, "{:?}", world.plans);
    let revoked = world.nodes.iter().flat_map(|node| &node.revoked);
    let lost = revoked.filter(|(_, cause)| *cause == RevokeCause::LeaseLost);
    assert_eq!(lost.count(), 0);
}
