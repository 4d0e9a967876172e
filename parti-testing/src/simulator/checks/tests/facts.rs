//! Short words for hand-made facts: two processes, one partition, records with plausible fields.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use parti_core::{
    AssignmentRecord, Cause, Epoch, Expect, Grant, Head, Instant, Key, LeaderName, Nonce, Notice,
    Parked, PartitionKey, Readiness, Record, RecordGrant, Revision, RevokeCause, SessionRecord,
    SessionStatus, State, StrategyId, Term, Token, Version, Wake, WakeReason, WorkerId, WriteId,
};

pub(super) const A: Process = Process { node: 0, run: 1 };
pub(super) const B: Process = Process { node: 1, run: 1 };

pub(super) fn seconds(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1000)
}

pub(super) fn partition() -> PartitionKey {
    PartitionKey::new(["p0"]).expect("valid")
}

pub(super) fn grants(token: u64) -> Vec<Grant> {
    vec![Grant {
        partition: partition(),
        token: Token::new(token),
    }]
}

pub(super) fn worker(process: Process) -> WorkerId {
    WorkerId::numbered("worker", u32::from(process.node)).expect("valid")
}

pub(super) fn nonce(process: Process) -> Nonce {
    Nonce::new(u128::from(process.node) + 1)
}

pub(super) fn step(process: Process, local: u64) -> Fact {
    Fact::Step {
        process,
        local: seconds(local),
        created: None,
    }
}

pub(super) fn assign(process: Process, token: u64) -> Fact {
    let assigned = Assigned {
        grants: grants(token),
        local: seconds(1),
        deadline: Some(seconds(1000)),
    };
    Fact::Assign { process, assigned }
}

pub(super) fn revoke(process: Process, token: u64) -> Fact {
    revoke_for(RevokeCause::Reassigned, process, token)
}

pub(super) fn revoke_for(cause: RevokeCause, process: Process, token: u64) -> Fact {
    let revoked = Revoked {
        grants: grants(token),
        cause,
    };
    Fact::Revoke { process, revoked }
}

pub(super) fn released(process: Process, token: u64) -> Fact {
    Fact::Released {
        process,
        grants: grants(token),
    }
}

pub(super) fn settled(process: Process, until: u64) -> Fact {
    let until = Some(seconds(until));
    let end = StepEnd {
        deadline: until,
        until,
        wake: Some(Wake::new(seconds(2), WakeReason::Renewal)),
        ..idle(1)
    };
    Fact::Settled { process, end }
}

/// A step at this second that did nothing and wants nothing.
pub(super) fn idle(second: u64) -> StepEnd {
    StepEnd {
        local: seconds(second),
        deadline: None,
        until: None,
        wake: None,
        effects: 0,
        status: None,
    }
}

pub(super) fn notice(process: Process, notice: Notice) -> Fact {
    Fact::Notice { process, notice }
}

pub(super) fn written(name: &str, revision: u64, previous: u64, record: Record) -> Written {
    Written {
        name: name.to_owned(),
        key: Key::parse(name),
        revision: Revision::new(revision),
        previous: Revision::new(previous),
        expect: match previous {
            0 => Expect::Absent,
            previous => Expect::Revision(Revision::new(previous)),
        },
        value: Value::Record(Box::new(record)),
    }
}

pub(super) fn session(owner: Process, status: SessionStatus, applied: u64, epoch: u64) -> Record {
    Record::Session(SessionRecord {
        write: WriteId {
            nonce: nonce(owner),
            seq: 0,
        },
        epoch: Epoch::new(epoch),
        status,
        applied: Version::new(applied),
        known: Version::ZERO,
        age: Duration::ZERO,
        reads: parti_core::wire::FORMATS,
        draining: Vec::new(),
        capacity: 1,
        labels: BTreeMap::new(),
        heartbeat_interval: Duration::from_secs(2),
        lease: Duration::from_secs(6),
        software: String::new(),
        endpoint: None,
        settings: parti_core::GroupSettings::default(),
        honours: parti_core::Mode::Exclusive,
        rejections: Vec::new(),
        predecessors: Vec::new(),
        bulletin: None,
        readiness: Readiness::default(),
    })
}

pub(super) fn active(owner: Process, revision: u64, previous: u64, applied: u64) -> Written {
    // Sessions of these traces begin at revision 1 for A and 2 for B.
    let epoch = if previous == 0 {
        0
    } else {
        u64::from(owner.node) + 1
    };
    let record = session(owner, SessionStatus::Active, applied, epoch);
    written(&format!("w.{}", worker(owner)), revision, previous, record)
}

impl Written {
    /// The same session, but for a change.
    pub(super) fn saying(mut self, change: impl FnOnce(&mut SessionRecord)) -> Self {
        let Value::Record(record) = &mut self.value else {
            panic!("it is a record");
        };
        let Record::Session(session) = record.as_mut() else {
            panic!("it is a session");
        };
        change(session);
        self
    }
}

pub(super) fn ended(
    owner: Process,
    status: SessionStatus,
    revision: u64,
    previous: u64,
) -> Written {
    let record = session(owner, status, 0, u64::from(owner.node) + 1);
    written(&format!("w.{}", worker(owner)), revision, previous, record)
}

pub(super) fn assignment(
    owner: Process,
    version: u64,
    token: Option<u64>,
    revision: u64,
) -> Written {
    let grant = |token| RecordGrant {
        partition: partition(),
        token: Token::new(token),
        anchor: None,
    };
    let record = Record::Assignment(AssignmentRecord {
        write: WriteId {
            nonce: nonce(A),
            seq: 0,
        },
        version: Version::new(version),
        epoch: Epoch::new(u64::from(owner.node) + 1),
        session: parti_core::Nonce::new(0),
        granted: token.map(grant).into_iter().collect(),
        revoking: Vec::new(),
        preparing: Vec::new(),
    });
    written(&format!("a.{}", worker(owner)), revision, 0, record)
}

pub(super) fn head(
    leader: Process,
    term: u64,
    version: u64,
    revision: u64,
    previous: u64,
) -> Written {
    let record = Record::Head(Head {
        write: WriteId {
            nonce: nonce(leader),
            seq: 0,
        },
        term: Term::new(term),
        leader: Some(LeaderName {
            worker: worker(leader),
            epoch: Epoch::new(1),
        }),
        version: Version::new(version),
        format: parti_core::wire::FORMAT,
        lease: Duration::from_secs(6),
        cause: Cause::Manual,
        planned: Version::new(version),
        strategy: StrategyId::new("s"),
        workers: 2,
        partitions: 1,
        digest: 0,
        weights_digest: 0,
        unfinished: 0,
        granted: 0,
        agreed: parti_core::Agreed::default(),
        carried: Default::default(),
        parked: Parked::default(),
    });
    written("head", revision, previous, record)
}

/// The same generation but for a change.
pub(super) fn changed(head: &Written, change: impl FnOnce(&mut Head)) -> Written {
    let Some(Record::Head(record)) = head.record() else {
        panic!("it is a head");
    };
    let mut record = record.clone();
    change(&mut record);
    let (revision, previous) = (head.revision.get(), head.previous.get());
    written("head", revision, previous, Record::Head(record))
}

pub(super) fn commit(process: Process, writes: Vec<Written>) -> Fact {
    Fact::Commit(AppliedCommit {
        at: Instant::ORIGIN,
        process,
        writes,
    })
}

pub(super) fn coverage(held: &[Process]) -> Coverage {
    let workers = [A, B].map(|process| Worker {
        process,
        standing: Standing::Core,
        id: Some((worker(process), Epoch::new(u64::from(process.node) + 1))),
        version: Version::ZERO,
        state: State::Stable,
        leads: process == A,
        capacity: 1,
        held: BTreeSet::from_iter(held.contains(&process).then(partition)),
    });
    Coverage {
        uneven: false,
        partitions: BTreeSet::from([partition()]),
        workers: workers.to_vec(),
        ..Coverage::default()
    }
}
