//! The words: one `tracing` event for each notice, with worker, term and version as fields.
//!
//! They are separate because this is the only place that turns notices into words. What always
//! holds: every decision is logged once, at `info`; what needs a look is `warn`, what repeats is
//! `debug`.

use std::collections::{BTreeMap, BTreeSet};

use parti_core::{CircuitState, Notice, ParkReason, PartitionKey, Status, Transfer};
use tracing::{debug, error, info, warn};

use super::millis;
use crate::observe::subscription::ManagerNotice;

/// Logs a notice of the worker that stands where `status` says.
pub(super) fn line(status: &Status, notice: &ManagerNotice) {
    let worker = status.worker.as_ref().map_or("-", |worker| worker.as_str());
    match notice {
        ManagerNotice::Core(notice) => session(worker, status, notice),
        ManagerNotice::CallbackPanicked {
            partition,
            callback,
            message,
        } => {
            let callback = callback.as_str();
            error!(worker, %partition, callback, message, "callback panicked");
        }
        ManagerNotice::AssignFailed {
            partition,
            token,
            failures,
            reason,
            pause,
        } => {
            let again_ms = pause.as_millis();
            warn!(worker, %partition, %token, failures, again_ms, reason, "on_assigned failed");
        }
        ManagerNotice::TaskEnded {
            partition,
            token,
            reason,
            pause,
        } => {
            let again_ms = pause.map(|pause| pause.as_millis());
            warn!(worker, %partition, %token, again_ms, reason, "the partition's task ended");
        }
        ManagerNotice::PrepareTimedOut { partition, version } => {
            warn!(worker, %partition, %version, "not prepared in time, taken all the same");
        }
        ManagerNotice::DrainTimedOut { partition, token } => {
            warn!(worker, %partition, %token, "not drained in time, released all the same");
        }
    }
}

/// What concerns the worker itself.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`leadership` has the others"
)]
fn session(worker: &str, status: &Status, notice: &Notice) {
    let (term, version) = (status.term.get(), status.version.get());
    match notice {
        Notice::StateChanged { from, to } => {
            info!(worker, term, version, %from, %to, "state changed");
        }
        Notice::Claimed {
            worker,
            epoch,
            nonce,
        } => info!(%worker, %epoch, session = %nonce, "claimed an ID"),
        Notice::HoldCapped { asked, allowed } => {
            warn!(
                worker,
                ?asked,
                ?allowed,
                "the slot is held for less than was asked for"
            );
        }
        Notice::IdentityLost { worker, epoch } => warn!(%worker, %epoch, "lost the ID"),
        Notice::HistoryLost { loss, then, known } => {
            error!(worker, term, %known, ?then, %loss, "the bucket's history was lost");
        }
        Notice::LeaseLost { worker } => warn!(%worker, term, version, "the lease ran out"),
        Notice::Degraded { reason } => warn!(worker, term, version, %reason, "degraded"),
        Notice::DegradedAlert {
            level,
            reason,
            lasting,
        } => warn!(worker, term, version, ?level, %reason, ?lasting, "still degraded"),
        Notice::SettingsDiffer(found) => {
            let setting = found.difference.as_str();
            warn!(worker, term, version, setting, %found, "settings differ");
        }
        Notice::ModeChanged { from, to } => {
            info!(worker, term, version, %from, %to, "another mode holds");
        }
        Notice::Recovered => info!(worker, term, version, "recovered"),
        Notice::RecordIgnored { key, reason } => {
            warn!(worker, term, version, key, reason, "ignored a record");
        }
        Notice::RequestDone { request, version } => {
            info!(worker, term, %version, request = request.0, "request done");
        }
        Notice::RequestFailed { request, reason } => {
            warn!(
                worker,
                term,
                version,
                request = request.0,
                reason,
                "request failed"
            );
        }
        Notice::LeftUnowned { partitions } => left_unowned(worker, status, partitions),
        Notice::StartFailed(error) => error!(%error, "did not start"),
        Notice::Stopped { errors } if errors.is_empty() => info!(worker, term, version, "stopped"),
        Notice::Stopped { errors } => {
            let errors = errors.join("; ");
            warn!(worker, term, version, errors, "stopped, not cleanly");
        }
        other => leadership(worker, status, other),
    }
}

fn left_unowned(worker: &str, status: &Status, partitions: &BTreeMap<PartitionKey, ParkReason>) {
    let (term, version) = (status.term.get(), status.version.get());
    let count = partitions.len();
    let reasons: BTreeSet<_> = partitions.values().map(|reason| reason.as_str()).collect();
    let partitions: Vec<_> = partitions.keys().cloned().collect();
    let partitions = some(&partitions);
    warn!(
        worker,
        term,
        version,
        count,
        ?reasons,
        partitions,
        "left partitions that nobody took"
    );
}

/// What concerns the group.
#[expect(clippy::wildcard_enum_match_arm, reason = "`planning` has the others")]
fn leadership(worker: &str, status: &Status, notice: &Notice) {
    let (term, version) = (status.term.get(), status.version.get());
    match notice {
        Notice::LeaderChanged { leader, term } => {
            let leader = leader.as_ref().map_or("nobody", |leader| leader.as_str());
            info!(worker, %term, version, leader, "leader changed");
        }
        Notice::LeadershipGained { term } => info!(worker, %term, version, "leads"),
        Notice::LeadershipLost { term, reason } => {
            info!(worker, %term, version, %reason, "leads no more");
        }
        Notice::Committed {
            version,
            term,
            cause,
            granted,
            revoked,
            evicted,
            unfinished,
            transfers,
        } => {
            info!(
                worker, %term, %version, %cause, granted, revoked, ?evicted, unfinished,
                "committed a generation"
            );
            for transfer in transfers {
                let Transfer {
                    from,
                    end,
                    partitions,
                    vacant,
                    ..
                } = transfer;
                let (end, vacant_ms) = (end.as_str(), millis(*vacant));
                info!(
                    worker, %term, %version, %from, end, partitions, vacant_ms,
                    "gave partitions to new owners"
                );
            }
        }
        Notice::StepFailed {
            step,
            failures,
            reason,
        } => warn!(
            worker,
            term, version, %step, failures, reason, "a step failed"
        ),
        Notice::EvictionCancelled { worker: other } => {
            info!(worker, term, version, %other, "eviction cancelled by a renewal");
        }
        Notice::SuspicionCancelled { worker: other } => {
            info!(worker, term, version, %other, "suspicion cancelled by a renewal");
        }
        other => planning(worker, status, other),
    }
}

/// What concerns plans.
#[expect(clippy::wildcard_enum_match_arm, reason = "`requests` has the others")]
fn planning(worker: &str, status: &Status, notice: &Notice) {
    let (term, version) = (status.term.get(), status.version.get());
    match notice {
        Notice::Planned { cause, report } => info!(
            worker, term, version, %cause,
            moved = report.moved,
            forced = report.forced,
            lower_bound = report.lower_bound,
            unplaced = report.unplaced,
            max_load = report.max_load,
            min_load = report.min_load,
            "planned"
        ),
        Notice::PlanUnchanged { cause } => {
            debug!(worker, term, version, %cause, "the plan leaves everything as it is");
        }
        Notice::Parked {
            reason,
            needs,
            count,
            partitions,
        } => {
            let partitions = some(partitions);
            warn!(
                worker, term, version, %reason, needs, count, partitions,
                "partitions have no owner: nobody may own them"
            );
        }
        Notice::Unparked { count, partitions } => {
            let partitions = some(partitions);
            info!(
                worker,
                term, version, count, partitions, "partitions are parked no more"
            );
        }
        Notice::PlanFailed { error } => warn!(worker, term, version, %error, "no plan"),
        other => requests(worker, status, other),
    }
}

/// What concerns the store and requests to it.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others have had theirs")]
fn requests(worker: &str, status: &Status, notice: &Notice) {
    let (term, version) = (status.term.get(), status.version.get());
    match notice {
        Notice::RecordVanished { key } => warn!(
            worker,
            term, version, key, "a record was removed without a tombstone; it is written again"
        ),
        Notice::StoreUnfit { faults } if faults.is_empty() => {
            info!(
                worker,
                term, version, "the settings of the store are right again"
            );
        }
        Notice::StoreUnfit { faults } => {
            for fault in faults {
                error!(worker, term, version, %fault, "the store is unfit for a group");
            }
        }
        Notice::CircuitChanged { circuit, from, to } if *to == CircuitState::Open => {
            warn!(worker, term, version, %circuit, %from, %to, "circuit opened");
        }
        Notice::CircuitChanged { circuit, from, to } => {
            info!(worker, term, version, %circuit, %from, %to, "circuit changed");
        }
        Notice::ListInherited {
            partitions,
            missing,
        } => {
            warn!(
                worker,
                version, partitions, missing, "begins with the list of the records"
            );
        }
        Notice::UnsteadyContact { lasting, futile } => {
            warn!(
                worker,
                version,
                ?lasting,
                futile,
                "judges nobody, and those before it could not"
            );
        }
        Notice::RetriesExhausted { owner, tries } => {
            let owner = owner.as_str();
            warn!(worker, term, version, owner, tries, "retries exhausted");
        }
        other => debug!(worker, term, version, ?other, "notice"),
    }
}

/// The first of these partitions in words: a line is no list.
fn some(partitions: &[PartitionKey]) -> String {
    let some: Vec<String> = partitions.iter().take(5).map(ToString::to_string).collect();
    let more = if partitions.len() > some.len() {
        ", ..."
    } else {
        ""
    };
    some.join(", ") + more
}
