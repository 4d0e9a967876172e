//! Slots held for a replacement: no hold is without end, and an operator can end it.

use alloc::vec::Vec;
use core::time::Duration;

use crate::config::ConfigBuilder;
use crate::core::tests::planted::with;
use crate::core::tests::world::World;
use crate::core::tests::{counts, expecting, group, leader, secs};
use crate::io::event::{Event, RequestId, StopMode};
use crate::io::notice::Notice;
use crate::planted::Planted;
use crate::records::problem::ProblemKind;

/// Leaves "until it is back", as somebody may who does not know when that will be.
fn leaves_for_ever(world: &mut World, node: usize) {
    let hold = Duration::MAX;
    let mode = StopMode::Restart { hold };
    world.tell(node, Event::Stop { mode });
}

fn owned(world: &World) -> usize {
    counts(world).iter().sum()
}

/// How many partitions wait for replacements, as each living worker says.
fn waiting(world: &World) -> Vec<u32> {
    let living = world.nodes.iter().map(|node| node.core.status());
    let living = living.filter(|status| status.worker.is_some());
    let count = living.map(|status| {
        let mut problems = status.problems.iter();
        let held = problems.find(|problem| problem.kind == ProblemKind::SlotsHeld);
        held.map_or(0, |problem| problem.count)
    });
    count.collect()
}

fn bounded_by(hold: Duration) -> impl FnOnce(ConfigBuilder) -> ConfigBuilder {
    move |builder| expecting(3)(builder).max_hold(hold)
}

/// How much of nine partitions is owned a minute after a worker left for ever, where nobody holds a
/// slot for longer than half of that.
fn after_a_minute(bug: Option<Planted>) -> usize {
    let mut world = World::new(9);
    for _ in 0..3 {
        world.start(|builder| with(bug)(builder).max_hold(secs(30)));
    }
    world.run(secs(1));
    leaves_for_ever(&mut world, 2);
    world.run(secs(60));
    owned(&world)
}

/// A worker that asks to be waited for and never comes back left its partitions without an owner for
/// as long as the group lived.
#[test]
fn a_slot_is_held_no_longer_than_the_group_allows() {
    assert_eq!(after_a_minute(None), 9);
    #[cfg(feature = "planted")]
    assert_eq!(after_a_minute(Some(Planted::HoldWithoutEnd)), 6);
}

/// Who asks for more than it gets has to learn of it.
#[test]
fn a_stop_that_asks_for_a_longer_hold_is_told_what_it_gets() {
    let mut world = World::new(9);
    for _ in 0..3 {
        world.start(bounded_by(secs(30)));
    }
    world.run(secs(1));
    leaves_for_ever(&mut world, 2);
    let capped = Notice::HoldCapped {
        asked: Duration::MAX,
        allowed: secs(30),
    };
    assert!(world.nodes[2].notices.contains(&capped));
    world.run(secs(29));
    assert_eq!(owned(&world), 6, "held");
    world.run(secs(3));
    assert_eq!(owned(&world), 9);
}

/// A worker with other settings must not make the whole group wait.
#[test]
fn a_leader_goes_by_its_own_bound_of_a_hold() {
    let mut world = World::new(9);
    for _ in 0..2 {
        world.start(bounded_by(secs(30)));
    }
    let patient = world.start(bounded_by(secs(3_600)));
    world.run(secs(1));
    assert_ne!(leader(&world), patient);
    leaves_for_ever(&mut world, patient);
    world.run(secs(33));
    assert_eq!(owned(&world), 9);
}

/// An operator who sees partitions without an owner has to be able to do something about it, and it
/// has to stay done whichever worker leads.
#[test]
fn a_rebalance_that_somebody_asks_for_ends_all_holds() {
    let mut world = World::new(12);
    group(&mut world, 4);
    let leading = leader(&world);
    let others: Vec<usize> = (0..4).filter(|&node| node != leading).collect();
    leaves_for_ever(&mut world, others[0]);
    world.run(secs(20));
    assert_eq!(waiting(&world), [3; 3], "every worker says so");
    assert_eq!(owned(&world), 9, "held");
    let request = RequestId(1);
    world.tell(others[1], Event::Trigger { request });
    world.run(secs(2));
    assert_eq!(owned(&world), 12);
    world.run(secs(3));
    assert_eq!(waiting(&world), [0; 3]);
    let done = |notice: &Notice| matches!(notice, Notice::RequestDone { .. });
    assert!(world.nodes[others[1]].notices.iter().any(done));
    // Nothing goes back to a slot that nobody has.
    world.nodes[leading].cut_off = true;
    world.run(secs(60));
    let living = [others[1], others[2]].map(|node| world.nodes[node].held.len());
    assert_eq!(living, [6, 6]);
}

/// One who comes after the hold was ended is a joiner like any other.
#[test]
fn a_replacement_that_comes_after_its_hold_was_ended_gets_its_share() {
    let mut world = World::new(9);
    group(&mut world, 3);
    let leading = leader(&world);
    let leaving = (0..3).find(|&node| node != leading).expect("a follower");
    leaves_for_ever(&mut world, leaving);
    world.run(secs(2));
    let request = RequestId(1);
    world.tell(leading, Event::Trigger { request });
    world.run(secs(2));
    assert_eq!(owned(&world), 9);
    let late = world.start(expecting(3));
    world.run(secs(30));
    assert_eq!(world.nodes[late].held.len(), 3);
    assert_eq!(owned(&world), 9);
}
