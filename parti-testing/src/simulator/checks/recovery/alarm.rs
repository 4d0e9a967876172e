//! S18a: when nothing goes wrong, nobody loses anything and nobody raises an alarm.
//!
//! It runs only in plans without faults, where every alarm is a false one by definition.

use crate::simulator::checks::{Check, Fact, Findings, Kind};
use parti_core::{Cause, Instant, Notice, Record};

#[derive(Debug)]
pub(in crate::simulator) struct NoAlarm;

impl Check for NoAlarm {
    fn sees(&self) -> &[Kind] {
        &[Kind::Notice, Kind::Commit]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Notice { process, notice } => {
                let alarm = matches!(
                    notice,
                    Notice::LeaseLost { .. }
                        | Notice::IdentityLost { .. }
                        | Notice::Degraded { .. }
                        | Notice::StartFailed(_)
                        | Notice::EvictionAverted { .. }
                );
                if alarm {
                    findings.report(format!("{process} raised {notice:?} though nothing failed"));
                }
            }
            Fact::Commit { process, writes } => {
                let emergency = writes.iter().any(|write| {
                    matches!(write.record(), Some(Record::Head(head)) if head.cause == Cause::Emergency)
                });
                if emergency {
                    findings.report(format!(
                        "{process} committed an emergency though nobody failed"
                    ));
                }
            }
            Fact::Began { .. }
            | Fact::Ended { .. }
            | Fact::Step { .. }
            | Fact::Request { .. }
            | Fact::Assign { .. }
            | Fact::Revoke { .. }
            | Fact::Released { .. }
            | Fact::Settled { .. }
            | Fact::Panicked { .. }
            | Fact::Heard { .. }
            | Fact::Asked { .. }
            | Fact::Planned { .. }
            | Fact::Proposes { .. }
            | Fact::Foreign { .. }
            | Fact::Healed
            | Fact::Milestone(..)
            | Fact::Due(_)
            | Fact::Over(_) => {}
        }
    }
}
