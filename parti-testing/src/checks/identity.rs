//! S18b: an identity is not given up while it can still be held.
//!
//! A process may give up when the store shows another write in place of its own, or when for a full
//! lease no read has shown its last write. Giving up for less is safe and costs every partition of
//! the worker a hand-over.

use core::time::Duration;
use std::collections::BTreeMap;

use super::{Check, Fact, Findings, Kind, Rules, Written};
use parti_core::{Epoch, Instant, Key, Notice, Record, WorkerId};

#[derive(Clone, Copy, Debug)]
struct Session {
    epoch: Epoch,
    living: bool,
    written: Instant,
    /// When the write before was applied: the present one was sent no earlier.
    before: Instant,
}

#[derive(Debug)]
pub(super) struct Identity {
    least: Duration,
    sessions: BTreeMap<WorkerId, Session>,
}

impl Identity {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            least: rules.shortest_lease(),
            sessions: BTreeMap::new(),
        }
    }
}

impl Check for Identity {
    fn sees(&self) -> &[Kind] {
        &[Kind::Commit, Kind::Foreign, Kind::Notice]
    }

    fn observe(&mut self, at: Instant, fact: &Fact, findings: &mut Findings) {
        // Whoever overwrites a session has taken it, somebody from outside as well.
        if let Fact::Commit { writes, .. } | Fact::Foreign { writes } = fact {
            for write in writes {
                if let Key::Session(worker) = &write.key {
                    self.take_in(at, worker, write);
                }
            }
        } else if let Fact::Foreign { writes } = fact {
            // A seat that somebody else has written is lost for good.
            for write in writes {
                if let Key::Session(worker) = &write.key {
                    self.sessions.remove(worker);
                }
            }
        } else if let Fact::Notice {
            process,
            notice: Notice::IdentityLost { worker, epoch },
        } = fact
            && let Some(session) = self.sessions.get(worker)
            && session.epoch == *epoch
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
    fn take_in(&mut self, at: Instant, worker: &WorkerId, write: &Written) {
        let Some(Record::Session(record)) = write.record() else {
            self.sessions.remove(worker);
            return;
        };
        let epoch = match record.epoch {
            Epoch::ZERO => Epoch::from(write.revision),
            epoch => epoch,
        };
        let known = self.sessions.get(worker).filter(|s| s.epoch == epoch);
        let session = Session {
            epoch,
            living: record.status.is_living(),
            written: at,
            before: known.map_or(at, |session| session.written),
        };
        self.sessions.insert(worker.clone(), session);
    }
}
