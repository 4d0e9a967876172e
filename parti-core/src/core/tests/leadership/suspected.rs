//! Leaders that do not answer when they are asked whether they run.

use core::time::Duration;

use crate::config::ConfigBuilder;
use crate::core::tests::mixed::agreement::head;
use crate::core::tests::store::silent_watch::leader;
use crate::core::tests::world::{Node, World};
use crate::model::id::Term;
use crate::model::time::Instant;
use crate::ports::liveness::ProbeAnswer;

const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn probing(builder: ConfigBuilder) -> ConfigBuilder {
    builder.expected_workers(3).probe_interval(millis(25))
}

/// Three workers that ask each other, one of which leads, a while after they began.
fn group() -> (World, usize) {
    group_of(3)
}

fn group_of(workers: usize) -> (World, usize) {
    let mut world = World::new(6);
    world.answering = true;
    for _ in 0..workers {
        world.start(probing);
    }
    world.run(Duration::from_secs(30));
    let leading = leader(&world);
    // In between two renewals.
    world.run(millis(700));
    (world, leading)
}

fn term(world: &World) -> Term {
    head(world).term
}

/// When somebody else leads, at the latest after `within`.
fn replaced_after(world: &mut World, leading: usize, within: Duration) -> Option<Duration> {
    let began = world.now;
    let before = term(world);
    while world.now.since(began) < within {
        world.run(millis(1));
        if term(world) > before {
            let new = head(world).leader.expect("it names somebody").worker;
            assert_ne!(
                Some(&new),
                world.nodes[leading].core.status().worker.as_ref()
            );
            return Some(world.now.since(began));
        }
    }
    None
}

/// Work stood still for four seconds after each crash of a leader, although everybody could have known.
#[test]
fn a_leader_that_was_killed_is_replaced_within_the_probe_interval() {
    let (mut world, leading) = group();
    world.kill(leading);
    let after = replaced_after(&mut world, leading, Duration::from_secs(10)).expect("replaced");
    // One interval with its jitter, and the random delay before standing.
    assert!(after <= millis(25 + 7 + 50 + 2), "{after:?}");
}

/// The next leader was asked only half a heartbeat after its election: killed before, it was replaced late.
#[test]
fn a_leader_that_is_killed_soon_after_its_election_is_replaced_as_fast() {
    let (mut world, leading) = group_of(4);
    world.kill(leading);
    replaced_after(&mut world, leading, Duration::from_secs(10)).expect("replaced");
    world.run(millis(10));
    let named = head(&world).leader.expect("it names somebody").worker;
    let is_named = |node: &Node| node.core.status().worker.as_ref() == Some(&named);
    let named = world
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| is_named(node));
    let mut named = named.map(|(at, _)| at);
    let next = named.find(|&at| at != leading).expect("it runs");
    world.kill(next);
    let after = replaced_after(&mut world, next, Duration::from_secs(10)).expect("replaced");
    // The wait before its session is watched comes first.
    assert!(after <= millis(8 + 25 + 7 + 50 + 2), "{after:?}");
}

/// A stopped process answers nothing and has not gone: it gets the time it was promised.
#[test]
fn a_leader_that_is_silent_is_replaced_after_its_time() {
    let (mut world, leading) = group();
    world.nodes[leading].cut_off = true;
    let after = replaced_after(&mut world, leading, Duration::from_secs(10)).expect("replaced");
    assert!(
        after >= millis(170) && after <= millis(200 + 32 + 50 + 2),
        "{after:?}"
    );
}

/// A follower whose own way to the leader was broken deposed healthy leaders for ever.
#[test]
fn one_that_suspects_alone_deposes_nobody() {
    let (mut world, leading) = group();
    let before = term(&world);
    world.nodes[(leading + 1) % 3].told = Some(ProbeAnswer::Nobody);
    world.run(Duration::from_secs(60));
    assert_eq!(term(&world), before);
}

/// With two such followers healthy leaders must be deposed ever more seldom.
#[test]
fn wrong_suspicions_of_two_depose_ever_more_seldom() {
    let (mut world, leading) = group();
    for node in 0..3 {
        world.nodes[node].told = Some(ProbeAnswer::Nobody);
    }
    let mut terms = alloc::vec::Vec::new();
    let (began, mut known) = (world.now, term(&world));
    while world.now.since(began) < Duration::from_secs(600) {
        world.run(millis(50));
        if term(&world) > known {
            known = term(&world);
            terms.push(world.now);
        }
    }
    let in_minute = |from: u64| {
        let from = began + Duration::from_secs(from);
        let within = |at: &&Instant| **at >= from && at.since(from) < Duration::from_secs(60);
        terms.iter().filter(within).count()
    };
    assert!(in_minute(0) <= 16, "{terms:?}");
    assert!(in_minute(540) <= 4, "{terms:?}");
    let _ = leading;
}

/// Where nobody answers probes, nobody may be suspected for that.
#[test]
fn where_the_store_carries_no_questions_nobody_is_asked() {
    let mut world = World::new(6);
    for _ in 0..3 {
        world.start(probing);
    }
    world.run(Duration::from_secs(30));
    let before = term(&world);
    world.run(Duration::from_secs(60));
    assert_eq!(term(&world), before);
    let leading = leader(&world);
    world.kill(leading);
    let after = replaced_after(&mut world, leading, Duration::from_secs(10)).expect("replaced");
    assert!(after >= Duration::from_secs(2), "{after:?}");
}
