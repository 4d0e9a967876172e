//! The view as JSON: one function for each thing, so that it has the same fields wherever it stands.
//!
//! Durations are seconds, times milliseconds since 1970 on a leader's wall clock, versions, terms and
//! tokens numbers. Fields may come, none goes.

use std::time::Duration;

use parti::directory::{
    Change, Handoff, HoldUp, Leading, PartitionState, PartitionView, Request, SessionState,
    WorkerView,
};
use parti::history::{AuditEntry, Explanation, Gap, Generation, Move, OwnerSession, ParkedGroup};
use parti_core::{SessionStatus, ToldProblem};
use serde_json::{Value, json};

pub(crate) fn seconds(duration: Duration) -> Value {
    json!(duration.as_secs_f64())
}

pub(crate) fn leading(leading: &Leading, since_ms: Option<u64>) -> Value {
    json!({
        "term": leading.term.get(),
        "leader": leading.leader.as_ref().map(ToString::to_string),
        "version": leading.version.get(),
        "since_ms": since_ms,
    })
}

pub(crate) fn session_status(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Active => "active",
        SessionStatus::Draining => "leaving",
        SessionStatus::Released { .. } => "released",
        SessionStatus::Evicted { .. } => "evicted",
        SessionStatus::Suspected => "suspected",
    }
}

pub(crate) fn session_state(state: SessionState) -> &'static str {
    match state {
        SessionState::Known(status) => session_status(status),
        SessionState::OtherRelease => "other_release",
        SessionState::OtherReleaseEnded => "other_release_ended",
        SessionState::Unreadable => "unreadable",
        SessionState::Missing => "missing",
        _ => "other",
    }
}

pub(crate) fn worker(view: &WorkerView) -> Value {
    let session = view.session.as_ref();
    json!({
        "worker": view.worker.as_str(),
        "state": session_state(view.state),
        "granted": view.granted,
        "behind": view.behind.map(|version| version.get()),
        "capacity": session.map(|session| session.capacity),
        "labels": session.map(|session| &session.labels),
        "endpoint": session.and_then(|session| session.endpoint.as_ref()).map(ToString::to_string),
        "software": session.map(|session| &session.software),
        "applied": session.map(|session| session.applied.get()),
        "draining": session.map(|session| session.draining.len()),
        "rejected": session.map(|session| session.rejections.len()),
        "lease": session.map(|session| seconds(session.lease)),
        "heartbeat": session.map(|session| seconds(session.heartbeat_interval)),
        "age": session.map(|session| seconds(session.age)),
        "strategy": session.map(|session| session.settings.strategy.as_str()),
    })
}

pub(crate) fn partition(view: &PartitionView) -> Value {
    let key = &view.partition;
    let mut value = json!({
        "partition": key.to_string(),
        "parts": key.parts().collect::<Vec<_>>(),
    });
    let more = match &view.state {
        PartitionState::Owned {
            worker,
            token,
            version,
        } => json!({
            "state": "owned", "owner": worker.as_str(), "token": token.get(),
            "version": version.get(),
        }),
        PartitionState::Moving { waits_for } => {
            let waits_for: Vec<_> = waits_for.iter().map(|worker| worker.as_str()).collect();
            json!({ "state": "moving", "waits_for": waits_for })
        }
        PartitionState::Unowned { was, .. } => {
            json!({ "state": "unowned", "was": was.as_ref().map(ToString::to_string) })
        }
        PartitionState::Parked(parking) => json!({
            "state": "parked", "reason": parking.reason.as_str(), "needs": parking.needs,
            "since_ms": parking.since_ms,
        }),
        _ => json!({ "state": "other" }),
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

pub(crate) fn hold_up(hold_up: HoldUp) -> &'static str {
    match hold_up {
        HoldUp::NotApplied { .. } => "not_applied",
        HoldUp::Draining => "draining",
        HoldUp::NoSession => "no_session",
        _ => "other",
    }
}

pub(crate) fn handoff(handoff: &Handoff, since_ms: Option<u64>) -> Value {
    json!({
        "partition": handoff.partition.to_string(),
        "held_up_by": handoff.from.as_str(),
        "waits_for": hold_up(handoff.hold_up),
        "since": handoff.since.get(),
        "since_ms": since_ms,
    })
}

pub(crate) fn request(request: &Request) -> Value {
    json!({
        "verb": request.verb.as_str(),
        "worker": request.worker.as_str(),
        "partition": request.wanted.as_ref().map(|(partition, _)| partition.to_string()),
        "once": request.wanted.as_ref().map(|(_, once)| once),
        "author": request.author,
        "reason": request.reason,
        "rest": request.rest.map(seconds),
    })
}

pub(crate) fn problem(problem: &ToldProblem) -> Value {
    json!({
        "problem": problem.kind.as_str(),
        "count": problem.count,
        "lasting": seconds(problem.lasting),
        "detail": problem.detail,
    })
}

fn parked(group: &ParkedGroup) -> Value {
    json!({
        "reason": group.reason.as_str(),
        "needs": group.needs,
        "count": group.count,
        "since_ms": group.since_ms,
        "partitions": group.partitions.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

pub(crate) fn entry(entry: &AuditEntry) -> Value {
    let changes = entry.changes.iter().map(|change| {
        let gained = change.gained.iter().map(|(key, from)| {
            json!({ "partition": key.to_string(), "from": from.as_ref().map(ToString::to_string) })
        });
        json!({
            "worker": change.worker.as_str(),
            "gained": gained.collect::<Vec<_>>(),
            "lost": change.lost.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    json!({
        "version": entry.version.get(),
        "term": entry.term.get(),
        "leader": entry.leader.as_str(),
        "cause": entry.cause.as_str(),
        "triggers": entry.triggers,
        "at_ms": entry.at_ms,
        "moved": entry.moved,
        "lower_bound": entry.lower_bound,
        "changes": changes.collect::<Vec<_>>(),
        "parked": entry.parked.iter().map(parked).collect::<Vec<_>>(),
        "truncated": entry.truncated,
    })
}

fn generation(of: &Generation) -> Value {
    json!({
        "version": of.version.get(),
        "term": of.term.get(),
        "leader": of.leader.as_str(),
        "cause": of.cause.as_str(),
        "triggers": of.triggers,
        "at_ms": of.at_ms,
        "moved": of.moved,
        "lower_bound": of.lower_bound,
    })
}

fn change_of_hands(step: &Move) -> Value {
    json!({
        "from": step.from.as_ref().map(ToString::to_string),
        "to": step.to.as_ref().map(ToString::to_string),
        "taken": step.taken.as_ref().map(generation),
        "granted": step.granted.as_ref().map(generation),
        "decided": step.decided.as_ref().map(generation),
    })
}

pub(crate) fn explanation(of: &Explanation) -> Value {
    let owner = of.owner.as_ref().map(|owner| {
        let session = match owner.session {
            OwnerSession::Present(status) => session_status(status),
            OwnerSession::Replaced => "replaced",
            OwnerSession::Missing => "missing",
            _ => "other",
        };
        json!({
            "worker": owner.worker.as_str(), "token": owner.token.get(),
            "since_ms": owner.since_ms, "session": session,
        })
    });
    let parked = of.parked.as_ref().map(|parked| {
        json!({
            "reason": parked.reason.as_str(), "needs": parked.needs, "since_ms": parked.since_ms,
        })
    });
    let leaving = of
        .leaving
        .iter()
        .map(|leaving| json!({ "worker": leaving.worker.as_str(), "since": leaving.since.get() }));
    json!({
        "partition": of.partition.to_string(),
        "owner": owner,
        "parked": parked,
        "leaving": leaving.collect::<Vec<_>>(),
        "moves": of.moves.iter().map(change_of_hands).collect::<Vec<_>>(),
        "gaps": of.gaps.iter().map(Gap::to_string).collect::<Vec<_>>(),
    })
}

pub(crate) fn change(change: &Change) -> Value {
    match change {
        Change::Leader { term, leader } => json!({
            "event": "leader", "term": term.get(),
            "leader": leader.as_ref().map(ToString::to_string),
        }),
        Change::Worker { worker, living } => {
            json!({ "event": "worker", "worker": worker.as_str(), "living": living })
        }
        Change::Owner {
            partition,
            from,
            to,
        } => json!({
            "event": "owner", "partition": partition.to_string(),
            "from": from.as_ref().map(ToString::to_string),
            "to": to.as_ref().map(|(worker, _)| worker.to_string()),
            "token": to.as_ref().map(|(_, token)| token.get()),
        }),
        Change::Lost(loss) => json!({ "event": "history_lost", "detail": loss.to_string() }),
        _ => json!({ "event": "other" }),
    }
}
