//! Workers that renew and do not do what they are told: they are taken out, and stay out longer each
//! time. With the defaults a record is to be taken in within 12 s.

use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::world::World;
use crate::core::tests::{counts, group, leader, secs};
use crate::model::time::Instant;

/// A group of three in which one follower no longer takes in anything: it hears neither its watch
/// nor, between the evictions, its reconciling.
fn with_a_stuck_follower() -> (World, usize) {
    let mut world = World::new(12);
    group(&mut world, 3);
    let leading = leader(&world);
    let stuck = (0..3).find(|&node| node != leading).expect("a follower");
    world.run(secs(5));
    world.nodes[stuck].watch_silent = true;
    world.nodes[stuck].blind = true;
    (world, stuck)
}

/// When somebody was taken out.
fn evicted(world: &World) -> Vec<Instant> {
    world.evictions.iter().map(|&(at, _)| at).collect()
}

/// A worker that renews but never takes in what it is told blocked every handoff for good.
#[test]
fn a_worker_that_does_not_take_in_its_record_is_taken_out_within_apply_timeout() {
    let (mut world, stuck) = with_a_stuck_follower();
    let told = world.now;
    world.start(|b| b);
    world.run(secs(20));
    let first = *evicted(&world).first().expect("it is taken out");
    let planned = world.plans.iter().map(|&(at, _)| at);
    let planned = planned.filter(|&at| at > told).min().expect("planned");
    let patience = first.since(planned);
    assert!(
        patience >= secs(12) && patience < secs(13),
        "after {patience:?}"
    );
    let others = counts(&world);
    let held: usize = (0..4).filter(|&n| n != stuck).map(|n| others[n]).sum();
    assert_eq!(held, 12, "{others:?}");
}

/// A process that fails again after each return takes its share down each time.
#[test]
fn a_worker_that_fails_again_and_again_stays_out_longer_each_time() {
    let (mut world, _) = with_a_stuck_follower();
    world.start(|b| b);
    world.run(secs(600));
    let at = evicted(&world);
    assert!(at.len() >= 4, "{at:?}");
    let gaps: Vec<Duration> = at.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(gaps[1] > gaps[0] + secs(10), "{gaps:?}");
    assert!(gaps[2] > gaps[1] + secs(20), "{gaps:?}");
    let returns = |gap: &Duration| *gap < secs(12 * 8 + 40);
    assert!(gaps.iter().all(returns), "never for good: {gaps:?}");
}

/// A worker that was evicted for a passing trouble must get work again.
#[test]
fn a_worker_that_recovers_takes_part_again_after_its_time_out() {
    let (mut world, stuck) = with_a_stuck_follower();
    world.start(|b| b);
    world.run(secs(17));
    assert_eq!(world.evictions.len(), 1);
    world.nodes[stuck].watch_silent = false;
    world.nodes[stuck].blind = false;
    world.run(secs(4));
    let status = world.nodes[stuck].core.status();
    assert!(status.worker.is_some(), "it is a member again: {status:?}");
    assert_eq!(counts(&world)[stuck], 0, "and is in quarantine");
    world.run(secs(40));
    assert!(counts(&world)[stuck] > 0, "{:?}", counts(&world));
}
