//! L10: whatever was asked of a core is answered: a start, a refresh, a trigger. That a stop ends is
//! part of L9, which is told of every process that takes too long.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{Check, Coverage, Findings, Process, Standing};
use parti_core::{Notice, RequestId};

#[derive(Debug, Default)]
struct Open {
    started: bool,
    requests: BTreeSet<RequestId>,
}

#[derive(Debug, Default)]
pub(in crate::simulator) struct Resolved {
    open: BTreeMap<Process, Open>,
}

impl Check for Resolved {
    fn on_began(&mut self, process: Process) {
        self.open.insert(process, Open::default());
    }

    fn on_ended(&mut self, process: Process) {
        self.open.remove(&process);
    }

    fn on_asked(&mut self, process: Process, request: RequestId) {
        let open = self.open.entry(process).or_default();
        open.requests.insert(request);
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, findings: &mut Findings) {
        let open = self.open.entry(process).or_default();
        if matches!(notice, Notice::Claimed { .. } | Notice::StartFailed(_)) {
            open.started = true;
        } else if let Notice::RequestDone { request, .. } | Notice::RequestFailed { request, .. } =
            notice
            && !open.requests.remove(request)
        {
            findings.report(format!("{process} answers {request:?} twice"));
        }
    }

    fn on_due(&mut self, coverage: &Coverage, findings: &mut Findings) {
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
