//! Workers whose requests are served and whose watch brings nothing.

use crate::config::DegradedPreset;
use crate::core::tests::solo::{Solo, entry, head, written};
use crate::core::tests::*;
use crate::io::event::OpOwner;
use crate::ports::store::{StoreErrorKind, StoreOp, WatchEvent};
use crate::resilience::breaker::BreakerSettings;

pub(crate) fn leader(world: &World) -> usize {
    let leads = |node: &crate::core::tests::world::Node| node.core.status().is_leader;
    world.nodes.iter().position(leads).expect("somebody leads")
}

/// Such a leader renews for ever and judges nobody: a group stood still with everybody alive.
#[test]
fn a_leader_that_hears_nothing_resigns_and_another_leads() {
    let mut world = World::new(6);
    group(&mut world, 3);
    let stuck = leader(&world);
    world.nodes[stuck].watch_silent = true;
    world.run(secs(20));
    let next = leader(&world);
    assert_ne!(next, stuck);
    let noted = &world.nodes[stuck].notices;
    let reason = noted.iter().find_map(|notice| {
        if let Notice::LeadershipLost { reason, .. } = notice {
            return Some(reason.to_string());
        }
        None
    });
    assert!(reason.expect("it says so").contains("do not come back"));
    // The group is led in fact: a worker that dies is replaced.
    let dead = (0..3)
        .find(|&node| node != stuck && node != next)
        .expect("a third");
    world.nodes[dead].cut_off = true;
    world.run(secs(30));
    let held = |node: usize| world.nodes[node].held.len();
    assert_eq!(held(stuck) + held(next), 6);
}

/// A short gap must not cost the leadership: the watch is begun again first.
#[test]
fn a_leader_that_misses_its_watch_for_a_moment_stays() {
    let mut world = World::new(6);
    group(&mut world, 3);
    let leads = leader(&world);
    world.nodes[leads].watch_silent = true;
    world.run(secs(6));
    world.nodes[leads].watch_silent = false;
    world.run(secs(20));
    assert_eq!(leader(&world), leads);
}

/// A worker that was granted partitions and never heard of it was evicted and came back for ever.
#[test]
fn a_worker_that_hears_nothing_reads_its_assignment() {
    let mut world = World::new(6);
    group(&mut world, 2);
    let leads = leader(&world);
    let stuck = 1 - leads;
    world.nodes[stuck].watch_silent = true;
    world.run(secs(10));
    let third = world.start(expecting(3));
    world.run(secs(60));
    let held = [leads, stuck, third].map(|node| world.nodes[node].held.len());
    assert_eq!(held, [2, 2, 2]);
    assert_eq!(world.evictions, []);
}

/// While a store fails now and then, an acknowledgement often precedes its echo by a moment. That cost
/// a comparison with the store each time, and so half of all requests, just when it could not bear it.
#[test]
fn a_watch_that_is_slower_than_an_acknowledgement_costs_no_comparison() {
    let mut solo = Solo::member();
    solo.caught_up(1);
    solo.pass(Duration::from_millis(3_500));
    let (op, writes) = solo.commit("w.worker-0");
    solo.won(op, 2);
    solo.pass(secs(1));
    solo.show(written(&writes[0], 2));
    solo.pass(secs(3));
    let compares = |op: &StoreOp| !matches!(op, StoreOp::Commit { .. });
    assert_eq!(solo.find(compares), None);
}

/// A `head` that was deleted while the watches were begun again, as after a change of leader, was missed
/// by everybody: a group went on for twenty seconds without one.
#[test]
fn a_head_that_a_snapshot_lacks_is_looked_up_at_once() {
    let looks_up = |shown: bool| {
        let mut solo = Solo::member();
        solo.caught_up(1);
        let known = entry("head", 2, &head("worker-1", 1, 1));
        solo.show(known.clone());
        let (first, _) = solo.watch.clone().expect("there is a watch");
        let reason = "it broke off".to_string();
        let event = WatchEvent::Lost { reason };
        solo.tell(Event::Watch { id: first, event });
        solo.pass(secs(1));
        assert_ne!(solo.watch.clone().expect("a new one").0, first);
        if shown {
            solo.show(known);
        }
        solo.caught_up(3);
        solo.pass(Duration::from_millis(10));
        let is_head = |op: &StoreOp| matches!(op, StoreOp::Get { key } if key == "head");
        solo.find(is_head).is_some()
    };
    assert!(looks_up(false));
    assert!(!looks_up(true));
}

/// A reader that adds up the notices must know what came back while its end was still being processed.
#[test]
fn what_begins_again_after_its_end_is_told_like_everything_else() {
    let mut world = World::new(4);
    group(&mut world, 1);
    world.nodes[0].slow = true;
    let all = core::mem::take(&mut world.partitions);
    let refresh = |request| Event::Refresh {
        request: RequestId(request),
    };
    world.tell(0, refresh(1));
    world.run(secs(1));
    world.partitions = all;
    world.tell(0, refresh(2));
    world.run(secs(1));
    world.let_go(0);
    world.run(secs(5));
    assert_eq!(world.nodes[0].held.len(), 4);
    let last = world.nodes[0].notices.iter().rev().find_map(|notice| {
        if let Notice::AssignmentChanged { total, .. } = notice {
            return Some(*total);
        }
        None
    });
    assert_eq!(last, Some(4));
}

/// A leader whose renewals fail planned because a new watch brought it a renewal of before.
#[test]
fn a_degraded_leader_decides_nothing_until_it_hears_a_new_renewal() {
    let mut world = World::new(4);
    world.start(|builder| {
        let preset = DegradedPreset::Aggressive;
        let patient = BreakerSettings::new(50, 2, Duration::from_millis(500)).expect("can work");
        expecting(1)(builder)
            .degraded(preset)
            .circuit_breaker(patient)
    });
    world.run(secs(30));
    world.nodes[0].watch_silent = true;
    world.run_until_written("w.worker-0");
    (world.fails, world.fails_for) = (
        Some(StoreErrorKind::Unavailable),
        Vec::from([OpOwner::Session]),
    );
    let renewed = world.now;
    let is_degraded = |world: &World| world.nodes[0].core.status().state == State::Degraded;
    while !is_degraded(&world) {
        world.run(Duration::from_millis(10));
        if world.now == renewed + Duration::from_millis(1_900) {
            world.nodes[0].watch_silent = false;
            world.lose_watches(0);
        }
    }
    world.plans.clear();
    world.partitions = World::new(5).partitions;
    world.tell(0, Event::SourceChanged);
    assert_eq!(world.plans, []);
    assert!(world.nodes[0].core.status().is_leader);
    world.fails = None;
    world.run(secs(5));
    assert_eq!(world.plans.len(), 1, "with contact it goes on");
}
