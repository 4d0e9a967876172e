//! Pins, moves and evictions that operators order.

use super::{about, asked, cancel, is_there, order, triggers};
use crate::core::tests::world::World;
use crate::core::tests::{counts, group, leader, secs};
use crate::model::id::WorkerId;
use crate::model::partition::PartitionKey;
use crate::model::state::State;
use crate::records::keys::{assignment_key, control_key, session_key};
use crate::records::record::{Control, Pin, Record, SessionStatus, Verb};
use crate::records::wire;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// Orders `p-0` and so on at workers.
fn pin(world: &mut World, pins: &[(&str, &str, bool, Option<Duration>)]) {
    let pins = pins.iter().map(|&(partition, worker, once, lasts)| Pin {
        partition: PartitionKey::new([partition]).expect("valid"),
        worker: about(worker),
        once,
        author: "alice".to_string(),
        reason: String::new(),
        since_ms: None,
        lasts,
    });
    let record = Record::Control(Control {
        write: crate::core::tests::solo::FOREIGN,
        author: "alice".to_string(),
        reason: String::new(),
        lasts: None,
        pins: pins.collect(),
    });
    world.plant(
        &control_key(Verb::Pin, &about(Verb::GROUP)),
        &wire::encode(&record),
    );
}

fn stored_pins(world: &World) -> Vec<Pin> {
    let key = control_key(Verb::Pin, &about(Verb::GROUP));
    let value = world
        .entries
        .get(&key)
        .and_then(|entry| entry.value.as_deref());
    match value.map(wire::decode) {
        Some(Ok(Record::Control(control))) => control.pins,
        _ => Vec::new(),
    }
}

/// The worker that was granted a partition.
fn owner(world: &World, partition: &str) -> String {
    let key = PartitionKey::new([partition]).expect("valid");
    let workers = (0..9).map(|number| alloc::format!("worker-{number}"));
    let owners = workers.filter(|worker| {
        let entry = world.entries.get(&assignment_key(&about(worker)));
        match entry
            .and_then(|entry| entry.value.as_deref())
            .map(wire::decode)
        {
            Some(Ok(Record::Assignment(record))) => {
                record.granted.iter().any(|g| g.partition == key)
            }
            _ => false,
        }
    });
    let owners: Vec<String> = owners.collect();
    owners.join(" and ")
}

fn other_than<'a>(owner: &str) -> &'a str {
    ["worker-0", "worker-1"]
        .into_iter()
        .find(|name| *name != owner)
        .expect("one of them")
}

/// One partition needs the machine with the large disk: it goes there and stays, through joins and losses.
#[test]
fn a_pinned_partition_goes_to_its_worker_and_stays_through_later_plans() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let to = other_than(&owner(&world, "p-0"));
    pin(&mut world, &[("p-0", to, false, Some(secs(400)))]);
    world.run(secs(5));
    assert_eq!(owner(&world, "p-0"), to);
    let plans = world.plans.len();
    world.run(secs(60));
    assert_eq!(
        world.plans.len(),
        plans,
        "planned once, not again and again"
    );
    world.start(|builder| builder.expected_workers(3));
    world.run(secs(100));
    assert_eq!(owner(&world, "p-0"), to);
    assert_eq!(counts(&world).iter().sum::<usize>(), 12);
    world.run(secs(300));
    assert_eq!(stored_pins(&world), [], "over by the store's time");
    assert!(!is_there(&world, Verb::Pin, Verb::GROUP));
}

/// A move that stayed in force would fight every later plan.
#[test]
fn a_move_is_gone_in_the_generation_that_carries_it_out() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let to = other_than(&owner(&world, "p-0"));
    let pinned = owner(&world, "p-1");
    let both = [
        ("p-0", to, true, None),
        ("p-1", &*pinned, false, Some(secs(600))),
    ];
    pin(&mut world, &both);
    world.run(secs(5));
    assert_eq!(owner(&world, "p-0"), to);
    let left = stored_pins(&world);
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].since_ms.is_some() && left[0].partition.to_string() == "p-1");
    let plans = world.plans.len();
    world.run(secs(120));
    assert_eq!(world.plans.len(), plans, "nothing asks for a plan");
    assert_eq!(
        owner(&world, "p-0"),
        to,
        "it stays until a plan says otherwise"
    );
}

/// An operator read nothing, and waited for a move that could not be.
#[test]
fn a_pin_that_cannot_be_obeyed_moves_nothing_and_says_why() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let before = owner(&world, "p-0");
    let to = other_than(&before);
    order(&mut world, Verb::Cordon, to, None);
    pin(
        &mut world,
        &[
            ("p-0", to, false, None),
            ("p-9", "worker-7", true, None),
            ("q", to, false, None),
        ],
    );
    world.run(secs(5));
    assert_eq!(owner(&world, "p-0"), before);
    let said = triggers(&world).join("; ");
    for expected in [
        alloc::format!("pin of p-0 to {to} is not obeyed: {to} is drained or cordoned"),
        "move of p-9 to worker-7 is not obeyed: worker-7 is not there".to_string(),
        "pin of q to".to_string(),
    ] {
        assert!(said.contains(&expected), "{expected}: {said}");
    }
    cancel(&mut world, Verb::Cordon, to);
    world.run(secs(5));
    assert_eq!(owner(&world, "p-0"), to, "nothing is in its way any more");
}

/// A next leader knows nothing of what the last one was on the way to.
#[test]
fn a_move_outlasts_its_leader() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let leads = leader(&world);
    let owners: Vec<String> = (0..12)
        .map(|i| owner(&world, &alloc::format!("p-{i}")))
        .collect();
    let to = alloc::format!("worker-{}", (leads + 1) % 3);
    let from = alloc::format!("worker-{}", (leads + 2) % 3);
    let moved = owners
        .iter()
        .position(|owner| *owner == from)
        .expect("it has some");
    let moved = alloc::format!("p-{moved}");
    world.nodes[leads].cut_off = true;
    pin(&mut world, &[(&moved, &to, true, None)]);
    world.run(secs(90));
    assert_ne!(leader(&world), leads);
    assert_eq!((owner(&world, &moved), stored_pins(&world).len()), (to, 0));
}

fn status(world: &World, worker: &WorkerId) -> Option<SessionStatus> {
    let entry = world.entries.get(&session_key(worker))?;
    match wire::decode(entry.value.as_deref()?) {
        Ok(Record::Session(session)) => Some(session.status),
        _ => None,
    }
}

/// A worker that does harm is to lose what it has, and to get nothing with its next session either.
#[test]
fn an_evicted_worker_loses_its_session_once_and_gets_nothing_until_that_is_over() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let other = (leader(&world) + 1) % 3;
    let name = alloc::format!("worker-{other}");
    order(&mut world, Verb::Evict, &name, Some(secs(100)));
    world.run(secs(30));
    assert_eq!(world.evictions.len(), 1, "{:?}", world.evictions);
    assert_eq!(world.evictions[0].1, about(&name));
    assert_eq!(counts(&world)[other], 0);
    assert_eq!(counts(&world).iter().sum::<usize>(), 12);
    assert_eq!(
        status(&world, &about(&name)),
        Some(SessionStatus::Active),
        "it is back"
    );
    world.run(secs(60));
    assert_eq!((counts(&world)[other], world.evictions.len()), (0, 1));
    let state = world.nodes[other].core.status().state;
    assert_eq!(state, State::Stable, "and waits for nothing");
    world.run(secs(300));
    assert_eq!(counts(&world), [4, 4, 4], "it is over");
    assert!(!is_there(&world, Verb::Evict, &name));
}

/// It would judge itself: it lets another one lead, and that one ends its session.
#[test]
fn a_leader_that_is_to_be_evicted_resigns_first_and_the_last_worker_is_not_evicted() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let leads = leader(&world);
    order(
        &mut world,
        Verb::Evict,
        &alloc::format!("worker-{leads}"),
        None,
    );
    world.run(secs(60));
    assert_ne!(leader(&world), leads);
    assert_eq!(counts(&world)[leads], 0);
    assert_eq!(world.evictions.len(), 1);

    let mut world = World::new(12);
    group(&mut world, 1);
    order(&mut world, Verb::Evict, "worker-0", None);
    world.run(secs(60));
    assert_eq!((counts(&world), world.evictions.len()), ([12].into(), 0));
    assert_eq!(leader(&world), 0);
}

/// A leader that nobody can follow resigned every few seconds, as long as the order held.
#[test]
fn a_leader_that_is_to_be_evicted_leads_on_if_nobody_else_can() {
    let mut world = World::new(12);
    group(&mut world, 2);
    let leads = leader(&world);
    // Its lease runs on, so that it seems to be there.
    world.nodes[1 - leads].cut_off = true;
    let name = alloc::format!("worker-{leads}");
    order(&mut world, Verb::Evict, &name, None);
    world.run(secs(120));
    assert_eq!(asked(&world), 1);
    assert_eq!((leader(&world), world.nodes[leads].held.len()), (leads, 12));
}
