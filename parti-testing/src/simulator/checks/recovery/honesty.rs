//! S26: what a caller reads agrees with what was told and promises nothing past the deadline.
//!
//! Judged after each step, for the instant of that step: a reader who asks later compares the deadline
//! itself, which is why it is part of the answer.

use std::collections::BTreeMap;

use crate::simulator::checks::{Assigned, Check, Findings, Process, Revoked, Rules, StepEnd};
use parti_core::{Instant, Notice, State, Status};

#[derive(Debug, Default)]
struct Told {
    assigned: usize,
    leads: bool,
}

#[derive(Debug)]
pub(in crate::simulator) struct Honesty {
    exclusive: bool,
    told: BTreeMap<Process, Told>,
}

impl Honesty {
    pub(in crate::simulator) const fn new(rules: &Rules) -> Self {
        Self {
            exclusive: rules.mode.waits(),
            told: BTreeMap::new(),
        }
    }

    /// What is dishonest about a status, if anything.
    fn judge(&self, local: Instant, told: &Told, status: &Status) -> Option<String> {
        let (assigned, leads) = (status.assigned, status.is_leader);
        if assigned != told.assigned {
            let told = told.assigned;
            return Some(format!("reads {assigned} assigned, was told {told}"));
        }
        if leads != told.leads {
            return Some(format!("reads that it leads: {leads}, was told otherwise"));
        }
        if leads && status.worker.is_none() {
            return Some("leads without a session".to_owned());
        }
        let over = status.deadline.is_none_or(|deadline| deadline <= local);
        if self.exclusive && over && assigned > 0 {
            let deadline = status.deadline;
            return Some(format!("reads {assigned} assigned past {deadline:?}"));
        }
        if status.worker.is_none() && (assigned > 0 || status.deadline.is_some()) {
            return Some(format!("reads {assigned} assigned without a session"));
        }
        if status.state == State::Stable && status.leader.is_none() {
            return Some("is stable without a leader".to_owned());
        }
        None
    }
}

impl Check for Honesty {
    fn on_assign(&mut self, process: Process, assigned: &Assigned, _: &mut Findings) {
        self.told.entry(process).or_default().assigned += assigned.grants.len();
    }

    fn on_revoke(&mut self, process: Process, revoked: &Revoked, _: &mut Findings) {
        let grants = &revoked.grants;
        let told = self.told.entry(process).or_default();
        told.assigned = told.assigned.saturating_sub(grants.len());
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, _: &mut Findings) {
        if let Notice::LeadershipGained { .. } | Notice::LeadershipLost { .. } = notice {
            let leads = matches!(notice, Notice::LeadershipGained { .. });
            self.told.entry(process).or_default().leads = leads;
        }
    }

    fn on_settled(&mut self, process: Process, end: &StepEnd, findings: &mut Findings) {
        let Some(status) = &end.status else {
            return;
        };
        let told = self.told.entry(process).or_default();
        let told = Told { ..*told };
        if let Some(reason) = self.judge(end.local, &told, status) {
            findings.report(format!("{process} {reason}"));
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.told.remove(&process);
    }
}
