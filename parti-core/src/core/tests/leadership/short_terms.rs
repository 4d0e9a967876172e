//! Leaders that are replaced every few seconds, as in a rolling update or a crash loop: what was waited
//! for goes on under the next one.

use core::time::Duration;

use crate::config::ConfigBuilder;
use crate::core::tests::world::World;
use crate::core::tests::{counts, expecting, group, leader, secs};
use crate::io::event::{Event, RequestId, StopMode};
use crate::model::state::Cause;
use crate::model::time::Instant;

/// More workers than ever come, so that a window is waited for.
const MANY: u32 = 90;

/// Replaces the leader by a fresh process, every so often, until something holds. Returns when it did.
fn while_leaders_change(
    world: &mut World,
    every: Duration,
    limit: Duration,
    holds: impl Fn(&World) -> bool,
) -> Option<Duration> {
    let begun = world.now;
    while world.now < begun + limit {
        let next = world.now + every;
        while world.now < next {
            world.run(Duration::from_millis(100));
            if holds(world) {
                return Some(world.now.since(begun));
            }
        }
        world.start(expecting(MANY));
        world.run(Duration::from_millis(50));
        let leads =
            |node: &crate::core::tests::world::Node| !node.cut_off && node.core.status().is_leader;
        if let Some(leading) = world.nodes.iter().position(leads) {
            world.tell(
                leading,
                Event::Stop {
                    mode: StopMode::Handoff,
                },
            );
        }
    }
    None
}

/// The leader stands still until somebody else leads, and goes on as a follower. How long that took.
fn depose(world: &mut World) -> Duration {
    let (leading, begun) = (leader(world), world.now);
    world.nodes[leading].cut_off = true;
    let leads =
        |node: &crate::core::tests::world::Node| !node.cut_off && node.core.status().is_leader;
    while !world.nodes.iter().any(leads) {
        world.run(Duration::from_millis(100));
        assert!(world.now < begun + secs(8), "nobody takes over");
    }
    world.resume(leading);
    world.now.since(begun)
}

fn is_assigned(world: &World) -> bool {
    counts(world).iter().sum::<usize>() > 0
}

/// Every leader began the window again: three workers were there for 24 s, and nobody worked.
#[test]
fn a_cold_start_ends_although_leaders_change() {
    for every in [2, 5, 9] {
        let mut world = World::new(12);
        for _ in 0..3 {
            world.start(expecting(MANY));
        }
        let after = while_leaders_change(&mut world, secs(every), secs(300), is_assigned);
        let after = after.expect("assigned in the end");
        // The window is 30 s, and 60 s when somebody joins all the time.
        assert!(
            after > secs(29) && after <= secs(62),
            "replaced every {every} s: after {after:?}"
        );
    }
}

/// A crash is the same as a stop, only that nobody is told: the group waits for the election.
#[test]
fn a_cold_start_ends_although_leaders_crash() {
    let mut world = World::new(12);
    for _ in 0..5 {
        world.start(expecting(MANY));
    }
    let begun = world.now;
    while !is_assigned(&world) && world.now < begun + secs(300) {
        world.run(secs(9));
        let leads =
            |node: &crate::core::tests::world::Node| !node.cut_off && node.core.status().is_leader;
        if let Some(leading) = world.nodes.iter().position(leads) {
            world.nodes[leading].cut_off = true;
            world.start(expecting(MANY));
        }
    }
    let after = world.now.since(begun);
    assert!(after <= secs(75), "after {after:?}");
}

/// Joiners waited for ever: each new leader collected them again.
#[test]
fn joiners_get_their_share_although_leaders_change() {
    let mut world = World::new(12);
    for _ in 0..3 {
        world.start(|b| b);
    }
    world.run(secs(90));
    let joiner = world.start(|b| b);
    let has_its_share = |world: &World| !world.nodes[joiner].held.is_empty();
    let begun = world.now;
    while !has_its_share(&world) && world.now < begun + secs(120) {
        world.run(secs(2));
        depose(&mut world);
    }
    let after = world.now.since(begun);
    assert!(after >= secs(10) && after <= secs(40), "after {after:?}");
}

/// A worker in quarantine stays there under the next leader, and the length of it is remembered.
#[test]
fn a_quarantine_outlasts_the_leader_that_set_it() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let leading = leader(&world);
    let stuck = (0..3).find(|&node| node != leading).expect("a follower");
    world.run(secs(5));
    world.nodes[stuck].watch_silent = true;
    world.nodes[stuck].blind = true;
    world.start(|b| b);
    while world.evictions.is_empty() {
        world.run(secs(1));
    }
    let evicted = world.now;
    world.nodes[stuck].watch_silent = false;
    world.nodes[stuck].blind = false;
    world.run(secs(2));
    world.tell(
        leading,
        Event::Stop {
            mode: StopMode::Handoff,
        },
    );
    world.run(secs(7));
    assert!(world.nodes[leader(&world)].core.status().is_leader);
    assert_ne!(leader(&world), leading);
    assert_eq!(counts(&world)[stuck], 0, "it is in quarantine");
    let ends = evicted + secs(11);
    world.run(ends.since(world.now));
    assert_eq!(counts(&world)[stuck], 0, "for its whole time");
    world.run(secs(30));
    assert!(
        counts(&world)[stuck] > 0,
        "and no longer: {:?}",
        counts(&world)
    );
}

/// The clock of a worker that takes nothing in goes on under the next leader.
#[test]
fn a_stuck_worker_is_evicted_although_leaders_change() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let leading = leader(&world);
    let stuck = (0..3).find(|&node| node != leading).expect("a follower");
    world.run(secs(12));
    let name = world.nodes[stuck].core.status().worker.expect("an ID");
    world.nodes[stuck].watch_silent = true;
    world.nodes[stuck].blind = true;
    world.start(|b| b);
    let begun = world.now;
    let gone = |world: &World| world.evictions.iter().any(|(_, worker)| *worker == name);
    while !gone(&world) && world.now < begun + secs(120) {
        world.run(secs(3));
        depose(&mut world);
    }
    let after = world.now.since(begun);
    assert!(after <= secs(50), "after {after:?}");
}

/// Fresh leaders know how long ago the last rebalance was: what has to wait waits neither shorter nor
/// much longer for it.
#[test]
fn a_cooldown_goes_on_under_leaders_that_have_just_started() {
    let mut world = World::new(12);
    let patient = |b: ConfigBuilder| b.expected_workers(1).min_rebalance_interval(secs(30));
    world.start(patient);
    world.run(secs(40));
    world.tell(
        0,
        Event::Trigger {
            request: RequestId(1),
        },
    );
    world.run(Duration::from_millis(10));
    let rebalanced = world.now;
    for _ in 0..2 {
        world.run(secs(1));
        world.start(patient);
        world.run(Duration::from_millis(500));
        depose(&mut world);
    }
    world.run(secs(40));
    let scaled =
        |&&(at, cause): &&(Instant, Cause)| at > rebalanced && cause == Cause::PlannedScale;
    let scaled = world.plans.iter().find(scaled);
    let after = scaled.map(|(at, _)| at.since(rebalanced)).expect("planned");
    // Each of them missed the second before it started.
    assert!(after >= secs(30) && after < secs(33), "after {after:?}");
}
