//! What an external writer writes into the bucket: named, healed, and never a reason to own twice.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::core::tests::world::{Node, World};
use crate::core::tests::{counts, expecting, group, leader, secs};
use crate::io::effect::RevokeCause;
use crate::io::notice::Notice;
use crate::model::partition::PartitionKey;
use crate::model::state::State;

/// Whatever an external writer writes, it is named, counted, and changes nothing.
#[test]
fn undecodable_records_are_named_and_harmless() {
    let mut world = World::new(6);
    group(&mut world, 2);
    let before = counts(&world);
    for key in [
        "a.worker-0",
        "a.worker-1",
        "a.worker-9",
        "w.worker-9",
        "h.3",
        "junk",
    ] {
        world.plant(key, b"\x01garbage");
    }
    world.run(secs(30));
    assert_eq!(counts(&world), before);
    let ignored = world
        .nodes
        .iter()
        .map(|node| node.core.status().store.ignored_records);
    assert!(ignored.sum::<u64>() >= 3);
    let named =
        world.nodes.iter().flat_map(|node| &node.notices).any(
            |notice| matches!(notice, Notice::RecordIgnored { key, .. } if key == "a.worker-0"),
        );
    assert!(named);
}

/// A session or a head that was overwritten by hand must heal by itself.
#[test]
fn overwritten_sessions_and_heads_heal() {
    let mut world = World::new(6);
    group(&mut world, 2);
    let victim = leader(&world);
    world.plant("head", b"nonsense");
    world.run(secs(5));
    let worker = world.nodes[victim]
        .core
        .status()
        .worker
        .expect("holds an ID");
    world.plant(&format!("w.{worker}"), b"nonsense");
    world.run(secs(60));
    assert_eq!(counts(&world), [3, 3]);
    let status = world.nodes[leader(&world)].core.status();
    assert_eq!(status.state, State::Stable);
}

/// A deleted assignment must not let its partitions be given away twice after a fail-over.
#[test]
fn an_assignment_deleted_by_hand_is_written_again() {
    let mut world = World::new(6);
    group(&mut world, 2);
    let victim = 1 - leader(&world);
    let worker = world.nodes[victim]
        .core
        .status()
        .worker
        .expect("holds an ID");
    let key = format!("a.{worker}");
    world.plant(&key, b"nonsense");
    world.run(secs(1));
    let value = world
        .entries
        .get(&key)
        .and_then(|entry| entry.value.clone())
        .expect("is there");
    assert!(
        crate::records::wire::decode(&value).is_ok(),
        "the leader writes it again"
    );
}

/// With the record gone and its author dead, nobody knows what the worker holds: it has to end
/// before its partitions are granted again.
#[test]
fn an_assignment_destroyed_while_the_leader_dies_is_not_granted_twice() {
    let mut world = World::new(9);
    group(&mut world, 3);
    world.run(secs(4));
    let dead = leader(&world);
    world.nodes[dead].cut_off = true;
    let victim = (0..3).find(|&node| node != dead).expect("a follower");
    let worker = world.nodes[victim]
        .core
        .status()
        .worker
        .expect("holds an ID");
    world.plant(&format!("a.{worker}"), b"nonsense");
    // It takes its time to end what is revoked, and there is somebody to move partitions to.
    world.nodes[victim].slow = true;
    world.start(expecting(3));
    for _ in 0..300 {
        world.run(Duration::from_millis(100));
        let held: Vec<_> = world
            .nodes
            .iter()
            .filter(|node| !node.cut_off)
            .flat_map(valid)
            .collect();
        let distinct: BTreeSet<_> = held.iter().collect();
        assert_eq!(distinct.len(), held.len(), "owned twice at {}", world.now);
    }
    world.let_go(victim);
    world.run(secs(30));
    let alive = world.nodes.iter().filter(|node| !node.cut_off);
    assert_eq!(alive.map(|node| node.held.len()).sum::<usize>(), 9);
}

/// A worker may be cut off between taking in its record and saying so. With the record gone too, it
/// looks like one that never got anything.
#[test]
fn an_assignment_destroyed_before_it_is_acknowledged_is_not_granted_twice() {
    let mut world = World::new(4);
    world.start(expecting(2));
    let victim = world.start(expecting(2));
    world.run_until_written("a.worker-1");
    let holds = world.nodes[victim].held.clone();
    assert_eq!(holds.len(), 2, "it processes what it has not acknowledged");
    world.nodes[0].cut_off = true;
    world.nodes[victim].cut_off = true;
    let renewed = world.now;
    world.erase("a.worker-1");
    let next = world.start(expecting(3));
    let hold = Config::builder("g").build().expect("coherent").hold();
    while world.now < renewed + hold {
        world.run(Duration::from_millis(100));
        let granted_twice = world.nodes[next].held.keys().any(|p| holds.contains_key(p));
        assert!(!granted_twice, "owned twice at {}", world.now);
    }
    world.run(secs(30));
    assert_eq!(world.nodes[next].held.len(), 4);
}

/// A joiner that was never given anything must not be cut off for a record that somebody else lost.
#[test]
fn a_destroyed_assignment_is_not_held_against_those_who_joined_later() {
    let mut world = World::new(4);
    group(&mut world, 2);
    let dead = leader(&world);
    world.nodes[dead].cut_off = true;
    let joiner = world.start(expecting(3));
    world.run(secs(1));
    let victim = 1 - dead;
    let worker = world.nodes[victim].core.status().worker;
    let worker = worker.expect("holds an ID");
    world.erase(&format!("a.{worker}"));
    world.run(secs(40));
    assert_eq!(world.nodes[joiner].held.len(), 2);
    let joiner = world.nodes[joiner].core.status().worker;
    assert!(
        world
            .evictions
            .iter()
            .any(|(_, evicted)| *evicted == worker)
    );
    assert!(
        world
            .evictions
            .iter()
            .all(|(_, evicted)| Some(evicted) != joiner.as_ref())
    );
}

/// What a node holds, less what it may not rely on since its session ended.
fn valid(node: &Node) -> impl Iterator<Item = &PartitionKey> {
    let ended = |key: &PartitionKey| {
        let session = |cause| matches!(cause, RevokeCause::IdentityLost | RevokeCause::LeaseLost);
        node.revoked
            .iter()
            .any(|(revoked, cause)| revoked == key && session(*cause))
    };
    node.held.keys().filter(move |key| !ended(key))
}
