//! Faults by name, the same for the store in memory and for real servers behind proxies.
//!
//! It is separate from both so that a scenario is written once: it calls [`ChaosInjector`], and the
//! caller chooses [`FaultyStores`] (fast, in virtual time if wished) or
//! `rig::proxies::Proxies` (real sockets). What always holds: faults hit the
//! worker that is named and no other, a verb that a side cannot do is an error and not a silent
//! nothing, and [`ChaosInjector::heal`] ends them all.
//!
//! A group behind faulty stores:
//!
//! ```
//! use std::time::Duration;
//! use parti_core::{Store, StoreOp};
//! use parti_testing::kit::chaos::{ChaosInjector, Blocked, FaultyStores};
//! use parti_testing::kit::memory_store::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chaos = FaultyStores::new(MemoryStore::new(), 7);
//! let (a, b) = (chaos.worker("a"), chaos.worker("b"));
//! chaos.partition_network(&["a".to_owned()], Blocked::Both)?;
//! assert!(a.execute(StoreOp::Info).await.is_err());
//! b.execute(StoreOp::Info).await?; // b does not notice
//! chaos.heal();
//! a.execute(StoreOp::Info).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The trait takes plain values and has no generic methods, so it can be replaced by a mock:
//!
//! ```
//! use std::time::Duration;
//! use parti_testing::kit::chaos::{ChaosError, ChaosInjector, Blocked, Share};
//!
//! mockall::mock! {
//!     Chaos {}
//!     impl ChaosInjector for Chaos {
//!         fn delay_messages(&self, worker: &str, delay: Duration, jitter: Duration)
//!             -> Result<(), ChaosError>;
//!         fn drop_messages(&self, worker: &str, share: Share) -> Result<(), ChaosError>;
//!         fn duplicate_messages(&self, worker: &str, share: Share) -> Result<(), ChaosError>;
//!         fn reorder_messages(&self, worker: &str, within: Duration) -> Result<(), ChaosError>;
//!         fn slow_down_worker(&self, worker: &str, each: Duration) -> Result<(), ChaosError>;
//!         fn partition_network(&self, workers: &[String], cut: Blocked) -> Result<(), ChaosError>;
//!         fn heal(&self);
//!     }
//! }
//!
//! # fn main() {
//! let mut chaos = MockChaos::new();
//! chaos.expect_heal().times(1).return_const(());
//! chaos.heal();
//! # }
//! ```

use core::fmt;
use core::time::Duration;

mod faults;
mod store;

pub use store::{FaultyStore, FaultyStores};

/// Faults by name. Workers are named as they were when their store or proxy was made.
///
/// Messages are what passes between a worker and the store: requests, answers and events of
/// watches. A verb replaces what the same verb set before; different verbs add up.
pub trait ChaosInjector: Send + Sync {
    /// Lets every message of the worker arrive later, by the delay and between nothing and the
    /// jitter more, in their order.
    ///
    /// # Errors
    /// [`ChaosError`]; nothing is changed then.
    fn delay_messages(
        &self,
        worker: &str,
        delay: Duration,
        jitter: Duration,
    ) -> Result<(), ChaosError>;

    /// Loses this share of the worker's messages. The loss of an answer leaves the request carried
    /// out; the loss of an event ends its watch. A wire can only do all or nothing, and holds bytes
    /// instead of losing them.
    ///
    /// # Errors
    /// [`ChaosError`]; nothing is changed then.
    fn drop_messages(&self, worker: &str, share: Share) -> Result<(), ChaosError>;

    /// Repeats this share of the events of the worker's watches. A wire cannot.
    ///
    /// # Errors
    /// [`ChaosError`]; nothing is changed then.
    fn duplicate_messages(&self, worker: &str, share: Share) -> Result<(), ChaosError>;

    /// Lets requests and answers of the worker overtake each other, each by up to so much. Events
    /// of a watch stay in their order, which every store promises. A wire cannot.
    ///
    /// # Errors
    /// [`ChaosError`]; nothing is changed then.
    fn reorder_messages(&self, worker: &str, within: Duration) -> Result<(), ChaosError>;

    /// Makes the worker slow and keeps it alive: its messages pass one by one, and each takes so
    /// long.
    ///
    /// # Errors
    /// [`ChaosError`]; nothing is changed then.
    fn slow_down_worker(&self, worker: &str, each: Duration) -> Result<(), ChaosError>;

    /// Cuts these workers off from the store. Workers talk to each other only through it, so that
    /// is what a partition of the network is to them. A request then ends as unknown, or as
    /// unavailable where the worker notices; what is under way may arrive after the heal or never.
    ///
    /// # Errors
    /// [`ChaosError`] when one of them is unknown; nobody is cut off then.
    fn partition_network(&self, workers: &[String], cut: Blocked) -> Result<(), ChaosError>;

    /// Ends every fault of every worker.
    fn heal(&self);
}

/// Which way is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// Nothing passes.
    Both,
    /// What the worker sends does not arrive; what the store sends does.
    Requests,
    /// What the worker sends arrives; it hears nothing.
    Replies,
}

impl Blocked {
    pub(crate) const fn holds_requests(self) -> bool {
        matches!(self, Self::Both | Self::Requests)
    }

    pub(crate) const fn holds_answers(self) -> bool {
        matches!(self, Self::Both | Self::Replies)
    }
}

/// A share of messages, from none to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub(crate) u8);

impl Share {
    /// No message.
    pub const NONE: Self = Self(0);
    /// Every message.
    pub const ALL: Self = Self(100);

    /// So many of a hundred.
    ///
    /// # Errors
    /// [`ChaosError::NotAPercentage`] above 100.
    pub const fn percent(percent: u8) -> Result<Self, ChaosError> {
        if percent <= 100 {
            Ok(Self(percent))
        } else {
            Err(ChaosError::NotAPercentage { found: percent })
        }
    }
}

/// Why a fault cannot be injected. Nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChaosError {
    /// There is no worker of that name.
    UnknownWorker {
        /// The name.
        worker: String,
        /// The workers there are.
        known: Vec<String>,
    },
    /// This side cannot do that.
    Unsupported {
        /// The verb.
        verb: &'static str,
        /// Why not, and what to use instead.
        why: &'static str,
    },
    /// A share has more than a hundred of a hundred.
    NotAPercentage {
        /// What was asked for.
        found: u8,
    },
}

impl fmt::Display for ChaosError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownWorker { worker, known } => {
                write!(f, "there is no worker {worker:?}, only {known:?}")
            }
            Self::Unsupported { verb, why } => write!(f, "{verb} cannot be done here: {why}"),
            Self::NotAPercentage { found } => {
                write!(f, "{found} percent is not a share, at most 100 is")
            }
        }
    }
}

impl std::error::Error for ChaosError {}

#[cfg(test)]
mod tests;
