//! Who has an owner, as a table over what sessions and records say.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::model::id::{Epoch, Nonce, Revision, Term, Token, Version, WriteId};
use crate::model::partition::Partition;
use crate::model::state::Cause;
use crate::ports::store::Expect;
use crate::ports::strategy::StrategyId;
use crate::records::record::{Parked, Readiness, RecordGrant, SessionRecord, SessionStatus};

const WRITE: WriteId = WriteId {
    nonce: Nonce::new(1),
    seq: 1,
};

fn at(secs: u64) -> Instant {
    Instant::from_millis(secs * 1_000)
}

fn key(number: u32) -> PartitionKey {
    let partition = Partition::new([alloc::format!("p-{number}")]);
    partition.expect("valid key").key
}

fn worker() -> WorkerId {
    WorkerId::new("w").expect("valid")
}

fn session(status: SessionStatus, applied: u64, draining: Vec<PartitionKey>) -> SessionRecord {
    SessionRecord {
        write: WRITE,
        epoch: Epoch::new(5),
        status,
        applied: Version::new(applied),
        known: Version::ZERO,
        age: Duration::ZERO,
        reads: crate::records::wire::FORMATS,
        draining,
        capacity: 1,
        labels: BTreeMap::new(),
        heartbeat_interval: Duration::from_secs(2),
        lease: Duration::from_secs(6),
        software: "test".to_string(),
        endpoint: None,
        settings: crate::records::agreement::GroupSettings::default(),
        honours: crate::config::Mode::Exclusive,
        rejections: Vec::new(),
        bulletin: None,
        predecessors: Vec::new(),
        readiness: Readiness::default(),
    }
}

/// A group of one with three partitions: 0 and 1 granted, 2 being taken away since version 7. Its
/// session says this and was heard at 100 s.
fn view(said: SessionRecord) -> View {
    let granted = [0, 1].map(|number| RecordGrant {
        partition: key(number),
        token: Token::new(3),
        anchor: None,
    });
    let record = AssignmentRecord {
        write: WRITE,
        version: Version::new(7),
        epoch: Epoch::new(5),
        session: crate::model::id::Nonce::new(0),
        granted: granted.to_vec(),
        revoking: vec![Revoking {
            partition: key(2),
            since: Version::new(7),
            parked: None,
        }],
        preparing: Vec::new(),
    };
    let session = SessionView {
        revision: Revision::new(9),
        since: at(100),
        began: Instant::ORIGIN,
        heard: at(100),
        said: at(100),
        record: Some(said),
        unread: None,
        expect: Expect::Any,
        ends: BTreeMap::new(),
    };
    let mut view = View::default();
    view.records.insert(worker(), record);
    view.sessions.insert(worker(), session);
    view
}

/// Somebody else is heard of at this time, so that silence is the other's.
fn heard(view: &mut View, now: Instant) {
    let record = session(SessionStatus::Active, 0, Vec::new());
    let other = SessionView {
        revision: Revision::new(10),
        since: now,
        began: Instant::ORIGIN,
        heard: now,
        said: now,
        record: Some(record),
        unread: None,
        expect: Expect::Any,
        ends: BTreeMap::new(),
    };
    let id = WorkerId::new("other").expect("valid");
    view.sessions.insert(id, other);
}

fn look(unowned: &mut Unowned, view: &View, now: u64, listed: bool, gathering: bool) -> String {
    let config = Config::builder("g").build().expect("coherent");
    let partitions = (0..3).map(|number| Partition::new([alloc::format!("p-{number}")]));
    let partitions: Result<Vec<Partition>, _> = partitions.collect();
    let table = PartitionTable::new(partitions.expect("valid")).expect("valid");
    let head = Head {
        write: WRITE,
        term: Term::new(1),
        leader: None,
        lease: Duration::from_secs(6),
        format: crate::records::wire::FORMAT,
        version: Version::new(7),
        cause: Cause::PlannedScale,
        planned: Version::new(7),
        strategy: StrategyId::new("s"),
        workers: 1,
        partitions: 3,
        digest: table.digest(),
        weights_digest: table.weights_digest(),
        unfinished: 0,
        granted: 0,
        agreed: crate::records::agreement::Agreed::default(),
        carried: Default::default(),
        parked: Parked::default(),
    };
    unowned.look(&Sight {
        config: &config,
        now: at(now),
        view,
        head: &head,
        table: listed.then_some(&table),
        gathering,
    });
    unowned.problem().map_or_else(String::new, |problem| {
        let since = problem.since.as_nanos() / 1_000_000_000;
        alloc::format!("{} since {since}", problem.count)
    })
}

/// Each standing of a worker in a handoff, at 104 s, and how many of its three have no owner.
#[test]
fn a_partition_has_an_owner_until_its_worker_has_let_go_of_it() {
    use SessionStatus as S;
    let hold = Duration::from_secs(3);
    let cases = [
        ("not heard of it yet", session(S::Active, 6, vec![]), ""),
        ("drains", session(S::Active, 7, vec![key(2)]), ""),
        ("has let go", session(S::Active, 7, vec![]), "1 since 104"),
        ("leaving", session(S::Draining, 7, vec![key(2)]), ""),
        (
            "released",
            session(
                S::Released {
                    hold: Duration::ZERO,
                },
                7,
                vec![],
            ),
            "3 since 100",
        ),
        (
            "kept for it",
            session(S::Released { hold: hold * 2 }, 7, vec![]),
            "1 since 104",
        ),
        (
            "kept in vain",
            session(S::Released { hold }, 7, vec![]),
            "3 since 103",
        ),
        (
            "may still work",
            session(S::Evicted { silent: false }, 6, vec![]),
            "",
        ),
        (
            "evicted",
            session(S::Evicted { silent: true }, 6, vec![]),
            "3 since 100",
        ),
    ];
    for (what, said, expected) in cases {
        let mut view = view(said);
        heard(&mut view, at(104));
        for listed in [true, false] {
            let found = look(&mut Unowned::default(), &view, 104, listed, false);
            assert_eq!(found, expected, "{what}, list known: {listed}");
        }
    }
}

/// A leader that hears nobody would call everything lost; one that hears others knows who is silent.
#[test]
fn a_silent_worker_has_lost_its_partitions_if_anybody_else_is_heard() {
    let mut view = view(session(SessionStatus::Active, 7, vec![key(2)]));
    assert_eq!(look(&mut Unowned::default(), &view, 120, true, false), "");
    heard(&mut view, at(105));
    assert_eq!(look(&mut Unowned::default(), &view, 105, true, false), "");
    heard(&mut view, at(106));
    assert_eq!(
        look(&mut Unowned::default(), &view, 106, true, false),
        "3 since 100"
    );
    // A leader that begins to look later does not date it back by more than a lease.
    heard(&mut view, at(120));
    assert_eq!(
        look(&mut Unowned::default(), &view, 120, true, false),
        "3 since 114"
    );
}

/// A long rolling update has partitions on their way all the time: each for a moment.
#[test]
fn the_time_is_that_of_each_partition_and_not_of_there_being_any() {
    let mut unowned = Unowned::default();
    let mut released = view(session(SessionStatus::Active, 7, vec![]));
    assert_eq!(
        look(&mut unowned, &released, 104, true, false),
        "1 since 104"
    );
    assert_eq!(
        look(&mut unowned, &released, 109, true, false),
        "1 since 104"
    );
    let record = released.records.get_mut(&worker()).expect("there");
    let grant = record.granted.pop().expect("two");
    record.revoking[0].partition = grant.partition.clone();
    record.granted.push(RecordGrant {
        partition: key(2),
        ..grant
    });
    assert_eq!(
        look(&mut unowned, &released, 110, true, false),
        "1 since 110"
    );
}

/// What a leader knows ends with its leadership; the alarm must not begin again with every leader.
#[test]
fn a_new_leader_goes_on_with_what_it_was_told() {
    let told = || {
        let detail = "2 of 3 partitions have no owner".to_string();
        let told = Problem::new(ProblemKind::Unowned, at(40), 2, detail);
        Unowned::inherit(Some(told))
    };
    let drains = view(session(SessionStatus::Active, 7, vec![key(2)]));
    let let_go = view(session(SessionStatus::Active, 7, vec![]));
    // It cannot know yet who is silent.
    let mut unowned = told();
    assert_eq!(look(&mut unowned, &drains, 100, true, false), "2 since 40");
    assert_eq!(look(&mut unowned, &let_go, 104, true, false), "2 since 40");
    assert_eq!(look(&mut unowned, &let_go, 107, true, false), "1 since 40");
    assert_eq!(look(&mut unowned, &drains, 108, true, false), "");
    assert_eq!(look(&mut unowned, &let_go, 109, true, false), "1 since 109");
    // It knows better, or did something about it.
    let mut unowned = told();
    unowned.placed();
    assert_eq!(look(&mut unowned, &let_go, 104, true, false), "1 since 104");
    let mut unowned = told();
    look(&mut unowned, &drains, 100, true, false);
    assert_eq!(look(&mut unowned, &drains, 107, true, false), "");
}

/// New partitions that wait for a cooldown are no incident.
#[test]
fn what_is_not_planned_yet_does_not_count_while_a_window_runs() {
    let mut view = view(session(SessionStatus::Active, 7, vec![]));
    view.records
        .get_mut(&worker())
        .expect("there")
        .revoking
        .clear();
    assert_eq!(look(&mut Unowned::default(), &view, 104, true, true), "");
    assert_eq!(
        look(&mut Unowned::default(), &view, 104, true, false),
        "1 since 104"
    );
}
