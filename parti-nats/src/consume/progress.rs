//! How far an owner has come with its partition, when that is written, and what follows from the
//! answer.
//!
//! It is separate because it is the half of the cursor's protocol that runs all the time; it is pure,
//! with the time as an argument. What always holds: a position is offered to be written only after
//! everything up to it was handled, one write is under way at a time, and after a refusal nothing is
//! written until the cursor was read and found to be ours.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::consume::condition::Condition;
use crate::consume::cursor::{Cursor, Found, Hold, Owner};
use crate::consume::wire::Wrote;

/// How often positions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitRules {
    /// After so many handled messages.
    pub every: NonZeroU64,
    /// When the oldest that is handled and not written is as old as this.
    pub within: Duration,
}

/// What to do after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    GoOn,
    /// Read the cursor and tell what it is: the write may or may not have been stored.
    Read,
    /// Handle nothing more.
    Stop(Condition),
}

/// One owner's way through its partition.
#[derive(Debug)]
pub struct Progress {
    rules: CommitRules,
    /// What the server has for sure.
    stored: Cursor,
    revision: u64,
    handled: u64,
    count: u64,
    oldest: Option<Duration>,
    under_way: Option<Cursor>,
}

impl Progress {
    /// Begins after a take-over that stored this cursor.
    #[must_use]
    pub const fn new(rules: CommitRules, stored: Cursor, revision: u64) -> Self {
        let handled = stored.position;
        Self {
            rules,
            stored,
            revision,
            handled,
            count: 0,
            oldest: None,
            under_way: None,
        }
    }

    /// Who it is.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.stored.owner
    }

    /// When the stream of its positions was created.
    #[must_use]
    pub fn stream_created(&self) -> &str {
        &self.stored.stream_created
    }

    /// Up to where everything is handled.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.handled
    }

    /// Up to where the server knows it.
    #[must_use]
    pub const fn committed(&self) -> u64 {
        self.stored.position
    }

    /// Whether a write is under way.
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        self.under_way.is_some()
    }

    /// A message was handled, and everything of the partition before it.
    pub fn handled(&mut self, now: Duration, sequence: u64) {
        self.passed(sequence);
        self.count += 1;
        self.oldest.get_or_insert(now);
    }

    /// There is nothing of the partition up to here: worth writing, but not urgent.
    pub fn passed(&mut self, sequence: u64) {
        self.handled = self.handled.max(sequence);
    }

    /// What the last write of a release says. `seen_up_to` is what the owner before may have handled: until
    /// that is behind, the next owner must be told of it, too.
    #[must_use]
    pub const fn hold_of_release(&self, seen_up_to: u64) -> Hold {
        if self.handled < seen_up_to {
            Hold::Held
        } else {
            Hold::Released
        }
    }

    /// Whether it is time to write.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        let enough = self.count >= self.rules.every.get();
        self.under_way.is_none() && (enough || self.deadline().is_some_and(|due| due <= now))
    }

    /// When it is time to write, if nothing more is handled; none while a write is under way.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let due = self.oldest? + self.rules.within;
        self.under_way.is_none().then_some(due)
    }

    /// The next write and the revision that is its condition; none while one is under way, or when
    /// there is nothing to tell.
    pub fn begin(&mut self, hold: Hold) -> Option<(Cursor, u64)> {
        let told = self.handled == self.stored.position && hold == self.stored.hold;
        if self.under_way.is_some() || told {
            return None;
        }
        let cursor = Cursor {
            position: self.handled,
            hold,
            ..self.stored.clone()
        };
        (self.count, self.oldest) = (0, None);
        self.under_way = Some(cursor.clone());
        Some((cursor, self.revision))
    }

    /// The write under way was answered, or is given up.
    pub fn answered(&mut self, wrote: Wrote) -> Next {
        match wrote {
            Wrote::Stored { revision } => {
                if let Some(cursor) = self.under_way.take() {
                    (self.stored, self.revision) = (cursor, revision);
                }
                Next::GoOn
            }
            Wrote::Refused | Wrote::Unknown => Next::Read,
        }
    }

    /// What the cursor is, after a write whose outcome was not success for sure.
    pub fn read(&mut self, now: Duration, found: Found) -> Next {
        let Some(sent) = self.under_way.take() else {
            return Next::GoOn;
        };
        match found {
            Found::Cursor { revision, cursor } if cursor.owner == self.stored.owner => {
                // Ours, before or after the write; what it does not have is written next.
                let stored = cursor == sent;
                (self.stored, self.revision) = (cursor, revision);
                if !stored {
                    self.oldest.get_or_insert(now);
                }
                Next::GoOn
            }
            Found::Cursor { cursor, .. } => Next::Stop(Condition::Fenced {
                ours: self.stored.owner.token,
                found: cursor.owner.token,
            }),
            Found::Unreadable { reason } => Next::Stop(Condition::CursorUnreadable { reason }),
            Found::Never | Found::Deleted { .. } => {
                let revision = self.revision;
                let evidence = format!("we wrote it at revision {revision}");
                Next::Stop(Condition::CursorMissing { evidence })
            }
        }
    }
}

#[cfg(test)]
mod tests;
