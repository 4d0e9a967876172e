//! What requests to the store cost and how they fail.

use std::time::Duration;

use parti_core::{
    CallEnd, Circuit, CircuitState, Judged, OpOwner, StoreError, StoreErrorKind, StoreOp,
    StoreReply,
};

use crate::observe::catalogue as names;
use crate::observe::instrument::{ByLabel, Counter, Gauge, Histogram, Instruments};

/// What is asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    List,
    Commit,
    Info,
    Create,
    Watch,
}

impl Operation {
    const ALL: [Self; 6] = [
        Self::Get,
        Self::List,
        Self::Commit,
        Self::Info,
        Self::Create,
        Self::Watch,
    ];

    pub(crate) const fn of(request: &StoreOp) -> Self {
        match request {
            StoreOp::Get { .. } => Self::Get,
            StoreOp::List { .. } => Self::List,
            StoreOp::Commit { .. } => Self::Commit,
            StoreOp::Info => Self::Info,
            StoreOp::Create => Self::Create,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Commit => "commit",
            Self::Info => "info",
            Self::Create => "create",
            Self::Watch => "watch",
        }
    }
}

const KINDS: [StoreErrorKind; 5] = [
    StoreErrorKind::Refused,
    StoreErrorKind::Unknown,
    StoreErrorKind::Unavailable,
    StoreErrorKind::Rejected,
    StoreErrorKind::Missing,
];

const fn word(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Refused => "refused",
        StoreErrorKind::Unknown => "unknown",
        StoreErrorKind::Unavailable => "unavailable",
        StoreErrorKind::Rejected => "rejected",
        StoreErrorKind::Missing => "missing",
    }
}

/// The instruments of one kind of request, found by its position.
#[derive(Debug)]
struct Requests {
    duration: Histogram,
    errors: ByLabel<Counter>,
}

/// Measures requests to the store; shared with the tasks that make them.
#[derive(Debug)]
pub(crate) struct StoreMeter {
    requests: Vec<Requests>,
    pub(crate) watch_failures: Counter,
    circuit_state: ByLabel<Gauge>,
    /// By circuit, then by the state it changes to.
    circuit_changes: ByLabel<ByLabel<Counter>>,
    /// By circuit, then by outcome.
    circuit_calls: ByLabel<ByLabel<Counter>>,
    retries: ByLabel<Counter>,
    exhausted: ByLabel<Counter>,
}

/// Who asks something of the store.
const PURPOSES: [&str; 6] = [
    OpOwner::Claim.as_str(),
    OpOwner::Session.as_str(),
    OpOwner::Candidate.as_str(),
    OpOwner::Reconcile.as_str(),
    OpOwner::Request.as_str(),
    OpOwner::Leader.as_str(),
];

impl StoreMeter {
    pub(crate) fn new(make: &Instruments) -> Self {
        let requests = Operation::ALL.map(|operation| {
            let word_of = operation.as_str();
            Requests {
                duration: make.histogram(&names::KV_DURATION, &[word_of]),
                errors: ByLabel::new(KINDS.map(word), |kind| {
                    make.counter(&names::KV_ERRORS, &[word_of, kind])
                }),
            }
        });
        Self {
            requests: requests.into(),
            watch_failures: make.counter(&names::WATCHER_FAILURES, &[]),
            circuit_state: ByLabel::new(["store", "watch"], |circuit| {
                make.gauge(&names::CIRCUIT_STATE, &[circuit])
            }),
            circuit_changes: ByLabel::new(["store", "watch"], |circuit| {
                ByLabel::new(["closed", "half_open", "open"], |to| {
                    make.counter(&names::CIRCUIT_CHANGES, &[circuit, to])
                })
            }),
            circuit_calls: ByLabel::new(["store", "watch"], |circuit| {
                ByLabel::new(["succeeded", "failed", "abandoned"], |outcome| {
                    make.counter(&names::CIRCUIT_CALLS, &[circuit, outcome])
                })
            }),
            retries: ByLabel::new(PURPOSES, |purpose| {
                make.counter(&names::RETRIES, &[purpose])
            }),
            exhausted: ByLabel::new(PURPOSES, |purpose| {
                make.counter(&names::RETRIES_EXHAUSTED, &[purpose])
            }),
        }
    }

    /// A request was answered after so long.
    pub(crate) fn asked<T>(
        &self,
        operation: Operation,
        took: Duration,
        result: &Result<T, StoreError>,
    ) {
        let Some(requests) = self.requests.get(operation as usize) else {
            return;
        };
        requests.duration.record(took);
        if let Err(error) = result
            && let Some(errors) = requests.errors.get(word(error.kind))
        {
            errors.increment(1);
        }
    }

    /// What an answer says to the circuit of the store.
    pub(crate) fn judge(&self, result: &Result<StoreReply, StoreError>) {
        let judged = result
            .as_ref()
            .map_or_else(Judged::call_end, |_| CallEnd::Succeeded);
        self.called(Circuit::Store, judged, 1);
    }

    /// So many calls under a circuit ended like this.
    pub(crate) fn called(&self, circuit: Circuit, end: CallEnd, calls: u64) {
        let outcome = match end {
            CallEnd::Succeeded => "succeeded",
            CallEnd::Failed => "failed",
            CallEnd::Abandoned => "abandoned",
        };
        let by_outcome = self.circuit_calls.get(circuit.as_str());
        if let Some(counter) = by_outcome.and_then(|counters| counters.get(outcome)) {
            counter.increment(calls);
        }
    }

    /// A circuit changed.
    pub(crate) fn circuit_changed(&self, circuit: Circuit, to: CircuitState) {
        let circuit = circuit.as_str();
        if let Some(state) = self.circuit_state.get(circuit) {
            state.set(match to {
                CircuitState::Closed => 0.0,
                CircuitState::HalfOpen => 1.0,
                CircuitState::Open => 2.0,
            });
        }
        let changes = self.circuit_changes.get(circuit);
        if let Some(changes) = changes.and_then(|changes| changes.get(to.as_str())) {
            changes.increment(1);
        }
    }

    /// A request of this owner is tried again.
    pub(crate) fn retried(&self, owner: OpOwner) {
        if let Some(retries) = self.retries.get(owner.as_str()) {
            retries.increment(1);
        }
    }

    /// A step of this owner failed as often as it may be tried.
    pub(crate) fn exhausted(&self, owner: OpOwner) {
        if let Some(exhausted) = self.exhausted.get(owner.as_str()) {
            exhausted.increment(1);
        }
    }
}
