//! S22: what a degraded worker does and does not.
//!
//! In exclusive mode nothing is held once the lease is lost. In overlap mode the last assignment stays:
//! nothing is revoked for a lost lease, by a worker that knows that overlap is what the group asks for:
//! it says so in its session, and may rely on it once a renewal that says so was answered.
//!
//! In either mode a degraded leader neither plans nor evicts until it has heard a renewal of its own
//! again; from then on it may, although it calls itself degraded until its health has lasted. A degraded
//! *worker* may still take in a record that reaches it: its session is valid, and S3 sees to it that it
//! does nothing past its deadline.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::simulator::checks::{
    Check, Findings, Planning, Process, Proposal, Revoked, Rules, StepEnd, Written,
};
use parti_core::{
    Cause, DegradedReason, Instant, Key, Mode, Notice, Record, Revision, RevokeCause, WriteId,
};

#[derive(Debug, Default)]
struct Suspended {
    /// Degraded, and nothing of its own heard since.
    no_echo: bool,
    /// The lease is lost: nothing may be held at the end of the step.
    lost: bool,
}

#[derive(Debug)]
pub(in crate::simulator) struct Degraded {
    mode: Mode,
    lease: Duration,
    processes: BTreeMap<Process, Suspended>,
    proposed: BTreeMap<Process, WriteId>,
    /// Who has heard a renewal of its own in the present step.
    hearing: Option<Process>,
    /// Who wrote each revision of a session.
    writers: Vec<Option<Process>>,
    strict: Strict,
}

/// Who may obey exclusive in a group that is to overlap.
#[derive(Debug, Default)]
struct Strict {
    /// When a session first said overlap after it had said exclusive; `None` while it says exclusive.
    loosened: BTreeMap<Process, Option<Instant>>,
    /// Revisions of `head` that ask for exclusive, or that nobody can read; and all the others.
    heads: BTreeMap<Revision, bool>,
    /// Who was last shown a head that asks for exclusive.
    asked: BTreeMap<Process, bool>,
}

impl Strict {
    fn write(&mut self, at: Instant, process: Option<Process>, writes: &[Written]) {
        for write in writes {
            self.write_one(at, process, write);
        }
    }

    fn write_one(&mut self, at: Instant, process: Option<Process>, write: &Written) {
        match (&write.key, write.record(), process) {
            (Key::Head, Some(Record::Head(head)), _) => {
                let strict = head.agreed.mode.waits();
                self.heads.insert(write.revision, strict);
                // Its writer hears of it by the answer.
                if let Some(process) = process.filter(|_| strict) {
                    self.asked.insert(process, true);
                }
            }
            (Key::Head, _, _) => {
                self.heads.insert(write.revision, true);
            }
            (Key::Session(_), Some(Record::Session(record)), Some(process))
                if record.status.is_living() =>
            {
                if record.honours.waits() {
                    self.loosened.insert(process, None);
                } else {
                    self.loosened.entry(process).or_default().get_or_insert(at);
                }
            }
            _ => {}
        }
    }

    fn hear(&mut self, process: Process, revision: Revision) {
        if let Some(&strict) = self.heads.get(&revision) {
            self.asked.insert(process, strict);
        }
    }

    /// The lease that is lost counts from a renewal that may have said exclusive.
    fn excuses(&self, at: Instant, process: Process, lease: Duration) -> bool {
        let loosened = self.loosened.get(&process).copied().flatten();
        let asked = self.asked.get(&process).copied().unwrap_or_default();
        asked || loosened.is_none_or(|since| at.since(since) < lease + lease / 5)
    }
}

impl Degraded {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            mode: rules.mode,
            processes: BTreeMap::new(),
            proposed: BTreeMap::new(),
            hearing: None,
            writers: Vec::new(),
            strict: Strict::default(),
            // Some promise three times as much in a group of different settings.
            lease: rules.lease * if rules.mixed { 3 } else { 1 },
        }
    }

    fn wrote(&mut self, process: Process, writes: &[Written]) {
        for write in writes.iter().filter(|write| write.name.starts_with("w.")) {
            let index = write.revision.get() as usize;
            if self.writers.len() <= index {
                self.writers.resize(index + 1, None);
            }
            self.writers[index] = Some(process);
        }
    }

    fn lacks_echo(&self, process: Process) -> bool {
        self.processes.get(&process).is_some_and(|p| p.no_echo)
    }
}

impl Check for Degraded {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let at = findings.now();
        self.wrote(process, writes);
        self.strict.write(at, Some(process), writes);
    }

    fn on_external(&mut self, at: Instant, writes: &[Written]) {
        self.strict.write(at, None, writes);
    }

    fn on_heard(
        &mut self,
        process: Process,
        _: Instant,
        revision: Revision,
        _: bool,
        _: &mut Findings,
    ) {
        self.strict.hear(process, revision);
        let writer = self.writers.get(revision.get() as usize).copied().flatten();
        if writer != Some(process) {
            return;
        }
        self.hearing = Some(process);
        if let Some(suspended) = self.processes.get_mut(&process) {
            suspended.no_echo = false;
        }
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, _: &mut Findings) {
        if let Notice::Degraded { reason } = notice {
            let suspended = self.processes.entry(process).or_default();
            suspended.no_echo = self.hearing != Some(process);
            suspended.lost = *reason == DegradedReason::LeaseLost && self.mode.waits();
        } else if let Notice::Recovered | Notice::IdentityLost { .. } = notice {
            self.processes.remove(&process);
        }
    }

    fn on_planned(&mut self, process: Process, _: &Planning, findings: &mut Findings) {
        if self.lacks_echo(process) {
            findings.report(format!("{process} plans while it is degraded"));
        }
    }

    fn on_proposes(&mut self, process: Process, proposal: &Proposal, findings: &mut Findings) {
        // What was sent before may be sent again until its outcome is clear.
        let again = self.proposed.insert(process, proposal.write) == Some(proposal.write);
        let evictions = &proposal.evictions;
        if self.lacks_echo(process)
            && !again
            && !evictions.is_empty()
            && proposal.head.cause != Cause::Takeover
        {
            findings.report(format!("{process} is degraded and ends {evictions:?}"));
        }
    }

    fn on_revoke(&mut self, process: Process, revoked: &Revoked, findings: &mut Findings) {
        let at = findings.now();
        let cause = revoked.cause;
        let grants = &revoked.grants;
        if cause == RevokeCause::LeaseLost
            && self.mode == Mode::Overlap
            && !self.strict.excuses(at, process, self.lease)
        {
            findings.report(format!(
                "{process} gives up {grants:?} though it is to go on without the store"
            ));
        }
    }

    fn on_settled(&mut self, process: Process, end: &StepEnd, findings: &mut Findings) {
        self.hearing = None;
        let (Some(status), Some(suspended)) = (&end.status, self.processes.get_mut(&process))
        else {
            return;
        };
        if core::mem::take(&mut suspended.lost) && status.assigned > 0 {
            let assigned = status.assigned;
            findings.report(format!(
                "{process} has lost its lease and processes {assigned} partitions"
            ));
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.processes.remove(&process);
        self.proposed.remove(&process);
    }
}
