//! What is planned and what came of it: the input of a strategy, made from the view, and the target
//! its plan becomes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::config::{Config, Mode};
use crate::leader::knowledge::view::{Fate, View};
use crate::leader::planning::adopted::Preparing;
use crate::leader::planning::kept_out::KeptOut;
use crate::model::id::{Epoch, Revision, Token, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::state::Cause;
use crate::model::table::PartitionTable;
use crate::model::time::Instant;
use crate::ports::strategy::{
    NO_OWNER, ParkReason, Plan, PlanInput, Report, StrategyId, WorkerInfo, WorkerTable,
    anchors_after,
};
use crate::records::orders::Ordered;
use crate::records::record::{AssignmentRecord, ParkedGroup, SessionStatus, Verb};

/// A request to the leader, as seen.
pub(crate) type Requested = (Verb, WorkerId, Revision);

/// What a decision wants planned, and everything that belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Brief {
    pub(crate) cause: Cause,
    pub(crate) input: PlanInput,
    /// What is left alone, for the sessions of those who have it cannot be read.
    pub(crate) kept_out: KeptOut,
    /// The incarnation of each worker that is planned for.
    pub(crate) epochs: BTreeMap<WorkerId, Epoch>,
    /// Workers to evict in the same commit, and what was judged of each.
    pub(crate) evictions: BTreeMap<WorkerId, Judged>,
    /// Workers that do not do what they are told and cannot be evicted now: they keep what they have.
    pub(crate) postponed: Vec<WorkerId>,
    /// What orders ask of it.
    pub(crate) ordered: Ordered,
    /// Requests the generation contains.
    pub(crate) requests: Vec<Requested>,
    /// What led to the decision, for the audit.
    pub(crate) triggers: Vec<String>,
    /// Slots whose hold ends with it.
    pub(crate) ended_holds: BTreeMap<WorkerId, Epoch>,
}

/// Why a worker is to be evicted, and what must still be so when it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It has been silent for a full lease: this revision is its last.
    Silent { revision: Revision },
    /// It is alive and does not do what it is told. Its renewals since this revision say nothing
    /// against that.
    Stuck { epoch: Epoch, revision: Revision },
    /// Its process does not answer, in a group whose sinks compare tokens: this revision is its last.
    Suspected { revision: Revision },
}

impl Judged {
    /// Whether it is evicted for what it does not do although it lives.
    pub(crate) const fn is_stuck(self) -> bool {
        matches!(self, Self::Stuck { .. })
    }

    /// Whether what it may hold can be granted in the same commit.
    pub(crate) fn ends_at_once(self, mode: Mode) -> bool {
        match self {
            Self::Silent { .. } => true,
            Self::Suspected { .. } => mode == Mode::Fenced,
            Self::Stuck { .. } => false,
        }
    }

    /// What its session says from then on.
    pub(crate) const fn status(self) -> SessionStatus {
        match self {
            Self::Silent { .. } => SessionStatus::Evicted { silent: true },
            Self::Stuck { .. } => SessionStatus::Evicted { silent: false },
            Self::Suspected { .. } => SessionStatus::Suspected,
        }
    }
}

/// Where the group is to be.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) strategy: StrategyId,
    pub(crate) table: Arc<PartitionTable>,
    pub(crate) workers: Arc<WorkerTable>,
    /// The incarnation of each worker that was planned for.
    pub(crate) epochs: BTreeMap<WorkerId, Epoch>,
    /// The owner by rank, as an index of `workers`.
    pub(crate) owners: Vec<u32>,
    /// The owner before the plan by rank, for the audit.
    pub(crate) previous: Vec<Option<WorkerId>>,
    /// Where displaced partitions came from.
    pub(crate) anchors: BTreeMap<u32, WorkerId>,
    pub(crate) report: Report,
    /// What has no owner, by what it waits for.
    pub(crate) parked: Arc<[ParkedGroup]>,
    /// Why each rank without an owner has none.
    pub(crate) reasons: Arc<BTreeMap<u32, ParkReason>>,
    pub(crate) triggers: Vec<String>,
    /// The orders it obeys.
    pub(crate) ordered: Ordered,
    /// Workers the plan was made without and that keep what they have: they wait for their share as
    /// joiners do.
    pub(crate) kept: BTreeSet<WorkerId>,
    /// Whether it was made without knowing everybody's capacity and labels.
    pub(crate) unsure: bool,
    /// Slots that are held no longer, whatever their sessions ask for.
    pub(crate) ended_holds: BTreeMap<WorkerId, Epoch>,
}

impl Target {
    /// The target a checked plan leads to.
    pub(crate) fn new(
        strategy: StrategyId,
        brief: Brief,
        plan: Plan,
        parked: Vec<ParkedGroup>,
    ) -> Self {
        let reasons = plan.unmet.iter().flat_map(|unmet| {
            let ranks = unmet.unplaced.iter();
            ranks.map(|&rank| (rank, unmet.reason))
        });
        let reasons = Arc::new(reasons.collect());
        let anchors = anchors_after(&brief.input, &plan).into_iter().collect();
        let previous = brief
            .input
            .previous
            .iter()
            .map(|&owner| name(&brief.input, owner));
        Self {
            strategy,
            previous: previous.collect(),
            anchors,
            table: brief.input.partitions,
            workers: brief.input.workers,
            epochs: brief.epochs,
            owners: plan.owners,
            report: plan.report,
            parked: parked.into(),
            reasons,
            triggers: brief.triggers,
            ordered: brief.ordered,
            kept: BTreeSet::new(),
            unsure: false,
            ended_holds: brief.ended_holds,
        }
    }

    /// Somebody the plan was made without keeps what its record grants; the rest of the plan stays.
    pub(crate) fn keep(&mut self, worker: WorkerInfo, record: &AssignmentRecord) {
        let mut workers: Vec<WorkerInfo> = self.workers.as_slice().to_vec();
        let Err(place) = workers.binary_search_by(|other| other.id.cmp(&worker.id)) else {
            return;
        };
        let id = worker.id.clone();
        workers.insert(place, worker);
        let Ok(workers) = WorkerTable::new(workers) else {
            return;
        };
        let place = place as u32;
        for owner in &mut self.owners {
            if *owner != NO_OWNER && *owner >= place {
                *owner += 1;
            }
        }
        for grant in &record.granted {
            let Some(rank) = self.table.rank_of(&grant.partition) else {
                continue;
            };
            self.owners[rank as usize] = place;
            match &grant.anchor {
                Some(anchor) => self.anchors.insert(rank, anchor.clone()),
                None => self.anchors.remove(&rank),
            };
        }
        self.workers = Arc::new(workers);
        self.epochs.insert(id.clone(), record.epoch);
        self.kept.insert(id);
        self.unpark(record);
    }

    /// What a worker keeps waits for nobody, although the plan, which was made without that worker, found
    /// no owner for it.
    fn unpark(&mut self, kept: &AssignmentRecord) {
        let kept: BTreeSet<&PartitionKey> = kept.granted.iter().map(|g| &g.partition).collect();
        if !self
            .parked
            .iter()
            .any(|group| group.partitions.iter().any(|p| kept.contains(p)))
        {
            return;
        }
        let rest = self.parked.iter().map(|group| {
            let partitions = group.partitions.iter().filter(|p| !kept.contains(p));
            let partitions: Vec<PartitionKey> = partitions.cloned().collect();
            ParkedGroup {
                count: partitions.len() as u32,
                partitions,
                ..group.clone()
            }
        });
        self.parked = rest.filter(|group| group.count > 0).collect();
        let (table, reasons) = (&self.table, Arc::make_mut(&mut self.reasons));
        reasons.retain(|&rank, _| {
            let partition = table.as_slice().get(rank as usize);
            partition.is_none_or(|partition| !kept.contains(&partition.key))
        });
    }

    /// Whether the slot is held no longer although its session asks for it.
    pub(crate) fn has_ended_hold(&self, view: &View, worker: &WorkerId) -> bool {
        let held = view.records.get(worker).map(|record| record.epoch);
        held.is_some() && self.ended_holds.get(worker).copied() == held
    }

    /// The owner planned for a rank of the same table.
    pub(crate) fn owner(&self, rank: u32) -> Option<&WorkerId> {
        let owner = *self.owners.get(rank as usize)?;
        self.workers.get(owner).map(|worker| &worker.id)
    }
}

fn name(input: &PlanInput, owner: u32) -> Option<WorkerId> {
    let owner = owner as usize;
    let living = input.workers.len();
    match input.workers.as_slice().get(owner) {
        Some(worker) => Some(worker.id.clone()),
        None => input.departed.get(owner.checked_sub(living)?).cloned(),
    }
}

/// Workers a plan may use, with their incarnation: those that take part, and held slots.
pub(crate) fn candidates(
    config: &Config,
    now: Instant,
    view: &View,
    excluded: &BTreeSet<WorkerId>,
) -> BTreeMap<WorkerId, (Epoch, WorkerInfo)> {
    let usable = view
        .sessions
        .iter()
        .filter(|(worker, _)| !excluded.contains(*worker));
    let usable = usable.filter_map(|(worker, session)| {
        let record = session.record.as_ref()?;
        let epoch = session.epoch();
        let held = match view.fate(config, worker, epoch) {
            Fate::Reserved { until } => now < until && view.records.contains_key(worker),
            Fate::Living | Fate::EndsAt(_) | Fate::Ended => false,
        };
        let info = WorkerInfo {
            id: worker.clone(),
            capacity: record.capacity,
            labels: record.labels.clone(),
        };
        let takes_part = record.status == SessionStatus::Active;
        (takes_part || held).then(|| (worker.clone(), (epoch, info)))
    });
    usable.collect()
}

/// Who owns what by the records, and where displaced partitions came from, by rank.
fn granted<'a>(
    table: &PartitionTable,
    view: &'a View,
) -> (Vec<Option<&'a WorkerId>>, BTreeMap<u32, WorkerId>) {
    let mut owners: Vec<Option<&WorkerId>> = vec![None; table.len()];
    let mut tokens: Vec<Token> = vec![Token::ZERO; table.len()];
    let mut anchors: BTreeMap<u32, WorkerId> = BTreeMap::new();
    for (worker, record) in &view.records {
        for grant in &record.granted {
            let Some(rank) = table.rank_of(&grant.partition) else {
                continue;
            };
            // Two records that list one partition are the work of an external writer: the later counts.
            if grant.token <= tokens[rank as usize] {
                continue;
            }
            (owners[rank as usize], tokens[rank as usize]) = (Some(worker), grant.token);
            if let Some(anchor) = &grant.anchor {
                anchors.insert(rank, anchor.clone());
            }
        }
    }
    (owners, anchors)
}

/// Who owns what by the records, by rank, as an index of the workers of a plan.
pub(crate) fn held(view: &View, input: &PlanInput) -> Vec<u32> {
    let (owners, _) = granted(&input.partitions, view);
    let index = |owner: Option<&WorkerId>| owner.and_then(|owner| input.workers.index_of(owner));
    let held = owners
        .into_iter()
        .map(|owner| index(owner).unwrap_or(NO_OWNER));
    held.collect()
}

/// The input of a plan: who owns what now, or is about to.
pub(crate) fn input(
    table: &Arc<PartitionTable>,
    workers: Arc<WorkerTable>,
    view: &View,
    target: Option<&Target>,
) -> PlanInput {
    let (mut owners, mut anchors) = granted(table, view);
    let preparing = Preparing::find(view, table, &workers);
    preparing.adopt(&mut owners);
    // What is on its way to somebody counts as theirs, so that it is not moved a second time.
    if let Some(target) = target {
        for (planned, partition) in (0_u32..).zip(target.table.as_slice()) {
            let (Some(owner), Some(rank)) = (target.owner(planned), table.rank_of(&partition.key))
            else {
                continue;
            };
            // What was to go to somebody who is gone, and was not taken away yet, is still with its owner.
            let usable = |worker: &WorkerId| workers.index_of(worker).is_some();
            let stays = !usable(owner) && owners[rank as usize].is_some_and(usable);
            if stays || preparing.has_failed(rank, owner) {
                continue;
            }
            owners[rank as usize] = Some(owner);
            // The plan may have ended what an unchanged record still says.
            match target.anchors.get(&planned) {
                Some(anchor) => anchors.insert(rank, anchor.clone()),
                None => anchors.remove(&rank),
            };
        }
    }
    let warm = preparing.warm(&owners);
    let departed: BTreeSet<&WorkerId> = owners
        .iter()
        .flatten()
        .copied()
        .filter(|id| workers.index_of(id).is_none())
        .collect();
    let departed: Vec<WorkerId> = departed.into_iter().cloned().collect();
    let index = |owner: &WorkerId| match workers.index_of(owner) {
        Some(index) => index,
        None => match departed.binary_search(owner) {
            Ok(position) => (workers.len() + position) as u32,
            Err(_) => NO_OWNER,
        },
    };
    let previous = owners
        .iter()
        .map(|owner| owner.map_or(NO_OWNER, index))
        .collect();
    let (partitions, anchors) = (Arc::clone(table), anchors.into_iter().collect());
    PlanInput {
        partitions,
        workers,
        previous,
        departed,
        anchors,
        budget: None,
        waited: BTreeMap::new(),
        warm,
    }
}

/// The relative spread of the loads per unit of capacity: fullest less emptiest, over the mean.
/// Workers of capacity 0 are to own nothing and do not count.
pub(crate) fn imbalance(table: &PartitionTable, workers: &WorkerTable, owners: &[u32]) -> f64 {
    let mut loads = vec![0_u64; workers.len()];
    for (partition, &owner) in table.as_slice().iter().zip(owners) {
        if let Some(load) = loads.get_mut(owner as usize) {
            *load = load.saturating_add(partition.weight);
        }
    }
    let placed = loads.iter().fold(0.0, |sum, &load| sum + load as f64);
    let takers = workers.as_slice().iter().zip(loads);
    let takers = takers.filter(|(worker, _)| worker.capacity > 0);
    let (mut most, mut least, mut capacity) = (0.0_f64, f64::INFINITY, 0.0_f64);
    for (worker, load) in takers {
        let level = load as f64 / f64::from(worker.capacity);
        (most, least) = (most.max(level), least.min(level));
        capacity += f64::from(worker.capacity);
    }
    let mean = placed / capacity;
    if capacity > 0.0 && mean > 0.0 {
        (most - least) / mean
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
