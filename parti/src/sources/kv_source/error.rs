//! Why a stored list could not be read or changed.

use parti_core::{PartitionError, PartitionKey, PieceError, StoreError};

/// Why [`KvSource`](crate::sources::KvSource) could not read or change its list. Unless the variant says
/// otherwise, the stored list is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KvSourceError {
    /// There is no list: none was stored, or it was deleted.
    NotStored,
    /// There is a list already.
    AlreadyStored,
    /// The list to store, or the stored one, is not a partition list.
    Invalid(PartitionError),
    /// A partition to add is in the list.
    AlreadyListed {
        /// The partition.
        key: PartitionKey,
    },
    /// A partition to remove or to weigh is not in the list.
    NotListed {
        /// The partition.
        key: PartitionKey,
    },
    /// The change was declined by the function that was to make it.
    Declined {
        /// Its reason.
        reason: String,
    },
    /// A stored value is not a piece of a list: another release or somebody else wrote it.
    /// [`KvSource::replace`](crate::sources::KvSource::replace) overwrites it.
    Unreadable {
        /// The key of the value.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The pieces of the stored list did not fit together in several reads, or the list cannot be
    /// cut into pieces.
    Pieces(PieceError),
    /// The list has more pieces than the store writes at once.
    TooLarge {
        /// How many partitions it has.
        partitions: usize,
        /// How many writes it takes.
        writes: usize,
        /// How many the store takes.
        max_batch: usize,
    },
    /// Others changed the list at every try.
    Conflict {
        /// How many tries there were.
        tries: u32,
    },
    /// The store did not say whether one of the tries was done, and neither does what is stored now.
    /// **The change may have happened, or may happen yet.** Read the list before you make it again.
    Unsettled {
        /// How many tries there were.
        tries: u32,
        /// The last error of the store.
        last: StoreError,
    },
    /// The store failed or refused.
    Store(StoreError),
}

impl KvSourceError {
    /// The error by which the function of [`KvSource::transform`](crate::sources::KvSource::transform) leaves
    /// the list as it is.
    pub fn declined(reason: impl Into<String>) -> Self {
        Self::Declined {
            reason: reason.into(),
        }
    }
}

impl std::fmt::Display for KvSourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotStored => {
                f.write_str("no partition list is stored; store one with KvSource::create")
            }
            Self::AlreadyStored => {
                f.write_str("a partition list is stored already; change it or replace it")
            }
            Self::Invalid(error) => write!(f, "the partition list is invalid: {error}"),
            Self::AlreadyListed { key } => write!(f, "partition {key} is in the list already"),
            Self::NotListed { key } => write!(f, "partition {key} is not in the list"),
            Self::Declined { reason } => write!(f, "the change was declined: {reason}"),
            Self::Unreadable { key, reason } => write!(
                f,
                "{key} does not hold a partition list: {reason}; KvSource::replace overwrites it"
            ),
            Self::Pieces(error) => write!(f, "the stored partition list: {error}"),
            Self::TooLarge {
                partitions,
                writes,
                max_batch,
            } => write!(
                f,
                "a list of {partitions} partitions takes {writes} writes, the store at most {max_batch}"
            ),
            Self::Conflict { tries } => {
                write!(
                    f,
                    "others changed the partition list at each of {tries} tries"
                )
            }
            Self::Unsettled { tries, last } => write!(
                f,
                "the change may have happened: no clear answer in {tries} tries, last: {last}"
            ),
            Self::Store(error) => write!(f, "the store of the partition list: {error}"),
        }
    }
}

impl std::error::Error for KvSourceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Invalid(error) => Some(error),
            Self::Pieces(error) => Some(error),
            Self::Unsettled { last, .. } => Some(last),
            Self::Store(error) => Some(error),
            Self::NotStored
            | Self::AlreadyStored
            | Self::AlreadyListed { .. }
            | Self::NotListed { .. }
            | Self::Declined { .. }
            | Self::Unreadable { .. }
            | Self::TooLarge { .. }
            | Self::Conflict { .. } => None,
        }
    }
}

impl From<PartitionError> for KvSourceError {
    fn from(error: PartitionError) -> Self {
        Self::Invalid(error)
    }
}
