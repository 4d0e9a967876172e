//! How far the store has been heard by a reader, and whether it still has the history the reader knows.
//!
//! It is separate because it is about the store and not about the group. What always holds: a watch that
//! is silent proves nothing; the view is complete up to a time only if the store itself said, asked
//! after that time, how far it had got.

use crate::io::notice::HistoryLoss;
use crate::model::id::Revision;
use crate::model::time::Instant;
use crate::ports::store::StoreInfo;

/// That a store is asked about itself: what was known then, by which its answer is judged.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    at: Instant,
    floor: Revision,
}

/// How fresh a view is, by the reader's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AsOf {
    /// Everything that was written before this moment is in the view; `None`: it was never complete.
    pub complete: Option<Instant>,
    /// When the store was last heard at all.
    pub heard: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Contact {
    created: Option<u64>,
    highest: Revision,
    began: Option<Instant>,
    complete: Option<Instant>,
    heard: Option<Instant>,
    /// When the view is shown to this revision, it is complete as of then.
    owed: Option<(Instant, Revision)>,
}

impl Contact {
    pub(super) fn began(&mut self, now: Instant) {
        self.began = Some(now);
        self.owed = None;
    }

    /// Everything up to a revision has been shown, or a part of it.
    pub(super) fn saw(&mut self, now: Instant, revision: Revision) {
        self.highest = self.highest.max(revision);
        self.heard = Some(now);
        // Before the first round is complete, later keys come before earlier ones.
        if self.began.is_none()
            && let Some((at, _)) = self.owed.take_if(|(_, upto)| *upto <= self.highest)
        {
            self.complete = self.complete.max(Some(at));
        }
    }

    pub(super) fn caught_up(&mut self, now: Instant, revision: Revision) {
        if let Some(began) = self.began.take() {
            self.complete = self.complete.max(Some(began));
        }
        self.saw(now, revision);
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.complete.is_some()
    }

    pub(super) const fn as_of(&self) -> AsOf {
        AsOf {
            complete: self.complete,
            heard: self.heard,
        }
    }

    pub(super) const fn ask(&self, now: Instant) -> Asked {
        Asked {
            at: now,
            floor: self.highest,
        }
    }

    pub(super) fn informed(
        &mut self,
        now: Instant,
        asked: Asked,
        info: &StoreInfo,
    ) -> Option<HistoryLoss> {
        let before = *self.created.get_or_insert(info.created);
        if before != info.created {
            let found = info.created;
            return Some(HistoryLoss::Recreated { before, found });
        }
        if info.last_revision < asked.floor {
            let (before, found) = (asked.floor, info.last_revision);
            return Some(HistoryLoss::RolledBack { before, found });
        }
        self.owed = Some((asked.at, info.last_revision));
        self.saw(now, self.highest);
        None
    }
}
