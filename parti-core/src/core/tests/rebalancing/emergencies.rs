//! Losing workers: who counts as lost, when, and what it may not be mistaken for. With the defaults:
//! heartbeat 2 s, lease 6 s, grace 3 s, so that a worker is lost 6 s after its last renewal.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::world::{Node, World};
use crate::core::tests::{causes, counts, expecting, group, leader, secs};
use crate::io::event::{Event, StopMode};
use crate::io::notice::Notice;
use crate::model::id::WorkerId;
use crate::model::state::{Cause, State};
use crate::model::time::Instant;
use crate::records::history::History;

pub(crate) const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

pub(crate) fn worker(world: &World, node: usize) -> WorkerId {
    let status = world.nodes[node].core.status();
    status.worker.expect("holds an ID")
}

pub(crate) fn followers(world: &World) -> Vec<usize> {
    let leading = leader(world);
    (0..world.nodes.len()).filter(|&n| n != leading).collect()
}

/// Lets time pass until a node has just renewed its session.
pub(crate) fn until_renewal(world: &mut World, node: usize) {
    let key = format!("w.{}", worker(world, node));
    world.run_until_written(&key);
}

/// Stops a process for a while, from right after a renewal on.
fn flap(world: &mut World, node: usize, pause: Duration) {
    until_renewal(world, node);
    world.nodes[node].cut_off = true;
    world.run(pause);
    world.resume(node);
}

fn living(world: &World) -> usize {
    let alive = world.nodes.iter().filter(|node| !node.cut_off);
    alive.map(|node| node.held.len()).sum()
}

fn emergencies(world: &World) -> Vec<Instant> {
    let plans = world.plans.iter();
    let emergencies = plans.filter(|&&(_, cause)| cause == Cause::Emergency);
    emergencies.map(|&(at, _)| at).collect()
}

/// A worker that renews in time was once replaced for being slow.
#[test]
fn workers_that_remain_are_never_an_emergency() {
    for workers in [1, 2] {
        let mut world = World::new(6);
        group(&mut world, workers);
        world.run(secs(120));
        assert_eq!(causes(&world), [Cause::ColdStart]);
        assert_eq!((living(&world), world.evictions.len()), (6, 0));
    }
}

/// One of two has to be replaced by the other, whichever of them led.
#[test]
fn of_two_workers_either_may_disappear() {
    for leads in [false, true] {
        let mut world = World::new(6);
        group(&mut world, 2);
        let leading = leader(&world);
        let victim = if leads { leading } else { 1 - leading };
        until_renewal(&mut world, victim);
        world.nodes[victim].cut_off = true;
        world.run(millis(6_200));
        assert_eq!(living(&world), 6, "leads: {leads}");
        assert_eq!(emergencies(&world).len(), 1);
    }
}

/// In a large group one loss must neither go unnoticed nor be taken for a restart, and must move
/// nothing but what the lost one had.
#[test]
fn one_of_a_hundred_is_lost_alone() {
    let mut world = World::new(200);
    group(&mut world, 100);
    assert_eq!(counts(&world), vec![2; 100]);
    let victim = followers(&world)[57];
    until_renewal(&mut world, victim);
    let (id, renewed) = (worker(&world, victim), world.now);
    world.nodes[victim].cut_off = true;
    world.run(millis(6_200));
    let at: Vec<_> = emergencies(&world)
        .iter()
        .map(|at| at.since(renewed))
        .collect();
    assert!(at.len() == 1 && at[0] >= secs(6), "{at:?}");
    let evicted: Vec<_> = world.evictions.iter().map(|(_, who)| who).collect();
    assert_eq!(evicted, [&id]);
    assert_eq!(living(&world), 200);
    let kept = world.nodes.iter().filter(|node| node.revoked.is_empty());
    assert_eq!(kept.count(), 100, "nobody else gave anything up");
}

/// A worker must never be evicted while it may rely on its lease, nor kept long after.
#[test]
fn nobody_is_evicted_before_six_seconds_of_silence_whatever_the_pause() {
    for half_seconds in 1..=16 {
        let pause = millis(500 * half_seconds);
        let mut world = World::new(6);
        group(&mut world, 3);
        world.run(secs(4));
        let victim = followers(&world)[0];
        until_renewal(&mut world, victim);
        let (id, renewed) = (worker(&world, victim), world.now);
        world.nodes[victim].cut_off = true;
        world.run(pause);
        world.resume(victim);
        world.run(secs(5));
        let lost = pause >= secs(6);
        let evicted: Vec<_> = world.evictions.iter().map(|(_, who)| who).collect();
        assert_eq!(evicted, Vec::from_iter(lost.then_some(&id)), "{pause:?}");
        let at = world.evictions.iter().map(|&(at, _)| at.since(renewed));
        assert!(
            at.clone().all(|at| at >= secs(6) && at < millis(6_100)),
            "{:?}",
            at.collect::<Vec<_>>()
        );
    }
}

/// A process that stalls for a moment again and again is slow, not dead.
#[test]
fn flapping_within_the_grace_is_no_emergency() {
    let mut world = World::new(6);
    group(&mut world, 3);
    world.run(secs(4));
    let victim = followers(&world)[0];
    for _ in 0..6 {
        flap(&mut world, victim, secs(5));
    }
    world.run(secs(10));
    assert_eq!(causes(&world), [Cause::ColdStart]);
    assert_eq!(counts(&world), [2, 2, 2]);
}

/// Every loss is a loss; the worker comes back as somebody who joins.
#[test]
fn flapping_beyond_the_grace_is_an_emergency_each_time() {
    let mut world = World::new(6);
    group(&mut world, 3);
    world.run(secs(4));
    let victim = followers(&world)[0];
    for round in 1..=3 {
        flap(&mut world, victim, secs(7));
        world.run(secs(40));
        assert_eq!(emergencies(&world).len(), round);
        assert_eq!(counts(&world), [2, 2, 2], "it is one of them again");
    }
}

/// A renewal at the last moment must cancel the suspicion entirely: silence counts again from it.
#[test]
fn rejoin_before_detection_cancels_it() {
    let mut world = World::new(6);
    group(&mut world, 3);
    world.run(secs(4));
    let victim = followers(&world)[0];
    let epoch = world.nodes[victim].core.status().epoch;
    flap(&mut world, victim, millis(5_990));
    world.run(millis(500));
    world.nodes[victim].cut_off = true;
    world.run(secs(5));
    world.resume(victim);
    world.run(secs(10));
    assert_eq!(causes(&world), [Cause::ColdStart]);
    assert_eq!(world.nodes[victim].core.status().epoch, epoch);
}

/// What was decided stays decided: the worker that comes back too late gets no partition back by it.
#[test]
fn rejoin_after_detection_stays_an_emergency() {
    let mut world = World::new(6);
    group(&mut world, 3);
    world.run(secs(4));
    let victim = followers(&world)[0];
    let epoch = world.nodes[victim].core.status().epoch;
    flap(&mut world, victim, millis(6_050));
    world.run(secs(1));
    assert_eq!(emergencies(&world).len(), 1);
    assert_eq!(counts(&world)[victim], 0);
    assert_eq!(living(&world), 6);
    assert!(world.nodes[victim].core.status().epoch > epoch);
}

/// One that comes back must not save those that do not, nor fall with them.
#[test]
fn several_flapping_workers_are_judged_independently() {
    let mut world = World::new(10);
    group(&mut world, 5);
    world.run(secs(4));
    let [short, long, ..] = followers(&world)[..] else {
        panic!("four followers")
    };
    let lost = worker(&world, long);
    for node in [short, long] {
        until_renewal(&mut world, node);
        world.nodes[node].cut_off = true;
    }
    world.run(secs(3));
    world.resume(short);
    world.run(millis(3_100));
    world.resume(long);
    world.run(secs(1));
    let evicted: Vec<_> = world.evictions.iter().map(|(_, who)| who).collect();
    assert_eq!(evicted, [&lost]);
    assert_eq!(emergencies(&world).len(), 1);
    assert!(!world.nodes[short].held.is_empty());
}

/// A second loss after the first must not wait for anything the first began.
#[test]
fn further_workers_that_disappear_later_are_each_tracked() {
    let mut world = World::new(12);
    group(&mut world, 6);
    world.run(secs(4));
    let victims: Vec<usize> = followers(&world)[..3].to_vec();
    let mut expected = Vec::new();
    for &victim in &victims {
        until_renewal(&mut world, victim);
        expected.push((world.now + secs(6), worker(&world, victim)));
        world.nodes[victim].cut_off = true;
        world.run(millis(2_100));
    }
    world.run(secs(10));
    assert_eq!(world.evictions.len(), 3, "{:?}", world.evictions);
    for ((at, who), (due, lost)) in world.evictions.iter().zip(&expected) {
        assert_eq!(who, lost);
        assert!(
            *at >= *due && at.since(*due) < millis(100),
            "{at} for {due}"
        );
    }
    assert_eq!(living(&world), 12);
}

/// When two fail one after the other, the record of each generation names its own reason.
#[test]
fn concurrent_emergencies_each_record_their_own_reason() {
    let mut world = World::new(10);
    group(&mut world, 5);
    world.run(secs(4));
    let victims: Vec<usize> = followers(&world)[..2].to_vec();
    for &victim in &victims {
        until_renewal(&mut world, victim);
        world.nodes[victim].cut_off = true;
    }
    world.run(secs(12));
    let entries: Vec<_> = world.entries.values().cloned().collect();
    let history = History::read(&entries).entries;
    let emergencies = history.iter().filter(|e| e.cause == Cause::Emergency);
    let triggers: Vec<_> = emergencies
        .flat_map(|entry| entry.triggers.clone())
        .collect();
    let lost = |node: usize| format!("lost {}", worker(&world, node));
    assert_eq!(triggers, vec![lost(victims[0]), lost(victims[1])]);
}

/// The number of workers stays the same in a swap; counting instead of comparing once missed it.
#[test]
fn a_swap_of_a_lost_for_a_new_worker_is_an_emergency() {
    let mut world = World::new(6);
    group(&mut world, 3);
    world.run(secs(4));
    let victim = followers(&world)[0];
    until_renewal(&mut world, victim);
    world.nodes[victim].cut_off = true;
    let joiner = world.start(expecting(3));
    world.run(millis(6_200));
    assert!(causes(&world).contains(&Cause::Emergency));
    assert_eq!(living(&world), 6);
    world.run(secs(20));
    assert_eq!(world.nodes[joiner].held.len(), 2);
}

/// A crash right after a rebalance must not wait until the next one is allowed.
#[test]
fn an_emergency_in_a_cooldown_acts_at_once() {
    let mut world = World::new(6);
    group(&mut world, 3);
    let victim = followers(&world)[0];
    until_renewal(&mut world, victim);
    world.nodes[victim].cut_off = true;
    world.run(millis(5_900));
    let follower = followers(&world).into_iter().find(|&node| node != victim);
    let request = crate::io::event::RequestId(1);
    world.tell(follower.expect("another"), Event::Trigger { request });
    world.run(millis(200));
    assert_eq!(
        causes(&world),
        [Cause::ColdStart, Cause::Manual, Cause::Emergency]
    );
    let (manual, emergency) = (world.plans[1].0, world.plans[2].0);
    assert!(emergency.since(manual) < secs(1), "the cooldown is 10 s");
    assert_eq!(living(&world), 6);
}

/// A change that has to wait for the cooldown must not make a crash wait with it.
#[test]
fn an_emergency_while_something_waits_for_the_cooldown_acts_at_once() {
    let mut world = World::new(6);
    group(&mut world, 3);
    world.run(secs(10));
    let request = crate::io::event::RequestId(1);
    world.tell(0, Event::Trigger { request });
    let victim = followers(&world)[0];
    until_renewal(&mut world, victim);
    world.nodes[victim].cut_off = true;
    world.partitions = World::new(7).partitions;
    let leading = leader(&world);
    world.tell(leading, Event::SourceChanged);
    world.run(millis(6_200));
    assert_eq!(emergencies(&world).len(), 1, "{:?}", world.plans);
    assert_eq!(living(&world), 7);
}

/// A crash while joins are being collected must not wait for the window.
#[test]
fn an_emergency_in_a_window_acts_at_once() {
    let mut world = World::new(6);
    for _ in 0..3 {
        world.start(|builder| builder);
    }
    world.run(secs(50));
    let victim = followers(&world)[0];
    until_renewal(&mut world, victim);
    world.nodes[victim].cut_off = true;
    world.run(secs(2));
    world.start(|builder| builder);
    world.run(secs(1));
    let leading = leader(&world);
    assert_eq!(world.nodes[leading].core.status().state, State::Scaling);
    world.run(millis(3_200));
    assert_eq!(emergencies(&world).len(), 1, "{:?}", world.plans);
    assert_eq!(living(&world), 6);
}

/// Five workers of which three were cut off at once nine seconds ago, and these three.
fn most_of_five_are_missing() -> (World, Vec<usize>) {
    let mut world = World::new(10);
    group(&mut world, 5);
    world.run(secs(4));
    let victims: Vec<usize> = followers(&world)[..3].to_vec();
    for &victim in &victims {
        world.nodes[victim].cut_off = true;
    }
    world.run(secs(9));
    (world, victims)
}

/// Pods that restart together want their slots back; moving everything twice helps nobody.
#[test]
fn the_restart_of_most_of_the_group_is_told_apart_from_failure() {
    let (mut world, victims) = most_of_five_are_missing();
    let leading = leader(&world);
    assert_eq!(world.nodes[leading].core.status().state, State::Scaling);
    assert_eq!(emergencies(&world), [], "the cold-start window is open");
    for &victim in &victims {
        world.resume(victim);
    }
    world.run(secs(5));
    assert_eq!(emergencies(&world), []);
    assert_eq!(counts(&world), [2, 2, 2, 2, 2]);
}

/// Of pods that restart together some are back sooner; those still missing are not crashed for that.
#[test]
fn the_first_to_return_from_a_restart_do_not_make_the_rest_an_emergency() {
    let (mut world, victims) = most_of_five_are_missing();
    world.resume(victims[0]);
    world.resume(victims[1]);
    world.run(secs(10));
    assert_eq!(emergencies(&world), [], "the third has time until the end");
    world.resume(victims[2]);
    world.run(secs(5));
    assert_eq!(emergencies(&world), []);
    assert_eq!(counts(&world), [2, 2, 2, 2, 2]);
}

/// The one that never returns is replaced when the window of the restart ends.
#[test]
fn a_worker_that_does_not_return_from_a_restart_is_lost_at_its_end() {
    let (mut world, victims) = most_of_five_are_missing();
    world.resume(victims[0]);
    world.resume(victims[1]);
    world.run(secs(40));
    assert_eq!(emergencies(&world).len(), 1);
    assert_eq!(living(&world), 10);
}

/// A group that is gone for good must not stop its first new worker from taking everything.
#[test]
fn all_disappear_and_one_that_appears_takes_over_everything() {
    let mut world = World::new(6);
    group(&mut world, 3);
    world.run(secs(4));
    for node in 0..3 {
        world.nodes[node].cut_off = true;
    }
    world.run(secs(60));
    let survivor = world.start(|builder| builder);
    world.run(secs(50));
    assert_eq!(world.nodes[survivor].held.len(), 6);
    assert_eq!(world.evictions.len(), 3);
}

/// The very first worker of an empty bucket has nobody to wait for but the window.
#[test]
fn from_zero_workers_the_first_that_appears_takes_everything() {
    let mut world = World::new(6);
    world.run(secs(100));
    world.start(|builder| builder);
    world.run(secs(32));
    assert_eq!(counts(&world), [6]);
    assert_eq!(causes(&world), [Cause::ColdStart]);
}

/// A leader that was cut off once declared the whole group dead when it came back.
#[test]
fn a_leader_that_was_cut_off_raises_no_false_emergency_when_it_returns() {
    let mut world = World::new(9);
    group(&mut world, 3);
    world.run(secs(4));
    let victim = leader(&world);
    let lost = worker(&world, victim);
    world.nodes[victim].cut_off = true;
    world.run(secs(20));
    world.resume(victim);
    world.run(secs(40));
    let evicted: BTreeSet<_> = world.evictions.iter().map(|(_, who)| who.clone()).collect();
    assert_eq!(
        evicted,
        BTreeSet::from([lost]),
        "only the one that was silent"
    );
    assert_eq!(counts(&world), [3, 3, 3]);
}

/// A rolling update is planned; an emergency in it would move partitions that nobody has lost.
#[test]
fn a_rolling_update_raises_no_emergency() {
    let mut world = World::new(12);
    group(&mut world, 4);
    for leaving in 0..4 {
        let mode = StopMode::Handoff;
        world.tell(leaving, Event::Stop { mode });
        world.run(secs(2));
        world.start(expecting(4));
        world.run(secs(15));
    }
    assert_eq!(emergencies(&world), []);
    assert_eq!(world.evictions, []);
    assert_eq!(counts(&world), [0, 0, 0, 0, 3, 3, 3, 3]);
    let alarmed = |node: &Node| {
        let alarm = |n: &Notice| matches!(n, Notice::LeaseLost { .. } | Notice::Degraded { .. });
        node.notices.iter().any(alarm)
    };
    assert!(!world.nodes.iter().any(alarmed));
}
