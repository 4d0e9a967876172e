//! Orders of operators: obeyed by any leader, for as long as they last, and gone then.

mod pins;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::world::World;
use crate::core::tests::{counts, group, leader, secs};
use crate::io::notice::{Notice, StepDownReason};
use crate::model::id::WorkerId;
use crate::records::keys::control_key;
use crate::records::record::{Control, Record, Verb};
use crate::records::wire;

fn about(name: &str) -> WorkerId {
    WorkerId::new(name).expect("valid")
}

fn order(world: &mut World, verb: Verb, name: &str, lasts: Option<Duration>) {
    let record = Record::Control(Control {
        write: crate::core::tests::solo::FOREIGN,
        author: "alice".to_string(),
        reason: "disk".to_string(),
        lasts,
        pins: Vec::new(),
    });
    world.plant(&control_key(verb, &about(name)), &wire::encode(&record));
}

fn cancel(world: &mut World, verb: Verb, name: &str) {
    world.erase(&control_key(verb, &about(name)));
}

/// What the audit says led to the generations.
fn triggers(world: &World) -> Vec<String> {
    let entries =
        world
            .entries
            .values()
            .filter_map(|entry| match wire::decode(entry.value.as_deref()?) {
                Ok(Record::Audit(audit)) => Some(audit.triggers),
                Ok(_) | Err(_) => None,
            });
    entries.flatten().collect()
}

fn is_there(world: &World, verb: Verb, name: &str) -> bool {
    let entry = world.entries.get(&control_key(verb, &about(name)));
    entry.is_some_and(|entry| entry.value.is_some())
}

/// Before a maintenance a worker is to be empty and to stay a member; forgotten orders end by themselves.
#[test]
fn a_drained_worker_ends_with_nothing_stays_and_gets_its_share_back_when_that_is_over() {
    let mut world = World::new(12);
    group(&mut world, 3);
    assert_eq!(counts(&world), [4, 4, 4]);
    order(&mut world, Verb::Drain, "worker-1", Some(secs(60)));
    world.run(secs(5));
    assert_eq!(counts(&world), [6, 0, 6]);
    let said = triggers(&world).join("; ");
    assert!(said.contains("drain of worker-1 by alice (disk)"), "{said}");
    let plans = world.plans.len();
    world.run(secs(50));
    assert_eq!(counts(&world), [6, 0, 6]);
    assert_eq!(
        world.plans.len(),
        plans,
        "planned once, not again and again"
    );
    world.run(secs(15));
    assert_eq!(counts(&world), [4, 4, 4]);
    assert!(!is_there(&world, Verb::Drain, "worker-1"));
    assert!(
        triggers(&world)
            .join("; ")
            .contains("drain of worker-1 is over")
    );
}

/// With each leader the time of an order began again, and a group whose leaders change kept it for ever.
#[test]
fn an_order_outlasts_its_leader_and_is_over_when_it_was_to_be() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let leads = leader(&world);
    let other = (leads + 1) % 3;
    let name = alloc::format!("worker-{other}");
    order(&mut world, Verb::Drain, &name, Some(secs(100)));
    world.run(secs(5));
    assert_eq!(counts(&world)[other], 0);
    world.nodes[leads].cut_off = true;
    world.run(secs(60));
    assert_ne!(leader(&world), leads);
    assert_eq!(counts(&world)[other], 0, "the next leader obeys it");
    world.run(secs(20));
    assert_eq!(counts(&world)[other], 0);
    world.run(secs(25));
    assert_eq!(counts(&world)[other], 6, "100 s after it was given");
    assert!(!is_there(&world, Verb::Drain, &name));
}

/// A worker that is looked at by hand is to get nothing more, and not to lose what it works on.
#[test]
fn a_cordoned_worker_keeps_what_it_has_and_gets_nothing_new() {
    let mut world = World::new(12);
    group(&mut world, 3);
    order(&mut world, Verb::Cordon, "worker-1", None);
    world.run(secs(5));
    assert_eq!(counts(&world), [4, 4, 4]);
    let plans = world.plans.len();
    world.nodes[2].cut_off = true;
    world.run(secs(90));
    let held = counts(&world);
    assert_eq!((held[0], held[1]), (8, 4));
    assert!(world.plans.len() <= plans + 2, "{:?}", world.plans);
    cancel(&mut world, Verb::Cordon, "worker-1");
    world.run(secs(30));
    let held = counts(&world);
    assert_eq!((held[0], held[1]), (6, 6), "it takes its share again");
}

/// During a release nothing is to move that works, and what dies is to be taken over all the same.
#[test]
fn a_freeze_lets_a_joiner_wait_and_losses_be_repaired() {
    let mut world = World::new(12);
    group(&mut world, 3);
    order(&mut world, Verb::Freeze, Verb::GROUP, None);
    world.start(|builder| builder.expected_workers(3));
    world.run(secs(300));
    assert_eq!(counts(&world), [4, 4, 4, 0]);
    let lost = (leader(&world) + 1) % 3;
    world.nodes[lost].cut_off = true;
    world.run(secs(90));
    let held: usize = (0..4)
        .filter(|&node| node != lost)
        .map(|node| world.nodes[node].held.len())
        .sum();
    assert_eq!(held, 12, "the dead one's partitions have owners");
    cancel(&mut world, Verb::Freeze, Verb::GROUP);
    world.run(secs(300));
    let mut held = counts(&world);
    held.remove(lost);
    assert_eq!(held, [4, 4, 4]);
}

/// An operator who drains the last worker by mistake must not stop the work, and must read why.
#[test]
fn orders_that_leave_nobody_are_not_obeyed_and_the_audit_says_so() {
    let mut world = World::new(12);
    group(&mut world, 2);
    order(&mut world, Verb::Drain, "worker-0", None);
    order(&mut world, Verb::Drain, "worker-1", None);
    world.run(secs(30));
    assert_eq!(counts(&world).iter().sum::<usize>(), 12);
    order(&mut world, Verb::Drain, "worker-7", None);
    world.run(secs(5));
    assert_eq!(
        counts(&world).iter().sum::<usize>(),
        12,
        "nobody of the name"
    );
    world.start(|builder| builder.expected_workers(2));
    world.run(secs(300));
    assert_eq!(counts(&world), [0, 0, 12], "now there is somebody");
}

/// A record of a later release, or a damaged one, must not be taken for an order, and not be deleted.
#[test]
fn what_is_no_order_is_left_alone() {
    let mut world = World::new(12);
    group(&mut world, 3);
    world.plant("ctl.drain.worker-1", b"damaged");
    world.plant("ctl.quiesce.worker-1", b"of a later release");
    world.run(secs(300));
    assert_eq!(counts(&world), [4, 4, 4]);
    for key in ["ctl.drain.worker-1", "ctl.quiesce.worker-1"] {
        assert!(world.entries[key].value.is_some(), "{key}");
    }
}

fn asked(world: &World) -> usize {
    let reason = StepDownReason::Asked;
    let lost = |n: &&Notice| matches!(n, Notice::LeadershipLost { reason: r, .. } if *r == reason);
    let notices = world.nodes.iter().flat_map(|node| &node.notices);
    notices.filter(lost).count()
}

/// A machine that leads is to be serviced: somebody else leads before, and no partition moves for it.
#[test]
fn a_leader_that_is_asked_to_step_down_lets_another_lead_once_and_nothing_moves() {
    let mut world = World::new(12);
    group(&mut world, 3);
    let (before, held) = (leader(&world), counts(&world));
    order(&mut world, Verb::StepDown, "cli-alice", None);
    world.run(secs(60));
    assert_ne!(leader(&world), before);
    assert_eq!((counts(&world), asked(&world)), (held, 1));
    assert!(!is_there(&world, Verb::StepDown, "cli-alice"), "it is done");
    // Two that ask are asked for one thing.
    order(&mut world, Verb::StepDown, "cli-alice", None);
    order(&mut world, Verb::StepDown, "cli-bob", None);
    world.run(secs(60));
    assert!((2..=3).contains(&asked(&world)), "{}", asked(&world));
    assert_eq!(counts(&world).iter().sum::<usize>(), 12);
}

/// A group of one must not be left without a leader.
#[test]
fn a_leader_that_is_alone_leads_again_after_a_while() {
    let mut world = World::new(12);
    group(&mut world, 1);
    order(&mut world, Verb::StepDown, "cli-alice", None);
    world.run(Duration::from_millis(100));
    assert_eq!(asked(&world), 1);
    world.run(secs(30));
    assert_eq!((leader(&world), asked(&world)), (0, 1));
    assert_eq!(counts(&world), [12]);
}
