//! How far a watch has come: which events a delivery makes, and whether something is missing.
//!
//! It is separate because it is the decision behind every promise of a watch, as a pure value:
//! messages and heartbeats in, events or a gap out. What always holds: the entries that were
//! present come first, `CaughtUp` comes exactly once, and revisions only rise.

use parti_core::{Entry, Revision, WatchEvent};

/// The place of a watch in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    phase: Phase,
    last: Revision,
    number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Present entries are being delivered.
    Present {
        /// The last revision before the consumer was made.
        horizon: Revision,
        /// Whether the consumer surely saw everything up to the horizon: there is one replica.
        complete: bool,
    },
    /// Changes are being delivered.
    Changes,
}

/// The consumer skipped something; it must be made anew from [`Progress::resume_at`] on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The number of the message that should have come.
    pub(crate) expected: u64,
    /// The one that came.
    pub(crate) found: u64,
}

impl Progress {
    /// Before the first message. `horizon` is the last revision of the bucket; with `complete` the
    /// consumer is known to see all of it.
    pub(crate) const fn new(horizon: Revision, complete: bool) -> Self {
        Self {
            phase: Phase::Present { horizon, complete },
            last: Revision::ZERO,
            number: 0,
        }
    }

    /// The first revision that was not delivered yet; zero when nothing was.
    pub(crate) const fn resume_at(&self) -> Revision {
        match self.last {
            Revision::ZERO => Revision::ZERO,
            last => last.next(),
        }
    }

    /// The highest revision that was delivered.
    pub(crate) const fn last(&self) -> Revision {
        self.last
    }

    pub(crate) const fn is_caught_up(&self) -> bool {
        matches!(self.phase, Phase::Changes)
    }

    /// There is nothing to deliver, now or later.
    pub(crate) fn on_nothing(&mut self) -> Option<WatchEvent> {
        let horizon = match self.phase {
            Phase::Present { horizon, .. } => horizon,
            Phase::Changes => return None,
        };
        self.phase = Phase::Changes;
        Some(WatchEvent::CaughtUp { revision: horizon })
    }

    /// The consumer was made anew; `pending` entries wait in it.
    pub(crate) fn on_consumer(&mut self, pending: u64) -> Option<WatchEvent> {
        self.number = 0;
        match self.phase {
            Phase::Present { complete, .. } if pending == 0 && complete => Some(self.caught_up()),
            Phase::Present { .. } | Phase::Changes => None,
        }
    }

    /// A write was delivered: at most an entry and the end of the present ones.
    pub(crate) fn on_entry(
        &mut self,
        entry: Entry,
        number: u64,
        pending: u64,
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
        let Phase::Present { horizon, .. } = self.phase else {
            return Ok([Some(WatchEvent::Entry(entry)), None]);
        };
        // What was deleted before the watch began is not present and was never delivered.
        let present = entry.value.is_some() || entry.revision > horizon;
        let event = present.then_some(WatchEvent::Entry(entry));
        let end = pending == 0 || self.last >= horizon;
        Ok([event, end.then(|| self.caught_up())])
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
        if self.is_caught_up() {
            return Ok(None);
        }
        self.last = self.last.max(revision);
        Ok(Some(self.caught_up()))
    }

    fn caught_up(&mut self) -> WatchEvent {
        let revision = match self.phase {
            Phase::Present {
                horizon,
                complete: true,
            } => self.last.max(horizon),
            Phase::Present {
                complete: false, ..
            }
            | Phase::Changes => self.last,
        };
        self.phase = Phase::Changes;
        // An empty scope has delivered nothing, but it is known up to here.
        self.last = revision;
        WatchEvent::CaughtUp { revision }
    }
}

#[cfg(test)]
mod tests;
