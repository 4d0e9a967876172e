//! What a session proves about its slot, a line each; and that names and ranks are the same.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::leader::knowledge::view::SessionView;
use crate::model::id::{Epoch, Nonce, Revision, Token, Version, WriteId};
use crate::model::partition::Partition;
use crate::ports::store::Expect;
use crate::ports::strategy::{Report, StrategyId, WorkerInfo, WorkerTable};
use crate::records::orders::Ordered;
use crate::records::record::{Readiness, SessionRecord};

const WRITE: WriteId = WriteId {
    nonce: Nonce::new(1),
    seq: 1,
};

fn id(name: &str) -> WorkerId {
    WorkerId::new(name).expect("valid")
}

fn key(name: &str) -> PartitionKey {
    PartitionKey::new([name]).expect("valid")
}

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// A session seen since 1 s, which has applied version 4 and still drains `q`.
fn session(epoch: u64, status: SessionStatus) -> SessionView {
    let record = SessionRecord {
        write: WRITE,
        epoch: Epoch::new(epoch),
        status,
        applied: Version::new(4),
        draining: Vec::from([key("q")]),
        capacity: 1,
        labels: BTreeMap::new(),
        heartbeat_interval: Duration::from_secs(2),
        lease: Duration::from_secs(6),
        software: String::new(),
        endpoint: None,
        rejections: Vec::new(),
        bulletin: None,
        known: Version::ZERO,
        settings: crate::records::agreement::GroupSettings {
            clock_drift_ppm: 1000,
            ..Default::default()
        },
        honours: crate::config::Mode::Exclusive,
        age: Duration::ZERO,
        predecessors: Vec::new(),
        reads: crate::records::wire::FORMATS,
        readiness: Readiness::default(),
    };
    SessionView {
        revision: Revision::new(epoch + 1),
        since: at(1_000),
        began: Instant::ORIGIN,
        heard: at(1_000),
        said: at(1_000),
        record: Some(record),
        unread: None,
        expect: Expect::Any,
        ends: BTreeMap::new(),
    }
}

/// A record of epoch 10 that grants and revokes these.
fn record(granted: &[&str], revoking: &[&str]) -> AssignmentRecord {
    let granted = granted.iter().map(|name| RecordGrant {
        partition: key(name),
        token: Token::new(3),
        anchor: Some(id("y")),
    });
    let revoking = revoking.iter().map(|name| Revoking {
        partition: key(name),
        since: Version::new(4),
        parked: None,
    });
    AssignmentRecord {
        write: WRITE,
        version: Version::new(4),
        epoch: Epoch::new(10),
        session: crate::model::id::Nonce::new(0),
        granted: granted.collect(),
        revoking: revoking.collect(),
        preparing: Vec::new(),
    }
}

/// All partitions of the list go to `w`, unless there is nobody.
fn target(partitions: &[&str], owner: Option<&str>) -> Target {
    let list = partitions
        .iter()
        .map(|name| Partition::new([name]).expect("valid"));
    let table = PartitionTable::new(list.collect()).expect("distinct");
    let workers = owner.map(|name| WorkerInfo::new(id(name)));
    let workers = WorkerTable::new(workers.into_iter().collect()).expect("distinct");
    let owned_by = if owner.is_some() { 0 } else { NO_OWNER };
    Target {
        ordered: Ordered::default(),
        kept: BTreeSet::new(),
        unsure: false,
        strategy: StrategyId::new("s"),
        owners: partitions.iter().map(|_| owned_by).collect(),
        table: Arc::new(table),
        workers: Arc::new(workers),
        epochs: owner
            .map(|name| (id(name), Epoch::new(10)))
            .into_iter()
            .collect(),
        previous: Vec::new(),
        anchors: BTreeMap::new(),
        report: Report::default(),
        parked: Arc::default(),
        reasons: Arc::default(),
        triggers: Vec::new(),
        ended_holds: BTreeMap::new(),
    }
}

/// The standing of `w` at a time, and whether a record may be written for it.
fn standing(mode: Mode, session: Option<SessionView>, evicted: Option<bool>, ms: u64) -> String {
    let config = Config::builder("g").mode(mode).build().expect("coherent");
    let mut view = View::default();
    view.records.insert(id("w"), record(&["p"], &["q"]));
    view.sessions
        .extend(session.map(|session| (id("w"), session)));
    standing_in(&config, &view, evicted, ms)
}

fn standing_in(config: &Config, view: &View, evicted: Option<bool>, ms: u64) -> String {
    let mode = config.mode();
    let evictions = evicted
        .map(|silent| (id("w"), silent))
        .into_iter()
        .collect();
    let target = target(&["p", "q"], Some("w"));
    let slots = Slots::build(config, at(ms), view, &target, &evictions, (mode, &HOLDS));
    let [slot] = &slots.slots[..] else {
        panic!("one slot: {:?}", slots.workers)
    };
    let standing = match &slot.standing {
        Standing::Bound { applied, draining } => {
            let names = draining.iter().map(|&rank| slots.key(&target.table, rank));
            let names: Vec<String> = names.map(ToString::to_string).collect();
            alloc::format!("bound {applied} {names:?}")
        }
        Standing::Ending { draining } => {
            let names = |ranks: &BTreeSet<u32>| {
                let names = ranks.iter().map(|&rank| slots.key(&target.table, rank));
                names.map(ToString::to_string).collect::<Vec<String>>()
            };
            alloc::format!("ending {:?}", draining.as_ref().map(names))
        }
        Standing::Reserved => "reserved".to_string(),
        Standing::Ended => "ended".to_string(),
    };
    let living = if slot.living.is_some() {
        ", living"
    } else {
        ""
    };
    alloc::format!("{standing}{living}")
}

const EXCLUSIVE: Mode = Mode::Exclusive;
const HOLDS: crate::records::agreement::Agreed = crate::records::agreement::Agreed {
    mode: Mode::Exclusive,
    holds: Mode::Exclusive,
    longest_lease: Duration::ZERO,
};

/// A slot that counts as ended too early has its partitions granted a second time.
#[test]
fn a_slot_is_bound_until_its_end_is_certain() {
    let says = |status, ms| standing(EXCLUSIVE, Some(session(10, status)), None, ms);
    let bound = "bound 4 [\"q\"]";
    assert_eq!(
        says(SessionStatus::Active, 100_000),
        alloc::format!("{bound}, living")
    );
    assert_eq!(
        says(SessionStatus::Draining, 2_000),
        alloc::format!("{bound}, living")
    );
    // Evicted alive: it may hold what it has for one lease more, to the moment.
    let alive = SessionStatus::Evicted { silent: false };
    assert_eq!(says(alive, 6_999), bound);
    assert_eq!(says(alive, 7_000), "ended");
    assert_eq!(
        says(SessionStatus::Evicted { silent: true }, 1_000),
        "ended"
    );
    let released = |secs| SessionStatus::Released {
        hold: Duration::from_secs(secs),
    };
    assert_eq!(says(released(0), 1_000), "ended");
    assert_eq!(says(released(9), 9_999), "reserved");
    assert_eq!(says(released(9), 10_000), "ended");
    assert_eq!(
        standing(
            EXCLUSIVE,
            Some(session(20, SessionStatus::Active)),
            None,
            2_000
        ),
        "ended, living"
    );
    // What is older than the record, or not there, proves nothing: nothing was acknowledged.
    let older = session(5, alive);
    assert_eq!(
        standing(EXCLUSIVE, Some(older), None, 100_000),
        "bound 0 []"
    );
    assert_eq!(standing(EXCLUSIVE, None, None, 100_000), "bound 0 []");
}

/// In overlap mode nobody waits for a worker that was evicted alive.
#[test]
fn in_overlap_mode_an_eviction_ends_at_once() {
    let says = |status| standing(Mode::Overlap, Some(session(10, status)), None, 1_001);
    assert_eq!(says(SessionStatus::Evicted { silent: false }), "ended");
    assert_eq!(says(SessionStatus::Active), "bound 4 [\"q\"], living");
}

/// An eviction in the same commit frees what the lease has freed, and nothing else.
#[test]
fn an_eviction_being_made_ends_the_silent_and_leaves_the_living_bound() {
    let says = |silent| {
        let session = session(10, SessionStatus::Active);
        standing(EXCLUSIVE, Some(session), Some(silent), 8_000)
    };
    assert_eq!(says(true), "ended");
    assert_eq!(
        says(false),
        "bound 4 [\"q\"]",
        "no record is written for it any more"
    );
}

/// A partition that left the list is still held by somebody: forgotten, it would never be revoked.
#[test]
fn partitions_that_are_no_longer_listed_follow_the_list_and_keep_their_names() {
    let config = Config::builder("g").build().expect("coherent");
    let mut view = View::default();
    let original = record(&["p", "gone-1", "q"], &["gone-2", "gone-1"]);
    view.records.insert(id("w"), original.clone());
    view.sessions
        .insert(id("w"), session(10, SessionStatus::Active));
    let target = target(&["p", "q"], Some("w"));
    let slots = Slots::build(
        &config,
        at(2_000),
        &view,
        &target,
        &BTreeMap::new(),
        (EXCLUSIVE, &HOLDS),
    );
    let page = slots.slots[0].page.as_ref().expect("a record");
    let ranks: Vec<u32> = page.granted.iter().map(|granted| granted.rank).collect();
    let rank = |name: &str| target.table.rank_of(&key(name)).expect("listed");
    assert_eq!(ranks, [rank("p"), 2, rank("q")]);
    assert_eq!(page.revoking, [(3, Version::new(4)), (2, Version::new(4))]);
    assert_eq!(
        slots.target,
        [0, 0, NOBODY, NOBODY],
        "nobody is to have them"
    );
    let (granted, revoking, preparing) = slots.lists(&target, page);
    assert_eq!((granted, revoking), (original.granted, original.revoking));
    assert_eq!(preparing, original.preparing);
}

/// A worker that is in nobody's record yet has a slot as soon as it lives, and none when it is gone.
#[test]
fn slots_are_those_with_a_record_a_living_session_or_a_part_in_the_plan() {
    let config = Config::builder("g").build().expect("coherent");
    let mut view = View::default();
    view.records.insert(id("a"), record(&["p"], &[]));
    let released = SessionStatus::Released {
        hold: Duration::ZERO,
    };
    view.sessions
        .insert(id("b"), session(10, SessionStatus::Active));
    view.sessions.insert(id("c"), session(10, released));
    view.damaged.insert(id("a"));
    let target = target(&["p"], Some("d"));
    let slots = Slots::build(
        &config,
        at(2_000),
        &view,
        &target,
        &BTreeMap::new(),
        (EXCLUSIVE, &HOLDS),
    );
    assert_eq!(slots.workers, [id("a"), id("b"), id("d")]);
    assert_eq!(slots.target, [2]);
    let damaged: Vec<bool> = slots.slots.iter().map(|slot| slot.damaged).collect();
    let planned: Vec<bool> = slots.slots.iter().map(|slot| slot.planned).collect();
    assert_eq!(damaged, [true, false, false]);
    assert_eq!(planned, [false, false, true]);
}

/// A record that the leader could not read was written over with an empty one for the next session of its
/// slot: then everything it granted looked free while its holder was still valid.
#[test]
fn a_slot_whose_earlier_session_holds_what_nobody_can_read_gets_no_record() {
    for (mode, ms, expected) in [
        (Mode::Exclusive, 6_999, "ended"),
        (Mode::Exclusive, 7_000, "ended, living"),
        (Mode::Overlap, 1_000, "ended, living"),
    ] {
        let config = Config::builder("g").mode(mode).build().expect("coherent");
        let mut view = View::default();
        view.unread.insert(id("w"), Epoch::new(10));
        let mut later = session(20, SessionStatus::Active);
        later.ends.insert(Epoch::new(10), at(7_000));
        view.sessions.insert(id("w"), later);
        assert_eq!(
            standing_in(&config, &view, None, ms),
            expected,
            "{mode} {ms}"
        );
    }
}
