//! Scripted scenarios in virtual time: each a production problem and what must happen.

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{ConfigBuilder, Mode};
use crate::io::effect::RevokeCause;
use crate::io::event::{Event, RequestId};
use crate::io::notice::{Notice, StartError};
use crate::model::state::{Cause, State};

mod deal;
mod durations;
mod leadership;
mod membership;
mod mixed;
mod planted;
mod rebalancing;
mod solo;
mod store;
mod world;

use world::World;

const fn secs(value: u64) -> Duration {
    Duration::from_secs(value)
}

fn expecting(workers: u32) -> impl FnOnce(ConfigBuilder) -> ConfigBuilder {
    move |builder| builder.expected_workers(workers)
}

/// Starts `n` workers of an expected `n` and lets them share.
fn group(world: &mut World, n: u32) {
    for _ in 0..n {
        world.start(expecting(n));
    }
    world.run(secs(1));
}

fn counts(world: &World) -> Vec<usize> {
    world.nodes.iter().map(|node| node.held.len()).collect()
}

fn leader(world: &World) -> usize {
    let leads = |node: &world::Node| !node.cut_off && node.core.status().is_leader;
    world.nodes.iter().position(leads).expect("somebody leads")
}

fn causes(world: &World) -> Vec<Cause> {
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    let planned = notices.filter_map(|notice| {
        let Notice::Planned { cause, .. } = notice else {
            return None;
        };
        Some(*cause)
    });
    planned.collect()
}

/// A group that knows its size must not wait for a window.
#[test]
fn expected_workers_share_everything_at_once_in_one_rebalance() {
    let mut world = World::new(10);
    group(&mut world, 5);
    assert_eq!(counts(&world), [2, 2, 2, 2, 2]);
    assert_eq!(causes(&world), [Cause::ColdStart]);
    let ids: BTreeSet<_> = world.nodes.iter().map(|n| n.core.status().worker).collect();
    assert_eq!(ids.len(), 5);
    assert!(
        world
            .nodes
            .iter()
            .all(|node| node.core.status().state == State::Stable)
    );
}

/// Idle groups once cost twelve thousand listings an hour: one write per worker and interval it is.
#[test]
fn an_idle_group_costs_one_write_per_worker_and_interval() {
    let mut world = World::new(10);
    group(&mut world, 3);
    world.run(secs(4));
    world.commits.clear();
    world.run(secs(60));
    let writes: Vec<usize> = world.commits.values().copied().collect();
    assert_eq!(writes, [30, 30, 30], "{:?}", world.commits);
}

/// Granting before the release is the one thing exclusive mode exists to prevent.
#[test]
fn a_joiner_gets_partitions_only_after_their_owner_has_released_them() {
    let mut world = World::new(4);
    group(&mut world, 1);
    world.nodes[0].slow = true;
    world.start(expecting(1));
    world.run(secs(12));
    assert_eq!(counts(&world), [4, 0], "still processing what was revoked");
    assert_eq!(world.nodes[0].kept_back.len(), 2);
    world.let_go(0);
    world.run(secs(1));
    assert_eq!(counts(&world), [2, 2]);
    let tokens = |node: usize| world.nodes[node].held.values().copied().collect::<Vec<_>>();
    assert!(
        tokens(1).iter().min() > tokens(0).iter().max(),
        "tokens rise with a new owner"
    );
}

/// Work that may overlap must not be left undone while its old owner dawdles.
#[test]
fn overlap_mode_does_not_wait_for_the_release() {
    let mut world = World::new(4);
    world.start(|builder| expecting(1)(builder).mode(Mode::Overlap));
    world.run(secs(1));
    world.nodes[0].slow = true;
    world.start(|builder| builder.mode(Mode::Overlap));
    world.run(secs(12));
    assert_eq!(counts(&world), [4, 2]);
}

/// A crash is repaired when the lease is over: not earlier, and hardly later.
#[test]
fn a_crashed_worker_is_replaced_when_its_lease_is_over() {
    let mut world = World::new(9);
    group(&mut world, 3);
    world.run(secs(4));
    let leading = leader(&world);
    let victim = (0..3).find(|&node| node != leading).expect("a follower");
    world.nodes[victim].cut_off = true;
    world.run(Duration::from_millis(3_900));
    let held = |world: &World| {
        let alive = world.nodes.iter().filter(|node| !node.cut_off);
        alive.map(|node| node.held.len()).sum::<usize>()
    };
    assert_eq!(held(&world), 6, "nobody may take over within the lease");
    world.run(Duration::from_millis(2_200));
    assert_eq!(held(&world), 9);
    assert_eq!(causes(&world), [Cause::ColdStart, Cause::Emergency]);
}

/// The partitions of a crashed leader must not take longer than those of anybody else.
#[test]
fn a_crashed_leader_is_replaced_and_its_partitions_with_it() {
    let mut world = World::new(9);
    group(&mut world, 3);
    world.run(secs(4));
    let victim = leader(&world);
    world.nodes[victim].cut_off = true;
    world.run(Duration::from_millis(6_100));
    assert_ne!(leader(&world), victim);
    let alive = world.nodes.iter().filter(|node| !node.cut_off);
    assert_eq!(alive.map(|node| node.held.len()).sum::<usize>(), 9);
}

/// A process that was stopped for longer than its lease must notice before it does anything else.
#[test]
fn after_a_long_pause_everything_is_revoked_before_the_event_is_looked_at() {
    let mut world = World::new(4);
    group(&mut world, 1);
    world.nodes[0].cut_off = true;
    world.run(secs(20));
    world.nodes[0].cut_off = false;
    world.tell(0, Event::SourceChanged);
    let causes: BTreeSet<_> = world.nodes[0]
        .revoked
        .iter()
        .map(|(_, cause)| *cause)
        .collect();
    assert_eq!(causes, BTreeSet::from([RevokeCause::LeaseLost]));
    assert_eq!(world.nodes[0].revoked.len(), 4);
    // Nobody took the slot: the same session goes on, with the same assignment.
    world.run(secs(5));
    assert_eq!(counts(&world), [4]);
    let lost = |notice: &Notice| matches!(notice, Notice::IdentityLost { .. });
    assert!(!world.nodes[0].notices.iter().any(lost));
}

/// An evicted process that wakes up must not go on under its old identity.
#[test]
fn an_evicted_worker_that_wakes_up_joins_as_a_new_session() {
    let mut world = World::new(6);
    group(&mut world, 2);
    let sleeper = 1 - leader(&world);
    let before = world.nodes[sleeper].core.status().epoch;
    world.nodes[sleeper].cut_off = true;
    world.run(secs(10));
    world.nodes[sleeper].cut_off = false;
    world.run(secs(30));
    assert!(world.nodes[sleeper].core.status().epoch > before);
    assert_eq!(counts(&world), [3, 3]);
}

/// A full pool must say so, with the range and who holds it.
#[test]
fn an_exhausted_pool_fails_the_start_by_name() {
    let mut world = World::new(1);
    let small = |builder: ConfigBuilder| builder.worker_id_range(7, 8).expected_workers(2);
    world.start(small);
    world.start(small);
    let third = world.start(small);
    world.run(secs(40));
    let failed = world.nodes[third].notices.iter().find_map(|notice| {
        let Notice::StartFailed(error) = notice else {
            return None;
        };
        Some(error.clone())
    });
    let error = failed.expect("the start failed");
    assert!(matches!(error, StartError::StableIdExhausted { .. }));
    let text = error.to_string();
    assert!(text.contains("worker-7 to worker-8"), "{text}");
}

/// A trigger on a follower reaches the leader and is answered with the version that contains it.
#[test]
fn a_trigger_from_any_worker_is_answered_with_its_version() {
    let mut world = World::new(6);
    group(&mut world, 2);
    let follower = 1 - leader(&world);
    world.tell(
        follower,
        Event::Trigger {
            request: RequestId(42),
        },
    );
    world.run(Duration::from_millis(100));
    let done = world.nodes[follower].notices.iter().find_map(|notice| {
        let Notice::RequestDone {
            request: RequestId(42),
            version,
        } = notice
        else {
            return None;
        };
        Some(*version)
    });
    let version = done.expect("it is answered");
    assert!(world.nodes[follower].core.status().version >= version);
    assert_eq!(causes(&world).last(), Some(&Cause::Manual));
}

/// A changed partition list is taken up on refresh, and a failed listing never shrinks it.
#[test]
fn a_refresh_takes_up_new_partitions_and_drops_old_ones() {
    let mut world = World::new(6);
    group(&mut world, 2);
    world.partitions.drain(..2);
    world
        .partitions
        .extend(World::new(10).partitions.drain(6..));
    world.tell(
        0,
        Event::Refresh {
            request: RequestId(1),
        },
    );
    world.run(secs(1));
    let held: BTreeSet<_> = world
        .nodes
        .iter()
        .flat_map(|node| node.held.keys())
        .collect();
    let listed: BTreeSet<_> = world
        .partitions
        .iter()
        .map(|partition| &partition.key)
        .collect();
    assert_eq!(held, listed);
}

/// A clock that goes back must neither panic nor undo anything.
#[test]
fn a_clock_that_goes_back_is_harmless() {
    let mut world = World::new(2);
    group(&mut world, 1);
    let (now, early) = (world.now, crate::model::time::Instant::ORIGIN);
    world.nodes[0].core.handle_timeout(early);
    world.nodes[0].core.handle(early, Event::SourceChanged);
    assert!(
        world.nodes[0]
            .core
            .poll_timeout()
            .is_some_and(|wake| wake.at > now)
    );
    world.run(secs(10));
    assert_eq!(counts(&world), [2]);
}

/// After a suspension of unknown length nothing that was sent before may be relied on.
#[test]
fn a_clock_jump_costs_the_lease_and_a_new_renewal_brings_it_back() {
    let mut world = World::new(2);
    group(&mut world, 1);
    world.tell(0, Event::ClockJumped { by: None });
    assert_eq!(world.nodes[0].revoked.len(), 2);
    world.run(secs(3));
    assert_eq!(counts(&world), [2]);
}
