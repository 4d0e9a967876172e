//! S1: in true time, no two processes rely on the same slot; and S2: an incarnation of a slot belongs
//! to one process, and later ones have larger numbers.

use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Findings, Process, StepEnd, Written};
use parti_core::{Epoch, Instant, Key, Notice, Record, SessionStatus, WorkerId};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Leases {
    /// The slot of each process, and until when it relied on it last.
    slots: BTreeMap<Process, (WorkerId, Option<Instant>)>,
    /// Who has claimed a slot and not lost it yet, and until when it relies on it.
    holders: BTreeMap<WorkerId, BTreeMap<Process, Instant>>,
    /// The latest epoch that a later session of the same slot names as its predecessor.
    named: BTreeMap<WorkerId, Epoch>,
}

impl Leases {
    fn leave(&mut self, process: Process) {
        if let Some((worker, _)) = self.slots.remove(&process)
            && let Some(holders) = self.holders.get_mut(&worker)
        {
            holders.remove(&process);
        }
    }

    /// A session that names the earlier ones of its slot relies on nothing that they may hold: what
    /// it is granted is judged by S4 and S9.
    fn name(&mut self, process: Process, write: &Written) {
        let (Key::Session(worker), Some(Record::Session(record))) = (&write.key, write.record())
        else {
            return;
        };
        let Some(last) = record.predecessors.iter().map(|one| one.epoch).max() else {
            return;
        };
        let named = self.named.entry(worker.clone()).or_default();
        *named = last.max(*named);
        let holders = self.holders.get(worker).into_iter().flatten();
        let earlier = holders.map(|(holder, _)| *holder);
        let earlier: Vec<Process> = earlier.filter(|holder| *holder != process).collect();
        earlier.into_iter().for_each(|earlier| self.leave(earlier));
    }

    fn extend(
        &mut self,
        at: Instant,
        process: Process,
        until: Option<Instant>,
        findings: &mut Findings,
    ) {
        let until = until.unwrap_or(Instant::ORIGIN);
        let Some((worker, known)) = self.slots.get_mut(&process) else {
            return;
        };
        // Most steps renew nothing.
        if known.replace(until) == Some(until) {
            return;
        }
        let Some(holders) = self.holders.get_mut(worker) else {
            self.holders
                .insert(worker.clone(), [(process, until)].into());
            return;
        };
        holders.insert(process, until);
        if holders.len() > 1 {
            let valid: Vec<_> = holders.iter().filter(|(_, until)| at < **until).collect();
            if valid.len() > 1 {
                findings.report(format!("all of {valid:?} rely on the same slot"));
            }
            holders.retain(|_, until| at < *until);
        }
    }
}

impl Check for Leases {
    fn on_notice(&mut self, process: Process, notice: &Notice, _: &mut Findings) {
        if let Notice::Claimed { worker, epoch, .. } = notice {
            self.leave(process);
            // It may learn of its claim after a later session has named it.
            if self.named.get(worker).is_none_or(|named| epoch > named) {
                self.slots.insert(process, (worker.clone(), None));
            }
        } else if let Notice::IdentityLost { .. } | Notice::Stopped { .. } = notice {
            self.leave(process);
        }
    }

    fn on_commit(&mut self, process: Process, writes: &[Written], _: &mut Findings) {
        // A worker that gives its slot back holds nothing any more, even if it never learns that the
        // store has taken its word.
        let released = writes.iter().any(|write| {
            matches!(write.record(), Some(Record::Session(record))
                if matches!(record.status, SessionStatus::Released { .. }))
        });
        if released {
            self.leave(process);
        }
        for write in writes {
            self.name(process, write);
        }
    }

    fn on_settled(&mut self, process: Process, end: &StepEnd, findings: &mut Findings) {
        let at = findings.now();
        self.extend(at, process, end.until, findings);
    }

    fn on_ended(&mut self, process: Process) {
        self.leave(process);
    }
}

#[derive(Debug, Default)]
pub(in crate::simulator) struct Epochs {
    last: BTreeMap<WorkerId, (Epoch, Process)>,
}

impl Check for Epochs {
    fn on_notice(&mut self, process: Process, notice: &Notice, findings: &mut Findings) {
        let Notice::Claimed { worker, epoch, .. } = notice else {
            return;
        };
        // A process may learn late that it won a slot which it has lost again since: only the pair
        // must be its own.
        match self.last.get(worker) {
            Some((last, owner)) if last == epoch && *owner != process => findings.report(format!(
                "{process} and {owner} both are {worker} of the epoch {epoch}"
            )),
            Some((last, _)) if last > epoch => {}
            Some(_) | None => {
                self.last.insert(worker.clone(), (*epoch, process));
            }
        }
    }
}
