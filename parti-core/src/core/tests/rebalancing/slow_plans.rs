//! Plans that take longer than a heartbeat, while a worker renews and does not do what it is told: one
//! that cannot be evicted must not keep the group from anything else.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::world::World;
use crate::core::tests::{counts, group, leader, secs};
use crate::io::notice::Notice;
use crate::model::id::WorkerId;

/// A group of `n` in which a follower goes on renewing and never takes in what it is told, and one
/// more that joins.
fn with_a_stuck_follower(n: u32) -> (World, usize) {
    let mut world = World::new(12);
    group(&mut world, n);
    let leading = leader(&world);
    let stuck = (0..n as usize)
        .find(|&node| node != leading)
        .expect("a follower");
    world.run(secs(5));
    world.nodes[stuck].watch_silent = true;
    world.nodes[stuck].blind = true;
    world.start(|b| b);
    (world, stuck)
}

/// Lets time pass while every plan takes up to this long.
fn run_slowly(world: &mut World, each: Duration, length: Duration) {
    let end = world.now + length;
    while world.now < end {
        world.plans_wait = true;
        world.run(each);
        world.let_plans_go();
    }
}

fn id(world: &World, node: usize) -> WorkerId {
    world.nodes[node].core.status().worker.expect("a member")
}

/// Every plan was dropped because the stuck worker had renewed meanwhile, which it does for ever.
#[test]
fn a_stuck_worker_is_evicted_however_long_plans_take() {
    for each in [500, 1_000, 2_500, 7_000] {
        let each = Duration::from_millis(each);
        let (mut world, stuck) = with_a_stuck_follower(3);
        let name = id(&world, stuck);
        run_slowly(&mut world, each, secs(120));
        let gone = world.evictions.iter().any(|(_, worker)| *worker == name);
        assert!(gone, "plans take {each:?}: {:?}", world.evictions);
        let counts = counts(&world);
        let held: usize = (0..4).filter(|&n| n != stuck).map(|n| counts[n]).sum();
        assert_eq!(held, 12, "plans take {each:?}: {counts:?}");
    }
}

/// While one worker could not be evicted, the partitions of one that died stayed without an owner.
#[test]
fn a_dead_worker_is_replaced_while_another_is_stuck_and_plans_are_slow() {
    for each in [500, 2_500, 5_000] {
        let each = Duration::from_millis(each);
        let (mut world, stuck) = with_a_stuck_follower(4);
        let leading = leader(&world);
        let dead = (0..4)
            .find(|&n| n != leading && n != stuck)
            .expect("another");
        run_slowly(&mut world, each, secs(60));
        let (name, died) = (id(&world, dead), world.now);
        world.nodes[dead].cut_off = true;
        run_slowly(&mut world, each, secs(40));
        let replaced = world
            .evictions
            .iter()
            .find(|(at, worker)| *at > died && *worker == name);
        let after = replaced.map(|(at, _)| at.since(died)).expect("replaced");
        assert!(
            after < secs(8) + each * 3,
            "plans take {each:?}: after {after:?}"
        );
    }
}

/// A worker that does nothing any more may keep what it has, but nothing may be without an owner.
#[test]
fn no_partition_is_without_an_owner_for_long_while_plans_are_slow() {
    for each in [500, 2_500] {
        let each = Duration::from_millis(each);
        let (mut world, stuck) = with_a_stuck_follower(3);
        let joiner = 3;
        let (mut since, mut longest, mut dead) = (None, Duration::ZERO, None);
        for round in 0..(900_000 / each.as_millis()) {
            run_slowly(&mut world, each, each);
            if round == 300_000 / each.as_millis() {
                world.nodes[joiner].cut_off = true;
                dead = Some(joiner);
            }
            let others = (0..world.nodes.len()).filter(|&n| n != stuck && Some(n) != dead);
            let owned: BTreeSet<_> = others.flat_map(|n| world.nodes[n].held.keys()).collect();
            if owned.len() + world.nodes[stuck].held.len() < 12 {
                longest = longest.max(world.now.since(*since.get_or_insert(world.now)));
            } else {
                since = None;
            }
        }
        assert!(longest < secs(30), "plans take {each:?}: for {longest:?}");
    }
}

/// A worker that was silent, and is back before the slow plan arrives, keeps what it has; who is
/// really dead is replaced by the same plan, and the one that is back gets its share later.
#[test]
fn the_rest_of_a_plan_goes_on_when_one_of_the_lost_is_back() {
    let mut world = World::new(12);
    group(&mut world, 5);
    world.run(secs(4));
    let leading = leader(&world);
    let others: Vec<usize> = (0..5).filter(|&n| n != leading).collect();
    let (back, dead) = (others[0], others[1]);
    let before = world.nodes[back].held.clone();
    world.plans_wait = true;
    world.nodes[back].cut_off = true;
    world.nodes[dead].cut_off = true;
    let name = id(&world, dead);
    world.run(secs(8));
    world.resume(back);
    world.run(Duration::from_millis(100));
    let plans = world.plans.len();
    assert_eq!(world.let_plans_go(), 1);
    world.run(Duration::from_millis(100));
    let evicted: Vec<_> = world.evictions.iter().map(|(_, worker)| worker).collect();
    assert_eq!(
        (world.plans.len(), evicted),
        (plans + 1, Vec::from([&name]))
    );
    let kept = before.iter().all(|(partition, token)| {
        world.nodes[back]
            .held
            .get(partition)
            .is_none_or(|now| now == token)
    });
    assert!(kept, "nothing of it was given away");
    world.run(secs(1));
    let held = |world: &World| {
        let living = (0..5).filter(|&n| n != dead);
        living
            .map(|n| world.nodes[n].held.len())
            .collect::<Vec<_>>()
    };
    assert_eq!(held(&world).iter().sum::<usize>(), 12, "{:?}", held(&world));
    world.run(secs(30));
    assert_eq!(held(&world), [3, 3, 3, 3], "balanced in the end");
}

/// A store that refuses every eviction must not keep the leader from replacing others: the eviction
/// rests after the second refusal.
#[test]
fn an_eviction_that_is_refused_every_time_does_not_starve_the_group() {
    let (mut world, stuck) = with_a_stuck_follower(3);
    let name = id(&world, stuck);
    let leading = leader(&world);
    world.refuses_evictions_of = Some(name.clone());
    world.run(secs(60));
    let joiner = 3;
    let (dead, died) = (id(&world, joiner), world.now);
    world.nodes[joiner].cut_off = true;
    world.run(secs(60));
    let replaced = world
        .evictions
        .iter()
        .find(|(at, worker)| *at > died && *worker == dead);
    let after = replaced.map(|(at, _)| at.since(died)).expect("replaced");
    assert!(after < secs(20), "after {after:?}");
    assert!(!world.evictions.iter().any(|(_, worker)| *worker == name));
    let failed = world.nodes[leading]
        .notices
        .iter()
        .filter(|n| matches!(n, Notice::StepFailed { .. }));
    let failed = failed.count();
    assert!((2..60).contains(&failed), "seen and bounded: {failed}");
    world.refuses_evictions_of = None;
    world.run(secs(60));
    assert!(world.evictions.iter().any(|(_, worker)| *worker == name));
}
