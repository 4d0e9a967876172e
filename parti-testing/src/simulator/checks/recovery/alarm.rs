//! S18a: when nothing goes wrong, nobody loses anything and nobody raises an alarm.
//!
//! It runs only in plans without faults, where every alarm is a false one by definition.

use crate::simulator::checks::{Check, Findings, Process, Written};
use parti_core::{Cause, Notice, Record};

#[derive(Debug)]
pub(in crate::simulator) struct NoAlarm;

impl Check for NoAlarm {
    fn on_notice(&mut self, process: Process, notice: &Notice, findings: &mut Findings) {
        let alarm = matches!(
            notice,
            Notice::LeaseLost { .. }
                | Notice::IdentityLost { .. }
                | Notice::Degraded { .. }
                | Notice::StartFailed(_)
                | Notice::EvictionCancelled { .. }
        );
        if alarm {
            findings.report(format!("{process} raised {notice:?} though nothing failed"));
        }
    }

    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let emergency = writes.iter().any(|write| {
            matches!(write.record(), Some(Record::Head(head)) if head.cause == Cause::Emergency)
        });
        if emergency {
            findings.report(format!(
                "{process} committed an emergency though nobody failed"
            ));
        }
    }
}
