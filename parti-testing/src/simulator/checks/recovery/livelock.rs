//! L11: after the faults a group comes to rest in a bounded number of generations.
//!
//! One that keeps a worker which comes and goes may need more: that one is brought in and put out again,
//! and the time between must grow. Steps of a handoff that bring it nearer to its end do not count:
//! there are no more of them than partitions, however slowly these are released.

use std::collections::BTreeSet;

use crate::simulator::checks::{Check, Coverage, Findings, Process, Written};
use parti_core::{Cause, Key, Record};

/// Generations that any group may need: take-overs, restarts, a cold start, a list that changed.
const BASE: usize = 20;
/// Generations for each process: it joins, and its partitions are handed over one by one.
const EACH: usize = 15;

#[derive(Debug, Default)]
pub(in crate::simulator) struct Livelock {
    healed: bool,
    causes: Vec<Cause>,
    /// How much of the handoff was left at the last generation.
    unfinished: u32,
    processes: BTreeSet<Process>,
}

impl Check for Livelock {
    fn on_healed(&mut self) {
        self.healed = true;
    }

    fn on_commit(&mut self, process: Process, writes: &[Written], _: &mut Findings) {
        if !self.healed {
            return;
        }
        self.processes.insert(process);
        let head = writes.iter().find(|write| write.key == Key::Head);
        if let Some(Record::Head(head)) = head.and_then(|write| write.record()) {
            let begins = head.planned == head.version;
            // Taking a partition away brings it nearer, too, if its next owner had to get ready first; so
            // does telling that one.
            let audits = writes.iter().filter_map(|write| match write.record() {
                Some(Record::Audit(entry)) => Some(entry),
                _ => None,
            });
            let moves = audits
                .flat_map(|entry| &entry.changes)
                .any(|change| !change.lost.is_empty());
            let moves = moves || writes.iter().any(tells_to_prepare);
            if begins || (head.unfinished >= self.unfinished && !moves) {
                self.causes.push(head.cause);
            }
            self.unfinished = head.unfinished;
        }
    }

    fn on_due(&mut self, _: &Coverage, findings: &mut Findings) {
        let (count, most) = (self.causes.len(), BASE + EACH * self.processes.len());
        if count > most {
            let last = &self.causes[count.saturating_sub(20)..];
            findings.report(format!(
                "{count} generations since the faults, more than {most}; the last: {last:?}"
            ));
        }
    }
}

/// Whether a worker is told to get ready for something new.
fn tells_to_prepare(write: &Written) -> bool {
    let Some(Record::Assignment(record)) = write.record() else {
        return false;
    };
    let mut told = record.preparing.iter();
    told.any(|told| told.version == record.version)
}
