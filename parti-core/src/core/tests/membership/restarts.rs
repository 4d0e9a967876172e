//! Crashes with an instant restart: who gets its slot back, what moves, and what must not overlap.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{ConfigBuilder, Mode};
use crate::core::tests::world::World;
use crate::core::tests::{expecting, group, leader, secs};
use crate::io::notice::Notice;
use crate::model::partition::PartitionKey;
use crate::worker::claim::choice::MAX_PREDECESSORS;

const MOMENT: Duration = Duration::from_millis(50);

/// Starts a worker that is to have a number, whose predecessor is dead or not said to be.
fn start(world: &mut World, number: usize, group: u32, dead: bool) -> usize {
    world.start(|builder| hinted(builder, number, group, dead))
}

fn hinted(builder: ConfigBuilder, number: usize, group: u32, dead: bool) -> ConfigBuilder {
    let builder = expecting(group)(builder);
    let builder = builder.worker_id_hint(&format!("worker-{number}"));
    builder.predecessor_is_dead(dead)
}

/// A group whose node `i` is `worker-i`.
fn numbered(partitions: u32, n: u32) -> World {
    let mut world = World::new(partitions);
    for number in 0..n as usize {
        start(&mut world, number, n, true);
    }
    world.run(secs(10));
    world
}

fn kill(world: &mut World, node: usize) {
    world.nodes[node].cut_off = true;
}

fn name(world: &World, node: usize) -> Option<String> {
    let worker = world.nodes[node].core.status().worker;
    worker.map(|worker| worker.to_string())
}

/// What the living process of each slot processes.
fn owned(world: &World) -> BTreeMap<String, BTreeSet<PartitionKey>> {
    let living = world.nodes.iter().filter(|node| !node.cut_off);
    let owned = living.filter_map(|node| {
        let worker = node.core.status().worker?.to_string();
        Some((worker, node.held.keys().cloned().collect()))
    });
    owned.collect()
}

/// Nobody begins what somebody else may still rely on, a killed process included: its guards are
/// valid until its own deadline.
fn check_exclusion(world: &World) {
    let mut holders: BTreeMap<&PartitionKey, usize> = BTreeMap::new();
    for (index, node) in world.nodes.iter().enumerate() {
        if node
            .core
            .deadline()
            .is_none_or(|deadline| deadline <= world.now)
        {
            continue;
        }
        let given_up: BTreeSet<_> = node.kept_back.iter().map(|g| &g.partition).collect();
        for partition in node.held.keys().filter(|key| !given_up.contains(key)) {
            let other = holders.insert(partition, index);
            assert_eq!(
                other, None,
                "{partition} is held by {index} too, at {}",
                world.now
            );
        }
    }
}

/// Lets time pass and looks at every moment of it.
fn run(world: &mut World, duration: Duration) {
    let end = world.now + duration;
    while world.now < end {
        world.run(MOMENT);
        check_exclusion(world);
    }
}

/// Kills a whole group and starts it again at once. How long until all has its owners again.
fn herd(n: u32, dead: bool) -> Duration {
    let mut world = numbered(n * 3, n);
    let before = owned(&world);
    assert_eq!(before.len(), n as usize);
    (0..n as usize).for_each(|node| kill(&mut world, node));
    run(&mut world, MOMENT);
    let began = world.now;
    for number in 0..n as usize {
        start(&mut world, number, n, dead);
    }
    while owned(&world) != before {
        assert!(
            world.now.since(began) < secs(60),
            "{:?}",
            owned(&world).keys()
        );
        let owned = owned(&world);
        for (worker, partitions) in &owned {
            assert!(
                partitions.is_subset(&before[worker]),
                "something moved to {worker}"
            );
        }
        run(&mut world, MOMENT);
    }
    world.now.since(began)
}

/// A node that reboots with all its containers made every ID another and moved every partition.
#[test]
fn a_herd_that_is_killed_and_started_again_has_its_slots_and_partitions_back() {
    for dead in [true, false] {
        let took = herd(50, dead);
        assert!(took < secs(10), "{took:?} with dead = {dead}");
    }
}

/// A slot that was taken is no proof that the guards of its former process have ended: its lease is
/// waited for, and nothing moves meanwhile.
#[test]
fn a_declared_restart_has_its_slot_at_once_and_its_partitions_when_the_old_lease_is_over() {
    let mut world = numbered(12, 3);
    let leading = leader(&world);
    let victim = (0..3).find(|&node| node != leading).expect("a follower");
    let (before, slot) = (owned(&world), name(&world, victim));
    kill(&mut world, victim);
    let deadline = world.nodes[victim].core.deadline().expect("valid");
    run(&mut world, MOMENT);
    let again = start(&mut world, victim, 3, true);
    run(&mut world, MOMENT);
    assert_eq!(name(&world, again), slot, "at once");
    let tokens = |node: usize, world: &World| -> Vec<_> {
        world.nodes[node].held.values().copied().collect()
    };
    let old = tokens(victim, &world);
    while world.nodes[again].held.is_empty() {
        assert!(world.now < deadline + secs(3), "the lease is over");
        run(&mut world, MOMENT);
        let moved = owned(&world)
            .into_iter()
            .find(|(w, held)| !held.is_subset(&before[w]));
        assert_eq!(moved, None, "nothing moves");
    }
    assert!(world.now >= deadline);
    assert_eq!(owned(&world), before);
    assert!(
        tokens(again, &world).iter().min() > old.iter().max(),
        "new tokens"
    );
}

/// In overlap mode nobody waits for anybody: a restart that takes a lease there is a lease too long.
#[test]
fn in_overlap_mode_a_declared_restart_has_its_partitions_at_once() {
    let overlap = |builder: ConfigBuilder| builder.mode(Mode::Overlap);
    let mut world = World::new(12);
    for number in 0..3 {
        world.start(|builder| overlap(hinted(builder, number, 3, true)));
    }
    world.run(secs(10));
    let (before, leading) = (owned(&world), leader(&world));
    let victim = (0..3).find(|&node| node != leading).expect("a follower");
    kill(&mut world, victim);
    world.run(MOMENT);
    world.start(|builder| overlap(hinted(builder, victim, 3, true)));
    world.run(secs(1));
    assert_eq!(owned(&world), before);
}

/// A declaration that is false must not let two processes hold one partition, and two processes with
/// one hint must not take the slot from each other for ever.
#[test]
fn a_false_declaration_costs_the_holder_its_slot_once_and_nobody_the_exclusion() {
    for slow in [false, true] {
        let mut world = numbered(12, 3);
        let leading = leader(&world);
        let living = (0..3).find(|&node| node != leading).expect("a follower");
        let slot = name(&world, living);
        world.nodes[living].slow = slow;
        // The holder hears of it late: it holds on until its deadline.
        world.nodes[living].cut_off = true;
        let rival = start(&mut world, living, 3, true);
        run(&mut world, secs(2));
        world.resume(living);
        run(&mut world, secs(6));
        if slow {
            world.let_go(living);
        }
        run(&mut world, secs(60));
        assert_eq!(name(&world, rival), slot);
        assert_eq!(name(&world, living).as_deref(), Some("worker-3"));
        let claims = [living, rival].map(|node| {
            let notices = world.nodes[node].notices.iter();
            notices
                .filter(|n| matches!(n, Notice::Claimed { .. }))
                .count()
        });
        assert_eq!(claims, [2, 1], "claims of the holder and of the rival");
        let all: usize = owned(&world).values().map(BTreeSet::len).sum();
        assert_eq!(all, 12);
    }
}

/// The slot of a holder that renews between the look and the claim is not to be taken: it lives.
#[test]
fn a_holder_that_goes_on_renewing_keeps_its_slot_whatever_was_declared() {
    let mut world = numbered(12, 2);
    // Reads are old: the claim expects a revision that the holder has renewed since.
    world.lag = Some(3);
    let rival = start(&mut world, 0, 2, true);
    world.lag = None;
    run(&mut world, secs(10));
    assert_eq!(name(&world, 0).as_deref(), Some("worker-0"));
    assert_eq!(name(&world, rival).as_deref(), Some("worker-2"));
}

/// A leader that begins after the restart has not seen the former process: its lease counts all the
/// same.
#[test]
fn a_leader_elected_after_the_restart_waits_for_the_old_lease_too() {
    let mut world = numbered(12, 4);
    let leading = leader(&world);
    let victim = (0..4).find(|&node| node != leading).expect("a follower");
    let before = owned(&world);
    kill(&mut world, victim);
    run(&mut world, MOMENT);
    let again = start(&mut world, victim, 4, true);
    kill(&mut world, leading);
    run(&mut world, MOMENT);
    start(&mut world, leading, 4, true);
    run(&mut world, secs(1));
    assert_eq!(world.nodes[again].held.len(), 0);
    run(&mut world, secs(30));
    assert_eq!(owned(&world), before, "everything is back");
}

/// A process that dies again before its predecessor's lease is over leaves two of them behind, one
/// that loops leaves many: each may hold partitions, and the list of them must not grow for ever.
#[test]
fn a_crash_loop_keeps_its_slot_and_counts_every_predecessor() {
    for crashes in [2, MAX_PREDECESSORS, MAX_PREDECESSORS * 3] {
        let mut world = numbered(12, 2);
        let leading = leader(&world);
        let (before, slot) = (owned(&world), 1 - leading);
        let mut last = slot;
        for _ in 0..crashes {
            kill(&mut world, last);
            run(&mut world, Duration::from_millis(300));
            last = start(&mut world, slot, 2, true);
            run(&mut world, Duration::from_millis(300));
        }
        run(&mut world, secs(40));
        let after = owned(&world);
        assert!(after.keys().eq(before.keys()), "{:?}", after.keys());
        assert_eq!(after.values().map(BTreeSet::len).sum::<usize>(), 12);
        if crashes <= MAX_PREDECESSORS {
            assert_eq!(after, before, "after {crashes} crashes");
        }
    }
}

/// Without hints a restart takes another ID; a pool that crept upwards would run out one day.
#[test]
fn without_hints_the_numbers_stay_low_over_many_crashes() {
    let mut world = World::new(12);
    group(&mut world, 4);
    let mut highest = 0;
    for round in 0..20 {
        let living = world
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| !node.cut_off);
        let living: Vec<usize> = living.map(|(index, _)| index).collect();
        living.iter().for_each(|&node| kill(&mut world, node));
        for _ in living {
            world.start(expecting(4));
        }
        run(&mut world, secs(12 + round % 7));
        let numbers = owned(&world).into_keys().filter_map(|worker| {
            let number = worker.strip_prefix("worker-")?;
            number.parse::<u32>().ok()
        });
        highest = numbers.max().max(Some(highest)).unwrap_or_default();
    }
    assert!(
        highest < 8,
        "four workers need eight numbers, not {highest}"
    );
}
