//! Drain before transfer, also where the owner lost its session while it lived: the next owner begins
//! when its callbacks have ended, or when they have had their time.

use alloc::collections::BTreeSet;
use core::time::Duration;

use crate::core::tests::planted::with;
use crate::core::tests::world::World;
use crate::core::tests::{leader, secs};
use crate::planted::Planted;

/// Evicts a living worker whose callbacks do not return, and lets it find out at once. The node.
pub(crate) fn evicted_alive(world: &mut World, bug: Option<Planted>) -> usize {
    for _ in 0..3 {
        world.start(with(bug));
    }
    world.run(secs(1));
    let leading = leader(world);
    let stuck = (0..3).find(|&node| node != leading).expect("a follower");
    world.run(secs(5));
    world.nodes[stuck].watch_silent = true;
    world.nodes[stuck].blind = true;
    world.nodes[stuck].slow = true;
    world.start(with(bug));
    while world.evictions.is_empty() {
        world.run(Duration::from_millis(100));
    }
    world.nodes[stuck].watch_silent = false;
    world.nodes[stuck].blind = false;
    while world.nodes[stuck].kept_back.is_empty() {
        world.run(Duration::from_millis(10));
    }
    stuck
}

/// How many partitions that a node still has in callbacks others have begun already.
pub(crate) fn overlapping(world: &World, node: usize) -> usize {
    let draining = world.nodes[node].kept_back.iter();
    let draining: BTreeSet<_> = draining.map(|grant| &grant.partition).collect();
    let others = world.nodes.iter().enumerate();
    let others = others.filter(|&(other, _)| other != node);
    let held = others.flat_map(|(_, other)| other.held.keys());
    held.filter(|partition| draining.contains(partition))
        .count()
}

/// A worker that was evicted although it lived takes its slot again within milliseconds. Its new
/// session is no proof that the callbacks of the old one have returned: what they write at the end
/// would meet the next owner.
#[test]
fn who_retakes_its_slot_at_once_still_ends_its_callbacks_before_the_next_owner_begins() {
    let mut world = World::new(12);
    let evicted = evicted_alive(&mut world, None);
    let all = world.nodes[evicted].kept_back.len();
    for _ in 0..200 {
        world.run(Duration::from_millis(10));
        assert_eq!(overlapping(&world, evicted), 0, "at {}", world.now);
    }
    assert!(
        world.nodes[evicted].core.status().worker.is_some(),
        "it has its slot again"
    );
    // As soon as they have returned nobody waits any more.
    world.let_go(evicted);
    world.run(secs(1));
    let owned: usize = world.nodes.iter().map(|node| node.held.len()).sum();
    assert_eq!((all > 0, owned), (true, 12));
}

/// One callback that hangs must not keep what its neighbours have finished.
#[test]
fn what_has_returned_moves_although_other_callbacks_of_the_old_session_still_run() {
    let mut world = World::new(12);
    let evicted = evicted_alive(&mut world, None);
    world.run(Duration::from_millis(500));
    let hung = world.nodes[evicted]
        .kept_back
        .pop()
        .expect("something runs");
    world.let_go(evicted);
    world.nodes[evicted].kept_back.push(hung.clone());
    world.run(secs(1));
    assert_eq!(overlapping(&world, evicted), 0);
    let others = world
        .nodes
        .iter()
        .enumerate()
        .filter(|&(node, _)| node != evicted);
    let owned: usize = others.map(|(_, node)| node.held.len()).sum();
    assert_eq!(owned, 11, "all but the one that hangs");
    // Nobody waits longer than the lease of the old session.
    world.run(secs(6));
    assert_eq!(overlapping(&world, evicted), 1);
}
