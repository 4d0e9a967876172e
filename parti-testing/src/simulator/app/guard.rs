//! The guard of one ownership in the simulator, with the surface and the rules of `parti::Guard`.
//!
//! It is separate because handler code holds it longer than anything else lives. What always holds: a
//! guard whose ownership is over stays invalid, whatever the lease of a later session is.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use std::rc::Rc;

use parti_core::{Grant, PartitionKey, Token};

use super::tasks::Shared;

/// The right to process one partition, for as long as it lasts. Cheap to clone.
#[derive(Clone)]
pub struct SimGuard(Rc<Inner>);

struct Inner {
    grant: Grant,
    shared: Rc<Shared>,
    phase: Cell<Phase>,
    waiting: RefCell<Vec<Waker>>,
}

/// How far an ownership has come; it only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Owned,
    Revoking,
    Over,
}

impl SimGuard {
    pub(super) fn new(grant: Grant, shared: Rc<Shared>) -> Self {
        Self(Rc::new(Inner {
            grant,
            shared,
            phase: Cell::new(Phase::Owned),
            waiting: RefCell::default(),
        }))
    }

    /// The fencing token.
    #[must_use]
    pub fn token(&self) -> Token {
        self.0.grant.token
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> &PartitionKey {
        &self.0.grant.partition
    }

    /// Whether nobody else can own the partition now: the lease lasts on the clock of this process, and
    /// the partition has not been given back.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.0.phase.get() < Phase::Over && self.0.shared.lease_lasts()
    }

    /// Whether the partition is being taken away or has been.
    #[must_use]
    pub fn is_revoking(&self) -> bool {
        self.0.phase.get() >= Phase::Revoking
    }

    /// Waits until the partition is being taken away.
    ///
    /// # Cancellation safety
    /// Dropping the future loses nothing; it can be called again. There is no deadline: it ends with
    /// the ownership.
    pub async fn revoking(&self) {
        self.reached(Phase::Revoking).await;
    }

    /// Waits until the ownership is over. A process that cannot run learns of it late;
    /// [`SimGuard::is_valid`] is exact.
    ///
    /// # Cancellation safety
    /// Dropping the future loses nothing; it can be called again. There is no deadline: it ends with
    /// the ownership.
    pub async fn invalidated(&self) {
        self.reached(Phase::Over).await;
    }

    pub(super) fn grant(&self) -> &Grant {
        &self.0.grant
    }

    pub(super) fn begin_revoking(&self) {
        self.advance(Phase::Revoking);
    }

    pub(super) fn end(&self) {
        self.advance(Phase::Over);
    }

    fn advance(&self, phase: Phase) {
        if self.0.phase.get() < phase {
            self.0.phase.set(phase);
            let waiting = self.0.waiting.take();
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    async fn reached(&self, phase: Phase) {
        poll_fn(|context| {
            if self.0.phase.get() >= phase {
                return Poll::Ready(());
            }
            self.0.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl fmt::Debug for SimGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimGuard")
            .field("grant", &self.0.grant)
            .field("phase", &self.0.phase.get())
            .field("valid", &self.is_valid())
            .finish()
    }
}
