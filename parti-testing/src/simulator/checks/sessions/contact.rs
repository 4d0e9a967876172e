//! S16: a leader that does not hear its own renewals come back decides nothing: it plans nothing,
//! evicts nobody and grants nothing.
//!
//! Judged is the moment of the decision. What was decided in contact may be sent after it is lost: the
//! store refuses it if anything it rests on has changed. Taking over and resigning judge nobody.

use std::collections::BTreeMap;

use crate::simulator::checks::basis::hearing::{DECISIONS, Hearing};
use crate::simulator::checks::{Check, Fact, Findings, Kind, Process, Rules};
use parti_core::{Cause, Instant, WriteId};

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
    fn sees(&self) -> &[Kind] {
        DECISIONS
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        self.hearing.take_in(fact);
        match fact {
            Fact::Planned { process, local, .. } => {
                self.planned.insert(*process, ());
                self.judge(*process, *local, "plans", findings);
            }
            Fact::Proposes {
                process,
                local,
                proposal,
            } => {
                let again = self.proposed.insert(*process, proposal.write) == Some(proposal.write);
                let head = &proposal.head;
                let was_planned = !again && self.planned.remove(process).is_some();
                let office = matches!(head.cause, Cause::Takeover | Cause::Resignation);
                if !again && !was_planned && !office {
                    self.judge(*process, *local, "commits", findings);
                }
            }
            Fact::Ended { process } => {
                self.planned.remove(process);
                self.proposed.remove(process);
            }
            Fact::Began { .. }
            | Fact::Commit { .. }
            | Fact::Step { .. }
            | Fact::Heard { .. }
            | Fact::Asked { .. }
            | Fact::Request { .. }
            | Fact::Assign { .. }
            | Fact::Revoke { .. }
            | Fact::Released { .. }
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
