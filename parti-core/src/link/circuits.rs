//! The two circuits between a core and its store, and who may ask while one is not closed.
//!
//! What always holds: while the circuit of the store is not closed, the renewals of the session, or
//! the claim of one, are the only requests. They are the probes, so an open circuit never keeps a
//! session from being renewed for longer than its timeout.

use alloc::collections::BTreeMap;

use crate::config::Config;
use crate::io::event::{OpId, OpOwner};
use crate::model::time::Instant;
use crate::ports::store::{StoreError, StoreReply};
use crate::resilience::backoff::Budget;
use crate::resilience::breaker::{Breaker, CallEnd, CircuitState, CircuitStatus, Judged, Permit};

/// The circuit of requests, with those under way.
#[derive(Clone, Debug)]
pub(crate) struct StoreCircuit {
    breaker: Breaker,
    permits: BTreeMap<OpId, Permit>,
    budget: Budget,
}

/// Whether a request may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Now.
    Free,
    /// Not before.
    Until(Instant),
    /// When an answer has changed the circuit.
    Shut,
}

impl StoreCircuit {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            breaker: Breaker::new(config.circuit_breaker()),
            permits: BTreeMap::new(),
            budget: Budget::full(),
        }
    }

    pub(crate) fn gate(&self, owner: OpOwner, now: Instant) -> Gate {
        let closed = self.breaker.state() == CircuitState::Closed;
        match self.breaker.check(now) {
            _ if !closed && !probes(owner) => Gate::Shut,
            Ok(()) => Gate::Free,
            Err(open) => open.until.map_or(Gate::Shut, Gate::Until),
        }
    }

    /// A request is being made.
    pub(crate) fn sent(&mut self, op: OpId, now: Instant) {
        if let Ok(permit) = self.breaker.admit(now) {
            self.permits.insert(op, permit);
        }
    }

    /// A request was answered.
    pub(crate) fn answered(
        &mut self,
        op: OpId,
        now: Instant,
        result: &Result<StoreReply, StoreError>,
    ) {
        let end = result
            .as_ref()
            .map_or_else(Judged::call_end, |_| CallEnd::Succeeded);
        if end == CallEnd::Succeeded {
            self.budget.earn();
        }
        if let Some(permit) = self.permits.remove(&op) {
            self.breaker.settle(now, permit, end);
        }
    }

    /// A request was carried out, whether or not an answer will come.
    pub(crate) fn proved(&mut self, op: OpId, now: Instant) {
        if let Some(permit) = self.permits.remove(&op) {
            self.breaker.settle(now, permit, CallEnd::Succeeded);
        }
    }

    /// Pays for a retry, if the budget has enough.
    pub(crate) fn spend(&mut self) -> bool {
        self.budget.spend()
    }

    /// Whether no retry can be paid for.
    pub(crate) const fn is_short(&self) -> bool {
        self.budget.is_short()
    }

    pub(crate) const fn state(&self) -> CircuitState {
        self.breaker.state()
    }

    pub(crate) const fn status(&self) -> CircuitStatus {
        self.breaker.status()
    }
}

/// The circuit of the watch. There is one watch at a time, and it proves itself by what it brings.
#[derive(Clone, Debug)]
pub(crate) struct WatchCircuit {
    breaker: Breaker,
    successes: u64,
    failures: u64,
}

impl WatchCircuit {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            breaker: Breaker::new(config.circuit_breaker()),
            successes: 0,
            failures: 0,
        }
    }

    /// When a watch may be begun; `None`: at once.
    pub(crate) fn opens_at(&self, now: Instant) -> Option<Instant> {
        self.breaker.check(now).err().and_then(|open| open.until)
    }

    /// The watch was caught up, brought back a renewal, or was lost.
    pub(crate) fn saw(&mut self, now: Instant, end: CallEnd) {
        // Each sign of life or death is a call of its own, begun and ended now.
        let Ok(permit) = self.breaker.admit(now) else {
            return;
        };
        self.breaker.settle(now, permit, end);
        match end {
            CallEnd::Succeeded => self.successes += 1,
            CallEnd::Failed => self.failures += 1,
            CallEnd::Abandoned => {}
        }
    }

    pub(crate) const fn state(&self) -> CircuitState {
        self.breaker.state()
    }

    pub(crate) const fn status(&self) -> CircuitStatus {
        self.breaker.status()
    }

    pub(crate) const fn successes(&self) -> u64 {
        self.successes
    }

    pub(crate) const fn failures(&self) -> u64 {
        self.failures
    }
}

/// Whose requests are the probes.
const fn probes(owner: OpOwner) -> bool {
    match owner {
        OpOwner::Claim | OpOwner::Session => true,
        OpOwner::Candidate | OpOwner::Reconcile | OpOwner::Request | OpOwner::Leader => false,
    }
}
