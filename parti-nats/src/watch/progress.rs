//! How far a watch has come: which events a delivery makes, and whether something is missing.
//!
//! It is separate because it is the decision behind every promise of a watch, as a pure value:
//! messages and heartbeats in, events or a gap out. What always holds: the entries that were
//! present come first, `CaughtUp` comes exactly once, and revisions only rise.

use std::collections::BTreeSet;

use parti_core::{Entry, Revision, WatchEvent};

use crate::watch::feed::Begin;

/// The place of a watch in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    phase: Phase,
    last: Revision,
    number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Present entries are being delivered.
    Present {
        /// The last revision before the consumer was made.
        horizon: Revision,
        /// Whether the consumer surely sees everything up to the horizon: there is one replica.
        complete: bool,
        /// The keys that were there, as far as they have not come. The server's own count of what
        /// waits reaches zero too early when an entry is rewritten and so moves to the back.
        expected: BTreeSet<String>,
        /// The keys that have come with a value.
        delivered: BTreeSet<String>,
    },
    /// Changes are being delivered.
    Changes,
}

/// The consumer skipped something; it must be made again from [`Progress::resume_at`] on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The number of the message that should have come.
    pub(crate) expected: u64,
    /// The one that came.
    pub(crate) found: u64,
}

impl Progress {
    /// Before the first message. `horizon` is the last revision of the bucket and `expected` are the
    /// keys of the scope, looked up after it; with `complete` the consumer surely sees all of it.
    pub(crate) const fn new(horizon: Revision, complete: bool, expected: BTreeSet<String>) -> Self {
        Self {
            phase: Phase::Present {
                horizon,
                complete,
                expected,
                delivered: BTreeSet::new(),
            },
            last: Revision::ZERO,
            number: 0,
        }
    }

    /// The present entries are known up to a revision: only changes are to come.
    pub(crate) const fn after(revision: Revision) -> Self {
        Self {
            phase: Phase::Changes,
            last: revision,
            number: 0,
        }
    }

    /// From where a consumer that is made again has to deliver.
    pub(crate) fn resume_at(&self) -> Begin {
        match (self.last, &self.phase) {
            (Revision::ZERO, Phase::Present { .. }) => Begin::Present,
            (last, Phase::Present { .. } | Phase::Changes) => Begin::At(last.next()),
        }
    }

    /// The highest revision that was delivered.
    pub(crate) const fn last(&self) -> Revision {
        self.last
    }

    /// The consumer was made, or made again.
    pub(crate) fn on_consumer(&mut self) -> Option<WatchEvent> {
        self.number = 0;
        match &self.phase {
            // What is not in the whole scope is not missing either, on whichever replica.
            Phase::Present { expected, .. } if expected.is_empty() => Some(self.caught_up(true)),
            Phase::Present { .. } | Phase::Changes => None,
        }
    }

    /// A write was delivered: at most an entry and the end of the present ones.
    pub(crate) fn on_entry(
        &mut self,
        entry: Entry,
        number: u64,
    ) -> Result<[Option<WatchEvent>; 2], Gap> {
        self.number = self.number.saturating_add(1);
        if number != self.number {
            let expected = self.number;
            return Err(Gap {
                expected,
                found: number,
            });
        }
        if entry.revision <= self.last {
            return Ok([None, None]);
        }
        self.last = entry.revision;
        let Phase::Present {
            expected,
            delivered,
            complete,
            ..
        } = &mut self.phase
        else {
            return Ok([Some(WatchEvent::Entry(entry)), None]);
        };
        expected.remove(&entry.key);
        let (whole, complete) = (expected.is_empty(), *complete);
        // A deletion of a key that has not come is of the past: the key is not present.
        let present = match entry.value {
            Some(_) => {
                delivered.insert(entry.key.clone());
                true
            }
            None => delivered.contains(&entry.key),
        };
        let event = present.then_some(WatchEvent::Entry(entry));
        Ok([event, whole.then(|| self.caught_up(complete))])
    }

    /// The consumer has nothing to deliver and looked up to `revision`.
    pub(crate) fn on_heartbeat(
        &mut self,
        number: u64,
        revision: Revision,
    ) -> Result<Option<WatchEvent>, Gap> {
        if number != self.number {
            let expected = self.number;
            return Err(Gap {
                expected,
                found: number,
            });
        }
        let complete = match self.phase {
            Phase::Present { complete, .. } => complete,
            Phase::Changes => return Ok(None),
        };
        // What is still expected was removed for good.
        self.last = self.last.max(revision);
        Ok(Some(self.caught_up(complete)))
    }

    /// Ends the present entries; nothing up to the horizon is missing if it was `seen`.
    fn caught_up(&mut self, seen: bool) -> WatchEvent {
        if let Phase::Present { horizon, .. } = self.phase
            && seen
        {
            self.last = self.last.max(horizon);
        }
        self.phase = Phase::Changes;
        let revision = self.last;
        WatchEvent::CaughtUp { revision }
    }
}

#[cfg(test)]
mod tests;
