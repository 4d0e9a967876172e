//! Histories made by hand: what is told, and what is not claimed.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::model::id::{Epoch, Nonce, Revision, Term, Token, Version, WriteId};
use crate::model::partition::PartitionKey;
use crate::model::state::Cause;
use crate::records::keys::{assignment_key, audit_key, session_key};
use crate::records::record::{
    Parked, Readiness, RecordGrant, Revoking, SessionStatus, WorkerChange,
};

fn worker(number: u32) -> WorkerId {
    WorkerId::numbered("worker", number).expect("valid")
}

fn partition(name: &str) -> PartitionKey {
    PartitionKey::new([name]).expect("valid key")
}

const WRITE: WriteId = WriteId {
    nonce: Nonce::new(7),
    seq: 1,
};

fn entry(key: String, record: &Record) -> Entry {
    Entry {
        at_ms: 0,
        key,
        revision: Revision::new(1),
        value: Some(wire::encode(record)),
    }
}

/// A generation of term 1 in which workers lost and gained `p`.
fn generation(version: u64, cause: Cause, lost: Option<u32>, gained: Option<u32>) -> AuditEntry {
    let change = |number: u32, gained: bool| WorkerChange {
        worker: worker(number),
        gained: Vec::from_iter(gained.then(|| (partition("p"), lost.map(worker)))),
        lost: Vec::from_iter((!gained).then(|| partition("p"))),
    };
    let lost_by = lost.filter(|_| gained.is_none()).map(|n| change(n, false));
    AuditEntry {
        write: WRITE,
        version: Version::new(version),
        term: Term::new(1),
        leader: worker(0),
        cause,
        triggers: vec![alloc::format!("because of {version}")],
        at_ms: 1_700_000_000_000,
        moved: 3,
        lower_bound: 2,
        changes: lost_by
            .into_iter()
            .chain(gained.map(|n| change(n, true)))
            .collect(),
        parked: Vec::new(),
        truncated: false,
    }
}

fn ring(entries: Vec<AuditEntry>) -> Vec<Entry> {
    let entries = entries.into_iter();
    let entries = entries.map(|audit| {
        let key = audit_key(audit.version.get());
        entry(key, &Record::Audit(audit))
    });
    entries.collect()
}

fn assignment(number: u32, granted: Option<u64>, revoking: Option<u64>) -> Entry {
    let granted = granted.map(|token| RecordGrant {
        partition: partition("p"),
        token: Token::new(token),
        anchor: None,
    });
    let revoking = revoking.map(|since| Revoking {
        partition: partition("p"),
        since: Version::new(since),
        parked: None,
    });
    let record = AssignmentRecord {
        write: WRITE,
        version: Version::new(5),
        epoch: Epoch::new(4),
        session: crate::model::id::Nonce::new(0),
        granted: granted.into_iter().collect(),
        revoking: revoking.into_iter().collect(),
        preparing: Vec::new(),
    };
    entry(assignment_key(&worker(number)), &Record::Assignment(record))
}

fn session(number: u32, epoch: u64, status: SessionStatus) -> Entry {
    let record = session_record(epoch, status);
    entry(session_key(&worker(number)), &Record::Session(record))
}

fn session_record(epoch: u64, status: SessionStatus) -> SessionRecord {
    SessionRecord {
        write: WRITE,
        epoch: Epoch::new(epoch),
        status,
        applied: Version::ZERO,
        known: Version::ZERO,
        age: Duration::ZERO,
        reads: crate::records::wire::FORMATS,
        draining: Vec::new(),
        capacity: 1,
        labels: BTreeMap::new(),
        heartbeat_interval: Duration::from_secs(2),
        lease: Duration::from_secs(6),
        software: String::new(),
        endpoint: None,
        settings: crate::records::agreement::GroupSettings::default(),
        honours: crate::config::Mode::Exclusive,
        rejections: Vec::new(),
        predecessors: Vec::new(),
        bulletin: None,
        readiness: Readiness::default(),
    }
}

fn explain(entries: &[Entry]) -> Explanation {
    History::read(entries).explain(&partition("p"))
}

/// Cold start to worker 1, then by handoff to worker 2.
fn handoff() -> Vec<AuditEntry> {
    vec![
        generation(10, Cause::ColdStart, None, Some(1)),
        generation(11, Cause::PlannedScale, Some(1), None),
        generation(12, Cause::Resume, Some(1), Some(2)),
    ]
}

/// "Why is it there" is asked at night; the answer must name the decision, not its last technical step.
#[test]
fn a_handoff_is_explained_by_the_decision_it_carries_out() {
    let mut entries = ring(handoff());
    entries.push(assignment(2, Some(12), None));
    entries.push(session(2, 4, SessionStatus::Active));
    let explanation = explain(&entries);
    let owner = explanation.owner.clone().expect("owned");
    assert_eq!((owner.worker, owner.token), (worker(2), Token::new(12)));
    assert_eq!(owner.since_ms, Some(1_700_000_000_000));
    let [first, second] = &explanation.moves[..] else {
        panic!("two moves: {explanation}")
    };
    assert_eq!((&first.from, &first.to), (&None, &Some(worker(1))));
    assert_eq!(second.from, Some(worker(1)));
    let decided = second.decided.as_ref().expect("known");
    assert_eq!(decided.cause, Cause::PlannedScale);
    let version = |g: &Option<Generation>| g.as_ref().map(|g| g.version.get());
    let versions = (version(&second.taken), version(&second.granted));
    assert_eq!(versions, (Some(11), Some(12)));
    assert_eq!(explanation.gaps, []);
    let text = explanation.to_string();
    let wanted = "from worker-1 to worker-2 because of planned_scale (because of 11) decided by \
                  worker-0 at version 11, moving 3 (lower bound 2)";
    assert!(text.contains(wanted), "{text}");
    assert!(text.contains("since 2023-11-14T22:13:20Z"), "{text}");
}

/// A partition between two owners must not be shown as owned.
#[test]
fn a_partition_on_its_way_names_who_has_to_let_go() {
    let mut entries = ring(handoff()[..2].to_vec());
    entries.push(assignment(1, None, Some(11)));
    let explanation = explain(&entries);
    assert_eq!(explanation.owner, None);
    let (worker, since) = (worker(1), Version::new(11));
    assert_eq!(explanation.leaving, [Leaving { worker, since }]);
    assert!(
        explanation
            .to_string()
            .starts_with("p: on its way; worker-1 has to let go")
    );
    let last = explanation.moves.last().expect("a move");
    assert!(last.to.is_none() && last.granted.is_none());
    // The record goes on naming it; what counts is what the session says.
    let leaving = |session: Entry| {
        let entries = [entries.clone(), vec![session]].concat();
        !explain(&entries).leaving.is_empty()
    };
    let says = |applied, draining: &[&str], status| {
        let mut said = session_record(4, status);
        said.applied = Version::new(applied);
        said.draining = draining.iter().map(|name| partition(name)).collect();
        entry(
            session_key(&WorkerId::numbered("worker", 1).expect("valid")),
            &Record::Session(said),
        )
    };
    let active = SessionStatus::Active;
    assert!(leaving(says(10, &[], active)), "it has not heard of it");
    assert!(leaving(says(11, &["p"], active)), "it is still draining");
    assert!(!leaving(says(11, &["q"], active)));
    let evicted = SessionStatus::Evicted { silent: true };
    assert!(!leaving(says(10, &[], evicted)), "nobody is left to let go");
}

/// A short memory that pretends to be complete is worse than none.
#[test]
fn what_the_ring_no_longer_holds_is_said_and_not_guessed() {
    let forgotten = [assignment(2, Some(3), None)];
    let version = Version::new(3);
    assert_eq!(explain(&forgotten).gaps, [Gap::BeyondTheRing { version }]);
    let mut entries = ring(handoff()[2..].to_vec());
    entries.push(assignment(2, Some(12), None));
    let explanation = explain(&entries);
    assert_eq!(explanation.moves[0].decided, None);
    let version = Version::new(12);
    assert_eq!(explanation.gaps, [Gap::BeforeTheFirst { version }]);
    let text = explanation.to_string();
    assert!(
        text.contains("a reason the audit ring no longer holds"),
        "{text}"
    );
}

/// An overwritten entry in the middle could have been another move, or the true cause.
#[test]
fn a_hole_in_the_ring_is_named_and_breaks_the_chain_of_causes() {
    let mut entries = handoff();
    entries.remove(1);
    let mut entries = ring(entries);
    entries.push(assignment(2, Some(12), None));
    let explanation = explain(&entries);
    let (after, before) = (Version::new(10), Version::new(12));
    assert_eq!(explanation.gaps, [Gap::Overwritten { after, before }]);
    assert_eq!(explanation.moves[1].decided, None);
}

/// Versions jump at a take-over; only an entry that a newer one may have replaced is in doubt.
#[test]
fn a_jump_between_terms_is_no_hole_unless_a_newer_entry_took_the_slot() {
    let next_term = |version| AuditEntry {
        term: Term::new(2),
        ..generation(version, Cause::Resume, Some(1), Some(2))
    };
    let gaps = |version: u64| {
        let mut entries = handoff()[..2].to_vec();
        entries.push(next_term(version));
        let mut entries = ring(entries);
        entries.push(assignment(2, Some(version), None));
        explain(&entries).gaps
    };
    assert_eq!(gaps(1_000), []);
    let (after, before) = (Version::new(11), Version::new(12 + 256));
    assert_eq!(gaps(12 + 256), [Gap::Overwritten { after, before }]);
}

/// A move too large for its entry must not look like no move.
#[test]
fn a_truncated_entry_is_in_doubt_unless_the_token_proves_the_rest() {
    let truncated = |version| AuditEntry {
        truncated: true,
        ..generation(version, Cause::Manual, None, None)
    };
    let explained = |token| {
        let mut entries = handoff()[..1].to_vec();
        entries.push(truncated(11));
        let mut entries = ring(entries);
        entries.push(assignment(1, Some(token), None));
        explain(&entries).gaps
    };
    let version = Version::new(11);
    assert_eq!(explained(11), [Gap::Truncated { version }]);
    assert_eq!(
        explained(10),
        [],
        "its token says that nothing happened since"
    );
}

/// A crash shows no revocation: the holder could not be asked.
#[test]
fn an_emergency_names_the_lost_worker_and_no_revocation() {
    let mut entries = handoff()[..1].to_vec();
    entries.push(generation(11, Cause::Emergency, Some(1), Some(2)));
    let mut entries = ring(entries);
    entries.push(assignment(2, Some(11), None));
    let last = explain(&entries).moves.pop().expect("a move");
    assert_eq!((last.from, last.to), (Some(worker(1)), Some(worker(2))));
    assert_eq!(last.taken, None);
    let decided = last.decided.expect("known");
    assert_eq!(decided.cause, Cause::Emergency);
}

/// A record outlives its session; an owner that is gone must not look alive.
#[test]
fn an_owner_whose_session_ended_is_told_apart() {
    let session_of = |session: Option<Entry>| {
        let mut entries = vec![assignment(2, Some(12), None)];
        entries.extend(session);
        explain(&entries).owner.expect("owned").session
    };
    assert_eq!(session_of(None), OwnerSession::Missing);
    let evicted = SessionStatus::Evicted { silent: true };
    let present = session_of(Some(session(2, 4, evicted)));
    assert_eq!(present, OwnerSession::Present(evicted));
    let active = SessionStatus::Active;
    let replaced = session_of(Some(session(2, 5, active)));
    assert_eq!(replaced, OwnerSession::Replaced);
    // Just claimed: its epoch is the revision of its first write.
    let new = |revision| Entry {
        revision: Revision::new(revision),
        ..session(2, 0, active)
    };
    assert_eq!(session_of(Some(new(9))), OwnerSession::Replaced);
    assert_eq!(session_of(Some(new(4))), OwnerSession::Present(active));
}

/// Damaged and foreign keys are daily life; the rest must still be readable.
#[test]
fn damaged_keys_are_named_and_the_rest_is_read_in_order() {
    let mut entries = ring(handoff());
    entries.reverse();
    let plant = |key: &str, value: &[u8]| Entry {
        at_ms: 0,
        key: key.to_string(),
        revision: Revision::new(9),
        value: Some(value.to_vec()),
    };
    entries.push(plant("a.worker-9", b"\x01garbage"));
    entries.push(plant("src", b"not ours to read"));
    let misplaced = generation(13, Cause::Manual, None, None);
    entries.push(entry("h.99".to_string(), &Record::Audit(misplaced)));
    let history = History::read(&entries);
    let versions: Vec<u64> = history.entries.iter().map(|e| e.version.get()).collect();
    assert_eq!(versions, [10, 11, 12]);
    let keys: Vec<&str> = history.unreadable.iter().map(|u| &u.key[..]).collect();
    assert_eq!(keys, ["a.worker-9", "h.99"]);
    let last: Vec<u64> = history.last(2).iter().map(|e| e.version.get()).collect();
    assert_eq!((last, history.last(9).len()), (vec![11, 12], 3));
    let line = history.entries[1].to_string();
    let wanted = "version 11 of term 1, 2023-11-14T22:13:20Z: planned_scale; because of 11; \
                  worker-1 +0 -1";
    assert_eq!(line, wanted);
}

/// A history that reads too little explains with confidence what it has not seen.
#[test]
fn the_reads_cover_every_record_a_history_is_made_of() {
    let mut bucket = ring(handoff());
    bucket.push(assignment(2, Some(12), None));
    bucket.push(session(2, 4, SessionStatus::Active));
    let head = Head {
        write: WRITE,
        term: Term::new(1),
        leader: None,
        version: Version::new(12),
        format: crate::records::wire::FORMAT,
        lease: Duration::from_secs(6),
        cause: Cause::Resume,
        planned: Version::new(11),
        strategy: crate::ports::strategy::StrategyId::new("deal/1"),
        workers: 1,
        partitions: 1,
        digest: 0,
        weights_digest: 0,
        unfinished: 0,
        granted: 0,
        agreed: crate::records::agreement::Agreed::default(),
        carried: Default::default(),
        parked: Parked::default(),
    };
    bucket.push(entry(head_key(), &Record::Head(head)));
    let answer = |read: &StoreOp| match read {
        StoreOp::Get { key } => {
            StoreReply::Entry(bucket.iter().find(|entry| entry.key == *key).cloned())
        }
        StoreOp::List { prefix } => StoreReply::Entries {
            entries: bucket
                .iter()
                .filter(|e| e.key.starts_with(prefix))
                .cloned()
                .collect(),
            last_revision: Revision::new(1),
        },
        StoreOp::Commit { .. } | StoreOp::Info | StoreOp::Create => {
            panic!("a history only reads: {read:?}")
        }
    };
    let reads = History::reads();
    let read = reads
        .iter()
        .flat_map(|read| History::entries_of(answer(read)));
    let history = History::read(&read.collect::<Vec<_>>());
    assert_eq!(history, History::read(&bucket));
    assert!(history.head.is_some() && history.entries.len() == 3);
    // The ring is read after the assignments, or one could lack the entry that explains it.
    let position = |wanted: &str| {
        let is = |read: &StoreOp| matches!(read, StoreOp::List { prefix } if prefix == wanted);
        reads.iter().position(is)
    };
    assert!(position("a.") < position("h."));
    let revisions = Vec::new();
    assert_eq!(History::entries_of(StoreReply::Committed { revisions }), []);
}
