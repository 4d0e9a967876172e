//! L9 and S18: some time after the faults every partition is held by exactly one living worker under
//! one leader, and from then on nothing happens any more.

use crate::simulator::checks::{Assigned, Check, Coverage, Findings, Process, Revoked, Written};
use parti_core::{Cause, Grant, Key, Record};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Settled {
    calm: bool,
    restless: bool,
    reported: bool,
}

impl Settled {
    fn change(&mut self, process: Process, grants: &[Grant], findings: &mut Findings) {
        if self.calm && !self.reported {
            self.reported = true;
            findings.report(format!(
                "{process} changes {grants:?} though the group had settled"
            ));
        }
    }
}

impl Check for Settled {
    fn on_due(&mut self, coverage: &Coverage, findings: &mut Findings) {
        let pending = coverage.pending();
        self.restless = coverage.restless;
        // With a worker that comes and goes, it is enough to have settled once.
        if coverage.restless && coverage.settled {
            return;
        }
        if !pending.is_empty() && !self.reported {
            self.reported = true;
            findings.report(format!("the group has not settled: {}", pending.join("; ")));
        }
        self.calm = !self.restless;
    }

    fn on_over(&mut self, coverage: &Coverage, findings: &mut Findings) {
        self.on_due(coverage, findings);
    }

    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        if !self.calm || self.reported {
            return;
        }
        let head = writes.iter().find(|write| write.key == Key::Head);
        if let Some(Record::Head(head)) = head.and_then(|write| write.record()) {
            let (version, cause): (_, Cause) = (head.version, head.cause);
            self.reported = true;
            findings.report(format!(
                "{process} committed version {version} ({cause}) though the group had settled"
            ));
        }
    }

    fn on_assign(&mut self, process: Process, assigned: &Assigned, findings: &mut Findings) {
        self.change(process, &assigned.grants, findings);
    }

    fn on_revoke(&mut self, process: Process, revoked: &Revoked, findings: &mut Findings) {
        let grants = &revoked.grants;
        self.change(process, grants, findings);
    }
}
