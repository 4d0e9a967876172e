//! Two releases in one group: what an older one does with records it cannot read, and updates and
//! downgrades, worker by worker.

use alloc::vec::Vec;
use core::time::Duration;

use crate::config::ConfigBuilder;
use crate::core::tests::rebalancing::parked::pools;
use crate::core::tests::world::World;
use crate::core::tests::{counts, expecting, group, leader, secs};
use crate::io::event::{Event, RequestId, StopMode};
use crate::io::notice::Notice;
use crate::model::id::{Formats, Version};
use crate::records::keys::{Key, assignment_key, head_key, session_key};
use crate::records::record::{Head, Record};
use crate::records::wire;

const NEXT: Formats = Formats::NEXT_RELEASE;

/// A worker of the next release.
fn next(builder: ConfigBuilder) -> ConfigBuilder {
    builder.formats(NEXT)
}

impl World {
    fn value(&self, key: &str) -> Vec<u8> {
        let value = self.entries.get(key).and_then(|entry| entry.value.clone());
        value.expect("a value")
    }

    fn record(&self, key: &str) -> Record {
        wire::decode_as(NEXT, &self.value(key)).expect("a record")
    }

    fn head(&self) -> Head {
        let Record::Head(head) = self.record(&head_key()) else {
            panic!("not a head")
        };
        head
    }

    /// A record as the next release writes it, which those here cannot read.
    fn plant_next(&mut self, key: &str, record: &Record) {
        self.plant(key, &wire::encode_as(NEXT.newest, record));
    }

    /// The formats of all records of the group that are in force.
    fn formats(&self) -> Vec<u16> {
        let mut formats: Vec<u16> = self
            .entries
            .values()
            .filter(|entry| !matches!(Key::parse(&entry.key), Key::Audit(_)))
            .filter_map(|entry| entry.value.as_deref())
            .map(|value| wire::envelope(value).expect("an envelope"))
            .filter(|envelope| {
                let wire::Summary::Session { class, .. } = envelope.summary else {
                    return true;
                };
                class == wire::SessionClass::Living
            })
            .map(|envelope| envelope.format)
            .collect();
        formats.sort_unstable();
        formats.dedup();
        formats
    }

    /// Who may hold partitions holds them alone.
    fn assert_exclusive(&self) {
        let mut held = alloc::collections::BTreeSet::new();
        for key in self.nodes.iter().flat_map(|node| node.held.keys()) {
            assert!(
                held.insert(key.clone()),
                "{key} is held twice at {}",
                self.now
            );
        }
    }

    fn run_exclusive(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.run(Duration::from_millis(100));
            self.assert_exclusive();
        }
    }

    fn averse(&self) -> usize {
        let notices = self.nodes.iter().flat_map(|node| &node.notices);
        notices
            .filter(|notice| {
                matches!(
                    notice,
                    Notice::LeaseLost { .. } | Notice::IdentityLost { .. }
                )
            })
            .count()
    }
}

/// A worker of a later release was ended after the lease of the leader, not its own: its partitions
/// were granted while it still worked on them.
#[test]
fn a_session_that_cannot_be_read_counts_for_its_own_lease() {
    let mut world = World::new(4);
    group(&mut world, 2);
    let other = 1 - leader(&world);
    world.run(secs(10));
    let id = world.nodes[other].core.status().worker.expect("id");
    world.nodes[other].cut_off = true;
    let Record::Session(mut session) = world.record(&session_key(&id)) else {
        panic!("not a session")
    };
    session.lease = secs(60);
    world.plant_next(&session_key(&id), &Record::Session(session.clone()));
    world.run(secs(59));
    assert!(world.evictions.is_empty(), "{:?}", world.evictions);
    world.run(secs(5));
    assert_eq!(world.evictions.len(), 1, "its own lease is over");
    let Record::Session(ended) = world.record(&session_key(&id)) else {
        panic!("not a session")
    };
    assert_eq!((ended.epoch, ended.lease), (session.epoch, secs(60)));
}

/// A worker of a later release that heard nothing went on in its own format: nobody could judge it, and
/// what it had was never replaced.
#[test]
fn a_worker_that_goes_on_in_a_format_nobody_reads_is_ended() {
    let mut world = World::new(4);
    group(&mut world, 2);
    let other = 1 - leader(&world);
    world.run(secs(10));
    let id = world.nodes[other].core.status().worker.expect("id");
    world.nodes[other].cut_off = true;
    let Record::Session(mut session) = world.record(&session_key(&id)) else {
        panic!("not a session")
    };
    for _ in 0..60 {
        if !world.evictions.is_empty() {
            break;
        }
        session.write.seq += 1;
        world.plant_next(&session_key(&id), &Record::Session(session.clone()));
        world.run(secs(2));
    }
    assert_eq!(world.evictions.len(), 1, "within two minutes");
}

/// An unreadable session that says that it has ended holds nothing: it is not waited for.
#[test]
fn a_session_that_cannot_be_read_and_has_ended_is_not_waited_for() {
    let mut world = World::new(4);
    group(&mut world, 2);
    let leading = leader(&world);
    let other = 1 - leading;
    world.run(secs(10));
    let id = world.nodes[other].core.status().worker.expect("id");
    world.nodes[other].cut_off = true;
    let Record::Session(mut session) = world.record(&session_key(&id)) else {
        panic!("not a session")
    };
    session.status = crate::records::record::SessionStatus::Evicted { silent: true };
    world.plant_next(&session_key(&id), &Record::Session(session));
    world.run(secs(1));
    assert_eq!(counts(&world)[leading], 4);
}

/// A leader of an older release wrote over a head it could not read at once, with a smaller version: the
/// tokens of the group went back.
#[test]
fn a_head_that_cannot_be_read_is_left_alone_for_a_lease_and_then_gone_on_from() {
    let mut world = World::new(4);
    group(&mut world, 2);
    world.run(secs(10));
    let mut head = world.head();
    head.version = Version::new(head.version.get() + 86_400_000);
    head.term = head.term.next();
    head.lease = secs(60);
    let planted = head.clone();
    world.plant_next(&head_key(), &Record::Head(head));
    let at = world.entries[&head_key()].revision;
    world.run(secs(59));
    assert_eq!(
        world.entries[&head_key()].revision,
        at,
        "it was written over"
    );
    world.run(secs(30));
    let now = world.head();
    assert!(world.entries[&head_key()].revision > at);
    assert!(now.version > planted.version, "tokens go back: {now:?}");
    assert!(now.term > planted.term, "terms come again: {now:?}");
    assert_eq!(counts(&world).iter().sum::<usize>(), 4);
}

/// While the leader of another release lives and goes on, nobody stands against it, however long.
#[test]
fn a_head_that_cannot_be_read_and_is_renewed_is_followed() {
    let mut world = World::new(4);
    group(&mut world, 2);
    world.run(secs(10));
    let mut head = world.head();
    for _ in 0..20 {
        head.version = head.version.next();
        head.term = head.term.next();
        world.plant_next(&head_key(), &Record::Head(head.clone()));
        world.run(secs(5));
        assert_eq!(
            world.head().version,
            head.version,
            "somebody stood against it"
        );
    }
    // An old leader may not believe that it still leads.
    let leads = |node: &crate::core::tests::world::Node| node.core.status().is_leader;
    assert!(!world.nodes.iter().any(leads));
}

/// What another release granted may be worked on: it is not granted to somebody else.
#[test]
fn an_assignment_that_cannot_be_read_frees_nothing() {
    let mut world = World::new(4);
    group(&mut world, 2);
    world.run(secs(10));
    let leading = leader(&world);
    let other = 1 - leading;
    let id = world.nodes[other].core.status().worker.expect("id");
    // The other one works on, out of reach of everybody; a new leader comes who cannot read its record.
    let record = world.record(&assignment_key(&id));
    world.nodes[other].cut_off = true;
    world.plant_next(&assignment_key(&id), &record);
    world.nodes[leading].cut_off = true;
    let third = world.start(|builder| builder.lease(secs(6)));
    let deadline = world.nodes[other].core.deadline().expect("a deadline");
    let listed: Vec<_> = world.nodes[other].held.keys().cloned().collect();
    while world.now < deadline {
        world.run(Duration::from_millis(50));
        let held = &world.nodes[third].held;
        assert!(listed.iter().all(|key| !held.contains_key(key)));
    }
    world.run(secs(60));
    assert_eq!(counts(&world)[third], 4, "in the end it is");
}

/// An update is worker by worker: at every moment the group works, and in the end all write as the new
/// release does. Back again, as after a bad release, the same.
#[test]
fn a_group_is_updated_and_downgraded_without_losing_anything() {
    let mut world = World::new(12);
    group(&mut world, 3);
    world.run_exclusive(secs(20));
    assert_eq!(world.formats(), [1]);
    roll(&mut world, 3, |builder| next(expecting(3)(builder)));
    world.run_exclusive(secs(60));
    // The format rises with the next generation after the last old worker has left.
    world.start(next);
    world.run_exclusive(secs(120));
    assert_eq!(world.head().format, 2);
    // Records of workers that nothing changed for are as they were.
    assert!(world.formats().contains(&2));
    roll(&mut world, 4, |builder| expecting(4)(builder));
    world.run_exclusive(secs(60));
    assert_eq!(world.formats(), [1]);
    assert_eq!(counts(&world).iter().sum::<usize>(), 12);
    assert_eq!(world.averse(), 0, "nobody lost its session");
    assert!(world.evictions.is_empty(), "{:?}", world.evictions);
}

/// Replaces the running workers one after another: a new one starts, then an old one leaves.
fn roll(world: &mut World, count: usize, change: impl Fn(ConfigBuilder) -> ConfigBuilder) {
    let old: Vec<usize> = (0..world.nodes.len())
        .filter(|&node| world.nodes[node].core.status().worker.is_some())
        .collect();
    assert_eq!(old.len(), count);
    for node in old {
        world.start(&change);
        world.run_exclusive(secs(30));
        world.tell(
            node,
            Event::Stop {
                mode: StopMode::Handoff,
            },
        );
        world.run_exclusive(secs(30));
        assert!(world.nodes[node].held.is_empty());
    }
}

/// An old worker that joins a group of a later release must be able to take part at once, and the first
/// leader it could follow wrongly is the one it cannot read.
#[test]
fn an_older_worker_that_joins_lowers_the_format_of_everything_in_force() {
    let mut world = World::new(12);
    for _ in 0..3 {
        world.start(|builder| next(expecting(3)(builder)));
    }
    world.run_exclusive(secs(20));
    assert_eq!(world.formats(), [2]);
    let joined = world.start(|builder| builder);
    world.run_exclusive(secs(10));
    assert_eq!(world.formats(), [1], "all of it can be read");
    world.run_exclusive(secs(60));
    assert_eq!(counts(&world)[joined], 3);
    assert!(world.evictions.is_empty(), "{:?}", world.evictions);
    // It may even lead, over what the others wrote.
    for node in 0..3 {
        world.tell(
            node,
            Event::Stop {
                mode: StopMode::Handoff,
            },
        );
        world.run_exclusive(secs(30));
    }
    assert_eq!(counts(&world)[joined], 12);
    assert_eq!(leader(&world), joined);
}

fn parked(world: &World, node: usize) -> u32 {
    world.nodes[node].core.status().group.parked.count
}

/// A worker of a pool of its own was updated: while nobody could read its labels, every plan took its
/// partitions away, for nobody was known who may own them.
#[test]
fn a_worker_whose_session_cannot_be_read_keeps_what_it_has_until_it_can_be() {
    let mut world = pools(&["a", "a", "b"]);
    let (leading, other) = (leader(&world), 2);
    assert_ne!(leading, other, "the first one leads");
    world.run(secs(10));
    let key = session_key(&world.nodes[other].core.status().worker.expect("id"));
    let assignment = assignment_key(&world.nodes[other].core.status().worker.expect("id"));
    let (odd, before) = (world.nodes[other].held.clone(), world.value(&assignment));
    assert_eq!(odd.len(), 4, "all that need its pool");
    let Record::Session(mut session) = world.record(&key) else {
        panic!("not a session")
    };
    world.nodes[other].cut_off = true;
    let plans = world.plans.len();
    for round in 0..5 {
        session.write.seq += 1;
        world.plant_next(&key, &Record::Session(session.clone()));
        if round == 1 {
            let request = RequestId(1);
            world.tell(leading, Event::Trigger { request });
        }
        world.run(secs(2));
        assert_eq!(parked(&world, leading), 0, "nothing waits");
    }
    assert!(world.plans.len() > plans, "the group was planned for");
    assert_eq!(world.value(&assignment), before, "its record is as it was");
    assert_eq!(
        counts(&world)[..2].iter().sum::<usize>(),
        5,
        "the others have theirs"
    );
    // It can be read again: it takes part in the next plan, which finds it where it was.
    let plans = world.plans.len();
    for _ in 0..70 {
        session.write.seq += 1;
        let readable = wire::encode_as(1, &Record::Session(session.clone()));
        world.plant(&key, &readable);
        world.run(secs(2));
    }
    assert!(world.plans.len() > plans, "it was planned for");
    assert_eq!(world.value(&assignment), before, "nothing was moved");
    assert_eq!(parked(&world, leading), 0);
}

/// A worker that is gone is not waited for, however little is known of it: its partitions go to the others.
#[test]
fn a_worker_whose_session_cannot_be_read_and_is_gone_is_replaced() {
    let mut world = World::new(6);
    group(&mut world, 3);
    world.run(secs(10));
    let leading = leader(&world);
    let other = (0..3).find(|&node| node != leading).expect("a follower");
    let id = world.nodes[other].core.status().worker.expect("id");
    let Record::Session(session) = world.record(&session_key(&id)) else {
        panic!("not a session")
    };
    world.nodes[other].cut_off = true;
    world.plant_next(&session_key(&id), &Record::Session(session));
    let request = RequestId(1);
    world.tell(leading, Event::Trigger { request });
    world.run(secs(3));
    assert_eq!(counts(&world).iter().sum::<usize>(), 6, "it keeps its own");
    world.run(secs(20));
    assert_eq!(counts(&world)[leading], 3, "its lease is over");
}
