//! A group as its leader sees it: the committed assignment, and decisions that follow each other.
//!
//! Shared by the test programs. What always holds: every plan is checked before it is committed.

use std::sync::Arc;

use parti_core::{
    AssignmentStrategy, NO_OWNER, PartitionTable, PlanInput, Report, WorkerId, WorkerTable,
    anchors_after,
};

/// The committed state.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// The list.
    pub(crate) partitions: Arc<PartitionTable>,
    /// Who owns each partition by rank; empty before the first decision.
    pub(crate) owners: Vec<WorkerId>,
    /// The anchors in force.
    pub(crate) anchors: Vec<(u32, WorkerId)>,
    /// Whether anchors are remembered between decisions.
    pub(crate) remembers: bool,
}

#[allow(dead_code, reason = "each test program uses its part")]
impl World {
    /// A group that has decided nothing yet.
    pub(crate) fn new(partitions: Arc<PartitionTable>) -> Self {
        Self {
            partitions,
            owners: Vec::new(),
            anchors: Vec::new(),
            remembers: true,
        }
    }

    /// What a leader would ask for with these workers.
    pub(crate) fn input(&self, workers: &Arc<WorkerTable>) -> PlanInput {
        let mut input = PlanInput::fresh(Arc::clone(&self.partitions), Arc::clone(workers));
        let gone = |id: &&WorkerId| workers.index_of(id).is_none();
        input.departed = self.owners.iter().filter(gone).cloned().collect();
        input.departed.sort();
        input.departed.dedup();
        let index = |id: &WorkerId| {
            workers.index_of(id).unwrap_or_else(|| {
                let departed = input.departed.binary_search(id).expect("listed above");
                (workers.len() + departed) as u32
            })
        };
        input.previous = self.owners.iter().map(index).collect();
        input.anchors.clone_from(&self.anchors);
        input
    }

    /// Decides and commits.
    pub(crate) fn decide(
        &mut self,
        strategy: &impl AssignmentStrategy,
        workers: &Arc<WorkerTable>,
    ) -> Report {
        let input = self.input(workers);
        let plan = strategy.plan(&input).expect("a plan");
        plan.check(&input).expect("a complete plan");
        assert!(!plan.owners.contains(&NO_OWNER));
        if self.remembers {
            self.anchors = anchors_after(&input, &plan);
        }
        let name = |&owner: &u32| workers.get(owner).expect("checked").id.clone();
        self.owners = plan.owners.iter().map(name).collect();
        plan.report
    }

    /// The share of partitions that are where they were, in per cent.
    pub(crate) fn affinity(&self, before: &[WorkerId]) -> u64 {
        let same = self
            .owners
            .iter()
            .zip(before)
            .filter(|(now, then)| now == then)
            .count();
        (same * 100 / before.len().max(1)) as u64
    }
}
