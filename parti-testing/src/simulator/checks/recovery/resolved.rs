//! L10: whatever was asked of a core is answered: a start, a refresh, a trigger. That a stop ends is
//! part of L9, which is told of every process that takes too long.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{Check, Coverage, Fact, Findings, Kind, Process, Standing};
use parti_core::{Instant, Notice, RequestId};

#[derive(Debug, Default)]
struct Open {
    started: bool,
    requests: BTreeSet<RequestId>,
}

#[derive(Debug, Default)]
pub(in crate::simulator) struct Resolved {
    open: BTreeMap<Process, Open>,
}

impl Resolved {
    fn due(&self, coverage: &Coverage, findings: &mut Findings) {
        for worker in &coverage.workers {
            let Some(open) = self.open.get(&worker.process) else {
                continue;
            };
            if worker.standing != Standing::Core {
                continue;
            }
            if !open.started {
                findings.report(format!(
                    "{} began and neither got an ID nor failed",
                    worker.process
                ));
            }
            if !open.requests.is_empty() {
                let requests = &open.requests;
                findings.report(format!("{} never answered {requests:?}", worker.process));
            }
        }
    }
}

impl Check for Resolved {
    fn sees(&self) -> &[Kind] {
        &[
            Kind::Began,
            Kind::Ended,
            Kind::Asked,
            Kind::Notice,
            Kind::Due,
        ]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Began { process } => {
                self.open.insert(*process, Open::default());
            }
            Fact::Ended { process } => {
                self.open.remove(process);
            }
            Fact::Asked { process, request } => {
                let open = self.open.entry(*process).or_default();
                open.requests.insert(*request);
            }
            Fact::Notice { process, notice } => {
                let open = self.open.entry(*process).or_default();
                if matches!(notice, Notice::Claimed { .. } | Notice::StartFailed(_)) {
                    open.started = true;
                } else if let Notice::RequestDone { request, .. }
                | Notice::RequestFailed { request, .. } = notice
                    && !open.requests.remove(request)
                {
                    findings.report(format!("{process} answers {request:?} twice"));
                }
            }
            Fact::Due(coverage) => self.due(coverage, findings),
            Fact::Commit { .. }
            | Fact::Step { .. }
            | Fact::Heard { .. }
            | Fact::Request { .. }
            | Fact::Planned { .. }
            | Fact::Proposes { .. }
            | Fact::Assign { .. }
            | Fact::Revoke { .. }
            | Fact::Released { .. }
            | Fact::Settled { .. }
            | Fact::Panicked { .. }
            | Fact::Foreign { .. }
            | Fact::Healed
            | Fact::Milestone(..)
            | Fact::Over(_) => {}
        }
    }
}
