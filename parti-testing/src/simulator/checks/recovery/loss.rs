//! S27: whoever is told that the bucket is another one gives everything up in that step.
//!
//! A bucket that was created at another time than the one known before has another history: no lag
//! explains it. Other losses are proved by what a process knew when it asked, which facts do not tell.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{Check, Fact, Findings, Kind, Process};
use parti_core::{Instant, Notice, State};

/// What a process knows of the creation of its bucket.
#[derive(Debug, Default)]
struct Known {
    created: Option<u64>,
    /// Buckets it has given up: what it asked of them may be answered still.
    lost: BTreeSet<u64>,
    /// It is ending and has nothing left to give up.
    ending: bool,
}

#[derive(Debug, Default)]
pub(in crate::simulator) struct Loss {
    known: BTreeMap<Process, Known>,
    /// Who was told of another bucket in the present step, and of which.
    told: Option<(Process, u64)>,
}

impl Loss {
    fn tell(&mut self, process: Process, created: u64) {
        let known = self.known.entry(process).or_default();
        if known.ending || known.lost.contains(&created) {
            return;
        }
        if *known.created.get_or_insert(created) != created {
            self.told = Some((process, created));
        }
    }

    fn give_up(&mut self, process: Process) {
        let known = self.known.entry(process).or_default();
        known.lost.extend(known.created.take());
        self.told = self.told.filter(|(told, _)| *told != process);
    }
}

impl Check for Loss {
    fn sees(&self) -> &[Kind] {
        &[Kind::Step, Kind::Notice, Kind::Settled, Kind::Ended]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        if let Fact::Step {
            process, created, ..
        } = fact
        {
            if let Some(created) = created {
                self.tell(*process, *created);
            }
        } else if let Fact::Settled { process, .. } = fact {
            if let Some((_, found)) = self.told.take_if(|(told, _)| told == process) {
                findings.report(format!(
                    "{process} is told of a bucket created at {found} ns and goes on with the one \
                     it knew"
                ));
            }
        } else if let Fact::Ended { process } = fact {
            self.known.remove(process);
            self.told = self.told.filter(|(told, _)| told != process);
        } else if let Fact::Notice { process, notice } = fact {
            if let Notice::HistoryLost { .. } = notice {
                self.give_up(*process);
            } else if let Notice::StateChanged { to, .. } = notice {
                self.known.entry(*process).or_default().ending |= *to == State::Shutdown;
            }
        }
    }
}
