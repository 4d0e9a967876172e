//! Buckets that are deleted, created again, wiped or rolled back under a running group.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{ConfigBuilder, OnBucketLost};
use crate::core::tests::world::World;
use crate::core::tests::{counts, expecting, group, leader, secs};
use crate::io::effect::RevokeCause;
use crate::io::event::{Event, StopMode};
use crate::io::notice::{HistoryLoss, Notice, StartError};
use crate::model::id::{Epoch, Nonce, Revision, Token, Version};
use crate::model::partition::PartitionKey;
use crate::model::state::State;
use crate::model::time::Instant;
use crate::records::record::{Record, SessionRecord};
use crate::records::wire;

impl World {
    /// The bucket is deleted and created again at this moment. Watches say nothing about it.
    fn recreate(&mut self) {
        self.created += 1;
        self.age = Duration::ZERO;
        self.last = Revision::ZERO;
        self.entries.clear();
        self.log.clear();
    }

    /// Every key vanishes, revisions go on.
    fn wipe(&mut self) {
        self.entries.clear();
    }

    /// Every write after a revision is lost.
    fn roll_back(&mut self, to: Revision) {
        self.log.retain(|entry| entry.revision <= to);
        self.last = to;
        self.entries.clear();
        for entry in &self.log {
            self.entries.insert(entry.key.clone(), entry.clone());
        }
    }

    fn losses(&self, node: usize) -> Vec<&HistoryLoss> {
        let notices = self.nodes[node].notices.iter();
        let losses = notices.filter_map(|notice| {
            let Notice::HistoryLost { loss, .. } = notice else {
                return None;
            };
            Some(loss)
        });
        losses.collect()
    }

    /// The tokens of all that is held; nothing may be held twice.
    fn tokens(&self) -> BTreeMap<PartitionKey, Token> {
        let mut tokens = BTreeMap::new();
        for node in &self.nodes {
            for (partition, &token) in &node.held {
                let before = tokens.insert(partition.clone(), token);
                assert_eq!(before, None, "{partition} is held twice at {}", self.now);
            }
        }
        tokens
    }

    /// Lets the group settle again; when the first partition was granted, and the tokens then. As long
    /// as a process is cut off it holds validly up to its deadline.
    fn settle_again(&mut self, before: &BTreeMap<PartitionKey, Token>) -> Instant {
        let mut first = None;
        for _ in 0..1_200 {
            self.run(Duration::from_millis(100));
            let now = self.now;
            let valid = |node: &&crate::core::tests::world::Node| {
                !node.cut_off || node.core.deadline().is_some_and(|at| now < at)
            };
            let mut held = BTreeMap::new();
            for node in self.nodes.iter().filter(valid) {
                for (partition, &token) in &node.held {
                    let other = held.insert(partition.clone(), token);
                    assert_eq!(other, None, "{partition} is held twice at {now}");
                    if token > before[partition] {
                        first.get_or_insert(now);
                    } else {
                        assert_eq!(token, before[partition], "the token of {partition} fell");
                    }
                }
            }
        }
        let after = self.tokens();
        assert_eq!(after.len(), before.len(), "everything is owned again");
        for (partition, token) in &after {
            assert!(token > &before[partition], "{partition} keeps an old token");
        }
        first.expect("something was granted")
    }
}

/// The session of a node as the store has it, and its key.
fn stored_session(world: &World, node: usize) -> (String, SessionRecord) {
    let id = world.nodes[node].core.status().worker;
    let key = alloc::format!("w.{}", id.expect("holds an ID"));
    let value = world.entries[&key].value.as_deref().expect("a session");
    let Ok(Record::Session(session)) = wire::decode(value) else {
        panic!("a session");
    };
    (key, session)
}

/// A group of three that has run for a while, and what it holds.
fn running() -> (World, BTreeMap<PartitionKey, Token>) {
    let mut world = World::new(9);
    group(&mut world, 3);
    world.run(secs(31));
    assert_eq!(counts(&world), [3, 3, 3]);
    let before = world.tokens();
    (world, before)
}

/// The watch of a bucket that was created again is silent: the next renewal must find it out, and
/// nothing may be granted while a lease of the old bucket can be valid.
#[test]
fn a_recreated_bucket_is_noticed_at_the_next_renewal_and_quarantined_for_a_lease() {
    let (mut world, before) = running();
    world.recreate();
    let lost = world.now;
    world.run(secs(3));
    for node in 0..3 {
        let losses = world.losses(node);
        assert!(
            matches!(losses[..], [HistoryLoss::Recreated { .. }]),
            "{losses:?}"
        );
        assert!(world.nodes[node].held.is_empty(), "given up at once");
        let revoked = &world.nodes[node].revoked;
        assert!(
            revoked
                .iter()
                .all(|(_, cause)| *cause == RevokeCause::IdentityLost)
        );
        assert_eq!(world.nodes[node].core.status().state, State::Degraded);
    }
    assert!(world.entries.is_empty(), "nothing is written in quarantine");
    let first = world.settle_again(&before);
    assert!(first.since(lost) >= secs(6), "{:?}", first.since(lost));
    assert!(first.since(lost) < secs(20), "{:?}", first.since(lost));
    for (number, node) in world.nodes.iter().enumerate() {
        let status = node.core.status();
        assert_eq!(status.state, State::Stable);
        let worker = status.worker.expect("holds an ID");
        assert_eq!(
            worker.as_str(),
            alloc::format!("worker-{number}"),
            "its old slot"
        );
    }
}

/// A copy that lags a whole minute shows what a rollback shows; it must not end a group.
#[test]
fn lagging_reads_are_not_a_rollback() {
    let (mut world, before) = running();
    for _ in 0..20 {
        world.lag = Some(20);
        world.run(secs(7));
        for node in 0..3 {
            world.lose_watches(node);
        }
    }
    world.lag = None;
    world.run(secs(120));
    assert_eq!(world.tokens(), before);
    assert!((0..3).all(|node| world.losses(node).is_empty()));
}

/// What was acknowledged is gone, the bucket still has its old creation time: tokens must rise above
/// those that only workers know.
#[test]
fn tokens_rise_across_a_rollback_that_lost_the_newest_generations() {
    for lost_writes in [2, 10, 40] {
        let (mut world, _) = running();
        world.start(expecting(4));
        world.run(secs(20));
        let before = world.tokens();
        let to = Revision::new(world.last.get() - lost_writes);
        world.roll_back(to);
        world.run(secs(3));
        let noticed = (0..4).filter(|&node| !world.losses(node).is_empty());
        assert!(noticed.count() > 0, "after {lost_writes} writes");
        let first = world.settle_again(&before);
        assert!(first.since_origin() > secs(57));
    }
}

/// In a history that was rolled back another process can claim the same slot with the same epoch: what is
/// granted to it, with its token, must not be taken in by the former holder as well.
#[test]
fn a_slot_that_was_claimed_again_at_an_own_revision_proves_the_loss_at_once() {
    let (mut world, _) = running();
    let follower = 1 - leader(&world).min(1);
    let (key, mut session) = stored_session(&world, follower);
    world.run(Duration::from_millis(1));
    assert!(world.losses(follower).is_empty());
    world.roll_back(Revision::new(session.epoch.get() - 1));
    session.write.nonce = Nonce::new(session.write.nonce.get() ^ 1);
    session.epoch = Epoch::ZERO;
    world.plant(&key, &wire::encode(&Record::Session(session)));
    world.run(Duration::from_millis(1));
    let losses = world.losses(follower);
    assert!(
        matches!(losses[..], [HistoryLoss::Vanished { key: lost, .. }] if *lost == key),
        "{losses:?}"
    );
}

/// A stream that is purged keeps its age and its revisions: only the missing keys tell.
#[test]
fn a_wiped_bucket_is_noticed_by_what_is_missing() {
    let (mut world, before) = running();
    world.wipe();
    let lost = world.now;
    let first = world.settle_again(&before);
    assert!(first.since(lost) >= secs(6));
    assert!(matches!(
        world.losses(0)[..],
        [HistoryLoss::Vanished { .. }]
    ));
}

/// A bucket that is deleted stays away unless the group makes a new one, once the quarantine is over.
#[test]
fn a_deleted_bucket_is_created_by_the_group_after_its_quarantine() {
    let (mut world, before) = running();
    world.recreate();
    world.missing = true;
    for node in 0..3 {
        world.lose_watches(node);
    }
    world.run(secs(5));
    assert!(world.missing, "nobody creates anything in quarantine");
    assert!((0..3).all(|node| world.losses(node) == [&HistoryLoss::Missing]));
    world.settle_again(&before);
    assert!(!world.missing);
}

/// Some want to look before anything is written again.
#[test]
fn with_halt_everything_is_given_up_and_the_process_stops_with_the_reason() {
    let mut world = World::new(6);
    for _ in 0..2 {
        world.start(|builder| {
            builder
                .expected_workers(2)
                .on_bucket_lost(OnBucketLost::Halt)
        });
    }
    world.run(secs(20));
    world.recreate();
    world.missing = true;
    for node in 0..2 {
        world.lose_watches(node);
    }
    world.run(secs(60));
    assert!(
        world.missing && world.entries.is_empty(),
        "nothing is created"
    );
    for node in 0..2 {
        assert_eq!(world.losses(node), [&HistoryLoss::Missing]);
        assert!(world.nodes[node].held.is_empty());
        let stopped = world.nodes[node].notices.iter().any(|notice| {
            matches!(notice, Notice::Stopped { errors } if errors[..] == ["the bucket was deleted"])
        });
        assert!(stopped, "{:?}", world.nodes[node].notices);
    }
    // Nor does one that starts then.
    let late = world.start(|builder| builder.on_bucket_lost(OnBucketLost::Halt));
    let failed = |notice: &Notice| matches!(notice, Notice::StartFailed(StartError::Rejected(_)));
    assert!(world.nodes[late].notices.iter().any(failed));
}

/// One worker does not hear of it: until its lease is over nobody may have its partitions.
#[test]
fn a_worker_that_is_cut_off_keeps_its_partitions_until_its_lease_is_over() {
    for victim in 0..3 {
        let (mut world, before) = running();
        world.nodes[victim].cut_off = true;
        world.recreate();
        let lost = world.now;
        let until = world.nodes[victim].core.deadline().expect("a lease");
        for _ in 0..1_000 {
            world.run(Duration::from_millis(50));
            let others = (0..3).filter(|&node| node != victim);
            let granted = others.filter(|&n| {
                world.nodes[n]
                    .held
                    .iter()
                    .any(|(partition, token)| *token > before[partition])
            });
            assert!(granted.count() == 0 || world.now >= until);
        }
        assert!(world.now.since(lost) > secs(40));
        world.resume(victim);
        world.settle_again(&before);
    }
}

/// A process that starts in a bucket it knows nothing about must not trust that it is the first.
#[test]
fn a_newcomer_in_a_young_bucket_waits_until_the_bucket_is_a_lease_old() {
    let (mut world, before) = running();
    let until = world
        .nodes
        .iter()
        .filter_map(|node| node.core.deadline())
        .max();
    for node in 0..3 {
        world.nodes[node].cut_off = true;
    }
    world.recreate();
    let newcomer = world.start(|builder| {
        let window = Duration::from_millis(500);
        builder.cold_start_window(window)
    });
    world.run(secs(5));
    assert!(world.nodes[newcomer].core.status().is_leader);
    assert!(world.nodes[newcomer].held.is_empty());
    world.run(secs(5));
    assert_eq!(world.age, Duration::ZERO, "no clock of the store is asked");
    let held = &world.nodes[newcomer].held;
    assert_eq!(held.len(), 9, "the lease is over since {until:?}");
    assert!(
        held.iter()
            .all(|(partition, token)| token > &before[partition])
    );
}

/// A bucket tells nothing certain of its age. That must not cost every new leader a lease: where
/// somebody has planned before, somebody has waited.
#[test]
fn a_newcomer_in_a_bucket_with_a_plan_waits_for_no_lease_of_an_earlier_one() {
    let mut world = World::new(9);
    world.age = Duration::ZERO;
    let hasty = |builder: ConfigBuilder| builder.cold_start_window(Duration::from_millis(500));
    let first = world.start(hasty);
    world.run(secs(5));
    assert!(world.nodes[first].held.is_empty(), "nobody has waited yet");
    world.run(secs(5));
    assert_eq!(world.nodes[first].held.len(), 9);
    let mode = StopMode::Handoff;
    world.tell(first, Event::Stop { mode });
    world.run(secs(1));
    assert!(world.nodes[first].held.is_empty(), "it left");
    let second = world.start(hasty);
    world.run(secs(3));
    assert_eq!(world.nodes[second].held.len(), 9);
}

/// The leader knew of a generation that is gone, and dies: what it granted last is known to its
/// owner alone.
#[test]
fn a_grant_that_only_its_owner_knows_is_not_given_to_another_meanwhile() {
    let mut world = World::new(9);
    group(&mut world, 2);
    world.run(secs(31));
    let before_join = world.last;
    world.start(expecting(3));
    world.run(secs(1));
    assert_eq!(world.nodes[2].held.len(), 3);
    let before = world.tokens();
    let dead = leader(&world);
    world.nodes[dead].cut_off = true;
    world.roll_back(before_join);
    world.settle_until_nobody_shares(dead, &before);
}

impl World {
    fn settle_until_nobody_shares(&mut self, dead: usize, before: &BTreeMap<PartitionKey, Token>) {
        let until = self.nodes[dead].core.deadline().expect("a lease");
        for _ in 0..1_200 {
            self.run(Duration::from_millis(100));
            let mut held = BTreeMap::new();
            for (number, node) in self.nodes.iter().enumerate() {
                if number == dead && self.now >= until {
                    continue;
                }
                for (partition, &token) in &node.held {
                    let other = held.insert(partition.clone(), number);
                    assert_eq!(other, None, "{partition} is held twice at {}", self.now);
                    assert!(token >= before[partition], "the token of {partition} fell");
                }
            }
        }
        let held = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(number, _)| *number != dead);
        assert_eq!(held.map(|(_, node)| node.held.len()).sum::<usize>(), 9);
    }
}

/// The first leader of the next history must know the newest version of the last: each session tells it.
#[test]
fn sessions_tell_the_highest_version_their_process_knows() {
    let (mut world, before) = running();
    let newest = before.values().max().expect("tokens").get();
    world.recreate();
    world.run_until_written("w.worker-1");
    let bytes = world.entries["w.worker-1"].value.clone().expect("a value");
    let Ok(Record::Session(session)) = wire::decode(&bytes) else {
        panic!("no session")
    };
    assert!(session.known.get() >= newest, "{session:?}");
}

/// The clock on the wall of a new leader may be behind: what a session tells it of decides.
#[test]
fn a_generation_is_above_every_version_that_a_session_tells_of() {
    let (mut world, before) = running();
    let follower = 1 - leader(&world).min(1);
    let (key, mut session) = stored_session(&world, follower);
    session.known = Version::new(9_000_000_000_000);
    let told = Token::from(session.known);
    assert!(before.values().all(|token| *token < told), "far ahead");
    world.plant(&key, &wire::encode(&Record::Session(session)));
    world.partitions = World::new(12).partitions;
    let leading = leader(&world);
    world.tell(leading, Event::SourceChanged);
    world.run(secs(40));
    let new = world
        .tokens()
        .into_iter()
        .filter(|(p, _)| !before.contains_key(p));
    let new: Vec<Token> = new.map(|(_, token)| token).collect();
    assert_eq!(new.len(), 3);
    assert!(new.iter().all(|token| *token > told), "{new:?}");
}
