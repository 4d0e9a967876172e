//! Bugs that no random search reaches, each with the scenario that shows it.
//!
//! Every scenario runs twice: the core as it is must pass, the core with the bug must not. The second
//! half needs the feature `planted`.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;
use core::time::Duration;

use super::{counts, expecting, leader, secs};
use crate::config::ConfigBuilder;
use crate::core::tests::leadership::unanswered;
use crate::core::tests::mixed::agreement::lose_bucket;
use crate::core::tests::world::World;
use crate::io::event::{Event, StopMode};
use crate::planted::Planted;
use crate::ports::source::SourceError;
use crate::records::record::{Record, SessionStatus};
use crate::records::wire;

/// Three workers with four partitions each, all with the bug or none.
fn group_of_three(bug: Option<Planted>) -> World {
    let mut world = World::new(12);
    for _ in 0..3 {
        world.start(with(bug));
    }
    world.run(secs(5));
    assert_eq!(counts(&world), [4, 4, 4]);
    world
}

pub(super) fn with(bug: Option<Planted>) -> impl FnOnce(ConfigBuilder) -> ConfigBuilder {
    move |builder| {
        let builder = expecting(3)(builder);
        match bug {
            #[cfg(feature = "planted")]
            Some(bug) => builder.planted(bug),
            #[cfg(not(feature = "planted"))]
            Some(_) => unreachable!("without the feature there are no bugs"),
            None => builder,
        }
    }
}

/// Whether for some time two processes hold a partition validly. `lag` does not run meanwhile.
fn is_owned_twice(world: &mut World, length: Duration) -> bool {
    let end = world.now + length;
    while world.now < end {
        world.run(Duration::from_millis(100));
        let now = world.now;
        let valid = world
            .nodes
            .iter()
            .filter(|node| node.core.deadline().is_some_and(|deadline| now < deadline));
        let held = valid.flat_map(|node| node.held.keys());
        let mut distinct = BTreeSet::new();
        if !held.into_iter().all(|partition| distinct.insert(partition)) {
            return true;
        }
    }
    false
}

/// A follower that goes on working but reaches nobody, and the name of its session key.
fn unreachable_follower(world: &mut World) -> (usize, alloc::string::String) {
    let leading = leader(world);
    let victim = (0..3).find(|&node| node != leading).expect("a follower");
    let worker = world.nodes[victim].core.status().worker;
    world.nodes[victim].cut_off = true;
    (victim, format!("w.{}", worker.expect("holds an ID")))
}

/// An operator puts back a session key from a backup: an earlier session of the slot, which had ended.
fn restored_session(bug: Option<Planted>) -> bool {
    let mut world = group_of_three(bug);
    let leading = leader(&world);
    let victim = (0..3).find(|&node| node != leading).expect("a follower");
    let worker = world.nodes[victim]
        .core
        .status()
        .worker
        .expect("holds an ID");
    let key = format!("w.{worker}");
    let backup = world.entries[&key].value.clone().expect("is there");
    let Ok(Record::Session(mut session)) = wire::decode(&backup) else {
        panic!("a session");
    };
    session.status = SessionStatus::Released {
        hold: Duration::ZERO,
    };
    let backup = wire::encode(&Record::Session(session));
    // The process pauses for so long that it is evicted, and comes back as a new session.
    world.nodes[victim].cut_off = true;
    world.run(secs(10));
    world.resume(victim);
    world.run(secs(40));
    assert_eq!(counts(&world), [4, 4, 4]);
    let again = world.nodes[victim].core.status().worker;
    assert_eq!(again.as_ref(), Some(&worker), "the same slot");
    world.nodes[victim].cut_off = true;
    world.plant(&key, &backup);
    is_owned_twice(&mut world, secs(5))
}

/// A session key is gone, as if the store's clock had ended it, though its process still works.
fn expired_session(bug: Option<Planted>) -> bool {
    let mut world = group_of_three(bug);
    let (_, key) = unreachable_follower(&mut world);
    world.erase(&key);
    is_owned_twice(&mut world, secs(5))
}

/// The watch of the leader falls silent and nobody is told; then somebody joins.
fn silent_watch(bug: Option<Planted>) -> bool {
    let mut world = group_of_three(bug);
    let leading = leader(&world);
    world.silence_watches(leading);
    world.start(with(bug));
    world.run(secs(120));
    counts(&world).contains(&0)
}

/// Workers gather for their first assignment, and the leader is replaced by a fresh process before the
/// window of 30 s is over. Whether nobody has been assigned anything after 80 s.
fn short_terms(bug: Option<Planted>) -> bool {
    let mut world = World::new(12);
    let patient = |builder| with(bug)(builder).expected_workers(100);
    for _ in 0..3 {
        world.start(patient);
    }
    for _ in 0..16 {
        world.run(secs(5));
        world.start(patient);
        let leading = leader(&world);
        let mode = StopMode::Handoff;
        world.tell(leading, Event::Stop { mode });
    }
    counts(&world).iter().all(|&held| held == 0)
}

/// A follower dies, and its successor, which may say so, takes its slot at once. The follower's node.
fn declared_restart(world: &mut World, bug: Option<Planted>) -> usize {
    let (victim, key) = unreachable_follower(world);
    let worker = key.trim_start_matches("w.");
    world.start(|builder| {
        let builder = with(bug)(builder).worker_id_hint(worker);
        builder.predecessor_is_dead(true)
    });
    world.run(Duration::from_millis(100));
    victim
}

/// The slot of a process whose guards are still valid is taken by its successor.
fn taken_slot(bug: Option<Planted>) -> bool {
    let mut world = group_of_three(bug);
    declared_restart(&mut world, bug);
    is_owned_twice(&mut world, secs(5))
}

/// The same, and the leader that saw it dies as well.
fn taken_slot_and_a_new_leader(bug: Option<Planted>) -> bool {
    let mut world = group_of_three(bug);
    let (leading, name) = (leader(&world), "head");
    let victim = (0..3).find(|&node| node != leading).expect("a follower");
    let worker = world.nodes[victim].core.status().worker;
    world.run_until_written(&format!("w.{}", worker.expect("holds an ID")));
    declared_restart(&mut world, bug);
    world.nodes[leading].cut_off = true;
    world.run_until_written(name);
    is_owned_twice(&mut world, secs(5))
}

/// A worker that was evicted alive has its slot again while its callbacks run.
fn retaken_slot(bug: Option<Planted>) -> bool {
    let mut world = World::new(12);
    let evicted = crate::core::tests::membership::drains::evicted_alive(&mut world, bug);
    let end = world.now + secs(2);
    while world.now < end {
        world.run(Duration::from_millis(10));
        if crate::core::tests::membership::drains::overlapping(&world, evicted) > 0 {
            return true;
        }
    }
    false
}

/// A restart after a crash must not be given what the guards of the dead process still cover.
#[test]
fn a_slot_that_was_taken_proves_no_end_of_its_former_session() {
    assert!(!taken_slot(None));
    #[cfg(feature = "planted")]
    assert!(taken_slot(Some(Planted::GreaterEpochIsEnd)));
}

/// The leader that saw the former session die is not the one that grants.
#[test]
fn a_new_leader_sees_the_predecessors_that_a_session_names() {
    assert!(!taken_slot_and_a_new_leader(None));
    #[cfg(feature = "planted")]
    assert!(taken_slot_and_a_new_leader(Some(
        Planted::ForgottenPredecessor
    )));
}

/// The next owner must not begin while the callbacks of the one before run.
#[test]
fn a_slot_taken_again_at_once_says_which_callbacks_still_run() {
    assert!(!retaken_slot(None));
    #[cfg(feature = "planted")]
    assert!(retaken_slot(Some(Planted::RetakenTooEarly)));
}

/// The source fails, and the leader dies. Whether something has no owner 30 s later.
fn source_down(bug: Option<Planted>) -> bool {
    let mut world = group_of_three(bug);
    world.source_fails = Some(SourceError::Unavailable("down".to_string()));
    let leading = leader(&world);
    world.nodes[leading].cut_off = true;
    world.run(secs(30));
    let running = (0..3).filter(|&node| node != leading);
    running.map(|node| counts(&world)[node]).sum::<usize>() < 12
}

/// What a dead leader had must not wait for the source.
#[test]
fn a_dead_leader_is_replaced_although_the_source_is_down() {
    assert!(!source_down(None));
    #[cfg(feature = "planted")]
    assert!(source_down(Some(Planted::NoListNoLeader)));
}

/// A backup of one key must not end a session that began after it was taken.
#[test]
fn a_restored_session_record_ends_no_later_session() {
    assert!(!restored_session(None));
    #[cfg(feature = "planted")]
    assert!(restored_session(Some(Planted::StaleEvidence)));
}

/// A clock of the store that was set wrong must not give a partition to two.
#[test]
fn a_session_key_that_expires_frees_nothing_before_its_lease_is_over() {
    assert!(!expired_session(None));
    #[cfg(feature = "planted")]
    assert!(expired_session(Some(Planted::AbsenceIsEnd)));
}

/// A leader that hears nothing any more must find out by itself, or nobody is ever added again.
#[test]
fn a_watch_that_falls_silent_is_begun_again() {
    assert!(!silent_watch(None));
    #[cfg(feature = "planted")]
    assert!(silent_watch(Some(Planted::NoRepair)));
}

/// Two of five workers connect again for half a second. Whether one of them lost its partitions.
fn reconnection(bug: Option<Planted>) -> bool {
    let mut world = unanswered::group_with(bug);
    let leading = leader(&world);
    let away = [1, 2].map(|step| (leading + step) % 5);
    let answered = away.map(|node| world.nodes[node].answers_for.take());
    world.run(Duration::from_millis(500));
    for (node, session) in away.into_iter().zip(answered) {
        world.nodes[node].answers_for = session;
    }
    world.run(secs(10));
    !world.evictions.is_empty()
}

/// The restart of a server must not look like a crash of everybody who connects again.
#[test]
fn workers_that_connect_again_after_a_restart_of_the_server_lose_nothing() {
    assert!(!reconnection(None));
    #[cfg(feature = "planted")]
    assert!(reconnection(Some(Planted::NoReconnection)));
}

/// Two workers with leases of 60 s and 6 s lose their bucket, and the one with the longer lease is cut
/// off. Whether a partition is owned twice.
fn lost_bucket(bug: Option<Planted>) -> bool {
    let mut world = World::new(4);
    let long = world.start(|b| with(bug)(b).lease(secs(60)).expected_workers(2));
    let short = world.start(|b| with(bug)(b).max_lease(secs(60)).expected_workers(2));
    world.run(secs(40));
    assert_eq!(counts(&world), [2, 2]);
    world.nodes[long].cut_off = true;
    lose_bucket(&mut world);
    world.lose_watches(short);
    world.start(|b| with(bug)(b).max_lease(secs(60)).expected_workers(2));
    is_owned_twice(&mut world, secs(50))
}

/// With leases of 6 s and 60 s a partition was held twice for as long as the longer one lasted.
#[test]
fn after_a_lost_bucket_nobody_owns_what_a_longer_lease_covers() {
    assert!(!lost_bucket(None));
    #[cfg(feature = "planted")]
    assert!(lost_bucket(Some(Planted::OwnQuarantine)));
}

/// Leaders that come and go must not keep a group from its first assignment.
#[test]
fn a_cold_start_ends_although_leaders_change() {
    assert!(!short_terms(None));
    #[cfg(feature = "planted")]
    assert!(short_terms(Some(Planted::WindowPerLeader)));
}
