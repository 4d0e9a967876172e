//! What clients of a store saw, recorded under faults, and whether a correct store can have said it.
//!
//! It is separate from the conformance cases because those know what comes next: here many clients
//! write at random while servers die, and only afterwards it is asked whether every answer was
//! allowed. What always holds: a history that a correct store can produce is accepted, however late
//! or lost its answers were.
//!
//! # How it is decided
//!
//! Every written value is unique, a *nonce*. Revisions put all writes into one order, so the log of
//! the store can be put together from what was seen of it: acknowledged commits, reads, lists and
//! events of watches. A commit whose outcome is unknown is in the log when its nonce was seen, and a
//! *ghost* otherwise, which may be there or not. Then every reply is held against the log:
//!
//! * no revision has two contents and no write two revisions, and what was refused is nowhere;
//! * a write that began after a revision was known has a higher one;
//! * each write's expectation held at its revision;
//! * nothing is read that was never written, or before it was written;
//! * a list and the mark of a watch miss no write that they claim to include;
//! * a watch shows changes in order, and skips one only if its key was written again.
//!
//! A refusal is always allowed, since the port calls it no proof of anything.
//!
//! ```
//! use parti_core::{Expect, Revision, Write};
//! use parti_testing::kit::history::{CommitRecord, History, Promise, Rule, check};
//!
//! let create = |nonce: &str| Write {
//!     key: "head".to_owned(),
//!     value: Some(nonce.as_bytes().to_vec()),
//!     expect: Expect::Absent,
//! };
//! let record = |start, nonce: &str, revision| CommitRecord {
//!     start,
//!     end: start + 1,
//!     writes: vec![create(nonce)],
//!     outcome: Ok(vec![Revision::new(revision)]),
//! };
//! let mut history = History::default();
//! history.commits = vec![record(1, "a", 1), record(3, "b", 2)];
//! let violations = check(&history, Promise::default());
//! assert_eq!(violations[0].rule, Rule::ExpectationBroken); // both created the key
//! ```

use core::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use parti_core::{Entry, Revision, StoreErrorKind, WatchEvent, WatchScope, Write};

mod check;
mod log;

pub use check::check;

/// A point in the order of everything that clients did: unique and rising.
pub type Tick = u64;

/// A commit and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRecord {
    /// Before it was handed to the store.
    pub start: Tick,
    /// After its outcome was known.
    pub end: Tick,
    /// What it writes. Values are unique in the history.
    pub writes: Vec<Write>,
    /// The revisions, or how it failed.
    pub outcome: Result<Vec<Revision>, StoreErrorKind>,
}

/// A read that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRecord {
    /// Before it was handed to the store.
    pub start: Tick,
    /// After it was answered.
    pub end: Tick,
    /// The question and its answer.
    pub answer: Answer,
}

/// What a read said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One key.
    Entry {
        /// The key.
        key: String,
        /// What it said.
        entry: Option<Entry>,
    },
    /// All keys with a prefix.
    Entries {
        /// The prefix.
        prefix: String,
        /// The entries.
        entries: Vec<Entry>,
        /// No write up to here is missing, it says.
        last_revision: Revision,
    },
    /// The facts of the store.
    Info {
        /// The name of the store's history.
        created: u64,
        /// The last revision of any key.
        last_revision: Revision,
    },
}

/// A watch from its begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRecord {
    /// Before it was asked for.
    pub start: Tick,
    /// What it follows.
    pub scope: WatchScope,
    /// What it said, each with the tick after that.
    pub events: Vec<(Tick, WatchEvent)>,
}

/// Everything that clients did and saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Commits, in any order.
    pub commits: Vec<CommitRecord>,
    /// Answered reads, in any order.
    pub reads: Vec<ReadRecord>,
    /// Watches, in any order.
    pub watches: Vec<WatchRecord>,
}

impl History {
    /// How many replies and events it has.
    #[must_use]
    pub fn len(&self) -> usize {
        let events = self.watches.iter().map(|watch| watch.events.len());
        self.commits.len() + self.reads.len() + events.sum::<usize>()
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How often what happened in a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commits that were acknowledged.
    pub committed: usize,
    /// Commits that were refused.
    pub refused: usize,
    /// Commits whose outcome is unknown.
    pub unknown: usize,
    /// Commits that were not sent or certainly not executed.
    pub not_sent: usize,
    /// Reads that were answered.
    pub reads: usize,
    /// Watches, from begin to end.
    pub watches: usize,
    /// Events of watches.
    pub events: usize,
    /// Watches that ended with `Lost`.
    pub lost: usize,
}

impl From<&History> for Tally {
    fn from(history: &History) -> Self {
        let mut tally = Self {
            reads: history.reads.len(),
            watches: history.watches.len(),
            ..Self::default()
        };
        for commit in &history.commits {
            let count = match &commit.outcome {
                Ok(_) => &mut tally.committed,
                Err(StoreErrorKind::Refused) => &mut tally.refused,
                Err(StoreErrorKind::Unknown) => &mut tally.unknown,
                Err(
                    StoreErrorKind::Unavailable
                    | StoreErrorKind::Rejected
                    | StoreErrorKind::Missing,
                ) => &mut tally.not_sent,
            };
            *count += 1;
        }
        for watch in &history.watches {
            tally.events += watch.events.len();
            let last = watch.events.last();
            tally.lost += usize::from(matches!(last, Some((_, WatchEvent::Lost { .. }))));
        }
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} commits, {} refused, {} unknown, {} not sent; {} reads; {} events of {} watches, \
             {} lost",
            self.committed,
            self.refused,
            self.unknown,
            self.not_sent,
            self.reads,
            self.events,
            self.watches,
            self.lost
        )
    }
}

/// What the store promises beyond the port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// How old reads may be.
    pub reads: Reads,
    /// How the revisions of one commit follow each other.
    pub batches: Batches,
}

/// How old reads may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// As old as they like, which the port allows.
    #[default]
    MayBeStale,
    /// They show everything that was acknowledged before they began.
    Fresh,
}

/// How the revisions of one commit follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Batches {
    /// Strictly rising, which the port asks for.
    #[default]
    Rising,
    /// One after the other without a gap. Then a single write of a batch that is seen shows where
    /// the others must be, and a torn batch is found also when its outcome is unknown.
    Consecutive,
}

/// A rule that a history breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// One revision has two contents.
    RevisionTwice,
    /// One write has two revisions.
    WriteTwice,
    /// A write that certainly did not happen was seen.
    FailedButWritten,
    /// Something was seen that nobody wrote.
    NeverWritten,
    /// A write has a revision that is not higher than one that was known before it began.
    OutOfOrder,
    /// A commit succeeded although its expectation did not hold.
    ExpectationBroken,
    /// The revisions of one commit do not rise, or are not as many as its writes.
    BadBatch,
    /// A read misses an acknowledged write although the store promises fresh reads.
    Stale,
    /// A list misses a write that it claims to include.
    ListIncomplete,
    /// The mark of a watch claims a write that was not shown.
    MarkIncomplete,
    /// A watch showed changes in the wrong order, or keys outside its scope.
    WatchOrder,
    /// A watch left out the last write of a key without saying `Lost`.
    WatchGap,
    /// A watch said something after `Lost`, or had two marks.
    WatchForm,
    /// The store says it has another history.
    AnotherHistory,
}

/// A rule that was broken, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRule {
    /// The rule.
    pub rule: Rule,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for BrokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Collects a history from many clients at once.
#[derive(Debug, Default)]
pub struct Recorder {
    shared: Mutex<(Tick, History)>,
}

impl Recorder {
    /// The next point in the order. Take one before a request and one after its answer.
    pub fn tick(&self) -> Tick {
        let mut shared = self.lock();
        shared.0 += 1;
        shared.0
    }

    /// Adds a commit.
    pub fn commit(&self, record: CommitRecord) {
        self.lock().1.commits.push(record);
    }

    /// Adds a read.
    pub fn read(&self, record: ReadRecord) {
        self.lock().1.reads.push(record);
    }

    /// Adds a watch.
    pub fn watch(&self, record: WatchRecord) {
        self.lock().1.watches.push(record);
    }

    /// What was recorded until now.
    #[must_use]
    pub fn history(&self) -> History {
        self.lock().1.clone()
    }

    /// Pushing is all that happens under the lock, so a poisoned one is usable.
    fn lock(&self) -> MutexGuard<'_, (Tick, History)> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
