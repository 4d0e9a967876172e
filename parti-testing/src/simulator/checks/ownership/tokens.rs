//! S6: a fencing token tells owners apart: no two sessions share one for the same partition, and a
//! later grant has a larger one.
//!
//! Records are judged in the order of the store. Assignments are judged in true time, but only in
//! exclusive mode: with overlap an old owner may hear of its grant after the new one has begun.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{AppliedCommit, Assigned, Check, Findings, Process, Rules, Written};
use parti_core::{Epoch, Key, Mode, PartitionKey, Record, Token, WorkerId};

#[derive(Debug)]
pub(in crate::simulator) struct Tokens {
    ordered: bool,
    /// The largest token in records and the session it was for.
    recorded: BTreeMap<PartitionKey, (Token, WorkerId, Epoch)>,
    /// The largest token in assignments and the process it was for.
    assigned: BTreeMap<PartitionKey, (Token, Process)>,
    /// Grants that survived a rollback: until their workers hear of it they go on, and a system that checks
    /// tokens refuses them.
    survived: BTreeSet<(PartitionKey, Token)>,
}

impl Tokens {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        // While a change of mode is under way the looser one may be in force.
        let ordered = matches!(rules.mode, Mode::Exclusive) && !rules.mixed;
        Self {
            ordered,
            recorded: BTreeMap::new(),
            assigned: BTreeMap::new(),
            survived: BTreeSet::new(),
        }
    }

    fn record(
        &mut self,
        partition: &PartitionKey,
        next: (Token, WorkerId, Epoch),
        findings: &mut Findings,
    ) {
        if let Some(before) = self.recorded.get(partition) {
            let same = before.1 == next.1 && before.2 == next.2;
            let survived = self.survived.contains(&(partition.clone(), next.0));
            if (next.0 < before.0 && !survived) || (!same && next.0 == before.0) {
                findings.report(format!(
                    "{partition} is granted as {next:?} after {before:?}"
                ));
            }
            if *before == next || survived {
                return;
            }
        }
        self.recorded.insert(partition.clone(), next);
    }
}

impl Check for Tokens {
    fn on_commit(&mut self, _: Process, writes: &[Written], findings: &mut Findings) {
        for write in writes {
            if let (Key::Assignment(worker), Some(Record::Assignment(record))) =
                (&write.key, write.record())
            {
                for grant in &record.granted {
                    let next = (grant.token, worker.clone(), record.epoch);
                    self.record(&grant.partition, next, findings);
                }
            }
        }
    }

    fn on_assign(&mut self, process: Process, assigned: &Assigned, findings: &mut Findings) {
        for grant in &assigned.grants {
            let next = (grant.token, process);
            let before = self.assigned.get(&grant.partition).copied();
            let before = before.unwrap_or((Token::ZERO, process));
            let shared = before.0 == next.0 && before.1 != next.1;
            let survived = self
                .survived
                .contains(&(grant.partition.clone(), grant.token));
            if shared || (self.ordered && next.0 < before.0 && !survived) {
                let partition = &grant.partition;
                findings.report(format!("{partition} begins as {next:?} after {before:?}"));
            }
            if next.0 >= before.0 {
                self.assigned.insert(grant.partition.clone(), next);
            }
        }
    }

    fn lose_history(&mut self, kept: &[AppliedCommit]) {
        for write in kept.iter().flat_map(|commit| &commit.writes) {
            if let Some(Record::Assignment(record)) = write.record() {
                let grants = record.granted.iter();
                self.survived
                    .extend(grants.map(|grant| (grant.partition.clone(), grant.token)));
            }
        }
    }
}
