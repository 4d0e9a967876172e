//! Wire types to domain types and back; every name and number is checked on the way in.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

mod assignment;
mod carried;
mod orders;

use carried::{carried_from_wire, carried_to_wire};

use super::WireError;
use super::body::{
    AuditWire, BulletinWire, ChangeWire, HeadWire, List, ParkedGroupWire, ParkedWire,
    PredecessorWire, RecordWire, RemainsWire, SessionWire, SourceWire, StatusWire, SuspicionWire,
};
use super::envelope::{Envelope, Summary, millis};
use crate::model::endpoint::Endpoint;
use crate::model::id::{Epoch, Nonce, Revision, Term, Version, WorkerId};
use crate::model::partition::{Partition, PartitionKey};
use crate::model::state::Cause;
use crate::ports::strategy::{ParkReason, StrategyId};
use crate::records::problem::{Bulletin, ProblemKind, ToldProblem};
use crate::records::record::{
    AuditEntry, Head, Parked, ParkedGroup, ParkedRecord, Predecessor, Readiness, Record,
    RejectedAt, Rejection, Remains, SessionRecord, SessionStatus, SourcePart, Suspicion,
    WorkerChange,
};

mod settings;

pub(super) fn to_wire(record: &Record) -> RecordWire<'_> {
    match record {
        Record::Head(head) => RecordWire::Head(head_to_wire(head)),
        Record::Session(session) => RecordWire::Session(session_to_wire(session)),
        Record::Assignment(assignment) => RecordWire::Assignment(assignment::to_wire(
            assignment.session.get(),
            &assignment.granted,
            &assignment.revoking,
            &assignment.preparing,
        )),
        Record::Manifest(manifest) => RecordWire::Manifest(assignment::manifest_to_wire(manifest)),
        Record::Piece(piece) => RecordWire::Piece(assignment::to_wire(
            0,
            &piece.granted,
            &piece.revoking,
            &piece.preparing,
        )),
        Record::Audit(entry) => RecordWire::Audit(audit_to_wire(entry)),
        Record::Control(control) => RecordWire::Control(orders::to_wire(control)),
        Record::Source(part) => RecordWire::Source(source_to_wire(part)),
        Record::Parked(parked) => RecordWire::Parked(ParkedWire {
            version: parked.version.get(),
            groups: parked.groups.iter().map(group_to_wire).collect(),
        }),
        Record::Suspicion(suspicion) => RecordWire::Suspicion(SuspicionWire(suspicion.term.get())),
    }
}

pub(super) fn from_wire(envelope: &Envelope, wire: RecordWire<'_>) -> Result<Record, WireError> {
    Ok(match wire {
        RecordWire::Head(head) => Record::Head(head_from_wire(envelope, &head)?),
        RecordWire::Session(session) => Record::Session(session_from_wire(envelope, session)?),
        RecordWire::Assignment(assignment) => {
            Record::Assignment(assignment::from_wire(envelope, &assignment)?)
        }
        RecordWire::Manifest(manifest) => {
            Record::Manifest(assignment::manifest_from_wire(envelope, manifest)?)
        }
        RecordWire::Piece(piece) => Record::Piece(assignment::piece_from_wire(envelope, &piece)?),
        RecordWire::Audit(entry) => Record::Audit(audit_from_wire(envelope, &entry)?),
        RecordWire::Control(control) => Record::Control(orders::from_wire(envelope, &control)?),
        RecordWire::Source(part) => Record::Source(source_from_wire(envelope, part)?),
        RecordWire::Parked(parked) => Record::Parked(ParkedRecord {
            write: envelope.write,
            version: Version::new(parked.version),
            groups: groups_from_wire(&parked.groups)?,
        }),
        RecordWire::Suspicion(SuspicionWire(term)) => Record::Suspicion(Suspicion {
            write: envelope.write,
            term: Term::new(term),
        }),
    })
}

fn head_to_wire(head: &Head) -> HeadWire<'_> {
    HeadWire {
        cause: cause_to_wire(head.cause),
        planned: head.planned.get(),
        strategy: head.strategy.as_str(),
        workers: head.workers,
        partitions: head.partitions,
        digest: head.digest,
        weights_digest: head.weights_digest,
        unfinished: head.unfinished,
        granted: head.granted,
        agreed: settings::agreed_to_wire(&head.agreed),
        carried: carried_to_wire(&head.carried),
        parked: (head.parked.count, head.parked.since_ms),
    }
}

fn head_from_wire(envelope: &Envelope, wire: &HeadWire<'_>) -> Result<Head, WireError> {
    let Summary::Head {
        term,
        version,
        format,
        lease,
        ref leader,
    } = envelope.summary
    else {
        return Err(other_kind());
    };
    Ok(Head {
        write: envelope.write,
        term,
        leader: leader.clone(),
        version,
        format,
        lease,
        cause: cause_from_wire(wire.cause)?,
        planned: Version::new(wire.planned),
        strategy: StrategyId::new(wire.strategy),
        workers: wire.workers,
        partitions: wire.partitions,
        digest: wire.digest,
        weights_digest: wire.weights_digest,
        unfinished: wire.unfinished,
        granted: wire.granted,
        agreed: settings::agreed_from_wire(&wire.agreed),
        carried: carried_from_wire(&wire.carried)?,
        parked: Parked {
            count: wire.parked.0,
            since_ms: wire.parked.1,
        },
    })
}

fn session_to_wire(session: &SessionRecord) -> SessionWire<'_> {
    SessionWire {
        status: match session.status {
            SessionStatus::Active => StatusWire::Active,
            SessionStatus::Draining => StatusWire::Draining,
            SessionStatus::Released { hold } => StatusWire::Released {
                hold_ms: millis(hold),
            },
            SessionStatus::Evicted { silent } => StatusWire::Evicted { silent },
            SessionStatus::Suspected => StatusWire::Suspected,
        },
        applied: session.applied.get(),
        age_ms: millis(session.age),
        draining: session.draining.iter().map(PartitionKey::encoded).collect(),
        capacity: session.capacity,
        labels: session
            .labels
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect(),
        heartbeat_ms: millis(session.heartbeat_interval),
        software: &session.software,
        endpoint: session.endpoint.as_ref().map_or("", Endpoint::as_str),
        settings: settings::to_wire(&session.settings),
        honours: settings::mode_to_wire(session.honours),
        rejections: session.rejections.iter().map(rejection_to_wire).collect(),
        prepares: session.readiness.prepares,
        prepared: assignment::prepared_to_wire(&session.readiness.prepared),
        predecessors: session
            .predecessors
            .iter()
            .map(predecessor_to_wire)
            .collect(),
        bulletin: session.bulletin.as_ref().map(bulletin_to_wire),
        answers: session.readiness.answers,
    }
}

fn endpoint_from_wire(text: &str) -> Result<Option<Endpoint>, WireError> {
    let given = Some(text).filter(|text| !text.is_empty());
    let endpoint = given.map(Endpoint::new).transpose();
    endpoint.map_err(|error| WireError::Invalid(error.to_string()))
}

fn rejection_to_wire(rejection: &Rejection) -> (&str, bool, &str) {
    let preparing = rejection.at == RejectedAt::Preparation;
    (rejection.partition.encoded(), preparing, &rejection.reason)
}

fn rejection_from_wire(
    &(partition, preparing, reason): &(&str, bool, &str),
) -> Result<Rejection, WireError> {
    Ok(Rejection {
        partition: key(partition)?,
        at: match preparing {
            true => RejectedAt::Preparation,
            false => RejectedAt::Processing,
        },
        reason: reason.to_string(),
    })
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

fn bulletin_to_wire(bulletin: &Bulletin) -> BulletinWire<'_> {
    let told = bulletin.problems.iter().map(|told| {
        let (lasting, detail) = (millis(told.lasting), told.detail.as_str());
        (told.kind.code(), lasting, told.count, detail)
    });
    BulletinWire(bulletin.term.get(), told.collect())
}

fn bulletin_from_wire(BulletinWire(term, told): &BulletinWire<'_>) -> Bulletin {
    let problems = told
        .0
        .iter()
        .map(|&(code, lasting, count, detail)| ToldProblem {
            kind: ProblemKind::from_code(code),
            lasting: Duration::from_millis(lasting),
            count,
            detail: detail.to_string(),
        });
    Bulletin {
        term: Term::new(*term),
        problems: problems.collect(),
    }
}

fn session_from_wire(
    envelope: &Envelope,
    wire: SessionWire<'_>,
) -> Result<SessionRecord, WireError> {
    let Summary::Session {
        epoch,
        lease,
        known,
        reads,
        ..
    } = envelope.summary
    else {
        return Err(other_kind());
    };
    let labels = wire.labels.0.iter();
    Ok(SessionRecord {
        write: envelope.write,
        epoch,
        status: match wire.status {
            StatusWire::Active => SessionStatus::Active,
            StatusWire::Draining => SessionStatus::Draining,
            StatusWire::Released { hold_ms } => SessionStatus::Released {
                hold: Duration::from_millis(hold_ms),
            },
            StatusWire::Evicted { silent } => SessionStatus::Evicted { silent },
            StatusWire::Suspected => SessionStatus::Suspected,
        },
        applied: Version::new(wire.applied),
        known,
        reads,
        age: Duration::from_millis(wire.age_ms),
        draining: keys(&wire.draining)?,
        capacity: wire.capacity,
        labels: labels
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        heartbeat_interval: Duration::from_millis(wire.heartbeat_ms),
        lease,
        software: wire.software.to_string(),
        endpoint: endpoint_from_wire(wire.endpoint)?,
        settings: settings::from_wire(&wire.settings),
        honours: settings::mode_from_wire(&wire.honours),
        rejections: wire
            .rejections
            .0
            .iter()
            .map(rejection_from_wire)
            .collect::<Result<_, _>>()?,
        readiness: Readiness {
            answers: wire.answers,
            prepares: wire.prepares,
            prepared: assignment::prepared_from_wire(&wire.prepared)?,
        },
        predecessors: wire
            .predecessors
            .0
            .iter()
            .map(predecessor_from_wire)
            .collect(),
        bulletin: wire.bulletin.as_ref().map(bulletin_from_wire),
    })
}

fn audit_to_wire(entry: &AuditEntry) -> AuditWire<'_> {
    let changes = entry.changes.iter().map(|change| ChangeWire {
        worker: change.worker.as_str(),
        gained: change
            .gained
            .iter()
            .map(|(key, from)| (key.encoded(), from.as_ref().map(WorkerId::as_str)))
            .collect(),
        lost: change.lost.iter().map(PartitionKey::encoded).collect(),
    });
    AuditWire {
        version: entry.version.get(),
        term: entry.term.get(),
        leader: entry.leader.as_str(),
        cause: cause_to_wire(entry.cause),
        triggers: entry.triggers.iter().map(String::as_str).collect(),
        at_ms: entry.at_ms,
        moved: entry.moved,
        lower_bound: entry.lower_bound,
        changes: changes.collect(),
        parked: entry.parked.iter().map(group_to_wire).collect(),
        truncated: entry.truncated,
    }
}

fn audit_from_wire(envelope: &Envelope, wire: &AuditWire<'_>) -> Result<AuditEntry, WireError> {
    let changes = wire.changes.0.iter().map(|change| {
        let gained = change
            .gained
            .0
            .iter()
            .map(|(partition, from)| Ok((key(partition)?, from.map(worker).transpose()?)));
        Ok(WorkerChange {
            worker: worker(change.worker)?,
            gained: gained.collect::<Result<_, WireError>>()?,
            lost: keys(&change.lost)?,
        })
    });
    Ok(AuditEntry {
        write: envelope.write,
        version: Version::new(wire.version),
        term: Term::new(wire.term),
        leader: worker(wire.leader)?,
        cause: cause_from_wire(wire.cause)?,
        at_ms: wire.at_ms,
        moved: wire.moved,
        lower_bound: wire.lower_bound,
        changes: changes.collect::<Result<_, WireError>>()?,
        parked: groups_from_wire(&wire.parked)?,
        triggers: wire.triggers.0.iter().map(ToString::to_string).collect(),
        truncated: wire.truncated,
    })
}

fn group_to_wire(group: &ParkedGroup) -> ParkedGroupWire<'_> {
    ParkedGroupWire {
        reason: reason_to_wire(group.reason),
        need: group.need,
        needs: &group.needs,
        since_ms: group.since_ms,
        again_ms: group.again_after.map(millis),
        count: group.count,
        partitions: group.partitions.iter().map(PartitionKey::encoded).collect(),
    }
}

fn groups_from_wire(groups: &List<ParkedGroupWire<'_>>) -> Result<Vec<ParkedGroup>, WireError> {
    let groups = groups.0.iter().map(|group| {
        let named = group.partitions.0.len();
        if named > group.count as usize {
            let reason = format!("{named} names of {} parked partitions", group.count);
            return Err(WireError::Invalid(reason));
        }
        Ok(ParkedGroup {
            reason: reason_from_wire(group.reason)?,
            need: group.need,
            needs: group.needs.to_string(),
            since_ms: group.since_ms,
            again_after: group.again_ms.map(Duration::from_millis),
            count: group.count,
            partitions: keys(&group.partitions)?,
        })
    });
    groups.collect()
}

fn source_to_wire(part: &SourcePart) -> SourceWire<'_> {
    let partitions = part.partitions.iter();
    SourceWire {
        earlier: part.earlier.iter().map(|change| change.get()).collect(),
        index: part.index,
        parts: part.parts,
        partitions: partitions
            .map(|partition| (partition.key.encoded(), partition.weight))
            .collect(),
    }
}

fn source_from_wire(envelope: &Envelope, wire: SourceWire<'_>) -> Result<SourcePart, WireError> {
    if wire.index >= wire.parts {
        let SourceWire { index, parts, .. } = wire;
        let reason = format!("piece {index} of a list of {parts} pieces");
        return Err(WireError::Invalid(reason));
    }
    let partitions = wire.partitions.0.iter().map(|(name, weight)| {
        Ok(Partition {
            key: key(name)?,
            weight: *weight,
        })
    });
    Ok(SourcePart {
        change: envelope.write.nonce,
        earlier: wire.earlier.0.into_iter().map(Nonce::new).collect(),
        index: wire.index,
        parts: wire.parts,
        partitions: partitions.collect::<Result<_, WireError>>()?,
    })
}

fn other_kind() -> WireError {
    WireError::Invalid("a body of another kind".to_string())
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

fn reason_to_wire(reason: ParkReason) -> u8 {
    let position = ParkReason::ALL.iter().position(|&r| r == reason);
    position
        .and_then(|p| u8::try_from(p).ok())
        .unwrap_or(u8::MAX)
}

fn reason_from_wire(byte: u8) -> Result<ParkReason, WireError> {
    let reason = ParkReason::ALL.get(usize::from(byte)).copied();
    reason.ok_or_else(|| WireError::Invalid(format!("reason {byte}")))
}

fn worker(name: &str) -> Result<WorkerId, WireError> {
    WorkerId::new(name).map_err(|error| WireError::Invalid(error.to_string()))
}

fn key(text: &str) -> Result<PartitionKey, WireError> {
    PartitionKey::from_encoded(text).map_err(|error| WireError::Invalid(error.to_string()))
}

fn keys(texts: &List<&str>) -> Result<Vec<PartitionKey>, WireError> {
    texts.0.iter().map(|text| key(text)).collect()
}
