//! Workers that are configured differently: refused, or the stricter rule holds.

use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{ConfigBuilder, Mode};
use crate::core::tests::world::World;
use crate::core::tests::{counts, group, leader, secs};
use crate::io::notice::{Notice, StartError};
use crate::model::id::{Epoch, Formats, Nonce, Revision, WorkerId};
use crate::model::partition::PartitionKey;
use crate::records::agreement::Difference;
use crate::records::keys::{head_key, session_key};
use crate::records::record::{Head, Record};
use crate::records::wire;

fn overlap(builder: ConfigBuilder) -> ConfigBuilder {
    builder.mode(Mode::Overlap).rolling_from(Mode::Exclusive)
}

fn exclusive(builder: ConfigBuilder) -> ConfigBuilder {
    builder.mode(Mode::Exclusive).rolling_from(Mode::Overlap)
}

fn refusal(world: &World, node: usize) -> Option<&StartError> {
    world.nodes[node].notices.iter().find_map(|notice| {
        if let Notice::StartFailed(error) = notice {
            Some(error)
        } else {
            None
        }
    })
}

pub(crate) fn head(world: &World) -> Head {
    let value = world.entries[&head_key()].value.as_deref();
    match value.map(wire::decode) {
        Some(Ok(Record::Head(head))) => head,
        other => panic!("no head: {other:?}"),
    }
}

/// Partitions that more than one process holds with a valid guard.
fn held_twice(world: &World) -> Vec<PartitionKey> {
    let valid = world
        .nodes
        .iter()
        .filter(|node| node.core.deadline().is_some_and(|at| at > world.now));
    let mut seen = alloc::collections::BTreeSet::new();
    let held = valid.flat_map(|node| node.held.keys());
    held.filter(|key| !seen.insert(*key)).cloned().collect()
}

/// Runs step by step and asserts that nothing is ever held twice.
fn run_exclusively(world: &mut World, duration: Duration) {
    let end = world.now + duration;
    while world.now < end {
        world.run(Duration::from_millis(100));
        assert_eq!(held_twice(world), [], "at {}", world.now);
    }
}

/// Half a rolling update with another mode gave two owners: the worker that would break the promise
/// must not start, must say both values, and must not disturb the others.
#[test]
fn a_worker_of_another_mode_is_refused_with_both_values() {
    for (first, second) in [
        (Mode::Exclusive, Mode::Overlap),
        (Mode::Overlap, Mode::Exclusive),
    ] {
        let mut world = World::new(12);
        world.start(|b| b.mode(first).expected_workers(1));
        world.run(secs(5));
        let odd = world.start(|b| b.mode(second));
        world.run(secs(10));
        let Some(StartError::Disagrees(found)) = refusal(&world, odd) else {
            panic!("it started: {:?}", world.nodes[odd].notices)
        };
        let (own, other) = (second, first);
        assert_eq!(found.difference, Difference::Mode { own, other });
        assert_eq!(found.worker.as_str(), "worker-0");
        assert_eq!(counts(&world), [12, 0], "the living owner keeps its own");
    }
}

/// After a crash of the whole group the sessions of the dead say what they said: nobody must be kept
/// from starting by a worker that is not there.
#[test]
fn the_session_of_a_dead_worker_refuses_nobody() {
    let mut world = World::new(12);
    world.start(|b| b.expected_workers(1));
    world.run(secs(5));
    world.nodes[0].cut_off = true;
    let other = world.start(|b| b.mode(Mode::Overlap).expected_workers(1));
    world.run(secs(30));
    assert_eq!(refusal(&world, other), None);
    assert_eq!(world.nodes[other].held.len(), 12);
}

/// Two services with one group name got each other's partitions.
#[test]
fn a_worker_of_another_application_is_refused() {
    let mut world = World::new(12);
    world.start(|b| b.application("orders").expected_workers(1));
    world.run(secs(5));
    let odd = world.start(|b| b.application("invoices"));
    let plain = world.start(|b| b);
    world.run(secs(40));
    let error = refusal(&world, odd).expect("refused");
    let text = alloc::format!("{error}");
    assert!(
        text.contains("\"invoices\" here and \"orders\" there"),
        "{text}"
    );
    assert_eq!(refusal(&world, plain), None);
    assert_eq!(counts(&world).iter().sum::<usize>(), 12);
}

/// A leader that was configured for overlap granted at once while an exclusive worker still worked.
#[test]
fn a_leader_in_overlap_mode_waits_for_an_exclusive_worker() {
    let mut world = World::new(12);
    world.start(|b| overlap(b).expected_workers(1));
    world.run(secs(40));
    assert_eq!(leader(&world), 0);
    let second = world.start(|b| b);
    world.run(secs(40));
    assert_eq!(counts(&world), [6, 6]);
    world.nodes[second].slow = true;
    world.start(|b| b);
    world.start(|b| b);
    // Up to the end of the leader's patience with it.
    run_exclusively(&mut world, secs(11));
    assert_eq!(counts(&world)[second], 6, "it is slow to let go");
    world.let_go(second);
    run_exclusively(&mut world, secs(20));
    assert_eq!(counts(&world), [3; 4]);
}

/// An overlap worker went on for ever after it had been cut off, while its partitions were given away.
#[test]
fn an_overlap_worker_in_an_exclusive_group_obeys_its_lease() {
    let mut world = World::new(12);
    group(&mut world, 2);
    let odd = world.start(overlap);
    world.run(secs(60));
    assert!(!world.nodes[odd].held.is_empty());
    let status = world.nodes[odd].core.status();
    assert_eq!(
        (status.mode.honours, status.mode.holds),
        (Some(Mode::Exclusive), Some(Mode::Exclusive))
    );
    world.nodes[odd].cut_off = true;
    run_exclusively(&mut world, secs(30));
    let healthy: usize = (0..2).map(|node| counts(&world)[node]).sum();
    assert_eq!(healthy, 12, "what it had is given away");
}

/// The documented procedure, there and back: no step may hold a partition twice as long as anybody is
/// exclusive, and in the end the group does what it is configured for.
#[test]
fn a_group_is_rolled_from_one_mode_to_the_other_and_back() {
    let mut world = World::new(12);
    group(&mut world, 3);
    for (roll, mode) in [
        (overlap as fn(ConfigBuilder) -> ConfigBuilder, Mode::Overlap),
        (exclusive, Mode::Exclusive),
    ] {
        let old: Vec<usize> = (0..world.nodes.len())
            .filter(|&node| world.nodes[node].core.status().worker.is_some())
            .collect();
        for node in old {
            let stop = crate::io::event::StopMode::Handoff;
            world.tell(node, crate::io::event::Event::Stop { mode: stop });
            run_exclusively(&mut world, secs(15));
            let new = world.start(|b| roll(b).expected_workers(3));
            run_exclusively(&mut world, secs(25));
            assert_eq!(refusal(&world, new), None);
        }
        assert_eq!(
            counts(&world).iter().sum::<usize>(),
            12,
            "{:?}",
            counts(&world)
        );
        let agreed = head(&world).agreed;
        assert_eq!((agreed.mode, agreed.holds), (mode, mode));
        let new = world.nodes.last().expect("some").core.status();
        assert_eq!(new.mode.honours, Some(mode));
    }
}

/// Exclusive is promised from the generation that everybody obeys it in, not from the wish.
#[test]
fn an_exclusive_worker_gets_nothing_before_everybody_obeys() {
    let mut world = World::new(12);
    for _ in 0..2 {
        world.start(|b| b.mode(Mode::Overlap).expected_workers(2));
    }
    world.run(secs(10));
    assert_eq!(head(&world).agreed.mode, Mode::Overlap);
    let stuck = 1 - leader(&world);
    assert_eq!(
        world.nodes[stuck].core.status().mode.honours,
        Some(Mode::Overlap)
    );
    (world.nodes[stuck].watch_silent, world.nodes[stuck].blind) = (true, true);
    let strict = world.start(exclusive);
    world.run(secs(10));
    let agreed = head(&world).agreed;
    assert_eq!(
        (agreed.mode, agreed.holds),
        (Mode::Exclusive, Mode::Overlap)
    );
    assert_eq!(
        world.nodes[strict].held.len(),
        0,
        "one worker may still do as it did"
    );
    let status = world.nodes[strict].core.status();
    assert_eq!(
        (status.mode.honours, status.mode.holds),
        (Some(Mode::Exclusive), Some(Mode::Overlap))
    );
    // The stuck one is ended after `apply_timeout`, and after its lease the rest is free.
    (world.nodes[stuck].watch_silent, world.nodes[stuck].blind) = (false, false);
    world.run(secs(60));
    assert_eq!(head(&world).agreed.holds, Mode::Exclusive);
    assert!(!world.nodes[strict].held.is_empty());
    assert!(world.nodes[strict].notices.contains(&Notice::ModeChanged {
        from: Mode::Overlap,
        to: Mode::Exclusive
    }));
}

/// Makes the bucket again, as an operator does who deletes it.
pub(crate) fn lose_bucket(world: &mut World) {
    world.entries.clear();
    world.log.clear();
    (world.last, world.created, world.age) = (Revision::ZERO, 2, Duration::ZERO);
}

/// With leases of 6 s and 60 s a partition was held twice for as long as the longer one lasted.
#[test]
fn after_a_lost_history_the_longest_lease_of_the_group_is_waited_for() {
    let mut world = World::new(4);
    let long = world.start(|b| b.lease(secs(60)).expected_workers(2));
    let short = world.start(|b| b.max_lease(secs(60)).expected_workers(2));
    world.run(secs(40));
    assert_eq!(counts(&world), [2, 2]);
    world.nodes[long].cut_off = true;
    lose_bucket(&mut world);
    world.lose_watches(short);
    run_exclusively(&mut world, secs(20));
    world.start(|b| b.max_lease(secs(60)).expected_workers(2));
    run_exclusively(&mut world, secs(100));
    assert_eq!(counts(&world)[1..].iter().sum::<usize>(), 4);
}

/// A process that knows none but its own lease must wait for one it has never heard of.
#[test]
fn a_fresh_process_waits_for_the_longest_lease_that_the_group_allows() {
    let mut world = World::new(4);
    let long = world.start(|b| b.lease(secs(60)).expected_workers(1));
    world.run(secs(5));
    world.nodes[long].cut_off = true;
    lose_bucket(&mut world);
    let fresh = world.start(|b| b.max_lease(secs(60)));
    run_exclusively(&mut world, secs(50));
    assert_eq!(world.nodes[fresh].held.len(), 0);
    run_exclusively(&mut world, secs(60));
    assert_eq!(world.nodes[fresh].held.len(), 4);
}

/// Without a common maximum nobody knows how long to wait: such a start is refused.
#[test]
fn a_lease_beyond_what_the_others_expect_is_refused() {
    for (first, second) in [(60, 6), (6, 60)] {
        let mut world = World::new(4);
        world.start(|b| b.lease(secs(first)).expected_workers(1));
        world.run(secs(5));
        let odd = world.start(|b| b.lease(secs(second)));
        world.run(secs(50));
        let Some(StartError::Disagrees(found)) = refusal(&world, odd) else {
            panic!("it started: {:?}", world.nodes[odd].notices)
        };
        let (lease, max_lease) = (secs(60), secs(6));
        let expected = if second == 60 {
            Difference::OwnLease { lease, max_lease }
        } else {
            Difference::OtherLease { lease, max_lease }
        };
        assert_eq!(found.difference, expected);
        assert_eq!(counts(&world), [4, 0]);
    }
}

/// A follower that beats four times as often as its leader challenged it over and over.
#[test]
fn a_leader_that_renews_more_slowly_than_a_follower_is_left_in_peace() {
    let mut world = World::new(4);
    let slow = |b: ConfigBuilder| b.heartbeat_interval(secs(5)).lease(secs(20));
    world.start(|b| slow(b).expected_workers(1));
    world.run(secs(10));
    world.start(|b| b.max_lease(secs(20)));
    world.run(secs(300));
    assert_eq!(leader(&world), 0);
    assert_eq!(head(&world).term.get(), 1);
}

/// A silent worker is judged by its own lease: a leader with a longer one must not wait for that,
/// and one with a shorter must not act before.
#[test]
fn a_silent_worker_is_judged_by_its_own_lease() {
    for (leads, follows) in [(60_u64, 6_u64), (6, 60)] {
        let mut world = World::new(4);
        world.start(|b| b.lease(secs(leads)).max_lease(secs(60)).expected_workers(2));
        let silent = world.start(|b| {
            let b = b.lease(secs(follows)).max_lease(secs(60));
            b.expected_workers(2)
        });
        world.run(secs(5));
        assert_eq!((leader(&world), counts(&world)[silent]), (0, 2));
        world.nodes[silent].cut_off = true;
        let since = world.now;
        run_exclusively(&mut world, secs(90));
        let evicted = world.evictions.first().map(|(at, _)| at.since(since));
        let evicted = evicted.expect("it is ended");
        let lease = secs(follows);
        assert!(
            evicted >= lease - secs(2) && evicted <= lease + secs(4),
            "{evicted:?}"
        );
    }
}

/// A worker of a later release had just come and could not be read: the group loosened its mode as if
/// nobody were there, while that worker relied on the stricter one.
#[test]
fn a_session_that_cannot_be_read_keeps_the_mode_from_being_loosened() {
    let mut world = World::new(4);
    world.start(|b| b.expected_workers(1));
    world.run(secs(5));
    let last = world.start(overlap);
    world.run(secs(30));
    assert_eq!(counts(&world), [2, 2]);
    let own = world.nodes[last].core.status().worker.expect("id");
    let value = world.entries[&session_key(&own)].value.clone();
    let Some(Ok(Record::Session(mut session))) = value.as_deref().map(wire::decode) else {
        panic!("not a session")
    };
    // It has no assignment: what it asks for is all there is of it.
    let unread = session_key(&WorkerId::numbered("worker", 9).expect("valid"));
    session.write.nonce = Nonce::new(99);
    session.epoch = Epoch::ZERO;
    let stop = crate::io::event::StopMode::Handoff;
    let newest = Formats::NEXT_RELEASE.newest;
    for round in 0..4 {
        session.write.seq += 1;
        let record = Record::Session(session.clone());
        world.plant(&unread, &wire::encode_as(newest, &record));
        if round == 0 {
            world.tell(0, crate::io::event::Event::Stop { mode: stop });
        }
        world.run(secs(2));
        assert_eq!(head(&world).agreed.mode, Mode::Exclusive, "round {round}");
    }
    assert_eq!(counts(&world), [0, 4], "the first one has left");
    // It is gone: nobody asks for the stricter mode any more.
    world.run(secs(30));
    assert_eq!(head(&world).agreed.mode, Mode::Overlap);
}
