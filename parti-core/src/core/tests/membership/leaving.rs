//! Leaving: handoffs, held slots, stops that are bounded.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::world::World;
use crate::core::tests::{counts, expecting, group, leader, secs};
use crate::io::event::{Event, StopMode};
use crate::io::notice::{Notice, StepDownReason};
use crate::records::record::{Record, SessionStatus};

/// A rolling update must not leave partitions without an owner for a lease.
#[test]
fn a_handoff_moves_everything_before_the_worker_leaves() {
    let mut world = World::new(9);
    group(&mut world, 3);
    let leaving = leader(&world);
    world.tell(
        leaving,
        Event::Stop {
            mode: StopMode::Handoff,
        },
    );
    world.run(Duration::from_millis(200));
    let stopped = Notice::Stopped { errors: Vec::new() };
    assert!(world.nodes[leaving].notices.contains(&stopped));
    assert_eq!(counts(&world).iter().sum::<usize>(), 9);
    assert_eq!(counts(&world)[leaving], 0);
    assert_ne!(leader(&world), leaving);
    let reason = StepDownReason::Stopping;
    let gave_up =
        |n: &&Notice| matches!(n, Notice::LeadershipLost { reason: r, .. } if *r == reason);
    assert!(world.nodes[leaving].notices.iter().any(|n| gave_up(&n)));
}

/// A restart in place must move nothing.
#[test]
fn a_held_slot_is_inherited_and_nothing_moves() {
    let mut world = World::new(9);
    group(&mut world, 3);
    let leaving = 1;
    let before: BTreeSet<_> = world.nodes[leaving].held.keys().cloned().collect();
    let others: Vec<_> = [0, 2]
        .map(|node: usize| world.nodes[node].held.clone())
        .into();
    world.tell(
        leaving,
        Event::Stop {
            mode: StopMode::Restart { hold: secs(20) },
        },
    );
    world.run(secs(2));
    let replacement = world.start(expecting(3));
    world.run(secs(1));
    let after: BTreeSet<_> = world.nodes[replacement].held.keys().cloned().collect();
    assert_eq!(after, before);
    assert_eq!(
        others,
        Vec::from([0, 2].map(|node: usize| world.nodes[node].held.clone()))
    );
}

/// A slot held for a replacement that never comes must be given away in the end.
#[test]
fn a_held_slot_that_nobody_takes_is_given_up() {
    let mut world = World::new(9);
    group(&mut world, 3);
    world.tell(
        2,
        Event::Stop {
            mode: StopMode::Restart { hold: secs(20) },
        },
    );
    world.run(secs(19));
    assert_eq!(counts(&world).iter().sum::<usize>(), 6);
    world.run(secs(2));
    assert_eq!(counts(&world).iter().sum::<usize>(), 9);
}

/// A worker that releases everything and leaves in one write must not leave its partitions behind.
#[test]
fn a_release_that_comes_with_the_last_acknowledgement_is_taken_up() {
    let mut world = World::new(6);
    group(&mut world, 2);
    let leaving = 1 - leader(&world);
    world.nodes[leaving].slow = true;
    world.tell(
        leaving,
        Event::Stop {
            mode: StopMode::Handoff,
        },
    );
    world.run(Duration::from_millis(100));
    world.let_go(leaving);
    world.run(Duration::from_millis(100));
    assert_eq!(counts(&world).iter().sum::<usize>(), 6);
}

/// The last worker of a group has nobody to hand over to and must not wait for anybody.
#[test]
fn the_last_worker_leaves_at_once() {
    let mut world = World::new(4);
    group(&mut world, 1);
    world.tell(
        0,
        Event::Stop {
            mode: StopMode::Handoff,
        },
    );
    world.run(Duration::from_millis(100));
    assert_eq!(
        world.nodes[0].notices.last(),
        Some(&Notice::Stopped { errors: Vec::new() })
    );
}

/// Scaling to zero must not make the last workers wait for a leader that has left.
#[test]
fn a_whole_group_that_stops_at_once_leaves_without_delay_or_error() {
    let mut world = World::new(9);
    group(&mut world, 3);
    for node in 0..3 {
        world.tell(
            node,
            Event::Stop {
                mode: StopMode::Handoff,
            },
        );
    }
    world.run(Duration::from_millis(600));
    for node in &world.nodes {
        assert_eq!(
            node.notices.last(),
            Some(&Notice::Stopped { errors: Vec::new() })
        );
    }
}

/// A callback that never returns must not keep a process from stopping.
#[test]
fn a_stop_is_bounded_and_says_what_was_not_released() {
    let mut world = World::new(4);
    group(&mut world, 1);
    world.nodes[0].slow = true;
    world.tell(
        0,
        Event::Stop {
            mode: StopMode::Handoff,
        },
    );
    world.run(secs(20));
    let Some(Notice::Stopped { errors }) = world.nodes[0].notices.last() else {
        panic!("it must have stopped: {:?}", world.nodes[0].notices.last())
    };
    assert!(
        errors.iter().any(|error| error.contains("p-")),
        "{errors:?}"
    );
}

/// What the stored session of a worker says of its end.
fn released(world: &World, node: usize, worker: &str) -> Option<Duration> {
    let stopped = |notice: &Notice| matches!(notice, Notice::Stopped { .. });
    let is_stopped = world.nodes[node].notices.iter().any(stopped);
    let value = world.entries[&alloc::format!("w.{worker}")].value.clone();
    let record = crate::records::wire::decode(&value.expect("a session"));
    let Ok(Record::Session(session)) = record else {
        panic!("not a session: {record:?}")
    };
    let SessionStatus::Released { hold } = session.status else {
        return None;
    };
    is_stopped.then_some(hold)
}

/// Kubernetes asks politely first; when it becomes urgent, the rest of the time must not be waited.
#[test]
fn a_second_stop_that_is_more_urgent_ends_the_wait_for_the_handoff() {
    let hold = secs(20);
    let urgent = [
        (StopMode::Now, Duration::ZERO),
        (StopMode::Restart { hold }, hold),
    ];
    for (mode, wanted) in urgent {
        let mut world = World::new(4);
        group(&mut world, 2);
        let leaving = 1 - leader(&world);
        let worker = world.nodes[leaving].core.status().worker.expect("an ID");
        world.plans_wait = true;
        let handoff = StopMode::Handoff;
        world.tell(leaving, Event::Stop { mode: handoff });
        world.run(Duration::from_millis(500));
        assert_eq!(
            released(&world, leaving, worker.as_str()),
            None,
            "it hands over"
        );
        world.tell(leaving, Event::Stop { mode });
        // A polite stop that comes late does not make it patient again.
        world.tell(leaving, Event::Stop { mode: handoff });
        world.run(Duration::from_millis(100));
        assert_eq!(
            released(&world, leaving, worker.as_str()),
            Some(wanted),
            "{mode:?}"
        );
        assert!(world.nodes[leaving].held.is_empty());
    }
}

/// A leader that is cut off from everybody while it stops must not keep its process alive, and what
/// was not done has to be told: the session goes on for a lease.
#[test]
fn a_stop_without_a_store_ends_in_time_and_says_what_is_left_behind() {
    let mut world = World::new(4);
    group(&mut world, 1);
    world.run(secs(10));
    world.fails = Some(crate::ports::store::StoreErrorKind::Unavailable);
    let mode = StopMode::Now;
    world.tell(0, Event::Stop { mode });
    world.run(secs(16));
    let Some(Notice::Stopped { errors }) = world.nodes[0].notices.last() else {
        panic!("it must have stopped: {:?}", world.nodes[0].notices.last())
    };
    let said = errors.iter().any(|error| error.contains("could not be"));
    assert!(said, "{errors:?}");
    assert!(
        world.nodes[0].held.is_empty(),
        "nothing is held after the stop"
    );
}

/// A rolling restart stops the leader, too: what it let go of last waited for an election.
#[test]
fn a_leader_that_leaves_grants_its_last_partitions_before_it_resigns() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let leaver = leader(&world);
    let mode = StopMode::Handoff;
    world.tell(leaver, Event::Stop { mode });
    let lost = |notice: &Notice| matches!(notice, Notice::LeadershipLost { .. });
    for _ in 0..30_000 {
        world.run(Duration::from_millis(1));
        if world.nodes[leaver].notices.iter().any(lost) {
            break;
        }
    }
    assert!(world.nodes[leaver].notices.iter().any(lost));
    let held = counts(&world);
    let others: usize = held.iter().sum::<usize>() - held[leaver];
    assert_eq!((held[leaver], others), (0, 12));
}
