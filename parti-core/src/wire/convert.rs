//! Wire types to domain types and back; every name and number is checked on the way in.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{
    AssignmentWire, AuditWire, ChangeWire, ControlWire, HeadWire, PredecessorWire, RecordWire,
    RemainsWire, SessionWire, SourceWire, StatusWire, WireError, WriteWire,
};
use crate::id::{Epoch, Nonce, Revision, Term, Token, Version, WorkerId, WriteId};
use crate::partition::{Partition, PartitionKey};
use crate::record::{
    AssignmentRecord, AuditEntry, Control, Head, LeaderName, Predecessor, Record, RecordGrant,
    Remains, Revoking, SessionRecord, SessionStatus, SourcePart, WorkerChange,
};
use crate::state::Cause;
use crate::strategy::StrategyId;

pub(super) fn to_wire(record: &Record) -> RecordWire {
    match record {
        Record::Head(head) => RecordWire::Head(head_to_wire(head)),
        Record::Session(session) => RecordWire::Session(session_to_wire(session)),
        Record::Assignment(assignment) => RecordWire::Assignment(assignment_to_wire(assignment)),
        Record::Audit(entry) => RecordWire::Audit(audit_to_wire(entry)),
        Record::Control(control) => RecordWire::Control(ControlWire {
            write: write_to_wire(control.write),
            author: control.author.clone(),
            reason: control.reason.clone(),
        }),
        Record::Source(part) => RecordWire::Source(source_to_wire(part)),
    }
}

pub(super) fn from_wire(wire: RecordWire) -> Result<Record, WireError> {
    Ok(match wire {
        RecordWire::Head(head) => Record::Head(head_from_wire(head)?),
        RecordWire::Session(session) => Record::Session(session_from_wire(session)?),
        RecordWire::Assignment(assignment) => Record::Assignment(assignment_from_wire(assignment)?),
        RecordWire::Audit(entry) => Record::Audit(audit_from_wire(entry)?),
        RecordWire::Control(control) => Record::Control(Control {
            write: write_from_wire(&control.write),
            author: control.author,
            reason: control.reason,
        }),
        RecordWire::Source(part) => Record::Source(source_from_wire(part)?),
    })
}

fn head_to_wire(head: &Head) -> HeadWire {
    HeadWire {
        write: write_to_wire(head.write),
        term: head.term.get(),
        leader: head
            .leader
            .as_ref()
            .map(|l| (l.worker.to_string(), l.epoch.get())),
        version: head.version.get(),
        cause: cause_to_wire(head.cause),
        planned: head.planned.get(),
        strategy: head.strategy.to_string(),
        workers: head.workers,
        partitions: head.partitions,
        digest: head.digest,
        weights_digest: head.weights_digest,
        unfinished: head.unfinished,
    }
}

fn head_from_wire(wire: HeadWire) -> Result<Head, WireError> {
    let leader = wire.leader.map(|(name, epoch)| {
        Ok(LeaderName {
            worker: worker(&name)?,
            epoch: Epoch::new(epoch),
        })
    });
    Ok(Head {
        write: write_from_wire(&wire.write),
        term: Term::new(wire.term),
        leader: leader.transpose()?,
        version: Version::new(wire.version),
        cause: cause_from_wire(wire.cause)?,
        planned: Version::new(wire.planned),
        strategy: StrategyId::new(&wire.strategy),
        workers: wire.workers,
        partitions: wire.partitions,
        digest: wire.digest,
        weights_digest: wire.weights_digest,
        unfinished: wire.unfinished,
    })
}

fn session_to_wire(session: &SessionRecord) -> SessionWire {
    SessionWire {
        write: write_to_wire(session.write),
        epoch: session.epoch.get(),
        status: match session.status {
            SessionStatus::Active => StatusWire::Active,
            SessionStatus::Draining => StatusWire::Draining,
            SessionStatus::Released { hold } => StatusWire::Released {
                hold_ms: millis(hold),
            },
            SessionStatus::Evicted { silent } => StatusWire::Evicted { silent },
        },
        applied: session.applied.get(),
        draining: session
            .draining
            .iter()
            .map(|key| key.encoded().to_string())
            .collect(),
        capacity: session.capacity,
        labels: session
            .labels
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        heartbeat_ms: millis(session.heartbeat_interval),
        lease_ms: millis(session.lease),
        software: session.software.clone(),
        predecessors: session
            .predecessors
            .iter()
            .map(predecessor_to_wire)
            .collect(),
    }
}

fn predecessor_to_wire(predecessor: &Predecessor) -> PredecessorWire {
    PredecessorWire {
        epoch: predecessor.epoch.get(),
        revision: predecessor.revision.get(),
        lease_ms: millis(predecessor.lease),
        applied: predecessor.applied.get(),
        remains: match predecessor.remains {
            Remains::Everything => RemainsWire::Everything,
            Remains::Draining => RemainsWire::Draining,
        },
    }
}

const fn predecessor_from_wire(wire: &PredecessorWire) -> Predecessor {
    Predecessor {
        epoch: Epoch::new(wire.epoch),
        revision: Revision::new(wire.revision),
        lease: Duration::from_millis(wire.lease_ms),
        applied: Version::new(wire.applied),
        remains: match wire.remains {
            RemainsWire::Everything => Remains::Everything,
            RemainsWire::Draining => Remains::Draining,
        },
    }
}

fn session_from_wire(wire: SessionWire) -> Result<SessionRecord, WireError> {
    Ok(SessionRecord {
        write: write_from_wire(&wire.write),
        epoch: Epoch::new(wire.epoch),
        status: match wire.status {
            StatusWire::Active => SessionStatus::Active,
            StatusWire::Draining => SessionStatus::Draining,
            StatusWire::Released { hold_ms } => SessionStatus::Released {
                hold: Duration::from_millis(hold_ms),
            },
            StatusWire::Evicted { silent } => SessionStatus::Evicted { silent },
        },
        applied: Version::new(wire.applied),
        known: Version::new(wire.applied),
        draining: keys(&wire.draining)?,
        capacity: wire.capacity,
        labels: wire.labels.into_iter().collect(),
        heartbeat_interval: Duration::from_millis(wire.heartbeat_ms),
        lease: Duration::from_millis(wire.lease_ms),
        software: wire.software,
        predecessors: wire
            .predecessors
            .iter()
            .map(predecessor_from_wire)
            .collect(),
    })
}

fn assignment_to_wire(record: &AssignmentRecord) -> AssignmentWire {
    let mut departed: Vec<String> = Vec::new();
    let mut positions: BTreeMap<&WorkerId, u32> = BTreeMap::new();
    let granted = record.granted.iter().map(|grant| {
        let anchor = grant.anchor.as_ref().map_or(0, |worker| {
            *positions.entry(worker).or_insert_with(|| {
                departed.push(worker.to_string());
                u32::try_from(departed.len()).unwrap_or(0)
            })
        });
        (
            grant.partition.encoded().to_string(),
            grant.token.get(),
            anchor,
        )
    });
    let granted = granted.collect();
    AssignmentWire {
        write: write_to_wire(record.write),
        version: record.version.get(),
        epoch: record.epoch.get(),
        departed,
        granted,
        revoking: record
            .revoking
            .iter()
            .map(|r| (r.partition.encoded().to_string(), r.since.get()))
            .collect(),
    }
}

fn assignment_from_wire(wire: AssignmentWire) -> Result<AssignmentRecord, WireError> {
    let departed: Vec<WorkerId> = wire
        .departed
        .iter()
        .map(|name| worker(name))
        .collect::<Result<_, _>>()?;
    let granted = wire.granted.iter().map(|(partition, token, anchor)| {
        let anchor = match anchor.checked_sub(1) {
            None => None,
            Some(index) => Some(departed.get(index as usize).cloned().ok_or_else(|| {
                WireError::Invalid(format!("anchor {anchor} of {} departed", departed.len()))
            })?),
        };
        Ok(RecordGrant {
            partition: key(partition)?,
            token: Token::new(*token),
            anchor,
        })
    });
    let granted = granted.collect::<Result<_, WireError>>()?;
    let revoking = wire.revoking.iter().map(|(partition, since)| {
        Ok(Revoking {
            partition: key(partition)?,
            since: Version::new(*since),
        })
    });
    Ok(AssignmentRecord {
        write: write_from_wire(&wire.write),
        version: Version::new(wire.version),
        epoch: Epoch::new(wire.epoch),
        granted,
        revoking: revoking.collect::<Result<_, WireError>>()?,
    })
}

fn audit_to_wire(entry: &AuditEntry) -> AuditWire {
    let text = |key: &PartitionKey| key.encoded().to_string();
    let changes = entry.changes.iter().map(|change| ChangeWire {
        worker: change.worker.to_string(),
        gained: change
            .gained
            .iter()
            .map(|(key, from)| (text(key), from.as_ref().map(ToString::to_string)))
            .collect(),
        lost: change.lost.iter().map(text).collect(),
    });
    AuditWire {
        write: write_to_wire(entry.write),
        version: entry.version.get(),
        term: entry.term.get(),
        leader: entry.leader.to_string(),
        cause: cause_to_wire(entry.cause),
        triggers: entry.triggers.clone(),
        at_ms: entry.at_ms,
        moved: entry.moved,
        lower_bound: entry.lower_bound,
        changes: changes.collect(),
        truncated: entry.truncated,
    }
}

fn audit_from_wire(wire: AuditWire) -> Result<AuditEntry, WireError> {
    let changes = wire.changes.iter().map(|change| {
        let gained = change.gained.iter().map(|(partition, from)| {
            Ok((key(partition)?, from.as_deref().map(worker).transpose()?))
        });
        Ok(WorkerChange {
            worker: worker(&change.worker)?,
            gained: gained.collect::<Result<_, WireError>>()?,
            lost: keys(&change.lost)?,
        })
    });
    Ok(AuditEntry {
        write: write_from_wire(&wire.write),
        version: Version::new(wire.version),
        term: Term::new(wire.term),
        leader: worker(&wire.leader)?,
        cause: cause_from_wire(wire.cause)?,
        at_ms: wire.at_ms,
        moved: wire.moved,
        lower_bound: wire.lower_bound,
        changes: changes.collect::<Result<_, WireError>>()?,
        triggers: wire.triggers,
        truncated: wire.truncated,
    })
}

fn source_to_wire(part: &SourcePart) -> SourceWire {
    let partitions = part.partitions.iter();
    SourceWire {
        change: part.change.get(),
        earlier: part.earlier.iter().map(|change| change.get()).collect(),
        index: part.index,
        parts: part.parts,
        partitions: partitions
            .map(|partition| (partition.key.encoded().to_string(), partition.weight))
            .collect(),
    }
}

fn source_from_wire(wire: SourceWire) -> Result<SourcePart, WireError> {
    if wire.index >= wire.parts {
        let SourceWire { index, parts, .. } = wire;
        let reason = format!("piece {index} of a list of {parts} pieces");
        return Err(WireError::Invalid(reason));
    }
    let partitions = wire.partitions.iter().map(|(name, weight)| {
        Ok(Partition {
            key: key(name)?,
            weight: *weight,
        })
    });
    Ok(SourcePart {
        change: Nonce::new(wire.change),
        earlier: wire.earlier.into_iter().map(Nonce::new).collect(),
        index: wire.index,
        parts: wire.parts,
        partitions: partitions.collect::<Result<_, WireError>>()?,
    })
}

const fn write_to_wire(write: WriteId) -> WriteWire {
    WriteWire(write.nonce.get(), write.seq)
}

const fn write_from_wire(wire: &WriteWire) -> WriteId {
    WriteId {
        nonce: Nonce::new(wire.0),
        seq: wire.1,
    }
}

fn cause_to_wire(cause: Cause) -> u8 {
    let position = Cause::ALL.iter().position(|&c| c == cause);
    position
        .and_then(|p| u8::try_from(p).ok())
        .unwrap_or(u8::MAX)
}

fn cause_from_wire(byte: u8) -> Result<Cause, WireError> {
    let cause = Cause::ALL.get(usize::from(byte)).copied();
    cause.ok_or_else(|| WireError::Invalid(format!("cause {byte}")))
}

fn worker(name: &str) -> Result<WorkerId, WireError> {
    WorkerId::new(name).map_err(|error| WireError::Invalid(error.to_string()))
}

fn key(text: &str) -> Result<PartitionKey, WireError> {
    PartitionKey::from_encoded(text).map_err(|error| WireError::Invalid(error.to_string()))
}

fn keys(texts: &[String]) -> Result<Vec<PartitionKey>, WireError> {
    texts.iter().map(|text| key(text)).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
