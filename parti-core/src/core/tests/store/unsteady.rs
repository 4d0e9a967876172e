//! Leaders that run only now and then, as throttled containers do: often enough to keep their lease
//! and their leadership, not often enough to be in contact.
//!
//! At the defaults, the time between two renewals that come back: up to 3.0 s a leader is in contact
//! and judges; from 4.0 s on it is challenged. In between it has to step down by itself.

use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::world::World;
use crate::core::tests::{counts, group, leader, secs};
use crate::io::notice::{Notice, StepDownReason};
use crate::records::keys::session_key;

/// Lets some nodes stand still for `pause` and run for a moment, in turn, for so long.
fn stutter(world: &mut World, nodes: &[usize], pause: Duration, length: Duration) {
    let end = world.now + length;
    while world.now < end {
        for &node in nodes {
            world.nodes[node].cut_off = true;
        }
        world.run(pause);
        for &node in nodes {
            world.resume(node);
        }
        world.run(Duration::from_millis(100));
    }
}

fn gave_up(world: &World, node: usize) -> usize {
    let unsteady = |notice: &&Notice| {
        matches!(
            notice,
            Notice::LeadershipLost {
                reason: StepDownReason::UnsteadyContact(_),
                ..
            }
        )
    };
    world.nodes[node].notices.iter().filter(unsteady).count()
}

/// A dead worker was not replaced in 900 s: its leader was never challenged, and never judged.
#[test]
fn a_dead_worker_is_replaced_however_unsteady_its_leader() {
    for pause in [
        1_000, 1_500, 2_000, 2_500, 2_900, 3_000, 3_100, 3_200, 3_400, 3_600, 3_800, 3_900, 4_000,
        4_200, 4_500,
    ] {
        let mut world = World::new(12);
        group(&mut world, 4);
        let leading = leader(&world);
        let dead = (0..4).find(|&node| node != leading).expect("a follower");
        world.run(secs(10));
        let name = world.nodes[dead].core.status().worker.expect("an ID");
        let died = world.now;
        world.nodes[dead].cut_off = true;
        let mine = world.nodes[leading].core.status().worker.expect("an ID");
        world.run_until_written(&session_key(&mine));
        stutter(
            &mut world,
            &[leading],
            Duration::from_millis(pause),
            secs(90),
        );
        let replaced = world.evictions.iter().find(|(_, worker)| *worker == name);
        let after = replaced.map(|(at, _)| at.since(died));
        assert!(
            after.is_some_and(|after| after < secs(50)),
            "pauses of {pause} ms: after {after:?}"
        );
        world.nodes[leading].cut_off = false;
        let held: usize = (0..4)
            .filter(|&n| n != dead)
            .map(|n| counts(&world)[n])
            .sum();
        assert_eq!(held, 12, "pauses of {pause} ms");
    }
}

/// A leader that pauses once, for as long as its lease allows, is as good as any other.
#[test]
fn one_gap_in_its_contact_costs_nobody_the_leadership() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let leading = leader(&world);
    world.run(secs(10));
    let mine = world.nodes[leading].core.status().worker.expect("an ID");
    for _ in 0..5 {
        world.run_until_written(&session_key(&mine));
        world.nodes[leading].cut_off = true;
        world.run(Duration::from_millis(3_500));
        world.resume(leading);
        world.run(secs(40));
    }
    assert!(world.nodes[leading].core.status().is_leader);
    assert_eq!(gave_up(&world, leading), 0);
}

/// When everybody has unsteady contact, giving up in turn helps nobody and costs everybody: terms
/// become longer and longer, and it is told.
#[test]
fn when_everybody_is_unsteady_the_leadership_is_not_passed_on() {
    let mut world = World::new(12);
    group(&mut world, 3);
    world.run(secs(10));
    let all: Vec<usize> = (0..3).collect();
    stutter(&mut world, &all, Duration::from_millis(3_300), secs(1_800));
    let resigned: usize = all.iter().map(|&node| gave_up(&world, node)).sum();
    assert!((2..=12).contains(&resigned), "{resigned} in half an hour");
    let leads = all
        .iter()
        .filter(|&&n| world.nodes[n].core.status().is_leader);
    assert_eq!(leads.count(), 1);
    assert!(
        all.iter()
            .all(|&n| world.nodes[n].core.status().group.futile_terms >= 2)
    );
    let told = |notice: &&Notice| matches!(notice, Notice::UnsteadyContact { futile: 1.., .. });
    let told = all
        .iter()
        .flat_map(|&n| &world.nodes[n].notices)
        .filter(told);
    assert!(
        told.count() >= resigned - 1,
        "each term but the first says so once"
    );
    // Once they run again, the leader they have is good enough, and what was is forgotten.
    let leading = leader(&world);
    world.run(secs(60));
    assert!(world.nodes[leading].core.status().is_leader);
    world.nodes[leading].cut_off = true;
    world.run(secs(20));
    let next = leader(&world);
    world.run(secs(10));
    assert_eq!(world.nodes[next].core.status().group.futile_terms, 0);
}
