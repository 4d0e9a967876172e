//! When a rebalance may begin: windows and the cooldown, in virtual time. With the defaults: cold
//! start 30 s, planned 10 s, extended by half, capped at twice, cooldown 10 s.

use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{ConfigBuilder, Mode};
use crate::core::tests::world::World;
use crate::core::tests::{causes, counts, expecting, group, leader, secs};
use crate::io::event::{Event, RequestId};
use crate::model::state::{Cause, State};
use crate::model::time::Instant;

const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// A group of one that does not know its size, long after its cold start.
fn settled(partitions: u32) -> World {
    let mut world = World::new(partitions);
    world.start(|builder| builder);
    world.run(secs(60));
    assert_eq!(causes(&world), [Cause::ColdStart]);
    world.plans.clear();
    world
}

/// Plans that the cooldown applies to.
fn deferrable(world: &World) -> Vec<Instant> {
    let plans = world.plans.iter().filter(|(_, cause)| {
        matches!(
            cause,
            Cause::PlannedScale | Cause::PartitionsChanged | Cause::WeightsChanged
        )
    });
    plans.map(|&(at, _)| at).collect()
}

fn change_list(world: &mut World) {
    let count = world.partitions.len() as u32;
    world.partitions = World::new(count + 1).partitions;
    let leading = leader(world);
    world.tell(leading, Event::SourceChanged);
}

fn assert_between(at: Instant, from: Instant, least: Duration, most: Duration) {
    let after = at.since(from);
    assert!(after >= least && after <= most, "{after:?} after {from}");
}

/// Ten pods of a deployment start one after the other; a rebalance for each moves everything often.
#[test]
fn seven_joins_in_a_burst_are_one_rebalance() {
    let mut world = settled(16);
    for _ in 0..7 {
        world.start(|builder| builder);
        world.run(millis(500));
    }
    world.run(secs(40));
    assert_eq!(causes(&world), [Cause::ColdStart, Cause::PlannedScale]);
    assert_eq!(counts(&world), [2; 8]);
}

/// The window's end has to begin the rebalance by itself, with nobody else joining.
#[test]
fn the_end_of_a_window_triggers_the_rebalance() {
    let mut world = settled(4);
    let joined = world.now;
    world.start(|builder| builder);
    world.run(millis(9_900));
    assert_eq!(world.nodes[0].core.status().state, State::Scaling);
    assert_eq!(deferrable(&world), []);
    world.run(secs(1));
    assert_between(deferrable(&world)[0], joined, secs(10), millis(10_100));
}

/// A join at the window's end would otherwise cause a second rebalance right after the first.
#[test]
fn a_scale_event_extends_the_window() {
    let mut world = settled(6);
    let first = world.now;
    world.start(|builder| builder);
    world.run(secs(9));
    world.start(|builder| builder);
    world.run(secs(20));
    let plans = deferrable(&world);
    assert_eq!(plans.len(), 1);
    assert_between(plans[0], first, secs(14), millis(14_100));
}

/// Workers that come and come must not put the rebalance off for ever.
#[test]
fn an_extended_window_is_capped_at_twice_its_length() {
    let mut world = settled(20);
    let first = world.now;
    for _ in 0..8 {
        world.start(|builder| builder);
        world.run(secs(3));
    }
    assert_between(deferrable(&world)[0], first, secs(20), millis(20_100));
}

/// A new group waits long for its workers, a running one only briefly.
#[test]
fn the_cold_start_window_is_longer_than_the_planned_one() {
    let mut world = World::new(4);
    let begun = world.now;
    world.start(expecting(3));
    world.run(secs(40));
    let (cold, cause) = world.plans[0];
    assert_eq!(cause, Cause::ColdStart);
    assert_between(cold, begun, secs(30), millis(30_500));
    world.run(secs(20));
    let joined = world.now;
    world.start(expecting(3));
    world.run(secs(20));
    assert_between(world.plans[1].0, joined, secs(10), millis(10_100));
}

/// The first program of a new user stood still for half a minute, with nobody else to wait for. What
/// holds it back is the lease that somebody may have in a lost bucket, and only in exclusive mode.
#[test]
fn a_first_program_begins_as_soon_as_nobody_can_be_in_its_way() {
    let begun = |change: fn(ConfigBuilder) -> ConfigBuilder| {
        let mut world = World::new(4);
        world.age = Duration::ZERO;
        let begun = world.now;
        world.start(change);
        world.run(secs(20));
        assert_eq!(counts(&world), [4]);
        world.plans[0].0.since(begun)
    };
    let within = |took: Duration, least, most| assert!((least..=most).contains(&took), "{took:?}");
    within(begun(|builder| builder), secs(6), millis(6_500));
    let overlap = |builder: ConfigBuilder| builder.mode(Mode::Overlap);
    within(begun(overlap), secs(1), millis(1_500));
    within(begun(|b| b.expected_workers(1)), millis(0), millis(500));
}

/// A deployment that is still growing when the lease is over is waited for: a plan for its first half
/// is followed by moves.
#[test]
fn who_joins_in_the_last_moment_of_the_lease_of_a_young_bucket_is_planned_for() {
    let mut world = World::new(4);
    world.age = Duration::ZERO;
    world.start(|builder| builder);
    world.run(millis(5_500));
    world.start(|builder| builder);
    world.run(secs(10));
    assert_eq!(causes(&world), [Cause::ColdStart]);
    assert_eq!(counts(&world), [2, 2]);
}

/// The last expected worker ends the waiting, at a cold start and later.
#[test]
fn the_expected_workers_end_a_window() {
    let mut world = World::new(6);
    world.start(expecting(3));
    world.start(expecting(3));
    world.run(secs(50));
    assert_eq!(counts(&world), [3, 3], "the cold start went on without");
    world.start(expecting(3));
    world.run(secs(1));
    assert_eq!(counts(&world), [2, 2, 2]);
}

/// Two rebalances in a row move partitions back and forth.
#[test]
fn a_rebalance_is_blocked_in_the_cooldown_and_allowed_at_its_end() {
    let mut world = settled(4);
    change_list(&mut world);
    let begun = world.now;
    assert_eq!(deferrable(&world), [begun], "long after the last one");
    world.run(secs(4));
    change_list(&mut world);
    world.run(millis(5_999));
    assert_eq!(deferrable(&world).len(), 1);
    world.run(millis(1));
    assert_eq!(deferrable(&world)[1..], [begun + secs(10)]);
}

/// The cooldown holds whatever keeps changing, and each rebalance begins it again.
#[test]
fn several_cooldowns_in_sequence_hold_each_and_each_rebalance_begins_one() {
    let mut world = settled(4);
    for second in 0..120 {
        change_list(&mut world);
        if second % 17 == 0 && world.nodes.len() < 8 {
            world.start(|builder| builder);
        }
        world.run(secs(1));
    }
    let plans = deferrable(&world);
    let gaps: Vec<Duration> = plans.windows(2).map(|w| w[1].since(w[0])).collect();
    assert!(gaps.len() >= 6, "{gaps:?}");
    assert!(gaps.iter().all(|&gap| gap >= secs(10)), "{gaps:?}");
}

/// An operator who asks does not want to wait, not for a window and not for a cooldown.
#[test]
fn a_manual_trigger_bypasses_window_and_cooldown() {
    let mut world = settled(4);
    change_list(&mut world);
    world.start(|builder| builder);
    world.run(secs(1));
    let request = RequestId(5);
    world.tell(1, Event::Trigger { request });
    world.run(millis(100));
    assert_eq!(causes(&world).last(), Some(&Cause::Manual));
    assert_eq!(counts(&world).iter().sum::<usize>(), 5);
    assert!(counts(&world)[1] > 0, "the joiner is part of it");
    // It was a rebalance: the next one that can wait waits from here.
    let manual = world.plans.last().expect("planned").0;
    change_list(&mut world);
    world.run(secs(15));
    assert_between(deferrable(&world)[1], manual, secs(10), millis(10_100));
}

/// A source that announces changes is throttled; a person who asks for a refresh is not.
#[test]
fn a_refresh_in_a_cooldown_acts_at_once_and_an_announcement_waits() {
    let mut world = settled(4);
    change_list(&mut world);
    world.run(secs(1));
    change_list(&mut world);
    world.run(secs(1));
    assert_eq!(counts(&world), [5], "the announcement waits");
    let request = RequestId(9);
    world.tell(0, Event::Refresh { request });
    world.run(millis(100));
    assert_eq!(counts(&world), [6]);
}

/// A new leader that knows nothing of the last rebalance would make another at once.
#[test]
fn the_cooldown_holds_across_a_leader_change() {
    let mut world = World::new(6);
    group(&mut world, 3);
    world.run(secs(30));
    let before = leader(&world);
    let id = world.nodes[before].core.status().worker;
    world.run_until_written(&alloc::format!("w.{}", id.expect("holds an ID")));
    change_list(&mut world);
    let begun = world.now;
    // Long enough for an election, too short for an eviction.
    world.nodes[before].cut_off = true;
    world.run(millis(5_500));
    world.resume(before);
    world.run(millis(500));
    let after = leader(&world);
    assert_ne!(after, before);
    world.partitions.pop();
    world.tell(after, Event::SourceChanged);
    world.run(secs(15));
    let plans = deferrable(&world);
    assert_eq!(plans.len(), 2, "{:?}", world.plans);
    assert_between(plans[1], begun, secs(10), millis(10_500));
    assert_eq!(world.evictions, []);
}

/// A list that grew is new work, not unfinished work: a new leader that mistook it for the latter
/// would bypass the cooldown.
#[test]
fn a_list_that_grew_waits_for_the_cooldown_also_under_a_new_leader() {
    let mut world = World::new(6);
    group(&mut world, 3);
    world.run(secs(30));
    let before = leader(&world);
    let id = world.nodes[before].core.status().worker;
    world.run_until_written(&alloc::format!("w.{}", id.expect("holds an ID")));
    change_list(&mut world);
    let begun = world.now;
    // Long enough for an election, too short for an eviction.
    world.nodes[before].cut_off = true;
    world.partitions = World::new(9).partitions;
    world.run(millis(5_500));
    assert_ne!(leader(&world), before);
    world.resume(before);
    world.run(secs(15));
    let plans = deferrable(&world);
    assert_eq!(plans.len(), 2, "{:?}", world.plans);
    assert_between(plans[1], begun, secs(10), millis(10_500));
    assert_eq!(counts(&world).iter().sum::<usize>(), 9);
}

/// A leader that takes over a `head` that was destroyed cannot know that everything has just been moved.
#[test]
fn a_destroyed_head_may_hide_a_rebalance_of_a_moment_ago() {
    let mut world = World::new(4);
    world.start(expecting(1));
    world.run(secs(1));
    assert_eq!(causes(&world), [Cause::ColdStart]);
    world.nodes[0].cut_off = true;
    world.plant("head", b"nonsense");
    world.start(expecting(2));
    let destroyed = world.now;
    world.run(secs(5));
    assert!(world.nodes[1].core.status().is_leader);
    assert_eq!(deferrable(&world), [], "the cooldown is not over");
    world.run(secs(20));
    world.start(expecting(2));
    world.run(secs(1));
    assert_between(deferrable(&world)[0], destroyed, secs(10), secs(30));
    assert_eq!(counts(&world)[1..], [2, 2]);
}
