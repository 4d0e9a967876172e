//! How partitions changed hands in a generation: part of what a leader tells of a commit.

use core::time::Duration;

use crate::model::id::WorkerId;

/// Partitions that a generation gave to a new owner, by the owner they had before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// The former owner.
    pub from: WorkerId,
    /// How its ownership ended.
    pub end: OwnerEnd,
    /// How many partitions.
    pub partitions: usize,
    /// How long they had no owner, as the leader saw it: from the last renewal it saw of a lost
    /// worker, or from the acknowledgement it saw of one that released them, until the commit.
    pub vacant: Duration,
}

/// How an ownership ended before the next could begin.
///
/// Closed: an ownership was given up or lost, and the two are measured differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerEnd {
    /// The worker said that it had ended its processing.
    Released,
    /// The worker fell silent and was evicted.
    Lost,
}

impl OwnerEnd {
    /// Both, in declaration order.
    pub const ALL: [Self; 2] = [Self::Released, Self::Lost];

    /// The end as one lower-case word, for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Lost => "lost",
        }
    }
}
