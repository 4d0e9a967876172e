//! The guard of one ownership: the fencing token, and whether it may still be relied on.
//!
//! It is separate from the driver because user code holds it and asks it on any thread, also while
//! the driver cannot run. What always holds: a guard whose ownership is over stays invalid,
//! whatever the next session's lease is, and asking costs two atomic loads and a look at the clock.

use std::fmt;
use std::sync::Arc;

use parti_core::{Grant, Instant, PartitionKey, Token};
use tokio::sync::Notify;

use crate::handler::validity::{self, Deadline, Phase, Progress};
use crate::system::clock::Clock;

#[cfg(test)]
mod interleavings;

/// The right to process one partition, for as long as it lasts. Cheap to clone.
///
/// Pass [`Guard::token`] to whatever the work writes to and let that refuse smaller tokens: no
/// check in a process can exclude that it is suspended between the check and the act.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    grant: Grant,
    lease: Arc<Lease>,
    progress: Progress,
    changed: Notify,
}

impl Guard {
    pub(crate) fn new(grant: Grant, lease: Arc<Lease>) -> Self {
        Self(Arc::new(Inner {
            grant,
            lease,
            progress: Progress::new(),
            changed: Notify::new(),
        }))
    }

    /// The fencing token: larger than that of every earlier owner of the partition.
    #[must_use]
    pub fn token(&self) -> Token {
        self.0.grant.token
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> &PartitionKey {
        &self.0.grant.partition
    }

    /// Whether nobody else can own the partition now: the lease of this worker lasts and the
    /// partition has not been given back. It stays true while `on_revoked` runs, unless that takes
    /// longer than `drain_timeout` or the lease itself is lost.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let Inner {
            lease, progress, ..
        } = &*self.0;
        validity::is_valid(progress, &lease.deadline, || lease.clock.now().as_nanos())
    }

    /// Whether the partition is being taken away or has been: take no new work.
    #[must_use]
    pub fn is_revoking(&self) -> bool {
        self.phase() >= Phase::Revoking
    }

    /// Waits until the partition is being taken away: time to finish what was begun.
    ///
    /// # Cancellation safety
    /// Dropping the future loses nothing; it can be called again. There is no deadline: it ends with
    /// the ownership.
    pub async fn revoking(&self) {
        self.reached(Phase::Revoking).await;
    }

    /// Waits until the guard is invalid: time to drop what is being done.
    ///
    /// A worker that cannot run learns of it late; [`Guard::is_valid`] is exact.
    ///
    /// # Cancellation safety
    /// Dropping the future loses nothing; it can be called again. There is no deadline: it ends with
    /// the ownership.
    pub async fn invalidated(&self) {
        self.reached(Phase::Over).await;
    }

    pub(crate) fn grant(&self) -> &Grant {
        &self.0.grant
    }

    pub(crate) fn begin_revoking(&self) {
        self.advance(Phase::Revoking);
    }

    pub(crate) fn end(&self) {
        self.advance(Phase::Over);
    }

    fn phase(&self) -> Phase {
        self.0.progress.phase()
    }

    fn advance(&self, phase: Phase) {
        self.0.progress.advance(phase);
        self.0.changed.notify_waiters();
    }

    async fn reached(&self, phase: Phase) {
        loop {
            let changed = self.0.changed.notified();
            if self.phase() >= phase {
                return;
            }
            changed.await;
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("grant", &self.0.grant)
            .field("phase", &self.phase())
            .field("valid", &self.is_valid())
            .finish()
    }
}

/// Until when the session of this worker counts, shared by all its guards.
#[derive(Debug)]
pub(crate) struct Lease {
    clock: Clock,
    deadline: Deadline,
}

impl Lease {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            deadline: Deadline::new(),
        }
    }

    /// Takes over a deadline; without one nothing is valid.
    pub(crate) fn set(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline.map_or(0, Instant::as_nanos));
    }

    /// Takes over an earlier deadline at once; a later one has to wait for [`Lease::set`].
    pub(crate) fn shorten(&self, deadline: Option<Instant>) {
        self.deadline.shorten(deadline.map_or(0, Instant::as_nanos));
    }

    /// The worker has ended: no guard is valid again, whatever a step under way still sets.
    pub(crate) fn end(&self) {
        self.deadline.end();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.deadline.has_ended()
    }

    /// Whether an ownership that is not over is valid.
    pub(crate) fn lasts(&self) -> bool {
        self.deadline.lasts(|| self.clock.now().as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn guard(lease: &Arc<Lease>) -> Guard {
        let partition = PartitionKey::new(["p"]).expect("valid key");
        let token = Token::new(7);
        Guard::new(Grant { partition, token }, Arc::clone(lease))
    }

    /// A guard that came back to life would let the old owner write beside the new one.
    #[tokio::test(start_paused = true)]
    async fn a_guard_is_valid_until_the_lease_or_the_ownership_ends() {
        let clock = Clock::tokio();
        let lease = Arc::new(Lease::new(clock.clone()));
        let (first, second) = (guard(&lease), guard(&lease));
        assert!(!first.is_valid(), "no lease yet");
        lease.set(Some(clock.now() + Duration::from_secs(1)));
        assert!(first.is_valid() && !first.is_revoking());
        first.begin_revoking();
        assert!(first.is_valid() && first.is_revoking());
        first.end();
        first.begin_revoking();
        assert!(!first.is_valid() && second.is_valid());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!second.is_valid(), "the lease is over");
        lease.set(Some(clock.now() + Duration::from_secs(1)));
        assert!(!first.is_valid() && second.is_valid());
        lease.shorten(Some(clock.now() + Duration::from_secs(9)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!second.is_valid(), "shortening never extends");
    }

    /// A waiter that misses the signal would process a partition it no longer owns.
    #[tokio::test(start_paused = true)]
    async fn waiters_hear_of_revocation_and_of_the_end() {
        let lease = Arc::new(Lease::new(Clock::tokio()));
        let guard = guard(&lease);
        let (one, two) = (guard.clone(), guard.clone());
        let revoking = tokio::spawn(async move { one.revoking().await });
        let over = tokio::spawn(async move { two.invalidated().await });
        tokio::task::yield_now().await;
        guard.begin_revoking();
        revoking.await.expect("hears of it");
        assert!(!over.is_finished());
        guard.end();
        over.await.expect("hears of it");
        guard.invalidated().await;
    }
}
