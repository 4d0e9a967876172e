//! Evictions that must not happen: the worker renewed while the plan or the commit was under way.

use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::rebalancing::parked;
use crate::core::tests::world::World;
use crate::core::tests::{counts, group, leader, secs};
use crate::io::notice::Notice;
use crate::model::id::WorkerId;

/// Three workers of which a follower does not run; the leader waits for its plan to evict it.
fn about_to_evict() -> (World, usize, usize) {
    let mut world = World::new(9);
    group(&mut world, 3);
    world.run(secs(4));
    let leading = leader(&world);
    let victim = (0..3).find(|&node| node != leading).expect("a follower");
    world.plans_wait = true;
    world.nodes[victim].cut_off = true;
    world.run(secs(8));
    assert!(world.evictions.is_empty(), "the plan is not ready");
    (world, leading, victim)
}

/// A worker that alone may have its partitions, and was back in time, was told to be parked for a while.
#[test]
fn what_a_worker_keeps_after_a_cancelled_eviction_is_not_parked() {
    let mut world = parked::pools(&["a", "a", "b"]);
    world.run(secs(10));
    let leading = leader(&world);
    let victim = 2;
    assert_ne!(leading, victim, "the only one of its pool follows");
    let held = world.nodes[victim].held.clone();
    assert!(!held.is_empty());
    world.plans_wait = true;
    world.nodes[victim].cut_off = true;
    world.run(secs(8));
    world.resume(victim);
    world.run(Duration::from_millis(100));
    assert_eq!(world.let_plans_go(), 1);
    world.run(secs(2));
    assert_eq!(cancelled(&world, leading).len(), 1);
    assert_eq!(
        (&world.nodes[victim].held, parked::parked(&world)),
        (&held, 0)
    );
    let told = |notice: &&Notice| matches!(notice, Notice::Parked { .. });
    assert_eq!(world.nodes[leading].notices.iter().filter(told).count(), 0);
}

fn cancelled(world: &World, node: usize) -> Vec<&WorkerId> {
    let notices = world.nodes[node].notices.iter();
    let cancelled = notices.filter_map(|notice| {
        let Notice::EvictionCancelled { worker } = notice else {
            return None;
        };
        Some(worker)
    });
    cancelled.collect()
}

fn identities_lost(world: &World) -> usize {
    let lost = |notice: &&Notice| matches!(notice, Notice::IdentityLost { .. });
    world
        .nodes
        .iter()
        .flat_map(|node| &node.notices)
        .filter(lost)
        .count()
}

/// A slow plan once evicted a worker that had been back for seconds.
#[test]
fn a_worker_that_renews_while_the_plan_is_made_is_not_evicted_by_it() {
    let (mut world, leading, victim) = about_to_evict();
    let before = world.nodes[victim].core.status().epoch;
    world.resume(victim);
    world.run(Duration::from_millis(100));
    assert_eq!(world.let_plans_go(), 1);
    world.run(secs(10));
    let worker = world.nodes[victim]
        .core
        .status()
        .worker
        .expect("it goes on");
    assert_eq!(cancelled(&world, leading), [&worker]);
    assert_eq!(world.nodes[victim].core.status().epoch, before);
    assert_eq!(
        (counts(&world), identities_lost(&world)),
        ([3, 3, 3].into(), 0)
    );
    assert!(world.evictions.is_empty());
}

/// Between the last look and the commit a renewal can slip in: the store refuses the whole commit,
/// and the leader must not insist. A plan that was dropped is a failed step that can be seen.
#[test]
fn a_renewal_that_slips_in_before_the_commit_cancels_the_eviction() {
    let (mut world, leading, victim) = about_to_evict();
    world.nodes[leading].watch_silent = true;
    world.resume(victim);
    world.run(Duration::from_millis(50));
    assert_eq!(world.let_plans_go(), 1);
    // The leader asks the store until the refusal is certain; only then does it hear again.
    world.run(Duration::from_millis(300));
    world.nodes[leading].watch_silent = false;
    world.run(secs(12));
    let worker = world.nodes[victim]
        .core
        .status()
        .worker
        .expect("it goes on");
    assert!(cancelled(&world, leading).contains(&&worker));
    assert!(world.evictions.is_empty(), "{:?}", world.evictions);
    assert_eq!(
        (counts(&world), identities_lost(&world)),
        ([3, 3, 3].into(), 0)
    );
    assert!(world.nodes[leading].core.status().is_leader);
    let failed = |notice: &&Notice| matches!(notice, Notice::StepFailed { .. });
    let failed = world.nodes[leading].notices.iter().filter(failed).count();
    assert!(
        (1..=3).contains(&failed),
        "seen, and not repeated: {failed}"
    );
}
