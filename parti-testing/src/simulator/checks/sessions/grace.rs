//! S15: a session is ended as silent only when the leader has known the judged revision for the whole
//! patience, in contact all the while; and the loss of most at once only after the window of a restart.
//!
//! Recomputed from what was shown to the leader, on the leader's clock. The limit is inclusive: an
//! eviction at exactly the end of the patience is right, a nanosecond before it is not.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::simulator::checks::basis::hearing::Known;
use crate::simulator::checks::{Check, Eviction, Findings, Planning, Process, Proposal, Rules};
use parti_core::{Instant, Notice, WriteId};

#[derive(Debug)]
pub(in crate::simulator) struct Grace {
    patience: Duration,
    restart_ratio: f64,
    restart_window: Duration,
    /// A plan that was asked for and not proposed yet: when, and what was known then.
    decided: BTreeMap<Process, (Instant, Known)>,
    proposed: BTreeMap<Process, WriteId>,
}

impl Grace {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            patience: (rules.heartbeat * 3 / 2 + rules.grace).max(rules.lease),
            restart_ratio: rules.restart_ratio,
            restart_window: rules.windows.0,
            decided: BTreeMap::new(),
            proposed: BTreeMap::new(),
        }
    }

    /// From when on the eviction is right, if it ever is.
    fn due(&self, known: &Known, eviction: &Eviction) -> Result<Option<Instant>, &'static str> {
        let Some(judged) = eviction.judged else {
            // The key was removed by an external writer: there is no revision to count from.
            return Ok(None);
        };
        match known.sessions.get(&eviction.worker) {
            // A newer revision was shown meanwhile: the store will refuse the eviction.
            Some(heard) if heard.revision > judged => Ok(None),
            Some(heard) if heard.revision == judged => {
                let contact = known.contact.ok_or("without ever having had contact")?;
                let lost = heard.at.max(contact.since) + self.patience.max(heard.lease);
                Ok(Some(lost.max(contact.judges_from)))
            }
            Some(_) | None => Err("of a revision it was never shown"),
        }
    }

    fn judge(
        &self,
        process: Process,
        (decided, known): &(Instant, Known),
        evictions: &[Eviction],
        findings: &mut Findings,
    ) {
        let decided = *decided;
        let (mut lost, mut first) = (0_usize, None::<Instant>);
        for eviction in evictions.iter().filter(|eviction| eviction.is_silent()) {
            match self.due(known, eviction) {
                Err(reason) => findings.report(format!("{process} proposes {eviction:?} {reason}")),
                Ok(Some(due)) if decided < due => findings.report(format!(
                    "{process} decides at {decided} on {eviction:?}, which is due at {due}; it knows {:?} \
                     and has {:?}",
                    known.sessions.get(&eviction.worker),
                    known.contact
                )),
                Ok(due) => {
                    lost += 1;
                    first = first.into_iter().chain(due).min();
                }
            }
        }
        let group = known.sessions.values().filter(|s| s.status.is_living());
        let share = lost as f64 / group.count().max(1) as f64;
        if let Some(first) = first
            && lost > 1
            && share > self.restart_ratio
            && decided < first + self.restart_window
        {
            findings.report(format!(
                "{process} ends {lost} sessions at {decided}, most of the group, without waiting \
                 for their return since {first}"
            ));
        }
    }
}

impl Check for Grace {
    fn on_notice(&mut self, process: Process, notice: &Notice, _: &mut Findings) {
        if let Notice::StepFailed { .. } | Notice::PlanUnchanged { .. } = notice {
            self.decided.remove(&process);
        }
    }

    fn on_planned(&mut self, process: Process, planning: &Planning, findings: &mut Findings) {
        let local = planning.local;
        let known = findings.hearing().of(process).cloned().unwrap_or_default();
        self.decided.insert(process, (local, known));
    }

    fn on_proposes(&mut self, process: Process, proposal: &Proposal, findings: &mut Findings) {
        let local = proposal.local;
        if self.proposed.insert(process, proposal.write) != Some(proposal.write) {
            // What is decided without a plan is sent at once.
            let now = || {
                let known = findings.hearing().of(process).cloned();
                (local, known.unwrap_or_default())
            };
            let decided = self.decided.remove(&process).unwrap_or_else(now);
            self.judge(process, &decided, &proposal.evictions, findings);
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.decided.remove(&process);
        self.proposed.remove(&process);
    }
}
