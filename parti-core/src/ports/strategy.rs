//! The strategy port: who gets what, as a pure function from dense tables to dense tables.
//!
//! Partitions are ranks of a [`PartitionTable`], workers are indices of a [`WorkerTable`]; both
//! orders are canonical, so a plan depends on nothing but its input. What always holds: the core
//! checks every plan before anything is published ([`Plan::check`]).
//!
//! Input and plan are closed: a strategy looks at all of the one and fills in all of the other.

mod anchors;
mod unmet;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::model::id::WorkerId;
use crate::model::table::PartitionTable;

pub use crate::model::table::NO_OWNER;
pub use anchors::anchors_after;
pub use unmet::{ParkReason, Unmet};

/// A worker that may be given partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Its ID.
    pub id: WorkerId,
    /// How much it takes relative to the others; 0 takes nothing.
    pub capacity: u32,
    /// Its labels, such as `zone` = `a`.
    pub labels: BTreeMap<String, String>,
}

impl WorkerInfo {
    /// A worker of capacity 1 without labels.
    #[must_use]
    pub const fn new(id: WorkerId) -> Self {
        Self {
            id,
            capacity: 1,
            labels: BTreeMap::new(),
        }
    }
}

/// The living workers of a plan, ordered by ID; a worker's index is its position.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct WorkerTable {
    workers: Vec<WorkerInfo>,
}

impl WorkerTable {
    /// Builds the table from workers in any order.
    ///
    /// # Errors
    /// [`PlanError::DuplicateWorker`] when an ID occurs twice, [`PlanError::TooManyWorkers`] when
    /// there are more than an index can number.
    pub fn new(mut workers: Vec<WorkerInfo>) -> Result<Self, PlanError> {
        if workers.len() >= NO_OWNER as usize / 2 {
            return Err(PlanError::TooManyWorkers { len: workers.len() });
        }
        workers.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        match workers.windows(2).find(|pair| pair[0].id == pair[1].id) {
            Some(pair) => Err(PlanError::DuplicateWorker {
                worker: pair[0].id.clone(),
            }),
            None => Ok(Self { workers }),
        }
    }

    /// How many workers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// All workers, ordered by ID.
    #[must_use]
    pub fn as_slice(&self) -> &[WorkerInfo] {
        &self.workers
    }

    /// The worker at an index.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&WorkerInfo> {
        self.workers.get(index as usize)
    }

    /// The index of an ID.
    #[must_use]
    pub fn index_of(&self, id: &WorkerId) -> Option<u32> {
        let index = self
            .workers
            .binary_search_by(|worker| worker.id.cmp(id))
            .ok()?;
        u32::try_from(index).ok()
    }
}

/// What a strategy is to plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanInput {
    /// The partitions, in canonical order.
    pub partitions: Arc<PartitionTable>,
    /// The workers that may own, in canonical order. A worker that is leaving is not among them.
    pub workers: Arc<WorkerTable>,
    /// The previous owner of each partition, by rank: an index of `workers`; or `workers.len()` plus
    /// an index of `departed`; or [`NO_OWNER`]. Either empty (there is no previous assignment) or as
    /// long as `partitions`.
    pub previous: Vec<u32>,
    /// Owners of the previous assignment that may own no more, ordered by ID.
    pub departed: Vec<WorkerId>,
    /// Partitions that live away from home: the rank, and the worker each was displaced from when
    /// that worker departed. Ordered by rank, each rank at most once. A hint, free to be ignored.
    pub anchors: Vec<(u32, WorkerId)>,
    /// The most partitions that may move although their owner is alive and may keep them; `None`
    /// is no limit. Partitions without a living owner are always placed.
    pub budget: Option<u32>,
    /// How long what an earlier plan named as [`Unmet`] has been so, by its number. What is not here
    /// has not waited yet.
    pub waited: BTreeMap<u64, Duration>,
    /// Partitions, by rank, that their previous owner is still getting ready for: it has done work for
    /// them, and others are better moved. A hint, free to be ignored.
    pub warm: BTreeSet<u32>,
}

impl PlanInput {
    /// An input without a previous assignment.
    #[must_use]
    pub fn fresh(partitions: Arc<PartitionTable>, workers: Arc<WorkerTable>) -> Self {
        let (previous, departed, anchors) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            partitions,
            workers,
            previous,
            departed,
            anchors,
            budget: None,
            waited: BTreeMap::new(),
            warm: BTreeSet::new(),
        }
    }

    /// The previous owner of a rank if it is alive.
    #[must_use]
    pub fn living_owner(&self, rank: u32) -> Option<u32> {
        let owner = *self.previous.get(rank as usize)?;
        ((owner as usize) < self.workers.len()).then_some(owner)
    }
}

/// The certificate of a plan: how good it is, and how good any plan could have been.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Report {
    /// Partitions that had an owner, living or departed, and get another. Those that get none are in
    /// `unplaced`.
    pub moved: u32,
    /// Their weight.
    pub moved_weight: u64,
    /// Of `moved`: those whose owner departed or has capacity 0, and so may keep nothing.
    pub forced: u32,
    /// Of `moved`: those whose owner could have kept them.
    pub voluntary: u32,
    /// No plan of the same balance moves fewer; 0 when the strategy knows no bound.
    pub lower_bound: u32,
    /// No plan of the same balance moves less weight; 0 when the strategy knows no bound.
    pub moved_weight_bound: u64,
    /// Weight of the fullest worker.
    pub max_load: u64,
    /// Weight of the emptiest worker.
    pub min_load: u64,
    /// Total weight.
    pub total_weight: u64,
    /// The weight per unit of capacity to which all but giants can be levelled, rounded down.
    pub level: u64,
    /// Partitions so heavy that the owner of one cannot be level.
    pub giants: u32,
    /// The weight by which loads are outside what the strategy tolerates, together. A further plan
    /// may lower it only if this one is not settled.
    pub violation: u64,
    /// Whether planning again with the result as previous would change nothing.
    pub settled: bool,
    /// Partitions that get no owner; [`Plan::unmet`] says why.
    pub unplaced: u32,
}

/// The result of a strategy.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// The owner of each partition by rank, as an index of the input's workers; [`NO_OWNER`] for
    /// those that `unmet` lists.
    pub owners: Vec<u32>,
    /// What partitions need and nobody offers. A partition that nobody may own must not keep others
    /// from being placed, so it is named here instead of failing the plan.
    pub unmet: Vec<Unmet>,
    /// The certificate.
    pub report: Report,
}

impl Plan {
    /// A plan for a group in which nobody has any capacity: nothing is placed.
    #[must_use]
    pub(crate) fn of_nobody(partitions: usize) -> Self {
        let unplaced = (0..partitions as u32).collect();
        Self {
            owners: vec![NO_OWNER; partitions],
            unmet: vec![Unmet::no_workers(unplaced)],
            report: Report {
                unplaced: partitions as u32,
                ..Report::default()
            },
        }
    }

    /// Checks that every partition has exactly one owner that exists, or is named once as unplaced.
    ///
    /// # Errors
    /// [`PlanError::WrongLength`], [`PlanError::UnknownOwner`] or [`PlanError::BadUnplaced`] naming
    /// the first offence.
    pub fn check(&self, input: &PlanInput) -> Result<(), PlanError> {
        let (expected, found) = (input.partitions.len(), self.owners.len());
        if expected != found {
            return Err(PlanError::WrongLength { expected, found });
        }
        let mut named = BTreeSet::new();
        for &rank in self.unmet.iter().flat_map(|unmet| &unmet.unplaced) {
            let is_free = self.owners.get(rank as usize) == Some(&NO_OWNER);
            if !is_free || !named.insert(rank) {
                return Err(PlanError::BadUnplaced { rank });
            }
        }
        let workers = input.workers.len();
        let is_unknown = |(rank, &owner): (u32, &u32)| {
            let is_named = owner == NO_OWNER && named.contains(&rank);
            owner as usize >= workers && !is_named
        };
        match (0_u32..).zip(&self.owners).position(is_unknown) {
            Some(rank) => Err(PlanError::UnknownOwner {
                rank,
                owner: self.owners[rank],
                workers,
            }),
            None => Ok(()),
        }
    }
}

/// The name of a strategy with its version and parameters, such as `sticky/1`.
///
/// It is stored with every generation: two leaders with different strategies are noticed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StrategyId(Arc<str>);

impl StrategyId {
    /// Wraps a name; any change of output for the same input must change it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StrategyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StrategyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Decides who gets what. Must be a pure function of its input: the same on every machine.
pub trait AssignmentStrategy: Send + Sync + 'static {
    /// Name, version and parameters.
    fn id(&self) -> StrategyId;

    /// Computes a plan.
    ///
    /// # Errors
    /// [`PlanError`]; nothing is published then and the assignment stays as it is.
    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError>;
}

impl<S: AssignmentStrategy + ?Sized> AssignmentStrategy for Box<S> {
    fn id(&self) -> StrategyId {
        (**self).id()
    }

    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
        (**self).plan(input)
    }
}

impl<S: AssignmentStrategy + ?Sized> AssignmentStrategy for Arc<S> {
    fn id(&self) -> StrategyId {
        (**self).id()
    }

    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
        (**self).plan(input)
    }
}

/// Why there is no plan. The assignment in force stays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// There is nobody to give partitions to (or all have capacity 0).
    NoWorkers,
    /// A worker ID occurs twice.
    DuplicateWorker {
        /// The ID.
        worker: WorkerId,
    },
    /// More workers than an index can number.
    TooManyWorkers {
        /// How many.
        len: usize,
    },
    /// The plan does not cover every partition exactly once.
    WrongLength {
        /// Number of partitions.
        expected: usize,
        /// Number of owners in the plan.
        found: usize,
    },
    /// The plan names a worker that does not exist.
    UnknownOwner {
        /// The partition's rank.
        rank: usize,
        /// The index it was given to.
        owner: u32,
        /// How many workers there are.
        workers: usize,
    },
    /// The plan names a partition as unplaced that has an owner, that is not listed, or twice.
    BadUnplaced {
        /// The partition's rank.
        rank: u32,
    },
    /// The input contradicts itself; in words.
    BadInput(String),
    /// The strategy cannot place a partition, or failed; in words.
    Failed(String),
}

impl PlanError {
    /// A failure of a strategy in words.
    #[must_use]
    pub fn failed(reason: &str) -> Self {
        Self::Failed(reason.to_string())
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorkers => f.write_str("there is no worker that may own partitions"),
            Self::DuplicateWorker { worker } => write!(f, "worker {worker} occurs twice"),
            Self::TooManyWorkers { len } => {
                write!(f, "{len} workers are more than can be numbered")
            }
            Self::WrongLength { expected, found } => {
                write!(f, "the plan has {found} owners for {expected} partitions")
            }
            Self::UnknownOwner {
                rank,
                owner,
                workers,
            } => write!(
                f,
                "the plan gives the partition of rank {rank} to worker {owner} of {workers}"
            ),
            Self::BadUnplaced { rank } => write!(
                f,
                "the plan names the partition of rank {rank} as unplaced although it has an owner, is \
                 not listed, or is named already"
            ),
            Self::BadInput(reason) | Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl core::error::Error for PlanError {}
