//! Where the partition list comes from: the port a user implements for a dynamic list.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use async_trait::async_trait;
use core::fmt;

use crate::model::partition::{Partition, PartitionError};

/// Why the partitions could not be listed. The list in use stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// The source could not be read; it will be asked again.
    Unavailable(String),
    /// The source answered with a list that cannot be used.
    Invalid(PartitionError),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) => write!(f, "the partition source is unavailable: {reason}"),
            Self::Invalid(error) => write!(f, "the partition list is invalid: {error}"),
        }
    }
}

impl core::error::Error for SourceError {}

impl From<PartitionError> for SourceError {
    fn from(error: PartitionError) -> Self {
        Self::Invalid(error)
    }
}

/// Lists the partitions the group shares. Only the leader asks.
#[async_trait]
pub trait PartitionSource: Send + Sync + 'static {
    /// All partitions, in any order, each once. Never answer with a part of them after a failed
    /// read: what is missing from the list is taken away from its owner.
    ///
    /// # Errors
    /// [`SourceError`]; the list in use then stays.
    ///
    /// # Cancellation safety
    /// Must be safe to drop and call again. Bounded by `operation_timeout`, at which it is dropped and
    /// counts as [`SourceError::Unavailable`].
    async fn list(&self) -> Result<Vec<Partition>, SourceError>;

    /// Waits until the list may have changed. The default never does.
    ///
    /// # Cancellation safety
    /// Must be safe to drop and call again: it is dropped when the worker ends. There is no deadline.
    async fn changed(&self) {
        core::future::pending::<()>().await;
    }
}

#[async_trait]
impl<S: PartitionSource + ?Sized> PartitionSource for Arc<S> {
    async fn list(&self) -> Result<Vec<Partition>, SourceError> {
        (**self).list().await
    }

    async fn changed(&self) {
        (**self).changed().await;
    }
}
