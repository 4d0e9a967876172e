//! What partitions need and nobody offers: the part of a plan that names who gets no owner, and why.
//!
//! It is separate because it is stored and shown as well: the leader parks what a plan does not
//! place. What always holds: one partition without an owner never keeps another from getting one.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Why partitions have no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ParkReason {
    /// No worker takes part that has any capacity.
    NoWorkers,
    /// No worker that takes part may own them.
    NoEligibleWorker,
    /// None of the workers they prefer takes part, and their grace is not over.
    AwaitsPreferred,
    /// Every worker that may own them failed to process them.
    FailedEverywhere,
    /// No record of a worker that may own them has room for them.
    DoesNotFit,
}

impl ParkReason {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 5] = [
        Self::NoWorkers,
        Self::NoEligibleWorker,
        Self::AwaitsPreferred,
        Self::FailedEverywhere,
        Self::DoesNotFit,
    ];

    /// The reason as one lower-case word, for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoWorkers => "no_workers",
            Self::NoEligibleWorker => "no_eligible_worker",
            Self::AwaitsPreferred => "awaits_preferred",
            Self::FailedEverywhere => "failed_everywhere",
            Self::DoesNotFit => "does_not_fit",
        }
    }
}

impl fmt::Display for ParkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that partitions need and no worker offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Why the partitions have no owner.
    pub reason: ParkReason,
    /// A number for what is needed: the same in every plan and process, and another for anything
    /// else. How long it has been unmet is counted by it, see
    /// [`PlanInput::waited`](crate::PlanInput::waited).
    pub need: u64,
    /// What is needed, in words.
    pub needs: String,
    /// The ranks that get no owner for it, ascending. May be empty: then the partitions are placed
    /// all the same, and only the count of the waiting goes on.
    pub unplaced: Vec<u32>,
    /// How long it must have been unmet for a plan to place more of them; `None`: waiting alone
    /// changes nothing.
    pub again_after: Option<Duration>,
}

impl Unmet {
    /// Nobody takes part who could own anything.
    #[must_use]
    pub(crate) fn no_workers(unplaced: Vec<u32>) -> Self {
        Self {
            reason: ParkReason::NoWorkers,
            need: 0,
            needs: "a worker that has capacity".into(),
            unplaced,
            again_after: None,
        }
    }
}
