//! The strategy of the scripted worlds. Separate because it is no part of the world: it is pure.

use alloc::vec;
use alloc::vec::Vec;

use core::time::Duration;

use crate::model::partition::PartitionKey;
use crate::ports::strategy::{NO_OWNER, ParkReason, Plan, PlanInput, Report, Unmet, WorkerInfo};

/// How long [`Rule::Zone`] waits.
pub(super) const GRACE: Duration = Duration::from_secs(20);

/// Who may own what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Even partitions need the label `pool` = `a`, odd ones `b`.
    Pools,
    /// All partitions wait for `zone` = `a` for [`GRACE`]; then anybody will do.
    Zone,
}

impl Rule {
    /// What a partition needs: a number for it, and the label.
    fn need(self, key: &PartitionKey) -> (u64, &'static str, &'static str) {
        let is_odd = key
            .encoded()
            .bytes()
            .last()
            .is_some_and(|digit| digit % 2 == 1);
        match self {
            Self::Pools if is_odd => (2, "pool", "b"),
            Self::Pools => (1, "pool", "a"),
            Self::Zone => (3, "zone", "a"),
        }
    }
}

/// Keeps what living owners have up to an even share and deals out the rest.
pub(super) fn deal(input: &PlanInput) -> Plan {
    let (workers, partitions) = (input.workers.len(), input.partitions.len());
    let takes = |worker: usize| input.workers.as_slice()[worker].capacity > 0;
    let takers = (0..workers).filter(|&worker| takes(worker)).count();
    let share = partitions.div_ceil(takers.max(1));
    let mut loads = vec![0_usize; workers];
    let mut owners = vec![u32::MAX; partitions];
    for (rank, owner) in owners.iter_mut().enumerate() {
        if let Some(before) = input.living_owner(rank as u32)
            && takes(before as usize)
            && loads[before as usize] < share
        {
            *owner = before;
            loads[before as usize] += 1;
        }
    }
    for owner in &mut owners {
        if *owner == u32::MAX {
            let least = (0..workers)
                .filter(|&worker| takes(worker))
                .min_by_key(|&w| loads[w])
                .expect("there are workers");
            *owner = least as u32;
            loads[least] += 1;
        }
    }
    Plan {
        owners,
        unmet: Vec::new(),
        report: Report {
            moved: 7,
            lower_bound: 5,
            ..Report::default()
        },
    }
}

/// Keeps what living owners have and may have, and gives the rest to the emptiest that may.
pub(super) fn deal_by(input: &PlanInput, rule: Rule) -> Plan {
    let workers = input.workers.as_slice();
    let mut plan = Plan {
        owners: vec![NO_OWNER; input.partitions.len()],
        ..Plan::default()
    };
    let mut loads = vec![0_usize; workers.len()];
    for (rank, partition) in input.partitions.as_slice().iter().enumerate() {
        let (need, label, value) = rule.need(&partition.key);
        let meets = |worker: &WorkerInfo| worker.labels.get(label).is_some_and(|v| v == value);
        let anybody = workers.iter().any(meets);
        let may = |index: u32| !anybody || meets(&workers[index as usize]);
        let kept = input.living_owner(rank as u32).filter(|&owner| may(owner));
        let waited = input.waited.get(&need).copied().unwrap_or_default();
        let spills = rule == Rule::Zone && (kept.is_some() || waited >= GRACE);
        if !anybody {
            note(&mut plan, rule, need, (!spills).then_some(rank as u32));
        }
        if !anybody && !spills {
            continue;
        }
        let emptiest = (0..workers.len() as u32).filter(|&index| may(index));
        let emptiest = emptiest.min_by_key(|&index| loads[index as usize]);
        if let Some(owner) = kept.or(emptiest) {
            plan.owners[rank] = owner;
            loads[owner as usize] += 1;
        }
    }
    plan.report.settled = true;
    plan
}

fn note(plan: &mut Plan, rule: Rule, need: u64, rank: Option<u32>) {
    let found = plan.unmet.iter().position(|unmet| unmet.need == need);
    let index = found.unwrap_or_else(|| {
        plan.unmet.push(Unmet {
            reason: match rule {
                Rule::Pools => ParkReason::NoEligibleWorker,
                Rule::Zone => ParkReason::AwaitsPreferred,
            },
            need,
            needs: "another label".into(),
            unplaced: Vec::new(),
            again_after: (rule == Rule::Zone && rank.is_some()).then_some(GRACE),
        });
        plan.unmet.len() - 1
    });
    plan.unmet[index].unplaced.extend(rank);
    plan.report.unplaced += rank.is_some() as u32;
}
