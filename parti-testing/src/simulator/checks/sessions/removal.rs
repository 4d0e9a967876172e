//! S10, S21, S24: how a session may be overwritten by somebody else.
//!
//! A renewal continues the record of the same session; a claim follows an ended or silent one; an
//! eviction is conditional on what was seen. "Silent" is judged in true time by the shortest time a
//! full lease can take on any clock.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Findings, Process, Rules, Written};
use parti_core::{
    Epoch, Expect, Instant, Key, Nonce, Record, Revision, SessionRecord, SessionStatus, WorkerId,
};

#[derive(Clone, Copy, Debug)]
struct LivingSession {
    nonce: Nonce,
    epoch: Epoch,
    process: Process,
    status: SessionStatus,
    /// What it promises at least, if that is more than is usual here.
    lease: Duration,
    written: Instant,
}

#[derive(Debug)]
pub(in crate::simulator) struct Removal {
    lease: Duration,
    sessions: BTreeMap<WorkerId, LivingSession>,
}

impl Removal {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            lease: rules.shortest_lease(),
            sessions: BTreeMap::new(),
        }
    }

    /// What is wrong with a write of a session, if anything.
    fn judge(
        &self,
        at: Instant,
        before: Option<&LivingSession>,
        write: &Written,
        by: Process,
    ) -> Option<&'static str> {
        let conditional = match write.expect {
            Expect::Absent => before.is_none() || write.previous == Revision::ZERO,
            Expect::Revision(revision) => revision == write.previous,
            Expect::Any => false,
        };
        if !conditional {
            return Some("unconditionally");
        }
        let silent =
            |session: &LivingSession| at.since(session.written) >= self.lease.max(session.lease);
        match (before, write.record()) {
            (None, Some(Record::Session(record))) if record.status == SessionStatus::Active => None,
            (None, _) => Some("though there was no session"),
            (Some(before), None) => before.status.is_living().then_some("away while it lived"),
            (Some(before), Some(Record::Session(record))) => {
                judge_successor(before, record, by, silent(before))
            }
            (Some(_), Some(_)) => Some("with a record of another kind"),
        }
    }
}

/// A claim names no epoch: the revision at which it is written becomes it.
fn epoch_of(said: Epoch, written: Revision) -> Epoch {
    if said == Epoch::ZERO {
        Epoch::from(written)
    } else {
        said
    }
}

fn judge_successor(
    before: &LivingSession,
    record: &SessionRecord,
    by: Process,
    silent: bool,
) -> Option<&'static str> {
    let living = before.status.is_living();
    match record.status {
        SessionStatus::Evicted { silent: claimed } => {
            if !living {
                Some("evicted though it had ended")
            } else if claimed && !silent {
                Some("evicted as silent though it was renewed within the lease")
            } else {
                None
            }
        }
        SessionStatus::Suspected => (!living).then_some("suspected though it had ended"),
        // A worker that takes its own slot again has given up what it held before.
        SessionStatus::Active if before.nonce != record.nonce() => {
            // A process may follow itself: what it held it has given up. Another one has to name it.
            let named = record.predecessors.iter().any(|n| n.epoch == before.epoch);
            (living && !silent && before.process != by && !named)
                .then_some("claimed while it lived")
        }
        SessionStatus::Active | SessionStatus::Draining | SessionStatus::Released { .. } => {
            if before.nonce != record.nonce() || before.process != by {
                Some("written by another session")
            } else if !living {
                Some("revived after its end")
            } else {
                None
            }
        }
    }
}

impl Check for Removal {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let at = findings.now();
        for write in writes {
            let Key::Session(worker) = &write.key else {
                continue;
            };
            let before = self.sessions.get(worker);
            if let Some(reason) = self.judge(at, before, write, process) {
                let expect = write.expect;
                findings.report(format!(
                    "{process} wrote the session of {worker} {reason}: {expect:?}, {:?}, before it \
                     {before:?}",
                    write.value
                ));
            }
            let Some(Record::Session(record)) = write.record() else {
                self.sessions.remove(worker);
                continue;
            };
            let evicted = matches!(
                record.status,
                SessionStatus::Evicted { .. } | SessionStatus::Suspected
            );
            let kept = before.filter(|_| evicted).copied();
            let mut session = kept.unwrap_or(LivingSession {
                nonce: record.nonce(),
                epoch: epoch_of(record.epoch, write.revision),
                process,
                status: record.status,
                lease: Duration::ZERO,
                written: at,
            });
            session.status = record.status;
            self.sessions.insert(worker.clone(), session);
        }
    }

    /// A session that somebody else wrote counts from then on, as nobody's.
    fn on_external(&mut self, at: Instant, writes: &[Written]) {
        for write in writes {
            let Key::Session(worker) = &write.key else {
                continue;
            };
            // One of another release says for how long it counts. Clocks run at different rates.
            let (status, lease, epoch) = match write.record() {
                Some(Record::Session(record)) => {
                    (record.status, record.lease / 10 * 9, record.epoch)
                }
                Some(_) | None => (SessionStatus::Active, Duration::ZERO, Epoch::ZERO),
            };
            let session = LivingSession {
                nonce: Nonce::new(0),
                epoch: epoch_of(epoch, write.revision),
                process: Process {
                    node: u16::MAX,
                    run: 0,
                },
                status,
                lease,
                written: at,
            };
            self.sessions.insert(worker.clone(), session);
        }
    }
}
