//! S22: what a degraded worker does and does not.
//!
//! In exclusive mode nothing is held once the lease is lost. In overlap mode the last assignment stays:
//! nothing is revoked for a lost lease. In either mode a degraded leader neither plans nor evicts until
//! it has heard a renewal of its own again; from then on it may, although it calls itself degraded until
//! its health has lasted. A degraded *worker* may still take in a record that reaches it: its session is
//! valid, and S3 sees to it that it does nothing past its deadline.

use std::collections::BTreeMap;

use super::{Check, Fact, Findings, Kind, Process, Proposal, Rules};
use parti_core::{
    Cause, DegradedReason, Instant, Mode, Notice, Revision, RevokeCause, Status, WriteId,
};

#[derive(Debug, Default)]
struct Patient {
    /// Degraded, and nothing of its own heard since.
    deaf: bool,
    /// The lease is lost: nothing may be held at the end of the step.
    lost: bool,
}

#[derive(Debug)]
pub(super) struct Degraded {
    mode: Mode,
    patients: BTreeMap<Process, Patient>,
    proposed: BTreeMap<Process, WriteId>,
    /// Who has heard a renewal of its own in the present step.
    hearing: Option<Process>,
    /// Who wrote each revision of a session.
    writers: Vec<Option<Process>>,
}

impl Degraded {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            mode: rules.mode,
            patients: BTreeMap::new(),
            proposed: BTreeMap::new(),
            hearing: None,
            writers: Vec::new(),
        }
    }

    fn wrote(&mut self, process: Process, revision: Revision) {
        let index = revision.get() as usize;
        if self.writers.len() <= index {
            self.writers.resize(index + 1, None);
        }
        self.writers[index] = Some(process);
    }

    fn hear(&mut self, process: Process, revision: Revision) {
        let writer = self.writers.get(revision.get() as usize).copied().flatten();
        if writer != Some(process) {
            return;
        }
        self.hearing = Some(process);
        if let Some(patient) = self.patients.get_mut(&process) {
            patient.deaf = false;
        }
    }

    fn propose(&mut self, process: Process, proposal: &Proposal, findings: &mut Findings) {
        // What was sent before may be sent again until its outcome is clear.
        let again = self.proposed.insert(process, proposal.write) == Some(proposal.write);
        let evictions = &proposal.evictions;
        let deaf = self.patients.get(&process).is_some_and(|p| p.deaf);
        if deaf && !again && !evictions.is_empty() && proposal.head.cause != Cause::Takeover {
            findings.report(format!("{process} is degraded and ends {evictions:?}"));
        }
    }

    fn settle(&mut self, process: Process, status: &Status, findings: &mut Findings) {
        let Some(patient) = self.patients.get_mut(&process) else {
            return;
        };
        if core::mem::take(&mut patient.lost) && status.assigned > 0 {
            let assigned = status.assigned;
            findings.report(format!(
                "{process} has lost its lease and processes {assigned} partitions"
            ));
        }
    }
}

impl Check for Degraded {
    fn sees(&self) -> &[Kind] {
        &[
            Kind::Commit,
            Kind::Heard,
            Kind::Notice,
            Kind::Ended,
            Kind::Planned,
            Kind::Proposes,
            Kind::Revoke,
            Kind::Settled,
        ]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Commit { process, writes } => {
                for write in writes.iter().filter(|write| write.name.starts_with("w.")) {
                    self.wrote(*process, write.revision);
                }
            }
            Fact::Heard {
                process, revision, ..
            } => self.hear(*process, *revision),
            Fact::Notice {
                process,
                notice: Notice::Degraded { reason },
            } => {
                let patient = self.patients.entry(*process).or_default();
                patient.deaf = self.hearing != Some(*process);
                patient.lost = *reason == DegradedReason::LeaseLost && self.mode == Mode::Exclusive;
            }
            Fact::Notice {
                process,
                notice: Notice::Recovered | Notice::IdentityLost { .. },
            } => {
                self.patients.remove(process);
            }
            Fact::Ended { process } => {
                self.patients.remove(process);
                self.proposed.remove(process);
            }
            Fact::Planned { process, .. } => {
                if self.patients.get(process).is_some_and(|p| p.deaf) {
                    findings.report(format!("{process} plans while it is degraded"));
                }
            }
            Fact::Proposes {
                process, proposal, ..
            } => {
                self.propose(*process, proposal, findings);
            }
            Fact::Revoke {
                process,
                grants,
                cause: RevokeCause::LeaseLost,
            } if self.mode == Mode::Overlap => {
                findings.report(format!(
                    "{process} gives up {grants:?} though it is to go on without the store"
                ));
            }
            Fact::Settled {
                process, status, ..
            } => {
                self.hearing = None;
                if let Some(status) = status {
                    self.settle(*process, status, findings);
                }
            }
            Fact::Began { .. }
            | Fact::Step { .. }
            | Fact::Asked { .. }
            | Fact::Request { .. }
            | Fact::Assign { .. }
            | Fact::Revoke { .. }
            | Fact::Released { .. }
            | Fact::Notice { .. }
            | Fact::Panicked { .. }
            | Fact::Foreign { .. }
            | Fact::Healed
            | Fact::Milestone(..)
            | Fact::Due(_)
            | Fact::Over(_) => {}
        }
    }
}
