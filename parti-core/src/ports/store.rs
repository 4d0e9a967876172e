//! The store port: everything the core asks of a key-value store, as data, and the trait a backend
//! implements.
//!
//! It is separate from the rest so that etcd, Redis, SQL or a fake can stand in for NATS: a backend
//! needs this file and nothing else. What always holds: **only a successful conditional commit is
//! authoritative**; reads and watches may be stale.
//!
//! Keys consist of `A-Z a-z 0-9 _ - .`, values are opaque bytes.
//!
//! All of it is closed: a backend that does not know a request or leaves out a field is wrong, so that
//! a change here is a change of the port.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use async_trait::async_trait;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;

use crate::model::id::Revision;
use crate::ports::liveness::Liveness;

/// What a write expects of its key for the commit to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist, or its last write was a tombstone.
    Absent,
    /// The last write of the key, value or tombstone, has exactly this revision.
    Revision(Revision),
    /// Nothing.
    Any,
}

/// One write of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: String,
    /// The new value, or `None` for a tombstone (the key is deleted).
    pub value: Option<Vec<u8>>,
    /// The condition under which the whole commit may happen.
    pub expect: Expect,
}

/// A request to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// Read one key. May be stale. Answered by [`StoreReply::Entry`].
    Get {
        /// The key.
        key: String,
    },
    /// Read all keys that begin with a prefix (the empty prefix means all). May be stale.
    /// Answered by [`StoreReply::Entries`].
    List {
        /// The prefix.
        prefix: String,
    },
    /// Write all or none, each key once. Answered by [`StoreReply::Committed`].
    Commit {
        /// The writes, at least one, at most [`StoreInfo::max_batch`], each key at most once.
        writes: Vec<Write>,
    },
    /// Ask about the store itself. Answered by [`StoreReply::Info`], or failed with
    /// [`StoreErrorKind::Missing`] when there is no bucket. Never from a copy that lags.
    Info,
    /// Create the bucket if there is none, with the settings it was opened with; one that exists
    /// is left alone. Answered by [`StoreReply::Info`]. Nothing else ever creates a bucket while
    /// workers run: a store that does so by itself hides the loss of its content.
    Create,
}

/// A key as read from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The revision of its last write.
    pub revision: Revision,
    /// Its value, or `None` when the last write was a tombstone.
    pub value: Option<Vec<u8>>,
    /// When that was, by the store's own clock, in milliseconds since 1970; zero if the store does not
    /// say. Only compared with the same of other entries: no lease and no grant depends on it.
    pub at_ms: u64,
}

/// Facts about the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// When the bucket was created, in nanoseconds of some wall clock. It names the bucket's history:
    /// another value means another history, and no server may tell another one of the same.
    pub created: u64,
    /// For how long it has certainly existed. Workers that knew an earlier bucket of the name may
    /// rely on their leases for so long. No wall clock is certain: it can be set, and that of the
    /// server that created the bucket may differ from that of the one that answers. A store that
    /// does not know says zero; one that cannot be lost while a worker lives, [`Duration::MAX`].
    pub age: Duration,
    /// The revision of the last write of any key, acknowledged ones included.
    pub last_revision: Revision,
    /// What the store calls itself, such as `nats-server 2.12.8`.
    pub version: String,
    /// The most writes one commit may have.
    pub max_batch: usize,
    /// The most bytes one value may have.
    pub max_value: usize,
    /// What about the store breaks what a group rests on, such as a limit that removes records. It
    /// can change while workers run; empty as a rule.
    pub faults: Vec<StoreFault>,
}

/// A setting of the store, or a fact about it, that breaks what a group rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFault {
    /// The setting.
    pub setting: String,
    /// Its value.
    pub found: String,
    /// What it has to be.
    pub needed: String,
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            found,
            needed,
        } = self;
        write!(f, "{setting} is {found}; needed: {needed}")
    }
}

/// A successful answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreReply {
    /// The key as last written, or `None` when it was never written or its tombstone is gone.
    Entry(Option<Entry>),
    /// All living keys with the prefix, in any order, and the last revision of the store that the
    /// list is known to include.
    Entries {
        /// The entries; tombstones may be among them.
        entries: Vec<Entry>,
        /// No write up to this revision is missing from the list.
        last_revision: Revision,
    },
    /// All writes happened. One revision per write, in the order of the writes, strictly rising.
    Committed {
        /// The revisions.
        revisions: Vec<Revision>,
    },
    /// Facts about the store.
    Info(StoreInfo),
}

/// Why a request failed, by what it leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreErrorKind {
    /// An expectation of the commit did not hold. Nothing was written. May be spurious while another
    /// write of the same key is in flight, so it proves nothing about who holds the key.
    Refused,
    /// The commit may or may not have happened, now or later. For a read: no answer in time.
    Unknown,
    /// The request was not sent or certainly not executed: the store is out of reach.
    Unavailable,
    /// The request will never succeed as it is: too large, no permission, bad key.
    Rejected,
    /// There is no bucket. Nothing was written. [`StoreOp::Info`] says so whenever it is the case,
    /// other requests may fail as `Unavailable` instead.
    Missing,
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused: an expectation did not hold, nothing was written",
            Self::Unknown => "unknown: it may or may not have been written",
            Self::Unavailable => "unavailable: it was not sent",
            Self::Rejected => "rejected: it will never succeed as it is",
            Self::Missing => "missing: there is no bucket",
        })
    }
}

/// A failed request: what it leaves behind and, for people, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// What the failure leaves behind; decisions depend on this alone.
    pub kind: StoreErrorKind,
    /// The reason in words, for logs.
    pub message: String,
}

impl StoreError {
    /// An error of a kind with its reason.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.kind)
    }
}

impl core::error::Error for StoreError {}

/// Which keys a watch follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchScope {
    /// Every key of the bucket.
    All,
    /// Exactly these keys.
    Keys(Vec<String>),
}

impl WatchScope {
    /// Whether a key belongs to the scope.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Keys(keys) => keys.iter().any(|k| k == key),
        }
    }
}

/// What a watch says. First the present entries, then one `CaughtUp`, then changes in the order of
/// their revisions. Intermediate values of a key may be skipped and duplicates may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// A present entry or a change; `value: None` is a deletion.
    Entry(Entry),
    /// All entries that were present have been delivered, also when there are none.
    CaughtUp {
        /// No write of the scope up to this revision is missing.
        revision: Revision,
    },
    /// Continuity can no longer be promised. It is the last event; watch again.
    Lost {
        /// Why, for logs.
        reason: String,
    },
}

/// A store backend: two methods, and a third for backends that can carry questions between processes.
///
/// # Cancellation safety
/// Dropping the future of [`Store::execute`] abandons the answer, not the request: a commit may
/// still happen, exactly as with [`StoreErrorKind::Unknown`]. It happens as a whole or not at all.
/// Dropping that of [`Store::watch`] leaves no watch behind. Every call is bounded by the caller, which
/// drops it and takes the outcome for `Unknown`: a worker after `request_timeout`, and for a watch after
/// one lease, or two heartbeat intervals if renewals are acknowledged meanwhile.
///
/// # Deadlines
/// The implementation bounds every request by its own time-out as well (well below the session lease;
/// a third of it is a good value) and answers `Unknown` when it passes.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Executes one request.
    ///
    /// # Errors
    /// [`StoreError`], whose kind says what the failure leaves behind.
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError>;

    /// Begins to watch a scope.
    ///
    /// # Errors
    /// [`StoreError`] when the watch could not be set up; nothing is left behind then.
    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError>;

    /// What was found when the store was opened, once and only if that was a moment ago: it answers the
    /// first question of a worker, so that a thousand that start at once do not all ask twice.
    fn take_opened(&self) -> Option<StoreInfo> {
        None
    }

    /// Asking processes whether they run, if the store can carry such questions. By default it cannot:
    /// then nobody is suspected, and leases alone decide.
    fn liveness(&self) -> Option<Arc<dyn Liveness>> {
        None
    }
}

/// Written out, so that a call costs no future of its own.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn execute<'life0, 'async_trait>(
        &'life0 self,
        op: StoreOp,
    ) -> Pin<Box<dyn Future<Output = Result<StoreReply, StoreError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        (**self).execute(op)
    }

    fn watch<'life0, 'async_trait>(
        &'life0 self,
        scope: WatchScope,
    ) -> Pin<Box<dyn Future<Output = Result<Box<dyn Watch>, StoreError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        (**self).watch(scope)
    }

    fn take_opened(&self) -> Option<StoreInfo> {
        (**self).take_opened()
    }

    fn liveness(&self) -> Option<Arc<dyn Liveness>> {
        (**self).liveness()
    }
}

/// A running watch. Dropping it ends it.
#[async_trait]
pub trait Watch: Send {
    /// The next event. After [`WatchEvent::Lost`] every further call answers `Lost` again.
    ///
    /// # Cancellation safety
    /// Dropping the future loses no event; it can be called again. There is no deadline: a watch may be
    /// silent for long.
    async fn next(&mut self) -> WatchEvent;
}
