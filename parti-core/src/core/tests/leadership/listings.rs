//! The partition source: when it is asked, and that nothing it does wrong costs a partition.

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::solo::{Solo, written};
use crate::core::tests::world::World;
use crate::core::tests::{causes, counts, expecting, group, leader, secs};
use crate::io::effect::Effect;
use crate::io::event::Event;
use crate::io::notice::{FailedStep, Notice};
use crate::model::partition::{Partition, PartitionKey};
use crate::model::state::Cause;
use crate::ports::source::SourceError;

fn unavailable() -> SourceError {
    SourceError::Unavailable("the catalogue is down".to_string())
}

/// What failed steps of listing say.
fn complaints(world: &World) -> Vec<&str> {
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    let said = notices.filter_map(|notice| {
        let Notice::StepFailed {
            step: FailedStep::ListPartitions,
            reason,
            ..
        } = notice
        else {
            return None;
        };
        Some(reason.as_str())
    });
    said.collect()
}

fn held(world: &World) -> BTreeSet<&PartitionKey> {
    world
        .nodes
        .iter()
        .flat_map(|node| node.held.keys())
        .collect()
}

/// A source that is down, or answers nonsense, once emptied the list: everything was revoked.
#[test]
fn a_failing_source_never_shrinks_the_list_and_is_asked_again() {
    let duplicate = Partition::new(["p-1"]).expect("valid").key;
    let invalid =
        SourceError::Invalid(crate::model::partition::PartitionError::Duplicate { key: duplicate });
    for (error, said) in [
        (unavailable(), "catalogue is down"),
        (invalid, "p-1 occurs twice"),
    ] {
        let mut world = World::new(6);
        group(&mut world, 2);
        let leading = leader(&world);
        world.run(secs(20));
        (world.source_fails, world.listings) = (Some(error), 0);
        world.tell(leading, Event::SourceChanged);
        world.run(secs(30));
        assert_eq!(counts(&world), [3, 3]);
        assert!(
            (2..100).contains(&world.listings),
            "{} listings",
            world.listings
        );
        assert!(complaints(&world).iter().all(|text| text.contains(said)));
        assert!(
            world.nodes[leading].core.status().is_leader,
            "it can do without a fresh list"
        );
        world.source_fails = None;
        world
            .partitions
            .push(Partition::new(["new"]).expect("valid"));
        world.run(secs(30));
        assert_eq!(
            held(&world).len(),
            7,
            "the change is taken up when the source is back"
        );
    }
}

/// A list with a duplicate, although the source thinks it is fine, must be refused whole.
#[test]
fn a_list_that_contradicts_itself_is_refused_by_name_and_changes_nothing() {
    let mut world = World::new(4);
    group(&mut world, 1);
    let first = world.partitions[0].clone();
    let key = first.key.to_string();
    world.partitions.push(first);
    world.tell(0, Event::SourceChanged);
    world.run(secs(30));
    assert_eq!(counts(&world), [4]);
    let said = complaints(&world);
    assert!(
        said.iter()
            .any(|text| text.contains(&key) && text.contains("twice")),
        "{said:?}"
    );
}

/// A leader that can never list is no leader: another one may reach the source.
#[test]
fn a_leader_without_any_list_steps_down_after_its_tries() {
    let mut world = World::new(4);
    world.source_fails = Some(unavailable());
    for _ in 0..2 {
        world.start(expecting(2));
    }
    world.run(secs(60));
    let lost = |notice: &Notice| matches!(notice, Notice::LeadershipLost { .. });
    let resigned = world
        .nodes
        .iter()
        .filter(|node| node.notices.iter().any(lost))
        .count();
    assert!(resigned > 0, "nobody else was given the chance");
    world.source_fails = None;
    world.run(secs(60));
    assert_eq!(counts(&world), [2, 2]);
}

/// A change announced while the list is being read may be missing from it.
#[test]
fn a_change_announced_while_listing_is_listed_for_again() {
    let mut solo = Solo::member();
    solo.caught_up(1);
    solo.pass(Duration::from_millis(200));
    let (op, writes) = solo.commit("head");
    solo.won(op, 2);
    solo.show(written(&writes[0], 2));
    solo.caught_up(2);
    let listing = |solo: &mut Solo| {
        let listing = |effect: &Effect| matches!(effect, Effect::ListPartitions { .. });
        let position = solo.other.iter().position(listing)?;
        let Effect::ListPartitions { op } = solo.other.remove(position) else {
            unreachable!("just found")
        };
        Some(op)
    };
    let op = listing(&mut solo).expect("it lists");
    solo.tell(Event::SourceChanged);
    assert_eq!(listing(&mut solo), None, "one listing at a time");
    let partitions = || Ok(Vec::from([Partition::new(["p"]).expect("valid")]));
    solo.tell(Event::Partitions {
        op,
        result: partitions(),
    });
    let again = listing(&mut solo).expect("it lists again");
    // A late answer to the first question is nobody's.
    solo.tell(Event::Partitions {
        op,
        result: Ok(Vec::new()),
    });
    solo.tell(Event::Partitions {
        op: again,
        result: partitions(),
    });
    assert_eq!(listing(&mut solo), None, "and only once");
}

/// How often each step of a leader failed.
fn failed(world: &World, wanted: FailedStep) -> usize {
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    let of =
        |notice: &&Notice| matches!(notice, Notice::StepFailed { step, .. } if *step == wanted);
    notices.filter(of).count()
}

/// A source's task that ended without an answer left a leader without a list for hours, and the group
/// without an assignment.
#[test]
fn a_listing_whose_answer_is_lost_is_asked_for_again() {
    let mut world = World::new(4);
    world.answers_lost = true;
    world.start(expecting(1));
    world.run(secs(15));
    assert_eq!(world.listings, 1, "it may yet be answered");
    world.run(secs(15));
    assert!(
        world.listings > 1,
        "operation_timeout is 10 s, twice that is over"
    );
    assert_eq!(failed(&world, FailedStep::ListPartitions), 1);
    world.answers_lost = false;
    world.run(secs(30));
    assert_eq!(counts(&world), [4]);
}

/// The same of a plan: nothing was ever assigned again.
#[test]
fn a_plan_whose_answer_is_lost_is_made_again() {
    let mut world = World::new(4);
    group(&mut world, 1);
    world.answers_lost = true;
    world.start(expecting(1));
    world.run(secs(60));
    assert_eq!(counts(&world), [4, 0]);
    assert!(failed(&world, FailedStep::Plan) > 0);
    world.answers_lost = false;
    world.run(secs(60));
    assert_eq!(counts(&world), [2, 2]);
}

/// Sources that cannot announce a change are asked now and then, and no more often.
#[test]
fn a_refresh_interval_asks_that_often() {
    let mut world = World::new(2);
    world.start(|builder| expecting(1)(builder).refresh_interval(secs(10)));
    world.run(secs(5));
    world.listings = 0;
    world.run(secs(100));
    assert_eq!(world.listings, 10);
    world
        .partitions
        .push(Partition::new(["new"]).expect("valid"));
    world.run(secs(30));
    assert_eq!(counts(&world), [3]);
}

/// Weights change all the time: a group must not move partitions for a change that does not matter,
/// and must for one that does.
#[test]
fn only_weights_that_unbalance_the_group_cause_a_rebalance() {
    let plans_after = |first: u64| {
        let mut world = World::new(4);
        let hundred = world.partitions.into_iter().map(|p| p.with_weight(100));
        world.partitions = hundred.collect();
        group(&mut world, 2);
        world.run(secs(30));
        assert_eq!(causes(&world), [Cause::ColdStart]);
        let changed = world.partitions.remove(0).with_weight(first);
        world.partitions.push(changed);
        let leading = leader(&world);
        world.tell(leading, Event::SourceChanged);
        world.run(secs(30));
        causes(&world).split_off(1)
    };
    // 200 against 210: within 15 %. 200 against 300: not.
    assert_eq!(plans_after(110), []);
    assert_eq!(plans_after(200), [Cause::WeightsChanged]);
}
