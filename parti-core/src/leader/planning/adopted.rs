//! Preparations under way, as a plan has to see them.
//!
//! They are separate from what is owned because they are no ownership: the former owner works on. What
//! always holds: what a living worker prepares for counts as its own, so that neither a new leader nor
//! an unrelated join moves it a second time; what it failed to prepare for counts as its owner's.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::leader::knowledge::view::View;
use crate::model::id::{Token, Version, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::table::PartitionTable;
use crate::ports::strategy::WorkerTable;
use crate::records::record::{AssignmentRecord, SessionRecord};

/// Who prepares for what, by rank.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preparing<'a>(BTreeMap<u32, Coming<'a>>);

#[derive(Clone, Copy, Debug)]
struct Coming<'a> {
    worker: &'a WorkerId,
    version: Version,
    failed: bool,
}

impl<'a> Preparing<'a> {
    /// The preparations of workers that may own something.
    pub(crate) fn find(view: &'a View, table: &PartitionTable, workers: &WorkerTable) -> Self {
        let mut found: BTreeMap<u32, Coming<'a>> = BTreeMap::new();
        for (worker, record) in &view.records {
            if record.preparing.is_empty() || workers.index_of(worker).is_none() {
                continue;
            }
            let session = view.sessions.get(worker);
            let Some(session) = session.filter(|session| session.epoch() == record.epoch) else {
                continue;
            };
            let said = session
                .record
                .iter()
                .flat_map(|said| &said.readiness.prepared);
            let failed: BTreeSet<_> = said
                .filter(|ended| ended.failed)
                .map(|ended| &ended.preparation)
                .collect();
            for told in &record.preparing {
                let Some(rank) = table.rank_of(&told.partition) else {
                    continue;
                };
                let coming = Coming {
                    worker,
                    version: told.version,
                    failed: failed.contains(told),
                };
                let known = found.entry(rank).or_insert(coming);
                if known.version < coming.version {
                    *known = coming;
                }
            }
        }
        Self(found)
    }

    /// Counts what is prepared for as owned.
    pub(crate) fn adopt(&self, owners: &mut [Option<&'a WorkerId>]) {
        for (rank, coming) in self.0.iter().filter(|(_, coming)| !coming.failed) {
            if let Some(owner) = owners.get_mut(*rank as usize) {
                *owner = Some(coming.worker);
            }
        }
    }

    /// Whether a worker has said that it cannot take a partition over.
    pub(crate) fn has_failed(&self, rank: u32, worker: &WorkerId) -> bool {
        let coming = self.0.get(&rank);
        coming.is_some_and(|coming| coming.failed && coming.worker == worker)
    }

    /// The ranks that these owners are still getting ready for.
    pub(crate) fn warm(&self, owners: &[Option<&WorkerId>]) -> BTreeSet<u32> {
        let warm = self.0.iter().filter(|(rank, coming)| {
            let owner = owners.get(**rank as usize).copied().flatten();
            !coming.failed && owner == Some(coming.worker)
        });
        warm.map(|(rank, _)| *rank).collect()
    }
}

/// Whether a worker owns a partition, and has tried it since it does, or gets ready for it and has failed
/// with that. What it said before it took the grant in is of an earlier try.
pub(crate) fn is_concerned(
    record: Option<&AssignmentRecord>,
    session: &SessionRecord,
    key: &PartitionKey,
) -> bool {
    let Some(record) = record else { return false };
    let tried = Token::from(session.applied);
    let granted = || {
        let mut granted = record.granted.iter();
        granted.any(|grant| grant.partition == *key && grant.token <= tried)
    };
    let prepared = session.readiness.prepared.iter();
    let mut failed = prepared.filter(|ended| ended.failed);
    granted()
        || failed.any(|ended| {
            let told = &ended.preparation;
            told.partition == *key && record.preparing.contains(told)
        })
}
