//! L9 and S18: some time after the faults every partition is held by exactly one living worker under
//! one leader, and from then on nothing happens any more.

use crate::simulator::checks::{Check, Fact, Findings, Kind};
use parti_core::{Cause, Instant, Key, Record};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Settled {
    calm: bool,
    restless: bool,
    reported: bool,
}

impl Check for Settled {
    fn sees(&self) -> &[Kind] {
        &[
            Kind::Due,
            Kind::Over,
            Kind::Commit,
            Kind::Assign,
            Kind::Revoke,
        ]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Due(coverage) | Fact::Over(coverage) => {
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
            Fact::Commit { process, writes } if self.calm && !self.reported => {
                let head = writes.iter().find(|write| write.key == Key::Head);
                if let Some(Record::Head(head)) = head.and_then(|write| write.record()) {
                    let (version, cause): (_, Cause) = (head.version, head.cause);
                    self.reported = true;
                    findings.report(format!(
                        "{process} committed version {version} ({cause}) though the group had settled"
                    ));
                }
            }
            Fact::Assign {
                process, grants, ..
            }
            | Fact::Revoke {
                process, grants, ..
            } if self.calm && !self.reported => {
                self.reported = true;
                findings.report(format!(
                    "{process} changes {grants:?} though the group had settled"
                ));
            }
            Fact::Began { .. }
            | Fact::Ended { .. }
            | Fact::Commit { .. }
            | Fact::Step { .. }
            | Fact::Request { .. }
            | Fact::Assign { .. }
            | Fact::Revoke { .. }
            | Fact::Released { .. }
            | Fact::Notice { .. }
            | Fact::Settled { .. }
            | Fact::Panicked { .. }
            | Fact::Heard { .. }
            | Fact::Asked { .. }
            | Fact::Planned { .. }
            | Fact::Proposes { .. }
            | Fact::Healed
            | Fact::Foreign { .. }
            | Fact::Milestone(..) => {}
        }
    }
}
