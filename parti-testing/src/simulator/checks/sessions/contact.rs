//! S16: a leader that does not hear its own renewals come back decides nothing: it plans nothing,
//! evicts nobody and grants nothing.
//!
//! Judged is the moment of the decision. What was decided in contact may be sent after it is lost: the
//! store refuses it if anything it rests on has changed. Taking over and resigning judge nobody.

use std::collections::BTreeMap;

use crate::simulator::checks::basis::hearing::Hearing;
use crate::simulator::checks::{Check, Findings, Planning, Process, Proposal, Rules, Written};
use parti_core::{Cause, Instant, Notice, Revision, WriteId};

#[derive(Debug)]
pub(in crate::simulator) struct InContact {
    hearing: Hearing,
    planned: BTreeMap<Process, ()>,
    proposed: BTreeMap<Process, WriteId>,
}

impl InContact {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            hearing: Hearing::new(rules),
            planned: BTreeMap::new(),
            proposed: BTreeMap::new(),
        }
    }

    fn judge(&self, process: Process, local: Instant, what: &str, findings: &mut Findings) {
        let contact = self.hearing.of(process).and_then(|ear| ear.contact);
        // A session that was just claimed counts as heard.
        let Some(contact) = contact else {
            return;
        };
        let silence = local.since(contact.echo.1);
        if silence > self.hearing.patience() {
            findings.report(format!(
                "{process} {what} at {local}, {silence:?} after its last renewal came back"
            ));
        }
    }
}

impl Check for InContact {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        self.hearing.on_commit(process, writes, findings);
    }

    fn on_external(&mut self, at: Instant, writes: &[Written]) {
        self.hearing.on_external(at, writes);
    }

    fn on_heard(
        &mut self,
        process: Process,
        local: Instant,
        revision: Revision,
        watched: bool,
        findings: &mut Findings,
    ) {
        self.hearing
            .on_heard(process, local, revision, watched, findings);
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, findings: &mut Findings) {
        self.hearing.on_notice(process, notice, findings);
    }

    fn on_planned(&mut self, process: Process, planning: &Planning, findings: &mut Findings) {
        let local = planning.local;
        self.planned.insert(process, ());
        self.judge(process, local, "plans", findings);
    }

    fn on_proposes(&mut self, process: Process, proposal: &Proposal, findings: &mut Findings) {
        let local = proposal.local;
        let again = self.proposed.insert(process, proposal.write) == Some(proposal.write);
        let head = &proposal.head;
        let was_planned = !again && self.planned.remove(&process).is_some();
        let leadership = matches!(head.cause, Cause::Takeover | Cause::Resignation);
        if !again && !was_planned && !leadership {
            self.judge(process, local, "commits", findings);
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.hearing.on_ended(process);
        self.planned.remove(&process);
        self.proposed.remove(&process);
    }
}
