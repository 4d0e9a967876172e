//! Partitions that nobody may own: they wait, alone, and everything else goes on.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Mode;
use crate::core::tests::deal::{GRACE, Rule};
use crate::core::tests::mixed::agreement::head;
use crate::core::tests::world::World;
use crate::core::tests::{counts, leader, secs};
use crate::io::event::{Event, StopMode};
use crate::io::notice::Notice;
use crate::model::id::{Epoch, Nonce, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::state::Cause;
use crate::ports::strategy::ParkReason;
use crate::records::keys::{parked_key, session_key};
use crate::records::record::{Parked, ParkedRecord, Record, SessionStatus};
use crate::records::wire;

/// Workers with a label each, by value; nine partitions.
fn labelled(rule: Rule, values: &[&str], mode: Mode) -> World {
    let mut world = World::new(9);
    world.rule = Some(rule);
    for value in values {
        join(&mut world, value, values.len() as u32, mode);
    }
    world.run(secs(1));
    world
}

pub(crate) fn join(world: &mut World, value: &str, expected: u32, mode: Mode) -> usize {
    let label = match world.rule {
        Some(Rule::Zone) => "zone",
        Some(Rule::Pools) | None => "pool",
    };
    world.start(|builder| {
        builder
            .label(label, value)
            .expected_workers(expected)
            .mode(mode)
            .min_rebalance_interval(secs(120))
    })
}

pub(crate) fn pools(values: &[&str]) -> World {
    labelled(Rule::Pools, values, Mode::Exclusive)
}

/// What the processes that run hold, by name.
pub(crate) fn held(world: &World) -> BTreeSet<String> {
    let running = world.nodes.iter().filter(|node| !node.cut_off);
    let held = running.flat_map(|node| node.held.keys().map(ToString::to_string));
    held.collect()
}

pub(crate) fn names(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    let name = |number: u32| alloc::format!("p-{number}");
    numbers.into_iter().map(name).collect()
}

pub(crate) const EVEN: [u32; 5] = [0, 2, 4, 6, 8];
pub(crate) const ODD: [u32; 4] = [1, 3, 5, 7];

/// What is parked according to the leader and to everybody who reads `head`.
pub(crate) fn parked(world: &World) -> u32 {
    let running = world.nodes.iter().filter(|node| !node.cut_off);
    let counts: BTreeSet<u32> = running
        .map(|node| node.core.status().group.parked.count)
        .collect();
    assert_eq!(counts.len(), 1, "all say the same: {counts:?}");
    counts.first().copied().unwrap_or_default()
}

pub(crate) fn stored(world: &World) -> Option<ParkedRecord> {
    let value = world.entries.get(&parked_key())?.value.as_ref()?;
    match wire::decode(value) {
        Ok(Record::Parked(record)) => Some(record),
        other => panic!("{other:?}"),
    }
}

fn leaderships(world: &World) -> usize {
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    let gained = notices.filter(|notice| matches!(notice, Notice::LeadershipGained { .. }));
    gained.count()
}

fn follower(world: &World) -> usize {
    let leads = leader(world);
    (0..world.nodes.len())
        .find(|&node| node != leads && !world.nodes[node].cut_off)
        .expect("somebody follows")
}

/// One pool without a worker made every plan fail: the crash of another pool's worker was never
/// repaired, and leaders resigned in turn.
#[test]
fn a_pool_without_workers_does_not_stop_repair_for_the_others() {
    let mut world = pools(&["a", "a", "a", "b"]);
    assert_eq!((held(&world).len(), parked(&world)), (9, 0));
    world.nodes[3].cut_off = true;
    world.run(secs(20));
    assert_eq!((held(&world), parked(&world)), (names(EVEN), 4));
    let record = stored(&world).expect("it is stored");
    let group = &record.groups[0];
    assert_eq!(group.reason, ParkReason::NoEligibleWorker);
    let named = group.partitions.iter().map(ToString::to_string);
    assert_eq!(named.collect::<BTreeSet<_>>(), names(ODD));

    let victim = follower(&world);
    let before = leaderships(&world);
    world.nodes[victim].cut_off = true;
    world.run(secs(20));
    assert_eq!((held(&world), parked(&world)), (names(EVEN), 4), "repaired");
    assert_eq!(leaderships(&world), before, "nobody resigned for it");
    assert_eq!(
        stored(&world).expect("still").groups,
        record.groups,
        "nothing new"
    );
    let failed = |notice: &&Notice| matches!(notice, Notice::StepFailed { .. });
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    assert_eq!(notices.filter(failed).count(), 0);
}

/// A user who waits for a worker must get the partitions served as soon as there is one: the
/// cooldown is for partitions that are somewhere.
#[test]
fn parked_partitions_are_granted_as_soon_as_somebody_may_own_them() {
    let mut world = pools(&["a", "a"]);
    assert_eq!((held(&world), parked(&world)), (names(EVEN), 4));
    let told = |world: &World, is: fn(&Notice) -> Option<u32>| -> u32 {
        let notices = world.nodes.iter().flat_map(|node| &node.notices);
        notices.filter_map(is).sum()
    };
    let parked_notice = |notice: &Notice| {
        let Notice::Parked { count, .. } = notice else {
            return None;
        };
        Some(*count)
    };
    assert_eq!(told(&world, parked_notice), 4);
    let window = world.nodes[0].core.config().planned_scale_window();
    let cooldown = world.nodes[0].core.config().min_rebalance_interval();
    assert!(window < cooldown);
    let joined = join(&mut world, "b", 9, Mode::Exclusive);
    world.run(window + secs(1));
    assert_eq!((held(&world).len(), parked(&world)), (9, 0));
    assert_eq!(world.nodes[joined].held.len(), 4);
    assert_eq!(stored(&world), None, "the record is gone");
    let (_, cause) = world.plans.last().expect("planned");
    assert_eq!(*cause, Cause::Parked);
    let unparked_notice = |notice: &Notice| {
        let Notice::Unparked { count, .. } = notice else {
            return None;
        };
        Some(*count)
    };
    assert_eq!(told(&world, unparked_notice), 4);
}

/// A new leader must neither take what is parked for what an earlier one left undone, nor its
/// workers for somebody who holds it.
#[test]
fn a_new_leader_knows_what_is_parked_and_disturbs_nobody() {
    let mut world = pools(&["a", "a", "a"]);
    let (plans, record) = (world.plans.len(), stored(&world));
    let generation = head(&world).planned;
    let since = world.nodes[0].core.status().group.parked;
    assert_eq!(since.count, 4);
    for _ in 0..2 {
        let leads = leader(&world);
        world.tell(
            leads,
            Event::Stop {
                mode: StopMode::Restart { hold: secs(60) },
            },
        );
        world.run(secs(5));
    }
    // Whom the last leader planned without is not stored: the strategy is asked once, and no more.
    assert_eq!(world.plans.len(), plans + 2);
    assert_eq!(head(&world).planned, generation, "nothing was changed");
    assert_eq!(stored(&world), record);
    assert_eq!(
        world.nodes[leader(&world)].core.status().group.parked,
        since
    );
    assert_eq!(world.evictions, []);
}

/// A stop that answers "done" while partitions have no owner is found out by a customer.
#[test]
fn who_leaves_last_of_its_pool_says_what_it_leaves_without_an_owner() {
    for mode in [Mode::Exclusive, Mode::Overlap] {
        for leads in [false, true] {
            let order: &[&str] = if leads {
                &["b", "a", "a"]
            } else {
                &["a", "a", "b"]
            };
            let mut world = labelled(Rule::Pools, order, mode);
            let is_b = |node: usize| order[node] == "b";
            let leaving = (0..3).find(|&node| is_b(node)).expect("one");
            world.tell(
                leaving,
                Event::Stop {
                    mode: StopMode::Handoff,
                },
            );
            world.run(secs(2));
            let notices = &world.nodes[leaving].notices;
            let unowned = left(&world, leaving).expect("it says so");
            let named = unowned.keys().map(ToString::to_string);
            assert_eq!(named.collect::<BTreeSet<_>>(), names(ODD), "{mode:?}");
            let reasons: BTreeSet<_> = unowned.into_values().collect();
            assert_eq!(reasons, [ParkReason::NoEligibleWorker].into());
            assert!(notices.contains(&Notice::Stopped { errors: Vec::new() }));
            assert_eq!((held(&world), parked_by(&world, 1)), (names(EVEN), 4));
        }
    }
}

/// What a process said it left without an owner.
fn left(world: &World, node: usize) -> Option<BTreeMap<PartitionKey, ParkReason>> {
    world.nodes[node].notices.iter().find_map(|notice| {
        let Notice::LeftUnowned { partitions } = notice else {
            return None;
        };
        Some(partitions.clone())
    })
}

fn parked_by(world: &World, node: usize) -> u32 {
    world.nodes[node].core.status().group.parked.count
}

/// The last one of all leaves everything: that is no failure, but it must be told apart from a pool.
#[test]
fn the_last_worker_of_a_group_says_that_nobody_is_left() {
    let mut world = pools(&["a", "b"]);
    for node in [0, 1] {
        world.tell(
            node,
            Event::Stop {
                mode: StopMode::Handoff,
            },
        );
        world.run(secs(5));
    }
    let left = |node: usize| -> BTreeSet<ParkReason> {
        let left = left(&world, node).expect("it says so");
        left.into_values().collect()
    };
    assert_eq!(left(0), [ParkReason::NoEligibleWorker].into());
    assert_eq!(left(1), [ParkReason::NoWorkers].into());
}

fn spilled_at(world: &mut World, most: Duration) -> Duration {
    let begun = world.now;
    while held(world).len() < 9 {
        assert!(world.now.since(begun) < most, "never: {:?}", counts(world));
        world.run(Duration::from_millis(100));
    }
    world.now.since(begun)
}

/// The grace of a preferred zone began again with every leader: with leaders that change, its
/// partitions stayed without an owner for ever.
#[test]
fn a_grace_is_counted_from_the_record_and_not_from_the_leader() {
    let mut world = labelled(Rule::Zone, &["a", "b", "b", "b"], Mode::Exclusive);
    assert_eq!(world.nodes[0].held.len(), 9);
    world.nodes[0].cut_off = true;
    while stored(&world).is_none() {
        world.run(Duration::from_millis(100));
    }
    let parked_at = world.now;
    assert_eq!(held(&world).len(), 0, "they wait for their zone");
    for _ in 0..2 {
        let leads = leader(&world);
        world.nodes[leads].cut_off = true;
        world.run(secs(8));
    }
    assert_eq!(held(&world).len(), 0);
    let spilled = spilled_at(&mut world, secs(60));
    let waited = world.now.since(parked_at);
    assert!(
        waited >= GRACE && waited <= GRACE + secs(1),
        "{waited:?}, {spilled:?}"
    );
    let (_, cause) = world.plans.last().expect("planned");
    assert_eq!(*cause, Cause::Parked);
}

/// A zone that has been gone for an hour must not make a second crash wait again, and gets its
/// partitions back when it returns.
#[test]
fn what_spilled_over_does_not_wait_again_and_goes_back() {
    let mut world = labelled(Rule::Zone, &["a", "b", "b"], Mode::Exclusive);
    world.nodes[0].cut_off = true;
    world.run(secs(60));
    assert_eq!((held(&world).len(), parked(&world)), (9, 0));
    let record = stored(&world).expect("the count goes on");
    assert_eq!((record.groups.len(), record.groups[0].count), (1, 0));
    let victim = follower(&world);
    world.nodes[victim].cut_off = true;
    let repaired = spilled_at(&mut world, secs(60));
    assert!(repaired < GRACE, "{repaired:?}");
    let back = join(&mut world, "a", 9, Mode::Exclusive);
    // Nothing is parked, so it is a join like any other.
    world.run(secs(180));
    assert_eq!(world.nodes[back].held.len(), 9, "its zone is back");
    assert_eq!(stored(&world), None);
}

/// Somebody else's hand on the record must not make the group forget what waits, or since when.
#[test]
fn a_record_that_was_spoiled_is_written_again() {
    for spoil in [
        |world: &mut World| world.plant(&parked_key(), b"?"),
        |world: &mut World| world.erase(&parked_key()),
    ] {
        let mut world = pools(&["a", "a"]);
        let groups = stored(&world).expect("stored").groups;
        spoil(&mut world);
        world.run(secs(30));
        assert_eq!(stored(&world).expect("written again").groups, groups);
        assert_eq!((held(&world), parked(&world)), (names(EVEN), 4));
    }
}

/// A later leader must not go on without the record, as if nothing waited.
#[test]
fn a_record_that_is_missing_for_a_new_leader_is_made_again() {
    let mut world = pools(&["a", "a"]);
    let leads = leader(&world);
    world.nodes[leads].cut_off = true;
    world.erase(&parked_key());
    world.run(secs(30));
    assert_eq!(parked(&world), 4);
    assert_eq!(stored(&world).expect("made again").groups[0].count, 4);
    assert_eq!(held(&world), names(EVEN));
}

/// A reader of `head` alone must be able to say what has no owner, and since when.
#[test]
fn head_says_how_many_are_parked_and_since_when() {
    let world = pools(&["a"]);
    let head = head(&world);
    let since_ms = stored(&world).expect("stored").groups[0].since_ms;
    assert_eq!(head.parked, Parked { count: 4, since_ms });
    assert_eq!(world.nodes[0].core.status().group.parked, head.parked);
    assert_eq!(counts(&world), [5]);
}

/// A plan that placed what was parked, while nothing could be granted yet, was adopted without being
/// written: `head` said ever after that it was parked.
#[test]
fn a_plan_that_only_unparks_is_written() {
    let mut world = pools(&["a", "a"]);
    world.run(secs(10));
    assert_eq!((held(&world), parked(&world)), (names(EVEN), 4));
    let leaving = leader(&world);
    let next = 1 - leaving;
    let (own, before) = (counts(&world)[next], head(&world).planned);
    let mode = StopMode::Restart { hold: secs(60) };
    world.tell(leaving, Event::Stop { mode });
    // Somebody who was ended alive may still hold anything: for a lease nothing new is granted.
    let worker = world.nodes[next].core.status().worker.expect("id");
    let value = world.entries[&session_key(&worker)].value.clone();
    let Some(Ok(Record::Session(mut ended))) = value.as_deref().map(wire::decode) else {
        panic!("not a session")
    };
    (ended.write.nonce, ended.epoch) = (Nonce::new(99), Epoch::ZERO);
    ended.status = SessionStatus::Evicted { silent: false };
    ended.lease = secs(30);
    let key = session_key(&WorkerId::numbered("worker", 9).expect("valid"));
    world.plant(&key, &wire::encode_as(1, &Record::Session(ended)));
    // The next leader has a rule that lets anybody own everything.
    world.rule = None;
    let plans = world.plans.len();
    world.run(secs(10));
    assert_eq!(leader(&world), next);
    let head = head(&world);
    assert!(head.planned > before, "the plan is written");
    assert_eq!((head.parked.count, stored(&world)), (0, None));
    assert_eq!(counts(&world)[next], own, "and grants nothing yet");
    assert_eq!(world.plans.len(), plans + 1, "it is made once");
    world.run(secs(40));
    assert!(counts(&world)[next] > own, "then it does");
    assert_eq!(world.nodes[next].core.status().group.parked.count, 0);
}
