//! What the manager and its driver share: the driver writes, everybody reads.
//!
//! It is separate so that the locks of the crate are in one place. What always holds: no user code
//! runs while one is held, and after the end nothing in here looks alive.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parti_core::{PartitionKey, Status};
use tokio::sync::{broadcast, watch};

use crate::clock::Clock;
use crate::error::{Ended, StopFailure};
use crate::guard::{Guard, Lease};
use crate::health::Vitals;
use crate::instrument::Counter;
use crate::subscription::ManagerNotice;

/// How a driver ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) ended: Ended,
    pub(crate) failures: Vec<StopFailure>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) lease: Arc<Lease>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) outcome: watch::Sender<Option<Outcome>>,
    pub(crate) notices: broadcast::WeakSender<Arc<ManagerNotice>>,
    pub(crate) clock: Clock,
    /// Counts what slow subscriptions lose.
    pub(crate) dropped: Counter,
    holdings: Mutex<BTreeMap<PartitionKey, Guard>>,
    vitals: Mutex<Vitals>,
}

impl Shared {
    pub(crate) fn new(
        clock: Clock,
        status: Status,
        notices: &broadcast::Sender<Arc<ManagerNotice>>,
        dropped: Counter,
    ) -> Self {
        let vitals = Vitals {
            turned: clock.now(),
            no_identity: Some(clock.now()),
            ..Vitals::default()
        };
        let lease = Arc::new(Lease::new(clock.clone()));
        Self {
            lease,
            status: watch::Sender::new(status),
            outcome: watch::Sender::new(None),
            notices: notices.downgrade(),
            clock,
            dropped,
            holdings: Mutex::default(),
            vitals: Mutex::new(vitals),
        }
    }

    /// Since when what has been the case. Every change of it is a single assignment.
    pub(crate) fn vitals(&self) -> MutexGuard<'_, Vitals> {
        self.vitals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions this worker has, by key. A panic elsewhere cannot leave the map half-changed,
    /// so a poisoned lock is as good as any.
    pub(crate) fn holdings(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, Guard>> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the driver ended, if it did.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.outcome
            .borrow()
            .as_ref()
            .map(|outcome| outcome.ended.clone())
    }

    /// The driver is over: every guard is invalid from here on. The first outcome counts.
    pub(crate) fn end(&self, outcome: Outcome) {
        self.lease.set(None);
        let holdings = std::mem::take(&mut *self.holdings());
        for guard in holdings.values() {
            guard.end();
        }
        self.outcome.send_if_modified(|present| {
            let first = present.is_none();
            if first {
                *present = Some(outcome);
            }
            first
        });
    }
}
