//! Joiners: who waits for a share, and since when.
//!
//! It is separate because it outlasts judgements: a window counts from when somebody came, not from
//! when that was looked at. What always holds: a worker that goes on waiting keeps its time.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::config::Config;
use crate::leader::judging::facts::Difference;
use crate::leader::knowledge::Knowledge;
use crate::leader::planning::target::Target;
use crate::model::id::{Epoch, WorkerId};
use crate::model::time::Instant;
use crate::planted::Planted;

/// Since when something has been changing, and when it last did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changing {
    pub(crate) first: Instant,
    pub(crate) last: Instant,
}

impl Changing {
    /// Something that has been changing since then.
    pub(crate) const fn begun(at: Instant) -> Self {
        Self {
            first: at,
            last: at,
        }
    }
}

/// Who waits for a share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joins {
    workers: BTreeMap<WorkerId, (Epoch, Instant)>,
    /// Since when a group without assignments has been gathering.
    gathering: Option<Changing>,
}

impl Joins {
    /// A group that has been gathering already under the leader before.
    pub(crate) const fn since(gathering: Option<Changing>) -> Self {
        Self {
            workers: BTreeMap::new(),
            gathering,
        }
    }

    /// When the first and the last of those came that wait.
    pub(crate) fn window(&self) -> Option<Changing> {
        let first = self.workers.values().map(|&(_, at)| at).min()?;
        let last = self.workers.values().map(|&(_, at)| at).max()?;
        Some(Changing { first, last })
    }

    /// Since when a group without assignments has been gathering.
    pub(crate) const fn gathering(&self) -> Option<Changing> {
        self.gathering
    }

    /// For how long it has.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        self.gathering
            .map_or(Duration::ZERO, |gathering| now.since(gathering.first))
    }
}

impl Knowledge {
    /// Remembers when each joiner was first seen; a cold group is gathering as long as it grows.
    pub(crate) fn note_joins(
        &mut self,
        config: &Config,
        now: Instant,
        (target, joined): (Option<&Target>, &Difference),
    ) {
        let joined = &joined.joined;
        self.joins
            .workers
            .retain(|worker, (epoch, _)| joined.iter().any(|j| j == &(worker.clone(), *epoch)));
        for (worker, epoch) in joined {
            let since = self.joined_at(config, now, target, worker);
            let joins = &mut self.joins.workers;
            joins.entry(worker.clone()).or_insert((*epoch, since));
        }
        if !self.is_cold() {
            self.joins.gathering = None;
            return;
        }
        // A group that has lost what it had begins again now, however long its workers have been there.
        let joined = self.joins.window();
        let begun = Changing::begun(now);
        let gathering = self.joins.gathering.get_or_insert(begun);
        gathering.last = joined.map_or(gathering.last, |joined| joined.last.max(gathering.last));
    }

    /// Since when a worker has been waiting for its share: since it came, whichever worker led
    /// then, unless it was there and had to wait for another reason.
    fn joined_at(
        &self,
        config: &Config,
        now: Instant,
        target: Option<&Target>,
        worker: &WorkerId,
    ) -> Instant {
        let waited = target.is_some_and(|target| target.kept.contains(worker));
        let session = self.view.sessions.get(worker);
        let came = session.map_or(now, |session| session.began.min(now));
        let came = config.unless_planted(Planted::WindowPerLeader, came, now);
        if waited || self.quarantine.contains(worker) {
            now
        } else {
            came
        }
    }
}
