//! S13: rebalances that can wait keep their distance from the one before, across leaders too.
//!
//! A leader counts from when it learned of the last rebalance, which is never before the store applied
//! it, so the distance shows in true time.

use core::time::Duration;

use crate::simulator::checks::{Check, Fact, Findings, Kind, Rules};
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
    fn sees(&self) -> &[Kind] {
        &[Kind::Commit, Kind::Foreign]
    }

    fn observe(&mut self, at: Instant, fact: &Fact, findings: &mut Findings) {
        if let Fact::Foreign { writes } = fact {
            // Only `head` says when the last rebalance was.
            if writes.iter().any(|write| write.key == Key::Head) {
                self.last = None;
            }
            return;
        }
        let Fact::Commit { process, writes } = fact else {
            return;
        };
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
