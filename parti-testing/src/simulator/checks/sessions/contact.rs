//! S16: a leader that does not hear its own renewals come back decides nothing: it plans nothing,
//! evicts nobody and grants nothing.
//!
//! Judged is the moment of the decision. What was decided in contact may be sent after it is lost: the
//! store refuses it if anything it rests on has changed. Taking over and resigning judge nobody.

use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Findings, Planning, Process, Proposal};
use parti_core::{Cause, Instant, WriteId};

#[derive(Debug, Default)]
pub(in crate::simulator) struct InContact {
    planned: BTreeMap<Process, ()>,
    proposed: BTreeMap<Process, WriteId>,
}

impl InContact {
    fn judge(process: Process, local: Instant, what: &str, findings: &mut Findings) {
        let hearing = findings.hearing();
        // A session that was just claimed counts as heard.
        let Some(contact) = hearing.of(process).and_then(|known| known.contact) else {
            return;
        };
        let silence = local.since(contact.echo.1);
        if silence > hearing.patience() {
            findings.report(format!(
                "{process} {what} at {local}, {silence:?} after its last renewal came back"
            ));
        }
    }
}

impl Check for InContact {
    fn on_planned(&mut self, process: Process, planning: &Planning, findings: &mut Findings) {
        let local = planning.local;
        self.planned.insert(process, ());
        Self::judge(process, local, "plans", findings);
    }

    fn on_proposes(&mut self, process: Process, proposal: &Proposal, findings: &mut Findings) {
        let local = proposal.local;
        let again = self.proposed.insert(process, proposal.write) == Some(proposal.write);
        let head = &proposal.head;
        let was_planned = !again && self.planned.remove(&process).is_some();
        let leadership = matches!(head.cause, Cause::Takeover | Cause::Resignation);
        if !again && !was_planned && !leadership {
            Self::judge(process, local, "commits", findings);
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.planned.remove(&process);
        self.proposed.remove(&process);
    }
}
