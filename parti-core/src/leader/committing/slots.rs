//! From the view to the ledger's slots: names become indices, keys become ranks.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::config::{Config, Mode};
use crate::leader::committing::ledger::{Granted, NOBODY, Page, Slot, Standing};
use crate::leader::committing::moves::Warmth;
use crate::leader::knowledge::view::{Fate, SessionView, View};
use crate::leader::planning::target::Target;
use crate::model::id::{Epoch, Version, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::preparation::Preparation;
use crate::model::table::PartitionTable;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::strategy::NO_OWNER;
use crate::records::agreement::Agreed;
use crate::records::record::{
    AssignmentRecord, RecordGrant, RejectedAt, Remains, Revoking, SessionStatus,
};

/// What a record grants, takes away, and has prepared.
type Lists = (Vec<RecordGrant>, Vec<Revoking>, Vec<Preparation>);

/// Who is evicted in the commit being prepared, and whether what it may hold is free at once.
pub(crate) type Evictions = BTreeMap<WorkerId, bool>;

/// The ledger of a moment.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    /// The worker of each slot, ordered.
    pub(crate) workers: Vec<WorkerId>,
    pub(crate) slots: Vec<Slot>,
    /// The target slot by rank; partitions no longer listed follow without target.
    pub(crate) target: Vec<u32>,
    /// Partitions that are held but no longer listed; their ranks follow those of the table.
    unlisted: Vec<PartitionKey>,
    /// Whether somebody may hold what no record lists.
    pub(crate) unknown_holders: bool,
}

impl Slots {
    pub(crate) fn build(
        config: &Config,
        now: Instant,
        view: &View,
        target: &Target,
        evictions: &Evictions,
        (mode, rule): (Mode, &Agreed),
    ) -> Self {
        let mut workers: BTreeSet<&WorkerId> = view.records.keys().collect();
        workers.extend(
            view.sessions
                .iter()
                .filter(|(_, s)| s.is_living())
                .map(|(id, _)| id),
        );
        workers.extend(target.workers.as_slice().iter().map(|worker| &worker.id));
        let workers: Vec<WorkerId> = workers.into_iter().cloned().collect();
        let mut ranks = Ranks {
            table: &target.table,
            unlisted: BTreeMap::new(),
        };
        let unaccounted = view.unaccounted(config, now, mode);
        let slots = workers.iter().map(|worker| {
            let page = view.records.get(worker).map(|record| ranks.page(record));
            let mut standing = standing(config, now, view, mode, worker, evictions, &mut ranks);
            if standing == Standing::Reserved && target.has_ended_hold(view, worker) {
                standing = Standing::Ended;
            }
            let evicted = evictions.contains_key(worker);
            // Until the earlier session has ended, its record stays the record of the slot, also one that
            // nobody can read: a record of the later session would hide that anything is unknown.
            let unknown = matches!(unaccounted.get(worker), Some(Some(_))) && mode.waits();
            let inherited = unknown || matches!(standing, Standing::Ending { .. });
            let living = living_epoch(view, worker).filter(|_| !evicted && !inherited);
            Slot {
                page,
                standing,
                living,
                planned: target.epochs.contains_key(worker),
                damaged: view.damaged.contains(worker),
                waits: waits_for_mode(view, worker, rule),
                warmth: warmth(config, view, worker, &mut ranks),
            }
        });
        let slots = slots.collect();
        let unlisted = ranks.into_unlisted();
        let mut slot_of = target.workers.as_slice().iter().map(|worker| {
            workers
                .binary_search(&worker.id)
                .ok()
                .and_then(|slot| u32::try_from(slot).ok())
        });
        let index: Vec<u32> = slot_of
            .by_ref()
            .map(|slot| slot.unwrap_or(NOBODY))
            .collect();
        let slot = |&owner: &u32| {
            if owner == NO_OWNER {
                NOBODY
            } else {
                index[owner as usize]
            }
        };
        let mut slots_by_rank: Vec<u32> = target.owners.iter().map(slot).collect();
        slots_by_rank.resize(target.table.len() + unlisted.len(), NOBODY);
        Self {
            workers,
            slots,
            target: slots_by_rank,
            unlisted,
            unknown_holders: !unaccounted.is_empty(),
        }
    }

    /// The key of a rank.
    pub(crate) fn key<'a>(&'a self, table: &'a PartitionTable, rank: u32) -> &'a PartitionKey {
        let rank = rank as usize;
        match table.as_slice().get(rank) {
            Some(partition) => &partition.key,
            None => &self.unlisted[rank - table.len()],
        }
    }

    /// The lists of a record, in keys again.
    pub(crate) fn lists(&self, target: &Target, page: &Page) -> Lists {
        let table = &target.table;
        let granted = page.granted.iter().map(|granted| RecordGrant {
            partition: self.key(table, granted.rank).clone(),
            token: granted.token,
            anchor: granted.anchor.clone(),
        });
        let revoking = page.revoking.iter().map(|&(rank, since)| Revoking {
            partition: self.key(table, rank).clone(),
            since,
            parked: target.reasons.get(&rank).copied(),
        });
        let preparing = page.preparing.iter().map(|&(rank, version)| Preparation {
            partition: self.key(table, rank).clone(),
            version,
        });
        (granted.collect(), revoking.collect(), preparing.collect())
    }
}

/// What the living session of a worker says of getting ready.
fn warmth(config: &Config, view: &View, worker: &WorkerId, ranks: &mut Ranks<'_>) -> Warmth {
    let said = view.sessions.get(worker);
    let said = said.and_then(|session| session.record.as_ref());
    let (Some(said), record) = (
        said.filter(|said| said.status.is_living()),
        view.records.get(worker),
    ) else {
        return Warmth::default();
    };
    let named = record.into_iter().flat_map(|record| &record.preparing);
    let named: Vec<(u32, Version)> = named
        .map(|told| (ranks.rank(&told.partition), told.version))
        .collect();
    let ended = said.readiness.prepared.iter().map(|ended| {
        let rank = ranks.rank(&ended.preparation.partition);
        let mut version = ended.preparation.version;
        if config.planted(Planted::LateReady) {
            let now = named.iter().find(|(named, _)| *named == rank);
            version = now.map_or(version, |&(_, version)| version);
        }
        ((rank, version), ended.failed)
    });
    let ended = ended.collect();
    let failing = said.rejections.iter();
    let failing = failing.filter(|it| it.at == RejectedAt::Processing);
    let failing = failing.map(|failing| ranks.rank(&failing.partition));
    Warmth {
        prepares: said.readiness.prepares,
        ended,
        failing: failing.collect(),
    }
}

/// Whether a worker relies on a stricter mode than holds: it is granted nothing before that does.
fn waits_for_mode(view: &View, worker: &WorkerId, rule: &Agreed) -> bool {
    let said = view
        .sessions
        .get(worker)
        .and_then(|session| session.record.as_ref());
    said.is_some_and(|said| said.settings.mode.is_stricter_than(rule.holds))
}

/// The epoch a record may be written for.
fn living_epoch(view: &View, worker: &WorkerId) -> Option<Epoch> {
    let session = view.sessions.get(worker)?;
    let record = session.record.as_ref()?;
    matches!(
        record.status,
        SessionStatus::Active | SessionStatus::Draining
    )
    .then(|| session.epoch())
}

fn standing(
    config: &Config,
    now: Instant,
    view: &View,
    mode: Mode,
    worker: &WorkerId,
    evictions: &Evictions,
    ranks: &mut Ranks<'_>,
) -> Standing {
    let Some(record) = view.records.get(worker) else {
        return Standing::Ended;
    };
    let session = view.sessions.get(worker);
    let later =
        session.filter(|session| session.record.is_some() && session.epoch() > record.epoch);
    if evictions.get(worker) == Some(&true) && later.is_none() {
        return Standing::Ended;
    }
    match view.fate(config, worker, record.epoch) {
        Fate::Ended => Standing::Ended,
        // In overlap mode nobody waits for anybody.
        Fate::EndsAt(at) if now >= at || mode == Mode::Overlap => Standing::Ended,
        // Everything that is written to compares tokens.
        Fate::EndsAt(_) if mode == Mode::Fenced && view.is_suspected(worker, record.epoch) => {
            Standing::Ended
        }
        Fate::Reserved { until } if now >= until => Standing::Ended,
        Fate::Reserved { .. } => Standing::Reserved,
        Fate::EndsAt(_) if later.is_some() => Standing::Ending {
            draining: later.and_then(|later| draining_before(later, record.epoch, ranks)),
        },
        Fate::Living | Fate::EndsAt(_) => {
            let session = session.filter(|session| session.epoch() == record.epoch);
            let said = session.and_then(|session| session.record.as_ref());
            let draining = said.map(|said| said.draining.iter().map(|key| ranks.rank(key)));
            Standing::Bound {
                applied: said.map(|said| said.applied).unwrap_or_default(),
                draining: draining.into_iter().flatten().collect(),
            }
        }
    }
}

/// What an earlier session of a slot still drains, if its process itself says so.
fn draining_before(
    later: &SessionView,
    epoch: Epoch,
    ranks: &mut Ranks<'_>,
) -> Option<BTreeSet<u32>> {
    let said = later.record.as_ref()?;
    match later.remains(epoch)? {
        Remains::Everything => None,
        Remains::Draining => Some(said.draining.iter().map(|key| ranks.rank(key)).collect()),
    }
}

/// Keys to ranks; keys that are not in the table get ranks behind it.
struct Ranks<'a> {
    table: &'a PartitionTable,
    unlisted: BTreeMap<PartitionKey, u32>,
}

impl Ranks<'_> {
    fn rank(&mut self, key: &PartitionKey) -> u32 {
        self.table.rank_of(key).unwrap_or_else(|| {
            let next = (self.table.len() + self.unlisted.len()) as u32;
            *self.unlisted.entry(key.clone()).or_insert(next)
        })
    }

    fn page(&mut self, record: &AssignmentRecord) -> Page {
        let granted = record.granted.iter().map(|grant| Granted {
            rank: self.rank(&grant.partition),
            token: grant.token,
            anchor: grant.anchor.clone(),
        });
        let granted = granted.collect();
        let revoking = record
            .revoking
            .iter()
            .map(|r| (self.rank(&r.partition), r.since));
        let revoking = revoking.collect();
        let preparing = record.preparing.iter();
        let preparing = preparing.map(|told| (self.rank(&told.partition), told.version));
        Page {
            epoch: record.epoch,
            granted,
            revoking,
            preparing: preparing.collect(),
        }
    }

    fn into_unlisted(self) -> Vec<PartitionKey> {
        let mut unlisted: Vec<(PartitionKey, u32)> = self.unlisted.into_iter().collect();
        unlisted.sort_unstable_by_key(|&(_, rank)| rank);
        unlisted.into_iter().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests;
