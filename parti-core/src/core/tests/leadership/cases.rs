//! Every case in which partitions had no owner, or nobody processed them, and the health of everybody
//! was empty: as a row of one table. `parti/tests/observability.rs` holds each row to a metric and an
//! alert.

use crate::core::tests::deal::Rule;
use crate::core::tests::store::silent_watch::leader;
use crate::core::tests::*;
use crate::io::event::StopMode;
use crate::io::grant::Grant;
use crate::model::partition::PartitionKey;
use crate::ports::source::SourceError;
use crate::ports::store::StoreFault;
use crate::records::keys::{head_key, session_key};
use crate::records::problem::ProblemKind as Is;

/// A lease and two heartbeats of the default timings: then the health of some worker has to say it.
const IN_TIME: Duration = secs(10);

/// A case.
struct Case {
    number: u8,
    what: &'static str,
    /// A group of workers in good order; what is waited for is the business of the fault.
    before: fn() -> World,
    /// What goes wrong.
    fault: fn(&mut World),
    /// What goes on while it is wrong, for a second.
    second: fn(&mut World),
    /// Whether it is wrong now, or whether that follows from the fault alone.
    wrong: Wrong,
    /// What is said then: one of these.
    names: &'static [Is],
}

enum Wrong {
    /// As long as the fault lasts.
    Always,
    /// As long as a partition has no owner.
    WhileOrphaned,
}

const CASES: &[Case] = &[
    Case {
        number: 1,
        what: "a pool has no workers",
        before: pools,
        fault: |world| cut_off(world, 2),
        second: |world| world.run(secs(1)),
        wrong: Wrong::Always,
        names: &[Is::Parked],
    },
    Case {
        number: 2,
        what: "the source is down and the leader dies",
        before: three,
        fault: |world| {
            let reason = "the database is down".to_string();
            world.source_fails = Some(SourceError::Unavailable(reason));
            cut_off(world, leader(world));
        },
        second: |world| world.run(secs(1)),
        wrong: Wrong::Always,
        names: &[Is::SourceFailing],
    },
    Case {
        number: 3,
        what: "every leader is replaced within the window of a cold start",
        before: six_without_an_assignment,
        fault: |_| {},
        second: replace_the_leader,
        wrong: Wrong::Always,
        names: &[Is::LeadersChange],
    },
    Case {
        number: 4,
        what: "head is removed without a tombstone and its leader dies",
        before: three,
        fault: |world| {
            world.entries.remove(&head_key());
            cut_off(world, leader(world));
        },
        second: |world| world.run(secs(1)),
        wrong: Wrong::WhileOrphaned,
        names: &[Is::LeaderSilent, Is::Unowned],
    },
    Case {
        number: 4,
        what: "a setting of the stream is changed in mid-run",
        before: three,
        fault: |world| {
            world.faults.push(StoreFault {
                setting: "max_age".to_string(),
                found: "5s".to_string(),
                needed: "0s".to_string(),
            });
            // It is looked at in every round of comparing.
            world.run(secs(90));
        },
        second: |world| world.run(secs(1)),
        wrong: Wrong::Always,
        names: &[Is::StoreUnfit],
    },
    Case {
        number: 5,
        what: "plans are slow, one worker renews and does not confirm, and another one dies",
        before: four_with_a_stuck_one,
        fault: |world| {
            let leading = leader(world);
            let dead = (0..4).find(|&node| node != leading && !world.nodes[node].watch_silent);
            cut_off(world, dead.expect("another"));
        },
        second: slow_plans,
        wrong: Wrong::WhileOrphaned,
        names: &[Is::Unowned, Is::PlanFailing, Is::CommitFailing],
    },
    Case {
        number: 6,
        what: "the leader has unsteady contact and a worker dies",
        before: three,
        fault: |world| {
            let leading = leader(world);
            cut_off(world, (0..3).find(|&node| node != leading).expect("one"));
            let mine = world.nodes[leading].core.status().worker.expect("an ID");
            world.run_until_written(&session_key(&mine));
        },
        second: unsteady,
        wrong: Wrong::WhileOrphaned,
        names: &[Is::NotJudging, Is::Unowned, Is::LeadersChange],
    },
    Case {
        number: 7,
        what: "an audit entry would be too large",
        before: long_keys,
        fault: |world| {
            // Room for what each worker is granted, and not for a word on all that moves.
            world.max_value = 2_200;
            cut_off(world, (0..3).find(|&n| n != leader(world)).expect("one"));
        },
        second: |world| world.run(secs(1)),
        wrong: Wrong::WhileOrphaned,
        names: &[Is::CommitFailing, Is::Parked],
    },
    Case {
        number: 8,
        what: "the survivors' records would be too large",
        before: long_keys,
        fault: |world| {
            world.max_value = 300;
            cut_off(world, (0..3).find(|&n| n != leader(world)).expect("one"));
        },
        second: |world| world.run(secs(1)),
        wrong: Wrong::WhileOrphaned,
        names: &[Is::CommitFailing, Is::Parked],
    },
    Case {
        number: 9,
        what: "every worker fails to begin with everything",
        before: three,
        fault: |world| fail_with(world, |_| true),
        second: |world| world.run(secs(1)),
        wrong: Wrong::Always,
        names: &[Is::HandlerFailing],
    },
    Case {
        number: 9,
        what: "every worker fails to begin with one partition",
        before: three,
        fault: |_| {},
        second: |world| {
            world.run(secs(1));
            let key = world.partitions[4].key.clone();
            fail_with(world, |other| *other == key);
        },
        wrong: Wrong::Always,
        names: &[Is::HandlerFailing, Is::Parked],
    },
];

fn three() -> World {
    let mut world = World::new(12);
    group(&mut world, 3);
    world.run(secs(20));
    world
}

fn long_keys() -> World {
    let mut world = World::new(0);
    let key = |n: u32| crate::model::partition::Partition::new([alloc::format!("{n:060}")]);
    world.partitions = (0..12).map(|n| key(n).expect("a valid key")).collect();
    group(&mut world, 3);
    world.run(secs(20));
    world
}

fn pools() -> World {
    let mut world = World::new(9);
    world.rule = Some(Rule::Pools);
    for pool in ["a", "a", "b"] {
        world.start(|builder| expecting(3)(builder).label("pool", pool));
    }
    world.run(secs(20));
    world
}

fn six_without_an_assignment() -> World {
    let mut world = World::new(12);
    // Enough for one of them to have seen several terms before its own turn comes.
    for _ in 0..6 {
        world.start(|builder| builder);
    }
    world
}

fn four_with_a_stuck_one() -> World {
    let mut world = World::new(12);
    group(&mut world, 4);
    world.run(secs(5));
    let leading = leader(&world);
    let stuck = (0..4).find(|&node| node != leading).expect("a follower");
    world.nodes[stuck].watch_silent = true;
    world.nodes[stuck].blind = true;
    world.run(secs(20));
    world
}

fn cut_off(world: &mut World, node: usize) {
    world.nodes[node].cut_off = true;
}

fn replace_the_leader(world: &mut World) {
    world.run(secs(2));
    world.start(|builder| builder);
    world.run(Duration::from_millis(50));
    let leads = |node: &world::Node| !node.cut_off && node.core.status().is_leader;
    if let Some(leading) = world.nodes.iter().position(leads) {
        let mode = StopMode::Handoff;
        world.tell(leading, Event::Stop { mode });
    }
}

/// Each plan takes longer than a heartbeat.
fn slow_plans(world: &mut World) {
    world.plans_wait = true;
    world.run(secs(5));
    world.let_plans_go();
}

/// A leader comes to itself often enough to be challenged by nobody, and too seldom to judge.
fn unsteady(world: &mut World) {
    let leads = |node: &world::Node| node.core.status().is_leader;
    let leading = world.nodes.iter().position(leads).unwrap_or_default();
    let before = world.nodes[leading].cut_off;
    cut_off(world, leading);
    world.run(Duration::from_millis(3_400));
    if !before {
        world.resume(leading);
    }
    world.run(Duration::from_millis(100));
}

/// Everybody fails with what it has of these.
fn fail_with(world: &mut World, these: impl Fn(&PartitionKey) -> bool) {
    for node in 0..world.nodes.len() {
        let held = world.nodes[node].held.clone().into_iter();
        for (partition, token) in held.filter(|(key, _)| these(key)) {
            let grant = Grant { partition, token };
            let failing = Some("its file is damaged".to_string());
            world.tell(node, Event::Processing { grant, failing });
        }
    }
}

/// How long a problem of a kind lasts before the facade calls it a condition.
fn patience(kind: Is) -> Duration {
    match kind {
        Is::Unowned | Is::Parked | Is::LeaderSilent | Is::NotJudging | Is::SlotsHeld => IN_TIME,
        Is::PlanFailing | Is::SourceFailing | Is::CommitFailing | Is::HandlerFailing => secs(2),
        Is::LeadersChange
        | Is::ModeNotHeld
        | Is::OtherList
        | Is::SettingsDiffer
        | Is::StoreUnfit
        | Is::Other(_) => Duration::ZERO,
    }
}

/// Whether some living worker says one of these.
fn says_one_of(world: &World, kinds: &[Is]) -> bool {
    let living = world.nodes.iter().filter(|node| !node.cut_off);
    let mut problems = living.flat_map(|node| node.core.status().problems);
    problems.any(|problem| {
        let long_enough = world.now.since(problem.since) >= patience(problem.kind);
        kinds.contains(&problem.kind) && long_enough
    })
}

fn is_orphaned(world: &World) -> bool {
    let living = world.nodes.iter().filter(|node| !node.cut_off);
    let held: BTreeSet<&PartitionKey> = living.flat_map(|node| node.held.keys()).collect();
    held.len() < world.partitions.len()
}

/// Each of these was seen on a real server, with partitions that nobody had and nobody's health said a
/// word.
#[test]
fn every_case_is_named_by_somebody_in_time_and_as_long_as_it_lasts() {
    for case in CASES {
        let (number, what) = (case.number, case.what);
        let mut world = (case.before)();
        (case.fault)(&mut world);
        let begun = world.now;
        let mut wrong_since = None;
        while world.now.since(begun) < secs(120) {
            (case.second)(&mut world);
            let wrong = match case.wrong {
                Wrong::Always => true,
                Wrong::WhileOrphaned => is_orphaned(&world),
            };
            if !wrong {
                wrong_since = None;
                continue;
            }
            // A crash is noticed after a lease, whatever it was that died.
            let since = *wrong_since.get_or_insert(world.now);
            let late = world.now.since(since) > IN_TIME + secs(6);
            let said = says_one_of(&world, case.names);
            assert!(said || !late, "case {number}, {what}: at {}", world.now);
        }
    }
}

/// The row of a case that everybody forgot proves nothing.
#[test]
fn every_case_from_one_to_nine_has_a_row() {
    let numbers: BTreeSet<u8> = CASES.iter().map(|case| case.number).collect();
    assert_eq!(numbers, (1..=9).collect());
}
