//! Workers that do not answer, in a group whose sinks compare tokens.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{ConfigBuilder, Mode};
use crate::core::tests::mixed::agreement::head;
use crate::core::tests::planted::with;
use crate::core::tests::store::silent_watch::leader;
use crate::core::tests::world::World;
use crate::io::event::{Event, StopMode};
use crate::io::grant::Grant;
use crate::io::notice::{Notice, StepDownReason};
use crate::planted::Planted;
use crate::ports::liveness::ProbeAnswer;
use crate::records::record::Record;
use crate::records::wire;

const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

pub(crate) fn fenced(builder: ConfigBuilder) -> ConfigBuilder {
    let builder = builder.mode(Mode::Fenced).sinks_compare_tokens(true);
    builder.expected_workers(5).probe_interval(millis(25))
}

/// Five workers that share twenty partitions.
fn group() -> World {
    group_with(None)
}

/// The same, all with the bug or none.
pub(crate) fn group_with(bug: Option<Planted>) -> World {
    let mut world = World::new(20);
    world.answering = true;
    for _ in 0..5 {
        world.start(|builder| fenced(with(bug)(builder)));
    }
    world.run(Duration::from_secs(30));
    world.run(millis(700));
    assert_eq!(head(&world).agreed.holds, Mode::Fenced);
    assert_eq!(held(&world, 5), 20);
    world
}

/// How many partitions are held by those that run.
fn held(world: &World, without: usize) -> usize {
    let nodes = world.nodes.iter().enumerate();
    let others = nodes.filter(|(index, _)| *index != without);
    others.map(|(_, node)| node.held.len()).sum()
}

/// How long until everything is held again by the others.
fn repaired_after(world: &mut World, without: usize, within: Duration) -> Option<Duration> {
    let began = world.now;
    while world.now.since(began) < within {
        world.run(millis(1));
        if held(world, without) == 20 {
            return Some(world.now.since(began));
        }
    }
    None
}

/// What the generations in the bucket were made for.
fn triggers(world: &World) -> Vec<String> {
    let values = world
        .entries
        .values()
        .filter_map(|entry| entry.value.as_ref());
    let records = values.filter_map(|value| wire::decode(value).ok());
    let mut triggers = Vec::new();
    for record in records {
        if let Record::Audit(audit) = record {
            triggers.extend(audit.triggers);
        }
    }
    triggers
}

/// After a crash partitions had no owner for the rest of a lease.
#[test]
fn the_partitions_of_a_killed_follower_are_owned_again_within_the_probe_interval() {
    let mut world = group();
    let victim = (leader(&world) + 1) % 5;
    let tokens = world.nodes[victim].held.clone();
    world.kill(victim);
    let after = repaired_after(&mut world, victim, Duration::from_secs(10)).expect("repaired");
    assert!(after <= millis(25 + 7 + 10), "{after:?}");
    let name = world.nodes[victim].core.status().worker.expect("named");
    assert!(triggers(&world).contains(&format!("suspected {name}")));
    let owned = world.nodes.iter().enumerate();
    let owned = owned.filter(|(index, _)| *index != victim);
    for (key, token) in owned.flat_map(|(_, node)| &node.held) {
        assert!(tokens.get(key).is_none_or(|before| before < token));
    }
}

/// The leader is the one whose crash costs most: nobody is left to decide.
#[test]
fn the_partitions_of_a_killed_leader_are_owned_again_soon_after() {
    let mut world = group();
    let victim = leader(&world);
    world.kill(victim);
    let after = repaired_after(&mut world, victim, Duration::from_secs(10)).expect("repaired");
    assert!(after <= millis(25 + 7 + 50 + 30), "{after:?}");
}

/// A stopped process was found only when its lease was over.
#[test]
fn the_partitions_of_a_stopped_follower_are_owned_again_after_its_time() {
    let mut world = group();
    let victim = (leader(&world) + 1) % 5;
    world.nodes[victim].cut_off = true;
    let after = repaired_after(&mut world, victim, Duration::from_secs(10)).expect("repaired");
    assert!(
        after >= millis(160) && after <= millis(200 + 40),
        "{after:?}"
    );
    // It comes back by itself, to its slot, with nothing of before.
    let name = world.nodes[victim].core.status().worker.clone();
    world.resume(victim);
    world.run(Duration::from_secs(30));
    let status = world.nodes[victim].core.status();
    assert_eq!(status.worker, name);
    assert_eq!(held(&world, 5), 20);
    assert!(!world.nodes[victim].held.is_empty());
}

/// A leader that reached nobody took everything from everybody.
#[test]
fn a_leader_that_reaches_nobody_steps_down_and_evicts_nobody() {
    let mut world = group();
    let isolated = leader(&world);
    let before = world.evictions.len();
    world.nodes[isolated].told = Some(ProbeAnswer::Nobody);
    world.run(millis(3_000));
    world.nodes[isolated].told = None;
    world.run(Duration::from_secs(60));
    assert_eq!(world.evictions.len(), before);
    assert_eq!(held(&world, 5), 20);
}

/// A leader that still reaches itself, and nobody else, cannot repair anything: another one can.
#[test]
fn a_leader_that_reaches_only_itself_steps_down_once_and_leases_decide() {
    let mut world = group();
    let isolated = leader(&world);
    let before = world.evictions.len();
    world.nodes[isolated].told_of_others = Some(ProbeAnswer::Nobody);
    world.run(Duration::from_secs(60));
    assert_eq!(world.evictions.len(), before);
    assert!(head(&world).carried.leases_decide > Duration::ZERO);
    let reason = |notice: &&Notice| {
        let isolated = StepDownReason::Isolated;
        matches!(notice, Notice::LeadershipLost { reason, .. } if *reason == isolated)
    };
    assert_eq!(
        world.nodes[isolated].notices.iter().filter(reason).count(),
        1
    );
}

/// Where one worker relies on exclusive ownership, nobody may be suspected into losing his.
#[test]
fn beside_an_exclusive_worker_leases_decide() {
    let mut world = World::new(20);
    world.answering = true;
    let strict = |builder: ConfigBuilder| {
        let builder = builder.expected_workers(5).probe_interval(millis(25));
        builder.rolling_from(Mode::Fenced)
    };
    let loose = |builder: ConfigBuilder| fenced(builder).rolling_from(Mode::Exclusive);
    world.start(strict);
    for _ in 0..4 {
        world.start(loose);
    }
    world.run(Duration::from_secs(30));
    assert_eq!(head(&world).agreed.holds, Mode::Exclusive);
    let victim = (leader(&world) + 1) % 5;
    world.kill(victim);
    let after = repaired_after(&mut world, victim, Duration::from_secs(20)).expect("repaired");
    assert!(after > Duration::from_secs(3), "{after:?}");
}

/// A worker with a broken way back lost its partitions again and again.
#[test]
fn a_healthy_worker_that_seems_gone_is_evicted_once_in_a_long_while() {
    let mut world = group();
    let victim = (leader(&world) + 1) % 5;
    let name = world.nodes[victim]
        .core
        .status()
        .worker
        .clone()
        .expect("named");
    let began = world.now;
    // It answers nobody although it runs.
    while world.now.since(began) < Duration::from_secs(110) {
        world.nodes[victim].answers_for = None;
        world.run(millis(10));
    }
    let times = world
        .evictions
        .iter()
        .filter(|(_, who)| *who == name)
        .count();
    assert!((1..=2).contains(&times), "{:?}", world.evictions);
    let lost = |notice: &&Notice| matches!(notice, Notice::StartFailed(_));
    assert_eq!(world.nodes[victim].notices.iter().filter(lost).count(), 0);
}

/// A worker that was suspected and is back, with callbacks that still run, kept everybody's handoffs waiting.
#[test]
fn a_suspected_worker_that_is_back_holds_up_no_handoff_of_others() {
    let mut world = group();
    let leading = leader(&world);
    let (victim, leaving) = ((leading + 1) % 5, (leading + 2) % 5);
    world.nodes[victim].slow = true;
    world.nodes[victim].cut_off = true;
    world.run(millis(500));
    world.resume(victim);
    world.run(millis(100));
    let mode = StopMode::Handoff;
    world.tell(leaving, Event::Stop { mode });
    world.run(millis(500));
    assert!(world.nodes[leaving].held.is_empty());
    let back = &world.nodes[victim];
    assert!(!back.kept_back.is_empty(), "its callbacks still run");
    let old: Vec<Grant> = back.kept_back.clone();
    let newly = back
        .held
        .values()
        .filter(|token| old.iter().all(|grant| grant.token != **token));
    let newly = newly.count();
    let others = (0..5).filter(|&node| node != victim);
    let owned: usize = others.map(|node| world.nodes[node].held.len()).sum();
    // What it is to have again itself waits for its own callbacks, and nothing else.
    assert!(owned + newly >= 19, "{owned} and {newly}");
    world.let_go(victim);
    world.run(millis(500));
    assert_eq!(held(&world, 5), 20);
}

/// The crash of one of the first pods gave everything to the other two, long before the rest had started.
#[test]
fn a_group_that_gathers_evicts_nobody_on_a_suspicion() {
    let mut world = World::new(20);
    world.answering = true;
    for _ in 0..3 {
        world.start(fenced);
    }
    world.run(millis(1_000));
    let victim = (leader(&world) + 1) % 3;
    world.kill(victim);
    world.run(millis(1_000));
    assert!(world.evictions.is_empty());
    assert_eq!(held(&world, 5), 0);
}
