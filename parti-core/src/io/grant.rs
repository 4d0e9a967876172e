//! A grant: the right to process one partition. It goes in with events and comes out with effects.

use core::fmt;

use crate::model::id::{Token, Version};
use crate::model::partition::PartitionKey;

/// The right to process a partition: what, and the fencing token of this ownership.
///
/// Closed: a right is a partition and a token.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// The partition.
    pub partition: PartitionKey,
    /// The fencing token.
    pub token: Token,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.token)
    }
}

/// What a worker is told to get ready for, before it is given the partition. It gives no right to
/// anything: only a [`Grant`] does.
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
