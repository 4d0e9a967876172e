//! What a user implements: what to do when a partition comes and when it goes; and the guard it is given.
//!
//! It is separate because it is the whole contract between the library and the work. What always
//! holds: the callbacks of one partition never overlap and alternate, `on_assigned` first. A program that
//! only wants to know takes [`Hooks`](crate::events::Hooks), which no handoff waits for.

use std::sync::Arc;

use async_trait::async_trait;
#[doc(inline)]
pub use parti_core::Preparation;
#[doc(inline)]
pub use parti_core::callbacks::{Callback, HandlerError};
use parti_core::{PartitionKey, RevokeCause};

use crate::handler::guard::Guard;

pub mod fence;
pub(crate) mod guard;
mod validity;

/// The atomics of `validity.rs`, which a test exchanges for others.
mod atomic {
    pub(crate) use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
}

/// Begins and ends the processing of partitions.
///
/// Callbacks of different partitions run concurrently, up to the builder's `concurrency`. A callback
/// that panics, also in a destructor when it is cut short, is contained, reported as a
/// [`ManagerNotice::CallbackPanicked`](crate::events::ManagerNotice) and counts as returned from
/// `on_revoked`, as failed from `on_assigned`. `on_assigned` is not begun with a guard that is invalid
/// already, as after the runtime was blocked for a lease.
///
/// # Cancellation safety
/// A callback that takes too long is dropped where it waits; what it has spawned goes on, so let it
/// watch the guard. `on_revoked` is bounded by `drain_timeout`, `on_assigned` by the builder's
/// `assign_timeout`; it is also dropped when its partition has waited `drain_timeout` to be revoked.
/// `on_prepare` is bounded by `prepare_timeout` and dropped when its partition is not to come after all,
/// `on_prepare_cancelled` by `drain_timeout`. All of them are dropped with the [`Manager`](crate::Manager).
///
/// # Order
/// For each ownership `on_assigned` is called until it returns `Ok`: a call that fails, panics or takes too
/// long is followed by another after a pause, with the same guard. Once it was called, the ownership ends
/// with exactly one `on_revoked`, also when every call failed, since one that was cut short may have
/// left something to end. `on_prepare` may come before: what it began is taken up by the next
/// `on_assigned` of the partition, or ended by one `on_prepare_cancelled`. Only the drop of the
/// [`Manager`](crate::Manager) ends things without.
#[async_trait]
pub trait PartitionHandler: Send + Sync + 'static {
    /// The partition is this worker's: begin to process it, as a rule by starting a task that holds
    /// a clone of the guard, and return. Loading state here is fine; a revocation that comes
    /// meanwhile waits for it up to `drain_timeout`, then the future is dropped.
    ///
    /// # Errors
    /// [`HandlerError`] says that the processing has not begun: it is tried again after a pause, and
    /// a partition for which it keeps failing is given to another worker.
    async fn on_assigned(&self, partition: &PartitionKey, guard: Guard)
    -> Result<(), HandlerError>;

    /// The partition is being taken away: end its processing and return when it has ended. Only
    /// then, or after `drain_timeout`, it is given to another worker. After that time-out the guard
    /// is invalid, the partition counts as released, and the future is dropped.
    ///
    /// `guard` is the one that `on_assigned` was given: its token says which ownership ends. It is still
    /// valid, to write what is left, unless the ownership is lost already ([`RevokeCause::LeaseLost`],
    /// [`RevokeCause::IdentityLost`]).
    async fn on_revoked(&self, partition: &PartitionKey, guard: Guard, cause: RevokeCause);

    /// Whether this handler prepares for partitions. Asked once, at the start. A planned move to a worker
    /// that says so begins with [`on_prepare`](PartitionHandler::on_prepare), and costs one generation
    /// more; all others go as ever. Default: it does not.
    fn prepares(&self) -> bool {
        false
    }

    /// The partition is to come, unless something intervenes: load what it needs, open files, catch up.
    /// **Its present owner works on**: there is no guard yet, and nothing may be written. The owner is told
    /// to end when this returns `Ok`, or when `prepare_timeout` is over and the future is dropped; so the
    /// partition is without an owner only for its `on_revoked` and two commits, however long this took.
    /// If the owner dies meanwhile, the partition is granted at once, and `on_assigned` is called when
    /// this has returned.
    ///
    /// Called only if [`prepares`](PartitionHandler::prepares) says so, and not for what has no owner: a
    /// partition may come without. Default: nothing to do.
    ///
    /// # Errors
    /// [`HandlerError`] says that this worker cannot take the partition: it stays with its owner or goes
    /// to another worker, and `on_prepare_cancelled` is called.
    async fn on_prepare(
        &self,
        partition: &PartitionKey,
        preparation: Preparation,
    ) -> Result<(), HandlerError> {
        let _ = (partition, preparation);
        Ok(())
    }

    /// The partition that `on_prepare` was called for does not come after all: it stays where it is, goes
    /// elsewhere or is gone, or this worker is leaving. Give back what was loaded. Default: nothing to do.
    async fn on_prepare_cancelled(&self, partition: &PartitionKey, preparation: Preparation) {
        let _ = (partition, preparation);
    }

    /// What is wrong with the work on this worker's partitions now, in words for people. As long as it
    /// says something, [`WorkTroubled`](crate::health::HealthCode::WorkTroubled) holds. Asked with each look
    /// at the health, on whatever thread looks: it must answer at once. Default: nothing.
    fn trouble(&self) -> Option<String> {
        None
    }
}

#[async_trait]
impl<H: PartitionHandler + ?Sized> PartitionHandler for Arc<H> {
    async fn on_assigned(
        &self,
        partition: &PartitionKey,
        guard: Guard,
    ) -> Result<(), HandlerError> {
        (**self).on_assigned(partition, guard).await
    }

    async fn on_revoked(&self, partition: &PartitionKey, guard: Guard, cause: RevokeCause) {
        (**self).on_revoked(partition, guard, cause).await;
    }

    fn prepares(&self) -> bool {
        (**self).prepares()
    }

    async fn on_prepare(
        &self,
        partition: &PartitionKey,
        preparation: Preparation,
    ) -> Result<(), HandlerError> {
        (**self).on_prepare(partition, preparation).await
    }

    async fn on_prepare_cancelled(&self, partition: &PartitionKey, preparation: Preparation) {
        (**self).on_prepare_cancelled(partition, preparation).await;
    }

    fn trouble(&self) -> Option<String> {
        (**self).trouble()
    }
}
