//! What the manager and its driver share: the driver writes, everybody reads.
//!
//! It is separate so that the locks of the crate are in one place. What always holds: no user code
//! runs while one is held, and after the end nothing in here looks alive.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parti_core::{PartitionKey, Status};
use tokio::sync::{broadcast, watch};

use crate::error::{Ended, StopFailure};
use crate::handler::guard::{Guard, Lease};
use crate::observe::health::{VitalSigns, Vitals};
use crate::observe::instrument::Counter;
use crate::observe::subscription::ManagerNotice;
use crate::system::clock::Clock;

/// How a driver ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) ended: Ended,
    pub(crate) failures: Vec<StopFailure>,
    /// Partitions that nobody took because nobody is left.
    pub(crate) left_unowned: Vec<PartitionKey>,
}

impl Outcome {
    /// An end that no stop asked for, or an unclean one.
    pub(crate) const fn of(ended: Ended, failures: Vec<StopFailure>) -> Self {
        Self {
            ended,
            failures,
            left_unowned: Vec::new(),
        }
    }
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
    vitals: Arc<VitalSigns>,
}

impl Shared {
    pub(crate) fn new(
        clock: Clock,
        status: Status,
        notices: &broadcast::Sender<Arc<ManagerNotice>>,
        dropped: Counter,
        vitals: Arc<VitalSigns>,
    ) -> Self {
        let lease = Arc::new(Lease::new(clock.clone()));
        Self {
            lease,
            status: watch::Sender::new(status),
            outcome: watch::Sender::new(None),
            notices: notices.downgrade(),
            clock,
            dropped,
            holdings: Mutex::default(),
            vitals,
        }
    }

    /// Since when what has been the case.
    pub(crate) fn vitals(&self) -> Vitals {
        self.vitals.look()
    }

    /// The partitions this worker has, by key. A panic elsewhere cannot leave the map half-changed,
    /// so a poisoned lock is as good as any.
    pub(crate) fn holdings(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, Guard>> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up the guard of a new ownership. After the end there is none: a step of the driver that
    /// was under way then may still try.
    pub(crate) fn hold(&self, guard: &Guard) {
        let mut holdings = self.holdings();
        if self.lease.has_ended() {
            guard.end();
        } else {
            holdings.insert(guard.partition().clone(), guard.clone());
        }
    }

    /// How the driver ended, if it did.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.outcome
            .borrow()
            .as_ref()
            .map(|outcome| outcome.ended.clone())
    }

    /// As [`Shared::end`], without a stop.
    pub(crate) fn fail(&self, reason: impl Into<String>) {
        let (ended, failures) = (Ended::Failed(reason.into()), Vec::new());
        self.end(Outcome::of(ended, failures));
    }

    /// The driver is over: every guard is invalid from here on. The first outcome counts.
    pub(crate) fn end(&self, outcome: Outcome) {
        self.lease.end();
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parti_core::{Config, Grant, Token};

    use super::*;
    use crate::observe::instrument::Instruments;
    use crate::observe::meter;

    /// A manager that was dropped, or given up as hung, while its driver was in the middle of a step
    /// left valid guards behind: the step went on to set the lease and to take up new ownerships.
    #[tokio::test]
    async fn a_step_under_way_at_the_end_makes_nothing_valid() {
        let clock = Clock::tokio();
        let later = Some(clock.now() + Duration::from_secs(60));
        let config = Config::builder("g").build().expect("coherent");
        let boot = parti_core::Boot {
            now: clock.now(),
            wall_ms: 0,
            seed: 1,
            strategy: parti_core::AssignmentStrategy::id(&parti_strategy::Sticky::new()),
            software: String::new(),
            endpoint: None,
            prepares: false,
        };
        let status = parti_core::Core::new(config, boot).status();
        let notices = broadcast::Sender::new(1);
        let dropped = meter::dropped(&Instruments::new("g", &[]), "subscription");
        let vitals = Arc::new(VitalSigns::new(clock.now()));
        let shared = Shared::new(clock, status, &notices, dropped, vitals);
        let guard = |token| {
            let partition = PartitionKey::new(["p"]).expect("valid key");
            let token = Token::new(token);
            Guard::new(Grant { partition, token }, Arc::clone(&shared.lease))
        };
        let (held, given) = (guard(1), guard(2));
        shared.lease.set(later);
        shared.hold(&held);
        assert!(held.is_valid() && shared.holdings().len() == 1);
        shared.fail("dropped");
        shared.hold(&given);
        shared.lease.shorten(later);
        shared.lease.set(later);
        assert!(!held.is_valid() && !given.is_valid() && given.is_revoking());
        assert!(shared.holdings().is_empty() && !guard(3).is_valid());
    }
}
