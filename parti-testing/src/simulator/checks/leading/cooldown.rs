//! S13: rebalances that can wait keep their distance from the one before, across leaders too.
//!
//! A leader counts from when it learned of the last rebalance, which is never before the store applied
//! it, so the distance shows in true time.

use core::time::Duration;

use crate::simulator::checks::{Check, Findings, Process, Rules, Written};
use parti_core::{Cause, Head, Instant, Key, Record, Version};

#[derive(Debug)]
pub(in crate::simulator) struct Cooldown {
    least: Duration,
    /// The last rebalance and when it was applied.
    last: Option<(Version, Instant)>,
}

impl Cooldown {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            least: rules.shortest_cooldown(),
            last: None,
        }
    }
}

impl Check for Cooldown {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let at = findings.now();
        for write in writes {
            let Some(Record::Head(head)) = write.record() else {
                continue;
            };
            if head.planned != head.version {
                continue;
            }
            let before = self.last.replace((head.version, at));
            if let Some((version, then)) = before
                && can_wait(head)
                && at.since(then) < self.least
            {
                let (cause, after) = (head.cause, at.since(then));
                findings.report(format!(
                    "{process} committed {cause} as version {} only {after:?} after version {version}",
                    head.version
                ));
            }
        }
    }

    fn on_external(&mut self, _: Instant, writes: &[Written]) {
        // Only `head` says when the last rebalance was.
        if writes.iter().any(|write| write.key == Key::Head) {
            self.last = None;
        }
    }
}

const fn can_wait(head: &Head) -> bool {
    match head.cause {
        Cause::PlannedScale | Cause::PartitionsChanged | Cause::WeightsChanged => true,
        Cause::Takeover
        | Cause::Resignation
        | Cause::ColdStart
        | Cause::Restart
        | Cause::Emergency
        | Cause::Drain
        | Cause::Manual
        | Cause::Resume
        | Cause::Unprocessed
        | Cause::Parked
        | Cause::Settings
        | _ => false,
    }
}
