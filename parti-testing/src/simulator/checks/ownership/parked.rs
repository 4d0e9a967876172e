//! S30: once the group has settled, what is parked is exactly what nobody may own, and everybody is
//! told the same: a partition that somebody may own must not wait, and one that waits must be named.

use std::collections::BTreeSet;

use crate::simulator::checks::{Check, Coverage, Findings};
use parti_core::{Parked, ParkedRecord, PartitionKey};

#[derive(Debug, Default)]
pub(in crate::simulator) struct OnlyTheHomeless;

impl Check for OnlyTheHomeless {
    fn on_due(&mut self, coverage: &Coverage, findings: &mut Findings) {
        // Whether it settles at all is judged elsewhere; a group that is restless may have moved on.
        if coverage.restless || !coverage.pending().is_empty() {
            return;
        }
        if !coverage.abandoned.is_empty() {
            findings.met("abandoned_partition");
        }
        for reason in judge(coverage) {
            findings.report(reason);
        }
    }

    fn on_over(&mut self, coverage: &Coverage, findings: &mut Findings) {
        self.on_due(coverage, findings);
    }
}

fn judge(coverage: &Coverage) -> Vec<String> {
    let groups = &coverage.stored.parked;
    let named = groups.iter().flat_map(|group| &group.partitions);
    let named: BTreeSet<&PartitionKey> = named.collect();
    let mut reasons = Vec::new();
    for partition in &named {
        // Those that get nothing new by order may be the only ones who may own it.
        let ordered = !coverage.stored.kept_out.is_empty();
        if !ordered && !coverage.homeless.contains(*partition) {
            reasons.push(format!(
                "{partition} is parked although somebody may own it"
            ));
        }
    }
    let is_cut = groups
        .iter()
        .any(|group| group.count as usize > group.partitions.len());
    for partition in coverage.abandoned.iter().filter(|key| !named.contains(key)) {
        if !is_cut {
            reasons.push(format!("nobody may own {partition}, and it is not parked"));
        }
    }
    let (sum, head) = (ParkedRecord::sum(groups), coverage.stored.head.as_ref());
    let said = head.map_or(Parked::default(), |head| head.parked);
    if said != sum {
        reasons.push(format!("head says {said:?} and the record of it {sum:?}"));
    }
    reasons
}
