//! Directories fed by hand: what is shown, by whom something is held up, and what is never claimed.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::config::Mode;
use crate::model::endpoint::Endpoint;
use crate::model::id::{Nonce, Version, WriteId};
use crate::model::state::Cause;
use crate::ports::store::StoreInfo;
use crate::ports::strategy::{ParkReason, StrategyId};
use crate::records::agreement::{Agreed, GroupSettings};
use crate::records::carried::Carried;
use crate::records::keys::{
    assignment_key, control_key, head_key, parked_key, piece_key, session_key,
};
use crate::records::record::{
    AssignmentPiece, AssignmentRecord, Control, Head, LeaderName, Manifest, Parked, ParkedGroup,
    ParkedRecord, PieceStamp, Readiness, Revoking, SessionRecord, SessionStatus,
};
use crate::records::wire;

mod pieces;

const WRITE: WriteId = WriteId {
    nonce: Nonce::new(7),
    seq: 1,
};

fn worker(number: u32) -> WorkerId {
    WorkerId::numbered("w", number).expect("valid")
}

fn p(name: &str) -> PartitionKey {
    PartitionKey::new([name]).expect("valid")
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1_000)
}

/// A directory and the bucket it reads.
#[derive(Default)]
struct Reader {
    directory: Directory,
    revision: u64,
    now: u64,
}

impl Reader {
    /// One that has seen everything there is: nothing.
    fn new() -> Self {
        let mut reader = Self::default();
        reader.directory.begin(at(0));
        reader.directory.caught_up(at(0), Revision::ZERO);
        reader
    }

    fn put(&mut self, key: String, value: Option<Vec<u8>>) -> Vec<Change> {
        self.revision += 1;
        let revision = Revision::new(self.revision);
        let entry = Entry {
            at_ms: 0,
            key,
            revision,
            value,
        };
        self.directory.put(at(self.now), &entry)
    }

    fn write(&mut self, key: String, record: &Record) -> Vec<Change> {
        self.put(key, Some(wire::encode(record)))
    }

    fn session(&mut self, number: u32, change: impl FnOnce(&mut SessionRecord)) -> Vec<Change> {
        let mut record = session();
        change(&mut record);
        self.write(session_key(&worker(number)), &Record::Session(record))
    }

    fn assignment(
        &mut self,
        number: u32,
        granted: &[(&str, u64)],
        revoking: &[(&str, u64)],
    ) -> Vec<Change> {
        let record = assignment(granted, revoking);
        self.write(assignment_key(&worker(number)), &Record::Assignment(record))
    }

    fn head(
        &mut self,
        term: u64,
        leader: Option<u32>,
        partitions: u32,
        parked: u32,
    ) -> Vec<Change> {
        let record = head(term, leader, partitions, parked);
        self.write(head_key(), &Record::Head(record))
    }

    fn view(&self) -> View {
        self.directory.view(at(self.now))
    }

    fn state(&self, name: &str) -> Option<PartitionState> {
        let partitions = self.view().partitions.into_iter();
        let mut found = partitions.filter(|view| view.partition == p(name));
        found.next().map(|view| view.state)
    }

    fn owner(&self, name: &str) -> Option<(WorkerId, u64)> {
        let owner = self.directory.owners().owner_of(&p(name))?;
        Some((owner.worker, owner.token.get()))
    }
}

fn session() -> SessionRecord {
    SessionRecord {
        write: WRITE,
        epoch: Epoch::new(1),
        status: SessionStatus::Active,
        applied: Version::new(5),
        known: Version::new(5),
        age: Duration::ZERO,
        reads: Formats::THIS_RELEASE,
        draining: Vec::new(),
        capacity: 1,
        labels: BTreeMap::new(),
        heartbeat_interval: Duration::from_secs(2),
        lease: Duration::from_secs(6),
        software: String::new(),
        endpoint: None,
        settings: GroupSettings::default(),
        honours: Mode::Exclusive,
        rejections: Vec::new(),
        bulletin: None,
        predecessors: Vec::new(),
        readiness: Readiness::default(),
    }
}

fn assignment(granted: &[(&str, u64)], revoking: &[(&str, u64)]) -> AssignmentRecord {
    let granted = granted.iter().map(|&(name, token)| RecordGrant {
        partition: p(name),
        token: Token::new(token),
        anchor: None,
    });
    let revoking = revoking.iter().map(|&(name, since)| Revoking {
        partition: p(name),
        since: Version::new(since),
        parked: None,
    });
    AssignmentRecord {
        write: WRITE,
        version: Version::new(5),
        epoch: Epoch::new(1),
        session: crate::model::id::Nonce::new(0),
        granted: granted.collect(),
        revoking: revoking.collect(),
        preparing: Vec::new(),
    }
}

fn head(term: u64, leader: Option<u32>, partitions: u32, parked: u32) -> Head {
    Head {
        write: WRITE,
        term: Term::new(term),
        leader: leader.map(|number| LeaderName {
            worker: worker(number),
            epoch: Epoch::new(1),
        }),
        version: Version::new(5),
        format: wire::FORMAT,
        lease: Duration::from_secs(6),
        cause: Cause::ColdStart,
        planned: Version::new(5),
        strategy: StrategyId::new("s"),
        workers: 2,
        partitions,
        digest: 0,
        weights_digest: 0,
        unfinished: 0,
        granted: 0,
        agreed: Agreed::default(),
        carried: Carried::default(),
        parked: Parked {
            count: parked,
            since_ms: 0,
        },
    }
}

fn info(created: u64, last: u64) -> StoreInfo {
    StoreInfo {
        created,
        age: Duration::MAX,
        last_revision: Revision::new(last),
        version: String::new(),
        max_batch: 1,
        max_value: 1,
        faults: Vec::new(),
    }
}

/// "Where is my partition" has an answer for each way of being somewhere or nowhere.
#[test]
fn each_state_of_a_partition_is_told_apart() {
    let mut reader = Reader::new();
    reader.head(1, Some(1), 6, 1);
    reader.session(1, |_| {});
    reader.session(2, |_| {});
    reader.session(3, |session| {
        session.status = SessionStatus::Evicted { silent: true }
    });
    reader.assignment(1, &[("owned", 3)], &[("moving", 9)]);
    reader.assignment(2, &[("dropped", 3)], &[]);
    reader.assignment(3, &[("orphan", 3)], &[]);
    let group = ParkedGroup {
        reason: ParkReason::NoEligibleWorker,
        need: 1,
        needs: "zone=a".to_string(),
        since_ms: 5,
        again_after: None,
        count: 1,
        partitions: vec![p("parked")],
    };
    let (write, version, groups) = (WRITE, Version::new(5), vec![group]);
    let parked = ParkedRecord {
        write,
        version,
        groups,
    };
    reader.write(parked_key(), &Record::Parked(parked));
    reader.assignment(2, &[], &[]);
    reader.now = 4;
    let (token, version) = (Token::new(3), Version::new(5));
    let owned = PartitionState::Owned {
        worker: worker(1),
        token,
        version,
    };
    assert_eq!(reader.state("owned"), Some(owned));
    let waits_for = vec![worker(1)];
    assert_eq!(
        reader.state("moving"),
        Some(PartitionState::Moving { waits_for })
    );
    for (name, was) in [("dropped", 2), ("orphan", 3)] {
        let (lasting, was) = (Duration::from_secs(4), Some(worker(was)));
        let unowned = PartitionState::Unowned { lasting, was };
        assert_eq!(reader.state(name), Some(unowned), "{name}");
        assert_eq!(reader.owner(name), None, "{name}");
    }
    let Some(PartitionState::Parked(parking)) = reader.state("parked") else {
        panic!("{:?}", reader.state("parked"))
    };
    assert_eq!((&*parking.needs, parking.since_ms), ("zone=a", 5));
    // A sixth partition is known by number only.
    assert_eq!(reader.view().nameless, 1);
}

/// A deploy that hangs is solved by knowing which worker holds it up, and at which step.
#[test]
fn a_handoff_names_who_holds_it_up_until_that_one_has_let_go() {
    let mut reader = Reader::new();
    reader.session(1, |_| {});
    reader.assignment(1, &[("p", 3)], &[]);
    reader.assignment(1, &[], &[("p", 9)]);
    reader.now = 7;
    let held_up = |reader: &Reader| {
        let handoffs = reader.view().handoffs;
        let told = handoffs
            .iter()
            .map(|h| (h.from.clone(), h.hold_up, h.lasting));
        told.collect::<Vec<_>>()
    };
    let applied = Version::new(5);
    let (since, not_applied) = (Duration::from_secs(7), HoldUp::NotApplied { applied });
    assert_eq!(held_up(&reader), [(worker(1), not_applied, since)]);
    reader.session(1, |session| {
        session.applied = Version::new(9);
        session.draining = vec![p("p")];
    });
    assert_eq!(held_up(&reader), [(worker(1), HoldUp::Draining, since)]);
    reader.put(session_key(&worker(1)), None);
    assert_eq!(held_up(&reader), [(worker(1), HoldUp::NoSession, since)]);
    reader.session(1, |session| session.applied = Version::new(9));
    assert_eq!(held_up(&reader), []);
    let was = Some(worker(1));
    let unowned = PartitionState::Unowned {
        lasting: since,
        was,
    };
    assert_eq!(reader.state("p"), Some(unowned));
}

/// A router that follows the lower of two tokens sends requests to a worker that has let go.
#[test]
fn between_the_writes_of_one_commit_the_higher_token_owns() {
    let mut reader = Reader::new();
    reader.session(1, |_| {});
    reader.session(2, |_| {});
    reader.assignment(1, &[("p", 3)], &[]);
    let moved = reader.assignment(2, &[("p", 5)], &[]);
    let (from, to) = (Some(worker(1)), Some((worker(2), Token::new(5))));
    let partition = p("p");
    let change = Change::Owner {
        partition,
        from,
        to,
    };
    assert_eq!(moved, [change]);
    assert_eq!(reader.assignment(1, &[], &[]), []);
    assert_eq!(reader.owner("p"), Some((worker(2), 5)));
    // In the other order, and with the higher one taken back.
    reader.assignment(1, &[("p", 4)], &[]);
    assert_eq!(reader.owner("p"), Some((worker(2), 5)));
    reader.assignment(2, &[], &[]);
    assert_eq!(reader.owner("p"), Some((worker(1), 4)));
    reader.assignment(1, &[], &[]);
    assert_eq!(reader.owner("p"), None);
    assert!(reader.directory.owners().is_empty());
}

/// Requests must not go on being sent to a worker whose slot another session has taken.
#[test]
fn an_assignment_of_another_session_owns_nothing() {
    let mut reader = Reader::new();
    reader.session(1, |session| {
        session.endpoint = Endpoint::new("http://a").ok()
    });
    reader.assignment(1, &[("p", 3)], &[]);
    let owner = reader.directory.owners().owner_of(&p("p")).expect("owned");
    assert_eq!(owner.endpoint, Endpoint::new("http://a").ok());
    let snapshot = reader.directory.owners().clone();
    let changed = reader.session(1, |session| session.epoch = Epoch::new(8));
    assert_eq!(changed.len(), 1);
    assert_eq!(reader.owner("p"), None);
    // What was handed out before is as it was.
    assert!(snapshot.owner_of(&p("p")).is_some());
}

/// Leaders that change by the minute are the first thing to see in an incident.
#[test]
fn a_change_of_leadership_is_told_once_and_counted_from_when_it_was_seen() {
    let mut reader = Reader::new();
    let told = |term: u64, leader: Option<u32>| {
        let (term, leader) = (Term::new(term), leader.map(worker));
        [Change::Leader { term, leader }]
    };
    assert_eq!(reader.head(1, Some(1), 0, 0), told(1, Some(1)));
    reader.now = 9;
    assert_eq!(reader.head(1, Some(1), 0, 0), []);
    let leading = reader.view().leading.expect("leading");
    assert_eq!(leading.lasting, Duration::from_secs(9));
    assert_eq!(reader.head(1, None, 0, 0), told(1, None));
    assert_eq!(reader.head(2, Some(2), 0, 0), told(2, Some(2)));
    let leading = reader.view().leading.expect("leading");
    assert_eq!(
        (leading.leader, leading.lasting),
        (Some(worker(2)), Duration::ZERO)
    );
}

/// A bucket that was lost looks like a group without work; to read that as "all is quiet" is wrong.
#[test]
fn a_lost_history_is_told_and_not_shown_as_an_empty_group() {
    type Case = (&'static str, fn(&mut Directory) -> Option<Change>);
    let cases: [Case; 3] = [
        ("recreated", |d| {
            d.informed(at(3), d.ask(at(3)), &info(2, 9))
        }),
        ("rolled back", |d| {
            d.informed(at(3), d.ask(at(3)), &info(1, 1))
        }),
        ("missing", |d| d.missing(at(3))),
    ];
    for (name, lose) in cases {
        let mut reader = Reader::new();
        let asked = reader.directory.ask(at(0));
        assert_eq!(reader.directory.informed(at(0), asked, &info(1, 0)), None);
        reader.session(1, |_| {});
        reader.assignment(1, &[("p", 3)], &[]);
        let change = lose(&mut reader.directory);
        assert!(
            matches!(change, Some(Change::Lost(_))),
            "{name}: {change:?}"
        );
        let view = reader.view();
        assert!(view.loss.is_some_and(|loss| loss.since == at(3)), "{name}");
        assert!(!view.complete && reader.owner("p").is_none(), "{name}");
        // The new history is read from its first revision on, and the loss stays told.
        reader.revision = 0;
        reader.directory.begin(at(4));
        reader.session(1, |_| {});
        reader.assignment(1, &[("q", 9)], &[]);
        reader.directory.caught_up(at(4), Revision::new(2));
        assert_eq!(reader.owner("q"), Some((worker(1), 9)), "{name}");
        let view = reader.view();
        assert!(view.complete && view.loss.is_some(), "{name}");
    }
}

/// A reader that was cut off must neither forget all at once nor keep for ever what is gone.
#[test]
fn what_a_new_watch_does_not_show_is_gone_when_it_has_caught_up() {
    let mut reader = Reader::new();
    for number in [1, 2] {
        reader.session(number, |_| {});
    }
    reader.assignment(1, &[("a", 3)], &[]);
    reader.assignment(2, &[("b", 3)], &[]);
    reader.directory.begin(at(5));
    assert!(reader.owner("a").is_some() && reader.owner("b").is_some());
    reader.session(1, |_| {});
    reader.assignment(1, &[("a", 3)], &[]);
    let changes = reader.directory.caught_up(at(6), Revision::new(9));
    assert!(reader.owner("a").is_some() && reader.owner("b").is_none());
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(reader.view().workers.len(), 1);
}

/// A view that looks fresh although its watch is dead hides an incident.
#[test]
fn only_the_stores_own_word_makes_a_silent_watch_fresh() {
    let mut reader = Reader::new();
    reader.now = 1;
    reader.session(1, |_| {});
    let complete = |reader: &Reader| reader.directory.as_of().complete;
    assert_eq!(complete(&reader), Some(at(0)));
    let asked = reader.directory.ask(at(2));
    reader.directory.informed(at(3), asked, &info(1, 2));
    // The store is at revision 2, which has not been shown.
    assert_eq!(complete(&reader), Some(at(0)));
    reader.now = 4;
    reader.session(1, |_| {});
    assert_eq!(complete(&reader), Some(at(2)));
    reader.now = 9;
    let view = reader.view();
    assert_eq!(view.workers[0].silent, Some(Duration::from_secs(5)));
}

/// "I have asked for a rebalance and nothing happens" begins with seeing the request.
#[test]
fn requests_are_shown_until_they_are_removed() {
    let mut reader = Reader::new();
    let control = Control {
        lasts: None,
        write: WRITE,
        author: "ops".to_string(),
        reason: "deploy".to_string(),
        pins: Vec::new(),
    };
    let key = control_key(Verb::Trigger, &worker(1));
    reader.write(key.clone(), &Record::Control(control));
    let request = reader.view().requests.remove(0);
    assert_eq!((request.verb, &*request.author), (Verb::Trigger, "ops"));
    reader.put(key, None);
    assert!(reader.view().requests.is_empty());
}
