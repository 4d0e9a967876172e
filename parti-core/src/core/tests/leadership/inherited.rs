//! The partition source is down and leaders die: a new one begins with what the records name.

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::world::World;
use crate::core::tests::{counts, group, leader, secs};
use crate::io::event::{Event, RequestId, StopMode};
use crate::io::notice::{Notice, StepDownReason};
use crate::model::partition::Partition;
use crate::ports::source::SourceError;

fn source_fails(world: &mut World) {
    world.source_fails = Some(SourceError::Unavailable("the database is down".to_string()));
}

/// How many different partitions are processed by those that run, and that none is twice.
fn owned(world: &World) -> usize {
    let running = world.nodes.iter().filter(|node| !node.cut_off);
    let held: Vec<_> = running.flat_map(|node| node.held.keys()).collect();
    let distinct: BTreeSet<_> = held.iter().collect();
    assert_eq!(distinct.len(), held.len(), "nothing is processed twice");
    distinct.len()
}

fn resigned(world: &World) -> usize {
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    let failing = |notice: &&Notice| {
        matches!(
            notice,
            Notice::LeadershipLost {
                reason: StepDownReason::Failing(_),
                ..
            }
        )
    };
    notices.filter(failing).count()
}

fn inherited(world: &World) -> Vec<(usize, usize)> {
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    let found = notices.filter_map(|notice| {
        let Notice::ListInherited {
            partitions,
            missing,
        } = notice
        else {
            return None;
        };
        Some((*partitions, *missing))
    });
    found.collect()
}

fn kill_leader(world: &mut World) {
    let leading = leader(world);
    world.nodes[leading].cut_off = true;
}

/// What a dead leader had stayed without an owner until the source was back, and leaders resigned in turn.
#[test]
fn leaders_die_one_after_the_other_while_the_source_is_down_and_all_is_owned() {
    let mut world = World::new(12);
    group(&mut world, 4);
    source_fails(&mut world);
    for left in [3, 2, 1] {
        kill_leader(&mut world);
        world.run(secs(20));
        assert_eq!(owned(&world), 12, "{left} are left");
        world.run(secs(300));
    }
    assert_eq!((resigned(&world), owned(&world)), (0, 12));
    assert_eq!(inherited(&world), [(12, 0), (12, 0), (12, 0)]);
    // Normal operation goes on when the source is back.
    world.source_fails = None;
    world
        .partitions
        .push(Partition::new(["new"]).expect("valid"));
    world.start(|b| b);
    world.run(secs(90));
    assert_eq!(owned(&world), 13);
    assert!(counts(&world).iter().filter(|&&held| held > 0).count() >= 2);
}

/// A source that hangs is no better than one that fails.
#[test]
fn a_source_that_does_not_answer_holds_up_no_repair() {
    let mut world = World::new(12);
    group(&mut world, 3);
    world.source_hangs = true;
    kill_leader(&mut world);
    world.run(secs(12));
    assert_eq!(owned(&world), 12);
}

/// While weights are not known, a repair must not move what has an owner; balance comes with the source.
#[test]
fn without_weights_only_orphans_are_placed() {
    let mut world = World::new(0);
    for (number, weight) in (0..12).zip([1, 1, 1, 1, 9, 9, 1, 1, 1, 1, 9, 9]) {
        let mut partition = Partition::new([alloc::format!("p-{number}")]).expect("valid");
        partition.weight = weight;
        world.partitions.push(partition);
    }
    group(&mut world, 4);
    source_fails(&mut world);
    let before: Vec<_> = world.nodes.iter().map(|node| node.held.clone()).collect();
    kill_leader(&mut world);
    let joiner = world.start(|b| b.expected_workers(1));
    world.run(secs(60));
    assert_eq!(owned(&world), 12);
    for (node, before) in before
        .iter()
        .enumerate()
        .filter(|&(n, _)| !world.nodes[n].cut_off)
    {
        let kept = |(partition, token)| world.nodes[node].held.get(partition) == Some(token);
        assert!(before.iter().all(kept), "node {node} keeps what it had");
    }
    world.source_fails = None;
    world.run(secs(60));
    assert_eq!(owned(&world), 12);
    assert!(
        !world.nodes[joiner].held.is_empty(),
        "the joiner gets its share"
    );
}

/// Partitions that were taken from one and not yet given to another are in no record of either: what is
/// absent must not be taken for removed, and comes back with the source.
#[test]
fn what_no_record_names_is_neither_removed_nor_forgotten() {
    let mut world = World::new(12);
    group(&mut world, 3);
    world.run(secs(15));
    // The record of a dead worker is erased by somebody: its partitions are named by nobody.
    let leading = leader(&world);
    let dead = (0..3).find(|&node| node != leading).expect("a follower");
    let name = world.nodes[dead].core.status().worker.expect("an ID");
    let lost = world.nodes[dead].held.len();
    source_fails(&mut world);
    world.nodes[dead].cut_off = true;
    world.nodes[leading].cut_off = true;
    world.erase(&crate::records::keys::assignment_key(&name));
    world.run(secs(60));
    assert_eq!(inherited(&world), [(12 - lost, lost)]);
    assert_eq!(owned(&world), 12 - lost, "what is named is owned");
    let status = world.nodes[leader(&world)].core.status();
    assert_eq!(
        (status.group.partitions, status.group.unfinished as usize),
        (12, lost)
    );
    world.source_fails = None;
    world.run(secs(60));
    assert_eq!(owned(&world), 12);
}

/// A worker that leaves in order hands over also while the source is down.
#[test]
fn a_worker_that_leaves_hands_over_although_the_source_is_down() {
    let mut world = World::new(12);
    group(&mut world, 4);
    source_fails(&mut world);
    kill_leader(&mut world);
    world.run(secs(20));
    let leading = leader(&world);
    let leaving = (0..4)
        .find(|&n| n != leading && !world.nodes[n].cut_off)
        .expect("another");
    world.tell(
        leaving,
        Event::Stop {
            mode: StopMode::Handoff,
        },
    );
    world.run(secs(10));
    assert!(world.nodes[leaving].held.is_empty());
    assert_eq!(owned(&world), 12);
    let request = RequestId(1);
    world.tell(leading, Event::Trigger { request });
    world.run(Duration::from_secs(5));
    assert_eq!(owned(&world), 12);
}

/// The list became empty, its leader died before all was let go, and the source went down: what was
/// leaving the list was granted again, and nobody took it back when the source returned.
#[test]
fn what_is_leaving_the_list_is_not_granted_again() {
    let mut world = World::new(9);
    group(&mut world, 3);
    let leading = leader(&world);
    for node in &mut world.nodes {
        node.slow = true;
    }
    world.partitions.clear();
    let request = RequestId(1);
    world.tell(leading, Event::Refresh { request });
    world.run(secs(3));
    source_fails(&mut world);
    kill_leader(&mut world);
    world.run(secs(20));
    for node in (0..3).filter(|&node| node != leading) {
        world.let_go(node);
    }
    world.run(secs(20));
    assert_eq!(owned(&world), 0);
    world.source_fails = None;
    world.run(secs(90));
    assert_eq!(owned(&world), 0);
}
