//! A preparation: what a worker is told to get ready for. It stands in records, and goes in with events
//! and comes out with effects.
//!
//! What always holds: it names the generation that asked, so that it is never taken for another.

use core::fmt;

use crate::model::id::Version;
use crate::model::partition::PartitionKey;

/// What a worker is told to get ready for, before it is given the partition. It gives no right to
/// anything: only a [`Grant`](crate::Grant) does.
///
/// Closed: a preparation is a partition and the version that asked for it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Preparation {
    /// The partition.
    pub partition: PartitionKey,
    /// The generation that asked for it: it tells this preparation from earlier ones of the same
    /// partition that were withdrawn.
    pub version: Version,
}

impl fmt::Debug for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}", self.partition, self.version)
    }
}
