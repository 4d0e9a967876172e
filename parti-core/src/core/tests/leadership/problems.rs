//! What workers say is wrong with their group, in scripted trouble.

use crate::core::tests::store::silent_watch::leader;
use crate::core::tests::*;
use crate::ports::source::SourceError;
use crate::records::keys::{head_key, session_key};
use crate::records::problem::{Problem, ProblemKind};

/// What a node says of a kind.
fn says(world: &World, node: usize, kind: ProblemKind) -> Option<Problem> {
    let problems = world.nodes[node].core.status().problems;
    problems.into_iter().find(|problem| problem.kind == kind)
}

/// Within a lease and two heartbeats of the default timings an observer has to know.
const IN_TIME: Duration = secs(10);

/// Whether some living worker has said so for longer than ordinary handoffs take.
fn named(world: &World, kind: ProblemKind) -> bool {
    let living = (0..world.nodes.len()).filter(|&node| !world.nodes[node].cut_off);
    living
        .filter_map(|node| says(world, node, kind))
        .any(|problem| world.now.since(problem.since) >= IN_TIME)
}

/// Lets time pass in small steps; whether the kind was named at any time.
fn ever_named(world: &mut World, kind: ProblemKind, duration: Duration) -> bool {
    let end = world.now + duration;
    let mut found = false;
    while world.now < end {
        world.run(Duration::from_millis(250));
        found |= named(world, kind);
    }
    found
}

/// Alarms that come with every deployment are switched off, and then nobody sees the one that counts.
#[test]
fn joins_departures_and_a_crash_raise_no_alarm() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let calm = |world: &mut World, duration: Duration| {
        assert!(!ever_named(world, ProblemKind::Unowned, duration));
    };
    world.start(|b| b);
    calm(&mut world, secs(60));
    let mode = crate::io::event::StopMode::Handoff;
    world.tell(1, Event::Stop { mode });
    calm(&mut world, secs(60));
    let dead = (0..4).find(|&n| n != 1 && n != leader(&world));
    world.nodes[dead.expect("a follower")].cut_off = true;
    calm(&mut world, secs(60));
    let dead = leader(&world);
    world.nodes[dead].cut_off = true;
    calm(&mut world, secs(60));
    for node in 0..world.nodes.len() {
        assert_eq!(says(&world, node, ProblemKind::Unowned), None);
    }
}

/// One pool without workers stopped all repair, and the health of everybody was empty.
#[test]
fn partitions_that_no_plan_places_are_named_by_everybody_and_as_long_as_it_lasts() {
    let mut world = World::new(12);
    group(&mut world, 3);
    world.run(secs(10));
    world.plans_fail = true;
    let dead = (0..3).find(|&node| node != leader(&world)).expect("one");
    world.nodes[dead].cut_off = true;
    world.run(secs(6));
    let hurts = world.now;
    world.run(IN_TIME);
    for _ in 0..40 {
        for node in (0..3).filter(|&node| node != dead) {
            let unowned = says(&world, node, ProblemKind::Unowned).expect("it is the case");
            assert_eq!(unowned.count, 4, "{node}: {unowned:?}");
            let such = "4 of 12 partitions have no owner, such as p-";
            assert!(unowned.detail.starts_with(such), "{node}: {unowned:?}");
            assert!(unowned.since <= hurts, "{unowned:?} hurts since {hurts}");
        }
        assert!(named(&world, ProblemKind::PlanFailing));
        world.run(secs(3));
    }
    world.plans_fail = false;
    world.run(secs(60));
    assert_eq!(
        counts(&world).iter().sum::<usize>() - counts(&world)[dead],
        12
    );
    for node in (0..3).filter(|&node| node != dead) {
        assert_eq!(world.nodes[node].core.status().problems, [], "{node}");
    }
}

/// The leader died while the database of partitions was down: nobody owned what it had, for hours.
#[test]
fn what_a_dead_leader_had_is_named_although_no_list_can_be_had() {
    let mut world = World::new(12);
    group(&mut world, 3);
    world.run(secs(10));
    let reason = "the database is down".to_string();
    world.source_fails = Some(SourceError::Unavailable(reason));
    let dead = leader(&world);
    world.nodes[dead].cut_off = true;
    world.run(secs(6) + IN_TIME);
    let owned = |world: &World| {
        let counts = counts(world);
        counts.iter().sum::<usize>() - counts[dead]
    };
    for _ in 0..40 {
        if owned(&world) < 12 {
            assert!(named(&world, ProblemKind::Unowned));
        }
        assert!(named(&world, ProblemKind::SourceFailing));
        world.run(secs(1));
    }
}

/// `head` was removed without a trace and its leader crashed: nobody was ever elected, nobody said so.
#[test]
fn a_leader_that_gives_no_sign_of_life_is_named_when_nobody_replaces_it() {
    let mut world = World::new(6);
    group(&mut world, 3);
    world.run(secs(10));
    let dead = leader(&world);
    world.entries.remove(&head_key());
    world.nodes[dead].cut_off = true;
    world.run(secs(6) + IN_TIME);
    for _ in 0..20 {
        let led = world.nodes.iter().enumerate();
        let led = led.filter(|&(node, n)| node != dead && n.core.status().is_leader);
        if led.count() == 0 {
            assert!(named(&world, ProblemKind::LeaderSilent));
        }
        world.run(secs(1));
    }
}

/// Each of many leaders looks sound by itself; only the sequence shows that none stays.
#[test]
fn leaders_that_follow_each_other_are_counted() {
    let mut world = World::new(6);
    group(&mut world, 2);
    world.run(secs(120));
    assert_eq!(says(&world, 0, ProblemKind::LeadersChange), None);
    world.start(|b| b);
    let mut seen = 0;
    for _ in 0..12 {
        let leads = leader(&world);
        let mine = world.nodes[leads].core.status().worker.expect("an ID");
        // Long enough for the others, and its lease lasts.
        world.run_until_written(&session_key(&mine));
        world.nodes[leads].cut_off = true;
        world.run(Duration::from_millis(4_900));
        world.resume(leads);
        world.run(secs(1));
        seen += u32::from(says(&world, 2, ProblemKind::LeadersChange).is_some());
    }
    assert!(seen > 0);
    world.run(secs(150));
    assert_eq!(says(&world, 2, ProblemKind::LeadersChange), None);
}

/// How many partitions nobody alive has.
fn orphans(world: &World) -> usize {
    let living = world.nodes.iter().filter(|node| !node.cut_off);
    12 - living.map(|node| node.held.len()).sum::<usize>()
}

/// Each fault that left partitions without an owner: as long as some have none, somebody says so.
#[test]
fn every_fault_that_leaves_partitions_without_an_owner_is_named_as_long_as_it_does() {
    type Fault = fn(&mut World);
    let small: Fault = |world| world.max_value = 300;
    let faults: [(&str, Fault); 4] = [
        ("plans fail", |world| world.plans_fail = true),
        ("plans never come", |world| world.plans_wait = true),
        ("records are too large", small),
        ("commits are refused", |world| {
            world.fails = Some(crate::ports::store::StoreErrorKind::Rejected);
            world.fails_for = alloc::vec![crate::io::event::OpOwner::Leader];
        }),
    ];
    for (what, fault) in faults {
        let mut world = World::new(12);
        group(&mut world, 3);
        world.run(secs(20));
        fault(&mut world);
        let dead = (0..3).find(|&node| node != leader(&world)).expect("one");
        world.nodes[dead].cut_off = true;
        world.run(secs(6) + IN_TIME);
        for _ in 0..60 {
            let told = named(&world, ProblemKind::Unowned) || named(&world, ProblemKind::Parked);
            assert!(orphans(&world) == 0 || told, "{what}, at {}", world.now);
            world.run(secs(1));
        }
    }
}
