//! Groups at their limits: nobody to own, plans that fail, commits that hold little.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::core::tests::world::World;
use crate::core::tests::{counts, expecting, group, leader, secs};
use crate::io::event::{Event, RequestId};
use crate::io::notice::Notice;
use crate::ports::source::SourceError;
use crate::ports::strategy::{Plan, PlanError};
use crate::records::keys::session_key;
use crate::records::problem::ProblemKind;
use crate::records::record::Record;
use crate::records::wire;

fn failures(world: &World) -> usize {
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    let failed = |notice: &&Notice| matches!(notice, Notice::StepFailed { .. });
    notices.filter(failed).count()
}

/// A group of nobody but stand-bys once changed its leader for ever because no plan was possible.
#[test]
fn workers_of_capacity_zero_own_nothing_and_fail_nothing() {
    let mut world = World::new(4);
    for _ in 0..2 {
        world.start(|builder| expecting(2)(builder).capacity(0));
    }
    world.run(secs(60));
    assert_eq!(counts(&world), [0, 0]);
    assert_eq!(failures(&world), 0);
}

/// A group without partitions is settled, not stuck.
#[test]
fn an_empty_list_is_a_list() {
    let mut world = World::new(0);
    group(&mut world, 2);
    world.run(secs(60));
    assert_eq!(failures(&world), 0);
    let state = world.nodes[0].core.status().state;
    assert_eq!(state, crate::model::state::State::Stable);
}

/// What was released must reach its new owner although the next plan keeps failing.
#[test]
fn a_handoff_goes_on_while_plans_fail() {
    let mut world = World::new(4);
    group(&mut world, 1);
    world.nodes[0].slow = true;
    world.start(expecting(1));
    world.run(secs(12));
    assert_eq!(counts(&world), [4, 0]);
    world.plans_fail = true;
    let (leading, request) = (leader(&world), RequestId(1));
    world.tell(leading, Event::Trigger { request });
    world.let_go(0);
    world.run(secs(3));
    assert_eq!(counts(&world), [2, 2]);
}

/// What is done to a plan, and the error it has to be refused with.
type Spoiler = (fn(&mut Plan), PlanError);

/// A faulty strategy must not reach the store: nothing of its plan is published, and the error says
/// what is wrong with it.
#[test]
fn a_plan_that_is_incomplete_or_names_nobody_is_refused_before_anything_is_written() {
    let spoilers: [Spoiler; 2] = [
        (
            |plan| plan.owners.truncate(3),
            PlanError::WrongLength {
                expected: 4,
                found: 3,
            },
        ),
        (
            |plan| plan.owners[2] = 7,
            PlanError::UnknownOwner {
                rank: 2,
                owner: 7,
                workers: 2,
            },
        ),
    ];
    for (spoil, expected) in spoilers {
        let mut world = World::new(4);
        world.spoil = spoil;
        group(&mut world, 2);
        assert!(
            !world.entries.keys().any(|key| key.starts_with("a.")),
            "published"
        );
        let refused = Notice::PlanFailed { error: expected };
        assert!(
            world
                .nodes
                .iter()
                .any(|node| node.notices.contains(&refused))
        );
        world.spoil = |_| {};
        world.run(secs(10));
        assert_eq!(counts(&world), [2, 2]);
    }
}

/// A report of what is wrong must not cost the lease of its writer.
#[test]
fn a_session_leaves_out_words_that_do_not_fit() {
    let mut world = World::new(4);
    group(&mut world, 3);
    let dead = leader(&world);
    world.source_fails = Some(SourceError::Unavailable("down".to_string()));
    world.nodes[dead].cut_off = true;
    world.run(secs(60));
    let is_leader = |world: &World, node: usize| world.nodes[node].core.status().is_leader;
    let leads = (0..3)
        .find(|&node| node != dead && is_leader(&world, node))
        .expect("one");
    let key = session_key(&world.nodes[leads].core.status().worker.expect("it leads"));
    let session = |world: &World| match world.entries[&key].value.as_deref().map(wire::decode) {
        Some(Ok(Record::Session(record))) => record,
        other => panic!("no session: {other:?}"),
    };
    let size = |world: &World| world.entries[&key].value.as_ref().map_or(0, Vec::len);
    let told = |world: &World| session(world).bulletin.expect("a leader tells").problems;
    assert_eq!(told(&world)[0].kind, ProblemKind::SourceFailing);
    assert!(!told(&world)[0].detail.is_empty());
    for (less, problems) in [(20, 1), (2, 0)] {
        world.max_value = size(&world) - less;
        // The limit is seen at the next look at the store.
        world.run(secs(600));
        assert!(size(&world) <= world.max_value, "{:?}", session(&world));
        assert_eq!(told(&world).len(), problems);
        assert!(told(&world).iter().all(|problem| problem.detail.is_empty()));
    }
    assert!(is_leader(&world, leads));
}

/// Where commits are too small for pieces, what fits one value is owned, nothing larger is sent, and the
/// rest is named.
#[test]
fn a_record_over_the_payload_limit_is_not_sent_and_what_fits_is_owned() {
    let mut world = World::new(500);
    (world.max_value, world.max_batch) = (1_000, 6);
    group(&mut world, 1);
    let owned = counts(&world)[0];
    assert!(owned > 20 && owned < 100, "{owned}");
    assert_eq!(failures(&world), 0);
    let parked = world.nodes[0].core.status().group.parked.count as usize;
    assert_eq!(owned + parked, 500);
    let sizes = world.log.iter().filter_map(|entry| entry.value.as_ref());
    assert!(sizes.map(alloc::vec::Vec::len).max() <= Some(1_000));
}

/// An audit entry larger than the store takes kept a group from ever being assigned anything, although
/// every assignment fitted: it is for people, and is cut to what fits.
#[test]
fn an_audit_entry_that_does_not_fit_is_cut_and_holds_up_nothing() {
    for most in [1_000, 2_000, 4_000] {
        let mut world = World::new(400);
        world.max_value = most;
        group(&mut world, 20);
        assert_eq!(counts(&world).iter().sum::<usize>(), 400);
        assert_eq!(failures(&world), 0);
        let audits = world.log.iter().filter(|entry| entry.key.starts_with("h."));
        let values = audits.filter_map(|entry| entry.value.as_deref());
        let entries = values.map(|value| {
            assert!(value.len() <= most, "{} of {most}", value.len());
            match crate::records::wire::decode(value) {
                Ok(Record::Audit(entry)) => entry,
                other => panic!("{other:?}"),
            }
        });
        let cut: Vec<_> = entries.filter(|entry| entry.truncated).collect();
        assert!(!cut.is_empty(), "nothing was too large");
        let named = |entry: &crate::records::record::AuditEntry| {
            entry
                .changes
                .iter()
                .map(|c| c.gained.len() + c.lost.len())
                .sum::<usize>()
        };
        let most_named = cut.iter().map(named).max().unwrap_or(0);
        assert!(
            most_named > most / 40,
            "{most_named} of {most}: {:?}",
            cut[0]
        );
    }
}

/// What a worker still works on may be more than fits into its session: it must neither lose the
/// session for that nor acknowledge what has not ended.
#[test]
fn a_session_that_cannot_name_all_it_still_works_on_acknowledges_nothing() {
    let mut world = World::new(200);
    world.max_value = 4_000;
    let label = "x".repeat(3_400);
    world.start(|builder| expecting(1)(builder).label("l", &label));
    world.run(secs(1));
    assert_eq!(counts(&world), [200]);
    world.nodes[0].slow = true;
    world.start(expecting(1));
    // Longer than the window for a joiner, shorter than anybody's patience.
    world.run(secs(14));
    assert_eq!(world.nodes[0].kept_back.len(), 100, "taken away");
    assert_eq!(counts(&world)[1], 0, "given although it has not ended");
    let lost = |notice: &Notice| matches!(notice, Notice::IdentityLost { .. });
    assert!(!world.nodes[0].notices.iter().any(lost));
    let session = world.entries["w.worker-0"].value.as_ref().expect("a value");
    assert!(session.len() <= 4_000);
    world.let_go(0);
    world.run(secs(10));
    assert_eq!(counts(&world), [100, 100]);
}

/// More changes, requests and evictions than a commit may hold are spread over several.
#[test]
fn small_commits_are_enough_for_a_large_group() {
    let mut world = World::new(24);
    world.max_batch = 8;
    let asked = crate::records::record::Control {
        lasts: None,
        write: crate::core::tests::solo::FOREIGN,
        author: "operator".into(),
        reason: "test".into(),
        pins: Vec::new(),
    };
    let value = crate::records::wire::encode(&crate::records::record::Record::Control(asked));
    for number in 0..12 {
        world.plant(&alloc::format!("ctl.trigger.worker-{number}"), &value);
    }
    group(&mut world, 12);
    world.run(secs(60));
    assert_eq!(counts(&world), [2; 12]);
    let mut entries = world.entries.values();
    assert!(entries.all(|entry| !entry.key.starts_with("ctl.") || entry.value.is_none()));
    assert_eq!(failures(&world), 0);
}

/// An audit that does not say how good a plan was cannot answer for it later.
#[test]
fn the_audit_entry_of_a_plan_carries_its_certificate() {
    let mut world = World::new(4);
    group(&mut world, 2);
    let entries = world.entries.values().filter_map(|entry| {
        let value = entry.value.as_deref()?;
        match crate::records::wire::decode(value) {
            Ok(crate::records::record::Record::Audit(audit)) => Some(audit),
            Ok(_) | Err(_) => None,
        }
    });
    let entries: alloc::vec::Vec<_> = entries.collect();
    let first = entries.first().expect("there is an audit");
    assert_eq!((first.moved, first.lower_bound), (7, 5));
    assert_eq!(
        first.changes.iter().map(|c| c.gained.len()).sum::<usize>(),
        4
    );
}
