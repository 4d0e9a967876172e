//! Partitions without an owner: which, and since when, as the leader sees it.
//!
//! It is separate from the judgement because it decides nothing: it is what the leader has to say
//! while, for whatever reason, it does not or cannot give them to anybody. What always holds: a
//! partition that nobody may own is none of these but parked; one on its way from one living worker
//! to another has an owner until that one has let go of it; one that is not planned yet because a
//! window or a cooldown runs does not count; and nothing is dated back by more than a lease, so that
//! an observer who has just begun raises no alarm at once.

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt::Write as _;
use core::time::Duration;

use crate::config::Config;
use crate::leader::knowledge::view::{Fate, SessionView, View};
use crate::model::id::WorkerId;
use crate::model::partition::PartitionKey;
use crate::model::table::PartitionTable;
use crate::model::time::Instant;
use crate::records::problem::{Problem, ProblemKind};
use crate::records::record::{AssignmentRecord, Head, Revoking};

/// How many partitions are named.
const NAMED: usize = 3;

/// The partitions without an owner.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unowned {
    /// Those that are known by name, and since when.
    named: BTreeMap<PartitionKey, Instant>,
    /// How many more there must be, and since when: of a list that this leader does not have.
    nameless: Option<(usize, Instant)>,
    /// How many partitions there are.
    of: usize,
    /// What the leader before told. It holds until this one has given something to somebody or has
    /// been able to see for a lease who is silent.
    inherited: Option<Problem>,
    /// When this leader first looked.
    began: Option<Instant>,
}

/// What is looked at.
pub(crate) struct Sight<'a> {
    pub(crate) config: &'a Config,
    pub(crate) now: Instant,
    pub(crate) view: &'a View,
    pub(crate) head: &'a Head,
    pub(crate) table: Option<&'a PartitionTable>,
    /// Whether partitions that are in no plan yet wait for a window or a cooldown.
    pub(crate) gathering: bool,
}

/// What becomes of a worker's partitions.
enum Care {
    /// It has them.
    Owned,
    /// They are kept for it.
    Kept,
    /// Nobody has them since then.
    Orphaned(Instant),
}

impl Unowned {
    /// A leader begins that has heard this of the one before.
    pub(crate) fn inherit(inherited: Option<Problem>) -> Self {
        Self {
            inherited,
            ..Self::default()
        }
    }

    /// Looks again. As long as the counts add up this is cheap.
    pub(crate) fn look(&mut self, sight: &Sight<'_>) {
        let known = sight.table.map(PartitionTable::len);
        self.of = known.unwrap_or(sight.head.partitions as usize);
        let same_list = sight
            .table
            .is_none_or(|table| table.digest() == sight.head.digest);
        let began = *self.began.get_or_insert(sight.now);
        let lease = sight.config.lease();
        if same_list && sight.cared_for() >= self.of {
            self.nameless = None;
            self.named.clear();
            self.inherited.take_if(|_| sight.now.since(began) > lease);
            return;
        }
        let oldest = sight.now.saturating_sub(lease);
        let (orphans, missing) = sight.orphans();
        let inherited = self.inherited.as_ref().map(|told| told.since);
        let since = |at: Instant| at.max(oldest).min(inherited.unwrap_or(Instant::FAR_FUTURE));
        self.nameless = (missing > 0).then(|| {
            let before = self.nameless.map(|(_, since)| since);
            (missing, before.unwrap_or_else(|| since(sight.now)))
        });
        let mut before = core::mem::take(&mut self.named);
        for (key, at) in orphans {
            let known = before.remove(&key);
            self.named.insert(key, known.unwrap_or_else(|| since(at)));
        }
        self.inherited.take_if(|_| sight.now.since(began) > lease);
    }

    /// This leader has given something to somebody: what the one before told is history.
    pub(crate) fn placed(&mut self) {
        self.inherited = None;
    }

    /// The problem, if there is any.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let (missing, since) = self.nameless.map_or((0, None), |(n, at)| (n, Some(at)));
        let count = self.named.len() + missing;
        if let Some(told) = self
            .inherited
            .as_ref()
            .filter(|told| told.count as usize > count)
        {
            return Some(told.clone());
        }
        let since = self.named.values().copied().chain(since).min()?;
        let mut detail = alloc::format!("{count} of {} partitions have no owner", self.of);
        let mut oldest: alloc::vec::Vec<_> = self.named.iter().collect();
        oldest.sort_by_key(|&(_, since)| *since);
        for (number, (key, _)) in oldest.into_iter().take(NAMED).enumerate() {
            let lead = if number == 0 { ", such as" } else { "," };
            let _ = write!(detail, "{lead} {key}");
        }
        Some(Problem::new(ProblemKind::Unowned, since, count, detail))
    }
}

impl Sight<'_> {
    /// How many partitions somebody has, or is to have again.
    fn cared_for(&self) -> usize {
        let (parked, unnamed) = self.view.parking.named();
        let parked = parked.count() + unnamed;
        let records = self.view.records.iter();
        let cared = records.map(|(worker, record)| match self.care(worker, record) {
            Care::Owned => record.granted.len() + self.draining(worker, record).count(),
            Care::Kept => record.granted.len(),
            Care::Orphaned(_) => 0,
        });
        parked + cared.sum::<usize>()
    }

    /// The partitions nobody has, with the time since which that is known; and how many more there
    /// must be if the list is not known.
    fn orphans(&self) -> (BTreeMap<PartitionKey, Instant>, usize) {
        // What is parked is a problem of its own.
        let (parked, unnamed) = self.view.parking.named();
        let mut cared: BTreeSet<&PartitionKey> = parked.collect();
        let mut orphaned: BTreeMap<&PartitionKey, Instant> = BTreeMap::new();
        for (worker, record) in &self.view.records {
            let granted = record.granted.iter().map(|grant| &grant.partition);
            match self.care(worker, record) {
                Care::Owned => {
                    cared.extend(granted);
                    cared.extend(self.draining(worker, record).map(|r| &r.partition));
                }
                Care::Kept => cared.extend(granted),
                Care::Orphaned(since) => orphaned.extend(granted.map(|key| (key, since))),
            }
        }
        orphaned.retain(|key, _| !cared.contains(key));
        let Some(table) = self.table else {
            let named = cared.len() + unnamed + orphaned.len();
            let missing = (self.head.partitions as usize).saturating_sub(named);
            return (owned(orphaned), missing);
        };
        orphaned.retain(|key, _| table.rank_of(key).is_some());
        // Of more than a record names it is not known which the others are.
        if !self.gathering && unnamed == 0 {
            let keys = table.as_slice().iter().map(|partition| &partition.key);
            for key in keys.filter(|key| !cared.contains(key)) {
                orphaned.entry(key).or_insert(self.now);
            }
        }
        (owned(orphaned), 0)
    }

    fn care(&self, worker: &WorkerId, record: &AssignmentRecord) -> Care {
        let Some(session) = self.view.sessions.get(worker) else {
            return Care::Owned;
        };
        match self.view.fate(self.config, worker, record.epoch) {
            Fate::Living if self.is_lost(session) => Care::Orphaned(session.heard),
            Fate::Living => Care::Owned,
            Fate::EndsAt(at) if self.now < at => Care::Owned,
            Fate::Reserved { until } if self.now < until => Care::Kept,
            Fate::EndsAt(at) | Fate::Reserved { until: at } => Care::Orphaned(at),
            Fate::Ended => Care::Orphaned(session.heard),
        }
    }

    /// Whether it has been silent for so long that it must have ended, as long as anybody is heard.
    fn is_lost(&self, session: &SessionView) -> bool {
        let heard = self.view.sessions.values().map(|s| s.heard).max();
        let hears = heard.is_some_and(|at| self.now.since(at) <= self.config.lease());
        let (patience, _): (Duration, _) = session.patience(self.config);
        hears && self.now.since(session.since) >= patience
    }

    /// What was taken away from a worker that may still be working on it.
    fn draining<'a>(
        &'a self,
        worker: &WorkerId,
        record: &'a AssignmentRecord,
    ) -> impl Iterator<Item = &'a Revoking> {
        let session = self.view.sessions.get(worker);
        record.still_held(session.and_then(|session| session.record.as_ref()))
    }
}

fn owned(keys: BTreeMap<&PartitionKey, Instant>) -> BTreeMap<PartitionKey, Instant> {
    let owned = keys.into_iter().map(|(key, since)| (key.clone(), since));
    owned.collect()
}

#[cfg(test)]
mod tests;
