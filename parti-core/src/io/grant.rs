//! A grant: the right to process one partition. It goes in with events and comes out with effects.

use core::fmt;

use crate::model::id::Token;
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
