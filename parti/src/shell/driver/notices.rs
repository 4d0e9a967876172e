//! What the driver does with notices: it acts on some of the core's, and passes all of them on.
//!
//! They are separate because they decide how a stop is answered. What always holds: what fails after a
//! stop was asked for is in its answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use parti_core::{Notice, OnBucketLost, ParkReason, PartitionKey, RequestId, Version};

use super::{Driver, Phase};
use crate::error::{Ended, RequestError, StopFailure};
use crate::observe::subscription::ManagerNotice;
use crate::shell::shared::Outcome;

impl Driver {
    /// Acts on a notice of the core, then passes it on.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most notices only inform")]
    pub(super) fn note(&mut self, notice: Notice) {
        match &notice {
            Notice::RequestDone { request, version } => self.answer(*request, Ok(*version)),
            Notice::RequestFailed { request, reason } => {
                self.answer(*request, Err(RequestError::Failed(reason.clone())));
            }
            Notice::StartFailed(error) => {
                let outcome = Outcome::of(Ended::StartFailed(error.clone()), Vec::new());
                self.phase = Phase::Done(outcome);
            }
            Notice::HistoryLost {
                loss,
                then: OnBucketLost::Halt,
                ..
            } => self.halted = Some(loss.clone()),
            Notice::LeftUnowned { partitions } => self.left_unowned.extend(partitions.clone()),
            Notice::Stopped { errors } => self.stopped(errors),
            _ => {}
        }
        self.tell(ManagerNotice::Core(notice));
    }

    /// The core has stopped; a start that failed stays one.
    fn stopped(&mut self, errors: &[String]) {
        let mut failures = match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Running => Vec::new(),
            Phase::Stopping { failures } => failures,
            done @ Phase::Done(_) => {
                self.phase = done;
                return;
            }
        };
        failures.extend(errors.iter().cloned().map(StopFailure::Coordination));
        let ended = match self.halted.take() {
            Some(loss) => Ended::HistoryLost(loss),
            None => Ended::Stopped,
        };
        let mut outcome = Outcome::of(ended, failures);
        let mut unowned: BTreeMap<ParkReason, Vec<PartitionKey>> = BTreeMap::new();
        for (partition, reason) in std::mem::take(&mut self.left_unowned) {
            unowned.entry(reason).or_default().push(partition);
        }
        // That the last one leaves nobody behind is what a group's end is, not a failure.
        outcome.left_unowned = unowned.remove(&ParkReason::NoWorkers).unwrap_or_default();
        let failures = unowned.into_iter();
        let failures =
            failures.map(|(reason, partitions)| StopFailure::NobodyToTake { reason, partitions });
        outcome.failures.extend(failures);
        self.phase = Phase::Done(outcome);
    }

    fn answer(&mut self, request: RequestId, result: Result<Version, RequestError>) {
        if let Some(reply) = self.requests.remove(&request) {
            // The caller may have stopped waiting.
            let _ = reply.send(result);
        }
    }

    pub(super) fn tell(&mut self, notice: ManagerNotice) {
        let notice = Arc::new(notice);
        let now = self.parts.clock.now();
        self.parts.observer.on_notice(now, &notice);
        let failure = match &*notice {
            ManagerNotice::Core(_)
            | ManagerNotice::AssignFailed { .. }
            | ManagerNotice::PrepareTimedOut { .. }
            | ManagerNotice::TaskEnded { .. } => None,
            ManagerNotice::CallbackPanicked {
                partition,
                callback,
                message,
            } => Some(StopFailure::CallbackPanicked {
                partition: partition.clone(),
                callback: *callback,
                message: message.clone(),
            }),
            ManagerNotice::DrainTimedOut { partition, .. } => Some(StopFailure::DrainTimedOut {
                partition: partition.clone(),
            }),
        };
        match &mut self.phase {
            Phase::Running => {}
            Phase::Stopping { failures } | Phase::Done(Outcome { failures, .. }) => {
                failures.extend(failure);
            }
        }
        // Without subscribers there is nobody to tell.
        let _ = self.notices.send(notice);
    }
}
