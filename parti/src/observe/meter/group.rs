//! What the group costs and how well it does, for the most part as its leader sees it.

use std::time::Duration;

use parti_core::{
    Cause, FailedStep, Instant, Notice, OwnerEnd, ParkReason, ProblemKind, Status, Transfer,
};

use crate::observe::catalogue as names;
use crate::observe::instrument::{ByLabel, Counter, Gauge, Histogram, Instruments};

/// How a rebalance ends.
const OUTCOMES: [&str; 4] = ["done", "superseded", "failed", "abandoned"];

#[derive(Debug)]
pub(super) struct GroupMeter {
    duration: ByLabel<Histogram>,
    /// By cause, then by outcome.
    rebalances: ByLabel<ByLabel<Counter>>,
    moves: ByLabel<Counter>,
    moves_bound: ByLabel<Counter>,
    unowned: ByLabel<Histogram>,
    failover: Histogram,
    handoff: ByLabel<Histogram>,
    overlap: Histogram,
    evictions: Counter,
    evictions_cancelled: Counter,
    suspicions_cancelled: Counter,
    step_failures: ByLabel<Counter>,
    generation: GenerationGauges,
    /// When the plan that is being made was begun.
    planning: Option<Instant>,
    /// The rebalance that is not finished.
    open: Option<(Cause, Instant)>,
}

/// The figures of the generation this worker knows.
#[derive(Debug)]
struct GenerationGauges {
    workers: Gauge,
    partitions: Gauge,
    unfinished: Gauge,
    unowned_now: Gauge,
    parked: Gauge,
    parked_by: ByLabel<Gauge>,
    problems: ByLabel<Gauge>,
    recent_terms: Gauge,
    term: Gauge,
    version: Gauge,
}

impl GroupMeter {
    pub(super) fn new(make: &Instruments) -> Self {
        let causes = || Cause::ALL.map(Cause::as_str);
        let ends = OwnerEnd::ALL.map(OwnerEnd::as_str);
        let by_cause = |metric| ByLabel::new(causes(), |cause| make.counter(metric, &[cause]));
        Self {
            duration: ByLabel::new(causes(), |cause| {
                make.histogram(&names::REBALANCE_DURATION, &[cause])
            }),
            rebalances: ByLabel::new(causes(), |cause| {
                ByLabel::new(OUTCOMES, |outcome| {
                    make.counter(&names::REBALANCES, &[cause, outcome])
                })
            }),
            moves: by_cause(&names::MOVES),
            moves_bound: by_cause(&names::MOVES_BOUND),
            unowned: ByLabel::new(ends, |end| make.histogram(&names::UNOWNED, &[end])),
            failover: make.histogram(&names::FAILOVER, &[]),
            handoff: ByLabel::new(["drain", "acknowledge", "grant"], |phase| {
                make.histogram(&names::HANDOFF, &[phase])
            }),
            overlap: make.histogram(&names::OVERLAP, &[]),
            evictions: make.counter(&names::EVICTIONS, &[]),
            evictions_cancelled: make.counter(&names::EVICTIONS_CANCELLED, &[]),
            suspicions_cancelled: make.counter(&names::SUSPICIONS_CANCELLED, &[]),
            step_failures: ByLabel::new(FailedStep::ALL.map(FailedStep::as_str), |step| {
                make.counter(&names::STEP_FAILURES, &[step])
            }),
            generation: GenerationGauges::new(make),
            planning: None,
            open: None,
        }
    }

    pub(super) fn knows(&self, status: &Status) {
        self.generation.show(status);
    }

    pub(super) fn plan_begins(&mut self, now: Instant) {
        self.planning = Some(now);
    }

    pub(super) fn handed(&self, phase: &str, took: Duration, partitions: usize) {
        if let Some(handoff) = self.handoff.get(phase) {
            handoff.record_many(took, partitions);
        }
    }

    pub(super) fn overlapped(&self, took: Duration) {
        self.overlap.record(took);
    }

    /// The leadership is lost or the worker ends: what is open is not this worker's any more.
    pub(super) fn give_up(&mut self, now: Instant) {
        self.planning = None;
        self.close(now, "abandoned");
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others have had theirs")]
    pub(super) fn on_notice(&mut self, now: Instant, notice: &Notice) {
        match notice {
            Notice::Planned { cause, report } => {
                self.close(now, "superseded");
                self.open = Some((*cause, self.planning.take().unwrap_or(now)));
                let word = cause.as_str();
                for (counter, by) in [
                    (self.moves.get(word), report.moved),
                    (self.moves_bound.get(word), report.lower_bound),
                ] {
                    counter.into_iter().for_each(|c| c.increment(by.into()));
                }
            }
            Notice::PlanFailed { .. } => {
                self.planning = None;
                self.close(now, "failed");
            }
            Notice::Committed {
                evicted,
                unfinished,
                transfers,
                ..
            } => {
                self.evictions.increment(evicted.len() as u64);
                transfers
                    .iter()
                    .for_each(|transfer| self.transferred(transfer));
                if *unfinished == 0 {
                    self.close(now, "done");
                }
            }
            Notice::PlanUnchanged { .. } => self.close(now, "done"),
            Notice::LeadershipLost { .. } => self.give_up(now),
            Notice::StepFailed { step, .. } => {
                if let Some(failures) = self.step_failures.get(step.as_str()) {
                    failures.increment(1);
                }
            }
            Notice::EvictionCancelled { .. } => self.evictions_cancelled.increment(1),
            Notice::SuspicionCancelled { .. } => self.suspicions_cancelled.increment(1),
            _ => {}
        }
    }

    fn transferred(&self, transfer: &Transfer) {
        let Transfer {
            end,
            partitions,
            vacant,
            ..
        } = transfer;
        if let Some(unowned) = self.unowned.get(end.as_str()) {
            unowned.record_many(*vacant, *partitions);
        }
        match end {
            OwnerEnd::Lost => self.failover.record(*vacant),
            OwnerEnd::Released => self.handed("grant", *vacant, *partitions),
        }
    }

    fn close(&mut self, now: Instant, outcome: &str) {
        let Some((cause, since)) = self.open.take() else {
            return;
        };
        let word = cause.as_str();
        if let Some(counter) = self.rebalances.get(word).and_then(|c| c.get(outcome)) {
            counter.increment(1);
        }
        if outcome == "done"
            && let Some(duration) = self.duration.get(word)
        {
            duration.record(now.since(since));
        }
    }
}

impl GenerationGauges {
    fn new(make: &Instruments) -> Self {
        Self {
            workers: make.gauge(&names::ACTIVE_WORKERS, &[]),
            partitions: make.gauge(&names::PARTITION_COUNT, &[]),
            unfinished: make.gauge(&names::UNFINISHED, &[]),
            unowned_now: make.gauge(&names::UNOWNED_NOW, &[]),
            parked: make.gauge(&names::PARKED, &[]),
            parked_by: ByLabel::new(ParkReason::ALL.map(ParkReason::as_str), |reason| {
                make.gauge(&names::PARKED_BY, &[reason])
            }),
            problems: ByLabel::new(ProblemKind::ALL.map(ProblemKind::as_str), |problem| {
                make.gauge(&names::PROBLEMS, &[problem])
            }),
            recent_terms: make.gauge(&names::RECENT_TERMS, &[]),
            term: make.gauge(&names::TERM, &[]),
            version: make.gauge(&names::VERSION, &[]),
        }
    }

    fn show(&self, status: &Status) {
        self.workers.set(f64::from(status.group.workers));
        self.partitions.set(f64::from(status.group.partitions));
        self.unfinished.set(f64::from(status.group.unfinished));
        self.unowned_now.set(count_of(status, ProblemKind::Unowned));
        self.parked.set(f64::from(status.group.parked.count));
        for (word, gauge) in self.parked_by.iter() {
            let mut by = status.group.parked_by.iter();
            let found = by.find(|(reason, _)| reason.as_str() == word);
            gauge.set(found.map_or(0.0, |&(_, count)| f64::from(count)));
        }
        for (word, gauge) in self.problems.iter() {
            let mut problems = status.problems.iter();
            let found = problems.find(|problem| problem.kind.as_str() == word);
            gauge.set(found.map_or(0.0, |problem| f64::from(problem.count)));
        }
        self.recent_terms.set(f64::from(status.group.recent_terms));
        self.term.set(number(status.term.get()));
        self.version.set(number(status.version.get()));
    }
}

/// What a problem counts, if there is such a problem.
fn count_of(status: &Status, kind: ProblemKind) -> f64 {
    let problem = status.problems.iter().find(|problem| problem.kind == kind);
    problem.map_or(0.0, |problem| f64::from(problem.count))
}

/// A number as a gauge has it. Versions grow from milliseconds since 1970, far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
pub(super) fn number(value: u64) -> f64 {
    value as f64
}
