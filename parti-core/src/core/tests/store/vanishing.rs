//! Records that are removed without a tombstone, at every moment: by a purge of one subject, by an age
//! limit that was set for some seconds, by a limit that discards what is old.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Mode;
use crate::core::tests::rebalancing::parked::{EVEN, ODD, held, join, names, parked, pools};
use crate::core::tests::world::World;
use crate::core::tests::{counts, expecting, group, leader, secs};
use crate::io::event::{Event, RequestId};
use crate::io::notice::{Notice, StepDownReason};
use crate::model::id::{Token, Version};
use crate::model::state::State;
#[cfg(feature = "planted")]
use crate::planted::Planted;
use crate::ports::store::StoreFault;
use crate::records::problem::ProblemKind;

/// A removal that leaves no tombstone and that no watch tells of.
fn vanish(world: &mut World, key: &str) {
    assert!(world.entries.remove(key).is_some(), "{key} is not there");
}

fn version(world: &World, node: usize) -> Version {
    world.nodes[node].core.status().version
}

fn told(world: &World, wanted: impl Fn(&Notice) -> bool) -> bool {
    let mut notices = world.nodes.iter().flat_map(|node| &node.notices);
    notices.any(wanted)
}

fn vanished(world: &World, key: &str) -> bool {
    told(
        world,
        |notice| matches!(notice, Notice::RecordVanished { key: gone } if gone == key),
    )
}

/// Nobody was ever elected again: each candidate expected the revision of a head that was no more.
#[test]
fn a_leader_that_dies_after_its_head_vanished_is_replaced() {
    for wait in [0, 100, 1_000, 20_000, 90_000] {
        let mut world = World::new(9);
        group(&mut world, 3);
        let (dead, before) = (leader(&world), version(&world, 0));
        vanish(&mut world, "head");
        world.run(Duration::from_millis(wait));
        world.nodes[dead].cut_off = true;
        world.run(secs(40));
        let living = (0..3).filter(|&node| node != dead);
        let owned: Vec<usize> = living.clone().map(|n| world.nodes[n].held.len()).collect();
        assert_eq!(owned.iter().sum::<usize>(), 9, "after {wait} ms: {owned:?}");
        for node in living {
            assert!(
                version(&world, node) > before,
                "tokens rise, after {wait} ms"
            );
            assert_eq!(world.nodes[node].core.state(), State::Stable);
        }
        assert!(vanished(&world, "head"), "after {wait} ms");
    }
}

/// A living worker keeps what it has: a head that vanishes costs no partition.
#[test]
fn a_head_that_vanishes_under_a_living_group_moves_nothing() {
    let mut world = World::new(9);
    group(&mut world, 3);
    let before: Vec<_> = world.nodes.iter().map(|node| node.held.clone()).collect();
    for _ in 0..3 {
        vanish(&mut world, "head");
        world.run(secs(90));
        assert!(world.entries.contains_key("head"), "it is written again");
    }
    let after: Vec<_> = world.nodes.iter().map(|node| node.held.clone()).collect();
    assert_eq!(before, after, "the same grants, with the same tokens");
    world.start(expecting(4));
    world.run(secs(60));
    assert_eq!(
        counts(&world).iter().sum::<usize>(),
        9,
        "and generations go on"
    );
}

/// Without the look at what is gone nobody leads any more: what the case is for.
#[cfg(feature = "planted")]
#[test]
fn a_vanished_head_that_is_believed_in_leaves_the_group_without_a_leader() {
    let mut world = World::new(9);
    for _ in 0..3 {
        world.start(|builder| expecting(3)(builder).planted(Planted::VanishedHead));
    }
    world.run(secs(10));
    let dead = leader(&world);
    vanish(&mut world, "head");
    world.nodes[dead].cut_off = true;
    world.run(secs(120));
    let living = world.nodes.iter().filter(|node| !node.cut_off);
    assert_eq!(living.map(|node| node.held.len()).sum::<usize>(), 6);
}

/// A process that starts after the head vanished knows no version: it must find those of the others.
#[test]
fn a_fresh_worker_joins_a_group_whose_head_vanished() {
    let mut world = World::new(9);
    group(&mut world, 3);
    let (dead, before) = (leader(&world), version(&world, 0));
    vanish(&mut world, "head");
    world.nodes[dead].cut_off = true;
    let fresh = world.start(expecting(3));
    world.run(secs(60));
    assert_eq!(counts_of_living(&world), 9);
    assert!(version(&world, fresh) > before);
}

fn counts_of_living(world: &World) -> usize {
    let living = world.nodes.iter().filter(|node| !node.cut_off);
    living.map(|node| node.held.len()).sum()
}

/// An assignment that nobody misses is missed at the next fail-over: its worker is cut off then.
#[test]
fn an_assignment_that_vanishes_is_written_again() {
    let mut world = World::new(6);
    group(&mut world, 2);
    let before = counts(&world);
    for worker in ["worker-0", "worker-1"] {
        vanish(&mut world, &format!("a.{worker}"));
    }
    world.run(secs(90));
    for worker in ["worker-0", "worker-1"] {
        let key = format!("a.{worker}");
        assert!(world.entries.contains_key(&key), "{key}");
        assert!(vanished(&world, &key));
    }
    assert_eq!(counts(&world), before);
}

/// Records of every kind, one after another and all at once, with and without the leader's death: the
/// group comes back to one owner for each partition, and never has two.
#[test]
fn whatever_vanishes_the_group_comes_back() {
    let kinds: [fn(&str) -> bool; 6] = [
        |key| key == "head",
        |key| key.starts_with("w."),
        |key| key.starts_with("a."),
        |key| key.starts_with("h."),
        |key| key.starts_with("ctl."),
        |_| true,
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        for dies in [false, true] {
            let mut world = World::new(9);
            group(&mut world, 3);
            let keys: Vec<String> = world.entries.keys().map(ToString::to_string).collect();
            keys.iter()
                .filter(|key| kind(key))
                .for_each(|key| vanish(&mut world, key));
            if dies {
                let dead = leader(&world);
                world.nodes[dead].cut_off = true;
            }
            let mut owned = 0;
            for _ in 0..180 {
                world.run(secs(1));
                let living = world.nodes.iter().filter(|node| !node.cut_off);
                let held: Vec<_> = living.flat_map(|node| node.held.keys()).collect();
                let distinct: alloc::collections::BTreeSet<_> = held.iter().collect();
                if !dies {
                    assert_eq!(distinct.len(), held.len(), "owned twice, kind {number}");
                }
                owned = distinct.len();
            }
            assert_eq!(owned, 9, "kind {number}, the leader dies: {dies}");
        }
    }
}

/// Removes, for a while, every record of a kind that there is every 50 ms.
fn vanish_for(world: &mut World, kind: fn(&str) -> bool, moments: u64) {
    for _ in 0..moments {
        world.entries.retain(|key, _| !kind(key));
        world.run(Duration::from_millis(50));
    }
}

/// What is held by processes that run, with its tokens; nothing may be held twice.
fn tokens(world: &World) -> BTreeMap<String, Token> {
    let mut tokens = BTreeMap::new();
    for node in world.nodes.iter().filter(|node| !node.cut_off) {
        for (partition, &token) in &node.held {
            let other = tokens.insert(partition.to_string(), token);
            assert_eq!(other, None, "{partition} is held twice at {}", world.now);
        }
    }
    tokens
}

/// Requests, audit entries and what is parked: whenever their records vanish, before they are read, while
/// they are acted upon, or for seconds on end, nobody who lives loses anything, and all the rest happens.
#[test]
fn requests_audit_entries_and_parked_records_may_vanish_at_every_moment() {
    let kinds: [fn(&str) -> bool; 3] = [
        |key| key.starts_with("ctl."),
        |key| key.starts_with("h."),
        |key| key == "parked",
    ];
    let waits = (0..10).map(|moment| moment * 150).chain([6_000, 31_000]);
    for (wait, moments, kind) in waits.flat_map(|wait| {
        let both = [1, 200].into_iter();
        both.flat_map(move |moments| kinds.map(|kind| (wait, moments, kind)))
    }) {
        for dies in [false, true] {
            let what = format!("after {wait} ms, {moments} times, the leader dies: {dies}");
            let mut world = pools(&["a", "a", "a"]);
            assert_eq!((held(&world).len(), parked(&world)), (5, 4));
            let leads = leader(&world);
            let asks = (0..3)
                .find(|&node| node != leads)
                .expect("somebody follows");
            let request = RequestId(7);
            world.tell(asks, Event::Trigger { request });
            world.nodes[leads].cut_off = dies;
            let kept = tokens(&world);
            world.run(Duration::from_millis(wait));
            vanish_for(&mut world, kind, moments);
            world.run(secs(60));
            let now = tokens(&world);
            for (partition, token) in &kept {
                assert_eq!(now.get(partition), Some(token), "{partition} moved, {what}");
            }
            assert_eq!((held(&world), parked(&world)), (names(EVEN), 4), "{what}");
            let answers = world.nodes[asks].notices.iter().filter(|notice| {
                matches!(
                    notice,
                    Notice::RequestDone {
                        request: RequestId(7),
                        ..
                    }
                ) || matches!(
                    notice,
                    Notice::RequestFailed {
                        request: RequestId(7),
                        ..
                    }
                )
            });
            assert_eq!(answers.count(), 1, "one answer, {what}");
            // What is parked is known all the same: as soon as somebody may own it, somebody does.
            join(&mut world, "b", 3, Mode::Exclusive);
            world.run(secs(30));
            let all = names(EVEN.into_iter().chain(ODD));
            assert_eq!((held(&world), parked(&world)), (all, 0), "{what}");
        }
    }
}

/// A limit that is set while workers run removes records hours later: it has to be named at once.
#[test]
fn a_store_that_becomes_unfit_is_named_by_every_worker_until_it_is_repaired() {
    let mut world = World::new(6);
    group(&mut world, 2);
    let unfit = |world: &World, node: usize| {
        let problems = world.nodes[node].core.status().problems;
        problems
            .into_iter()
            .find(|problem| problem.kind == ProblemKind::StoreUnfit)
    };
    assert_eq!((unfit(&world, 0), unfit(&world, 1)), (None, None));
    world.faults.push(StoreFault {
        setting: "max_age".to_string(),
        found: "5s".to_string(),
        needed: "off".to_string(),
    });
    world.run(secs(90));
    for node in 0..2 {
        let problem = unfit(&world, node).expect("is named");
        assert_eq!(
            (problem.count, &*problem.detail),
            (1, "max_age is 5s; needed: off")
        );
    }
    assert_eq!(counts(&world), [3, 3], "nobody loses anything for it");
    let before = world.nodes[0].notices.len();
    world.run(secs(90));
    let again = &world.nodes[0].notices[before..];
    assert!(
        !again
            .iter()
            .any(|notice| matches!(notice, Notice::StoreUnfit { .. }))
    );
    world.faults.clear();
    world.run(secs(90));
    assert_eq!((unfit(&world, 0), unfit(&world, 1)), (None, None));
    assert!(told(
        &world,
        |notice| matches!(notice, Notice::StoreUnfit { faults } if faults.is_empty())
    ));
    let deposed = |notice: &Notice| {
        let lost = |reason: &StepDownReason| *reason == StepDownReason::Deposed;
        matches!(notice, Notice::LeadershipLost { reason, .. } if lost(reason))
    };
    assert!(!told(&world, deposed));
}
