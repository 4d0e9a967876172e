//! S33 and S34: what has to go on although leaders follow each other.
//!
//! S33: nobody steps down for a source that fails, while the records name a list: the next
//! leader would ask the same source. S34: without faults the first plan comes within the windows of a
//! cold start, however many leaders there are meanwhile.

use core::time::Duration;
use std::collections::BTreeSet;

use crate::simulator::checks::{AppliedCommit, Check, Findings, Process, Rules, Written};
use parti_core::{Instant, Key, Notice, Record, StepDownReason, Version, WorkerId};

/// What a simulated source says when it is down for everybody.
pub(crate) const SOURCE_DOWN: &str = "the source is down for everybody";

/// S33.
#[derive(Debug, Default)]
pub(in crate::simulator) struct SourceIsNoReason {
    /// Whose records grant something.
    granted: BTreeSet<WorkerId>,
    /// Whether `head` says that there was a plan.
    planned: bool,
    /// Who met records that it cannot read: it does not know what they name.
    puzzled: BTreeSet<Process>,
}

impl SourceIsNoReason {
    fn take_in(&mut self, writes: &[Written]) {
        for write in writes {
            if write.key == Key::Head {
                self.planned = matches!(write.record(),
                    Some(Record::Head(head)) if head.planned > Version::ZERO);
            }
            if let Key::Assignment(worker) = &write.key {
                let grants = matches!(write.record(),
                    Some(Record::Assignment(record)) if !record.granted.is_empty());
                if grants {
                    self.granted.insert(worker.clone());
                } else {
                    self.granted.remove(worker);
                }
            }
        }
    }
}

impl Check for SourceIsNoReason {
    fn on_commit(&mut self, _: Process, writes: &[Written], _: &mut Findings) {
        self.take_in(writes);
    }

    fn on_external(&mut self, _: Instant, writes: &[Written]) {
        self.take_in(writes);
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, findings: &mut Findings) {
        if let Notice::RecordIgnored { .. } = notice {
            self.puzzled.insert(process);
        }
        if let Notice::LeadershipLost { reason, .. } = notice
            && let StepDownReason::Failing(last) = reason
            && last.contains(SOURCE_DOWN)
            && self.planned
            && !self.granted.is_empty()
            && !self.puzzled.contains(&process)
        {
            findings.report(format!("{process} steps down: {last}"));
        }
    }

    fn lose_history(&mut self, kept: &[AppliedCommit]) {
        self.granted.clear();
        self.planned = false;
        kept.iter().for_each(|commit| self.take_in(&commit.writes));
    }
}

/// S34.
#[derive(Debug)]
pub(in crate::simulator) struct ColdStartEnds {
    bound: Duration,
    /// When the first session began.
    since: Option<Instant>,
    /// A plan was committed, or it is reported that none was.
    done: bool,
}

impl ColdStartEnds {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        // Twice the window when somebody joins all the time, and elections in between.
        let bound = rules.windows.0 * 2 + rules.lease * 4 + rules.heartbeat * 8;
        Self {
            bound,
            since: None,
            done: false,
        }
    }

    fn take_in(&mut self, at: Instant, writes: &[Written]) {
        for write in writes {
            match write.record() {
                Some(Record::Session(_)) => {
                    self.since.get_or_insert(at);
                }
                Some(Record::Head(head)) => self.done |= head.planned > Version::ZERO,
                _ => {}
            }
        }
    }
}

impl Check for ColdStartEnds {
    fn on_commit(&mut self, _: Process, writes: &[Written], findings: &mut Findings) {
        let at = findings.now();
        self.take_in(at, writes);
        if self.done {
            return;
        }
        if let Some(since) = self.since.filter(|since| at.since(*since) > self.bound) {
            self.done = true;
            findings.report(format!(
                "nothing is planned at {at}, though workers are there since {since}"
            ));
        }
    }
}
