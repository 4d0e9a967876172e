//! S27: a worker that is told that the bucket is another one gives everything up in that step.
//!
//! A bucket that was created at another time than the one known before has another history: no lag
//! explains it. Other losses are proved by what a process knew when it asked, which facts do not tell.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{Check, Findings, Process, StepEnd};
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
}

impl Check for Loss {
    fn on_step(&mut self, process: Process, _: Instant, created: Option<u64>, _: &mut Findings) {
        if let Some(created) = created {
            self.tell(process, created);
        }
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, _: &mut Findings) {
        if let Notice::HistoryLost { .. } = notice {
            let known = self.known.entry(process).or_default();
            known.lost.extend(known.created.take());
            self.told = self.told.filter(|(told, _)| *told != process);
        } else if let Notice::StateChanged { to, .. } = notice {
            self.known.entry(process).or_default().ending |= *to == State::Shutdown;
        }
    }

    fn on_settled(&mut self, process: Process, _: &StepEnd, findings: &mut Findings) {
        if let Some((_, found)) = self.told.take_if(|(told, _)| *told == process) {
            findings.report(format!(
                "{process} is told of a bucket created at {found} ns and goes on with the one \
                 it knew"
            ));
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.known.remove(&process);
        self.told = self.told.filter(|(told, _)| *told != process);
    }
}
