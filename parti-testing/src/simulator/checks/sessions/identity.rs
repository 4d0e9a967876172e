//! S18b: an identity is not given up while it can still be held.
//!
//! A process may give up when the store shows another write in place of its own, or when for a full
//! lease no read has shown its last write. Giving up for less is safe and costs every partition of
//! the worker a handoff.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Findings, Process, Rules, Written};
use parti_core::{Epoch, Instant, Key, Notice, Record, WorkerId};

#[derive(Clone, Copy, Debug)]
struct Incarnation {
    epoch: Epoch,
    /// Who wrote it, if it was a process of the group. In another history the same slot may be held
    /// with the same epoch by somebody else.
    by: Option<Process>,
    living: bool,
    written: Instant,
    /// When the write before was applied: the present one was sent no earlier.
    before: Instant,
}

#[derive(Debug)]
pub(in crate::simulator) struct Identity {
    least: Duration,
    sessions: BTreeMap<WorkerId, Incarnation>,
}

impl Identity {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            least: rules.shortest_lease(),
            sessions: BTreeMap::new(),
        }
    }
}

impl Check for Identity {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let at = findings.now();
        self.take_in_all(at, Some(process), writes);
    }

    /// A writer that overwrites a session has taken it, somebody from outside as well.
    fn on_external(&mut self, at: Instant, writes: &[Written]) {
        self.take_in_all(at, None, writes);
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, findings: &mut Findings) {
        let at = findings.now();
        if let Notice::IdentityLost { worker, epoch } = notice
            && let Some(session) = self.sessions.get(worker)
            && session.epoch == *epoch
            && session.by == Some(process)
            && session.living
            && at.since(session.before) < self.least
        {
            findings.report(format!(
                "{process} gives up {worker} of epoch {epoch}, which was renewed at {} and which \
                 nobody has taken",
                session.written
            ));
        }
    }
}

impl Identity {
    fn take_in_all(&mut self, at: Instant, by: Option<Process>, writes: &[Written]) {
        for write in writes {
            if let Key::Session(worker) = &write.key {
                self.take_in(at, by, worker, write);
            }
        }
    }

    fn take_in(&mut self, at: Instant, by: Option<Process>, worker: &WorkerId, write: &Written) {
        let Some(Record::Session(record)) = write.record() else {
            self.sessions.remove(worker);
            return;
        };
        let epoch = match record.epoch {
            Epoch::ZERO => Epoch::from(write.revision),
            epoch => epoch,
        };
        let known = self.sessions.get(worker).filter(|s| s.epoch == epoch);
        let session = Incarnation {
            epoch,
            by: by.and(known.map_or(by, |session| session.by)),
            living: record.status.is_living(),
            written: at,
            before: known.map_or(at, |session| session.written),
        };
        self.sessions.insert(worker.clone(), session);
    }
}
