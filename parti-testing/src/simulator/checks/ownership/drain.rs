//! S28: in true time, the next owner of a partition begins when the callback of the one before has
//! returned, or has had its time, or when the lease of its session is over.
//!
//! It goes beyond S4: a guard is invalid as soon as its session is lost, and the callback that ends its
//! work still runs. It goes beyond S5, which says the same of runs without faults.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Fact, Findings, Kind, Process, Rules};
use parti_core::{Instant, PartitionKey};

#[derive(Debug)]
pub(in crate::simulator) struct Drain {
    /// The least time that a callback has.
    least: Duration,
    /// The last deadline of each process that it could rely on, also one it has given up since.
    until: BTreeMap<Process, Instant>,
    /// Callbacks that run, and until when the next owner has to wait for them.
    running: BTreeMap<PartitionKey, BTreeMap<Process, Instant>>,
}

impl Drain {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            least: rules.shortest_drain(),
            until: BTreeMap::new(),
            running: BTreeMap::new(),
        }
    }

    fn begin(
        &mut self,
        at: Instant,
        process: Process,
        partition: &PartitionKey,
        findings: &mut Findings,
    ) {
        let others = self.running.get(partition).into_iter().flatten();
        for (other, until) in others.filter(|(other, until)| **other != process && at < **until) {
            findings.report(format!(
                "{process} begins {partition} while the callback of {other} runs, which has until \
                 {until}"
            ));
        }
    }
}

impl Check for Drain {
    fn sees(&self) -> &[Kind] {
        &[
            Kind::Ended,
            Kind::Assign,
            Kind::Revoke,
            Kind::Released,
            Kind::Settled,
        ]
    }

    fn observe(&mut self, at: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Settled {
                process,
                until: Some(until),
                ..
            } => {
                self.until.insert(*process, *until);
            }
            Fact::Revoke {
                process, grants, ..
            } => {
                let valid = self.until.get(process).copied().unwrap_or_default();
                let until = valid.min(at + self.least);
                for grant in grants.iter().filter(|_| at < until) {
                    let running = self.running.entry(grant.partition.clone()).or_default();
                    running.insert(*process, until);
                }
            }
            Fact::Assign {
                process, grants, ..
            } => {
                for grant in grants {
                    self.begin(at, *process, &grant.partition, findings);
                }
            }
            Fact::Released { process, grants } => {
                for grant in grants {
                    if let Some(running) = self.running.get_mut(&grant.partition) {
                        running.remove(process);
                    }
                }
            }
            Fact::Ended { process } => {
                self.until.remove(process);
                for running in self.running.values_mut() {
                    running.remove(process);
                }
            }
            Fact::Began { .. }
            | Fact::Commit { .. }
            | Fact::Step { .. }
            | Fact::Heard { .. }
            | Fact::Asked { .. }
            | Fact::Request { .. }
            | Fact::Planned { .. }
            | Fact::Proposes { .. }
            | Fact::Notice { .. }
            | Fact::Settled { .. }
            | Fact::Panicked { .. }
            | Fact::Foreign { .. }
            | Fact::Healed
            | Fact::Milestone(..)
            | Fact::Due(_)
            | Fact::Over(_) => {}
        }
    }
}
