//! The log: what happens to a worker as `tracing` events, inside spans for what takes time.
//!
//! It is separate from the driver because it decides nothing. What always holds: the events at
//! `info` and above are enough to reconstruct an incident; spans are `claim`, `takeover`,
//! `rebalance`, `handoff` and `degraded`. Each is a root: a trace that begins with the process
//! would end with it, too.

use std::collections::BTreeSet;
use std::time::Duration;

use parti_core::{Effect, Grant, Instant, Notice, OpOwner, RevokeCause, Status, StoreOp};
use tracing::field::{Empty, display};
use tracing::{Span, info, info_span};

use crate::observe::hooks::AssignmentChange;
use crate::observe::subscription::ManagerNotice;

mod lines;

/// The most partitions an event names.
const NAMED: usize = 16;

/// The spans that are open.
#[derive(Debug)]
pub(crate) struct Log {
    group: String,
    claim: Option<Span>,
    takeover: Option<Span>,
    rebalance: Option<Rebalance>,
    degraded: Option<(Span, Instant)>,
    batches: Vec<Batch>,
}

/// A rebalance of this leader that is not finished.
#[derive(Debug)]
struct Rebalance {
    span: Span,
    since: Instant,
    planned: Option<Planned>,
}

/// What the plan said.
#[derive(Clone, Copy, Debug)]
struct Planned {
    cause: parti_core::Cause,
    moved: u32,
    lower_bound: u32,
}

/// Partitions that were taken away together and are not all released.
#[derive(Debug)]
struct Batch {
    span: Span,
    since: Instant,
    cause: RevokeCause,
    partitions: usize,
    left: BTreeSet<Grant>,
}

impl Log {
    /// The log of a worker of this group that looks for an ID.
    pub(crate) fn new(group: &str) -> Self {
        let mut log = Self {
            group: group.to_owned(),
            claim: None,
            takeover: None,
            rebalance: None,
            degraded: None,
            batches: Vec::new(),
        };
        log.claims();
        log
    }

    fn claims(&mut self) {
        let group = self.group.as_str();
        let span = info_span!(parent: None, "claim", group, worker = Empty, epoch = Empty);
        self.claim = Some(span);
    }

    /// Something is about to be done.
    pub(crate) fn on_effect(&mut self, now: Instant, status: &Status, effect: &Effect) {
        match effect {
            Effect::Store { op, request } => {
                let stands =
                    op.owner() == OpOwner::Candidate && matches!(request, StoreOp::Commit { .. });
                if stands && self.takeover.is_none() {
                    let (group, worker) = (self.group.as_str(), name(status));
                    let (term, outcome) = (Empty, Empty);
                    let span = info_span!(parent: None, "takeover", group, worker, term, outcome);
                    self.takeover = Some(span);
                }
            }
            Effect::Plan { .. } => self.plans(now, status),
            Effect::Revoke { grants, cause } => self.revokes(now, status, grants, *cause),
            Effect::Watch { .. }
            | Effect::Unwatch { .. }
            | Effect::Answer { .. }
            | Effect::Probe { .. }
            | Effect::ListPartitions { .. }
            | Effect::Assign { .. }
            | Effect::Prepare { .. }
            | Effect::Withdraw { .. }
            | Effect::Notify(_) => {}
        }
    }

    /// These partitions have been released.
    pub(crate) fn on_released(&mut self, now: Instant, status: &Status, grants: &[Grant]) {
        for batch in &mut self.batches {
            let before = batch.left.len();
            grants.iter().for_each(|grant| {
                batch.left.remove(grant);
            });
            if before > 0 && batch.left.is_empty() {
                let (worker, cause, partitions) = (name(status), batch.cause, batch.partitions);
                let drain_ms = millis(now.since(batch.since));
                batch.span.record("drain_ms", drain_ms);
                batch.span.in_scope(|| {
                    info!(worker, %cause, partitions, drain_ms, "released partitions");
                });
            }
        }
        self.batches.retain(|batch| !batch.left.is_empty());
    }

    /// What this worker has changed.
    pub(crate) fn on_assignment(&self, status: &Status, change: &AssignmentChange, total: usize) {
        let (worker, term) = (name(status), status.term.get());
        let AssignmentChange { version, cause, .. } = change;
        let (added, removed) = (change.added.len(), change.removed.len());
        let (gained, lost) = (names(&change.added), names(&change.removed));
        info!(
            worker, term, %version, %cause, added, removed, total, gained, lost,
            "assignment changed"
        );
    }

    /// Something worth knowing happened.
    pub(crate) fn on_notice(&mut self, now: Instant, status: &Status, notice: &ManagerNotice) {
        let ManagerNotice::Core(core) = notice else {
            return lines::line(status, notice);
        };
        self.open(now, status, core);
        match self.span_of(core) {
            Some(span) => span.in_scope(|| lines::line(status, notice)),
            None => lines::line(status, notice),
        }
        self.close(now, status, core);
    }

    /// The span an event belongs into.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others belong to the worker"
    )]
    fn span_of(&self, notice: &Notice) -> Option<&Span> {
        match notice {
            Notice::Claimed { .. } | Notice::StartFailed(_) => self.claim.as_ref(),
            Notice::LeadershipGained { .. } => self.takeover.as_ref(),
            Notice::Planned { .. }
            | Notice::PlanFailed { .. }
            | Notice::PlanUnchanged { .. }
            | Notice::StepFailed { .. }
            | Notice::EvictionCancelled { .. }
            | Notice::Committed { .. } => self.rebalance.as_ref().map(|r| &r.span),
            Notice::Degraded { .. } | Notice::DegradedAlert { .. } | Notice::Recovered => {
                self.degraded.as_ref().map(|(span, _)| span)
            }
            _ => None,
        }
    }

    /// Begins spans, and fills in what is known now.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others begin nothing")]
    fn open(&mut self, now: Instant, status: &Status, notice: &Notice) {
        match notice {
            Notice::Claimed { worker, epoch, .. } => {
                if let Some(span) = &self.claim {
                    span.record("worker", display(worker));
                    span.record("epoch", epoch.get());
                }
            }
            Notice::Degraded { reason } => {
                let (group, worker) = (self.group.as_str(), name(status));
                let (span, _) = self.degraded.get_or_insert_with(|| {
                    let span = info_span!(
                        parent: None, "degraded", group, worker, reason = Empty, lasted_ms = Empty
                    );
                    (span, now)
                });
                span.record("reason", display(reason));
            }
            Notice::LeadershipGained { term } => {
                if let Some(span) = &self.takeover {
                    span.record("term", term.get());
                    span.record("outcome", "won");
                }
            }
            Notice::Planned { cause, report } => {
                let (moved, lower_bound) = (report.moved, report.lower_bound);
                if let Some(rebalance) = &mut self.rebalance {
                    rebalance.span.record("cause", display(cause));
                    rebalance.span.record("moved", moved);
                    rebalance.span.record("lower_bound", lower_bound);
                    let cause = *cause;
                    rebalance.planned = Some(Planned {
                        cause,
                        moved,
                        lower_bound,
                    });
                }
            }
            Notice::Committed {
                version,
                granted,
                revoked,
                ..
            } => {
                if let Some(rebalance) = &self.rebalance {
                    rebalance.span.record("version", version.get());
                    rebalance.span.record("granted", *granted);
                    rebalance.span.record("revoked", *revoked);
                }
            }
            _ => {}
        }
    }

    /// Ends spans.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others end nothing")]
    fn close(&mut self, now: Instant, status: &Status, notice: &Notice) {
        match notice {
            Notice::Claimed { .. } | Notice::StartFailed(_) => self.claim = None,
            Notice::IdentityLost { .. } => {
                self.end_rebalance(now, status, "abandoned");
                self.takeover = None;
                self.claims();
            }
            Notice::LeadershipGained { .. } => self.takeover = None,
            Notice::LeaderChanged {
                leader: Some(_), ..
            } => {
                if let Some(span) = self.takeover.take() {
                    span.record("outcome", "lost");
                }
            }
            Notice::PlanFailed { .. } => self.end_rebalance(now, status, "failed"),
            Notice::Committed { unfinished: 0, .. } | Notice::PlanUnchanged { .. } => {
                self.end_rebalance(now, status, "done")
            }
            Notice::LeadershipLost { .. } | Notice::Stopped { .. } => {
                self.end_rebalance(now, status, "abandoned");
            }
            Notice::Recovered => {
                if let Some((span, since)) = self.degraded.take() {
                    span.record("lasted_ms", millis(now.since(since)));
                }
            }
            _ => {}
        }
    }

    fn plans(&mut self, now: Instant, status: &Status) {
        self.end_rebalance(now, status, "superseded");
        let (worker, term) = (name(status), status.term.get());
        let group = self.group.as_str();
        let span = info_span!(
            parent: None,
            "rebalance",
            group,
            worker,
            term,
            version = Empty,
            cause = Empty,
            moved = Empty,
            lower_bound = Empty,
            granted = Empty,
            revoked = Empty,
            outcome = Empty
        );
        let (since, planned) = (now, None);
        self.rebalance = Some(Rebalance {
            span,
            since,
            planned,
        });
    }

    fn end_rebalance(&mut self, now: Instant, status: &Status, outcome: &'static str) {
        let Some(Rebalance {
            span,
            since,
            planned,
        }) = self.rebalance.take()
        else {
            return;
        };
        span.record("outcome", outcome);
        let (worker, took_ms) = (name(status), millis(now.since(since)));
        let (term, version) = (status.term.get(), status.version.get());
        let Some(Planned {
            cause,
            moved,
            lower_bound,
        }) = planned
        else {
            return;
        };
        span.in_scope(|| {
            info!(
                worker, term, version, %cause, moved, lower_bound, took_ms, outcome,
                "rebalance ended"
            );
        });
    }

    fn revokes(&mut self, now: Instant, status: &Status, grants: &[Grant], cause: RevokeCause) {
        let (worker, version) = (name(status), status.version.get());
        let partitions = grants.len();
        let group = self.group.as_str();
        let span = info_span!(
            parent: None,
            "handoff",
            group,
            worker,
            version,
            %cause,
            partitions,
            drain_ms = Empty
        );
        let left = grants.iter().cloned().collect();
        let since = now;
        self.batches.push(Batch {
            span,
            since,
            cause,
            partitions,
            left,
        });
    }
}

fn name(status: &Status) -> &str {
    status.worker.as_ref().map_or("-", |worker| worker.as_str())
}

/// The first of these grants, such as `orders/7@42`, and how many more there are.
fn names(grants: &[Grant]) -> String {
    let named = grants.iter().take(NAMED).map(|grant| format!("{grant:?}"));
    let mut text = named.collect::<Vec<_>>().join(" ");
    if let Some(more @ 1..) = grants.len().checked_sub(NAMED) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
