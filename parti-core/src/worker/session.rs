//! Keeping a session: renewal by revision, acknowledgement, and the local deadline.
//!
//! What always holds: the deadline counts from the *first sending* of the last applied renewal; one
//! renewal is in flight at a time; a session found overwritten is lost for good.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Mode;
use crate::io::effect::{Wake, WakeReason};
use crate::io::event::{OpId, OpOwner};
use crate::link::attempt::{Attempt, Outcome};
use crate::link::circuits::Gate;
use crate::link::cx::Cx;
use crate::model::id::{Epoch, Nonce, Revision, Version, WorkerId, WriteId};
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{Expect, StoreError, StoreInfo, StoreReply, Write};
use crate::records::agreement::GroupSettings;
use crate::records::keys::session_key;
use crate::records::problem::Bulletin;
use crate::records::record::{
    Predecessor, Readiness, Record, Remains, SessionRecord, SessionStatus,
};
use crate::records::seen::Seen;
use crate::worker::claim::Claimed;
use crate::worker::claim::choice::Pending;
use crate::worker::holdings::Holdings;

/// A session this process holds.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) worker: WorkerId,
    pub(crate) nonce: Nonce,
    pub(crate) epoch: Epoch,
    /// When it learned that it has the session.
    began: Instant,
    /// The revision of the last applied write.
    pub(crate) revision: Revision,
    /// Until when the session may be relied on, on the local clock.
    pub(crate) deadline: Instant,
    /// Renewals sent up to this prove nothing. A clock that stood still shows the same time before
    /// and after.
    trusted_from: Instant,
    seq: u64,
    status: SessionStatus,
    /// What the next renewal says that the guards obey, and what the last one that counts said.
    promise: Mode,
    pub(crate) promised: Mode,
    /// Digest of the partition list of this worker's own source, if it is another than the group's.
    list: Option<u128>,
    renewal: Renewal,
    /// When to renew out of turn because there is something to say.
    acknowledge_at: Option<Instant>,
    /// The largest value the store takes.
    max_value: usize,
    /// The last version said to be taken in, and what was still worked on of what it took away.
    told: (Version, Vec<PartitionKey>),
    /// Since when it has been valid without being of use.
    idle_since: Option<Instant>,
    /// Earlier sessions of the slot that may not have ended.
    predecessors: Vec<Pending>,
    /// What the next renewals tell everybody.
    bulletin: Option<Bulletin>,
    /// Whether its process answers probes.
    answers: bool,
}

#[derive(Clone, Debug)]
enum Renewal {
    Due(Instant),
    Running {
        attempt: Box<Attempt>,
        status: SessionStatus,
        promise: Mode,
    },
}

/// What an answer meant for the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionNews {
    /// Nothing new.
    Pending,
    /// A renewal was applied; it carried this status.
    Renewed(SessionStatus),
    /// Somebody else holds the ID, or it was evicted.
    Lost,
    /// The store refuses the renewal for good.
    Rejected(String),
}

impl Session {
    pub(crate) fn new(cx: &Cx<'_>, claimed: &Claimed) -> Self {
        let trusted = is_trusted(claimed.first_sent, claimed.trusted_from);
        let hold = cx.config().hold();
        let interval = cx.config().heartbeat_interval();
        let (valid_until, renew_at) = if trusted {
            (claimed.first_sent + hold, claimed.first_sent + interval)
        } else {
            (cx.now, cx.now)
        };
        Self {
            worker: claimed.worker.clone(),
            nonce: claimed.nonce,
            epoch: Epoch::from(claimed.revision),
            began: cx.now,
            revision: claimed.revision,
            deadline: valid_until,
            trusted_from: claimed.trusted_from,
            seq: 0,
            status: SessionStatus::Active,
            promise: Mode::Exclusive,
            promised: Mode::Exclusive,
            list: None,
            renewal: Renewal::Due(renew_at),
            acknowledge_at: None,
            max_value: claimed.info.max_value,
            told: (Version::ZERO, Vec::new()),
            idle_since: None,
            predecessors: claimed.predecessors.clone(),
            bulletin: None,
            answers: false,
        }
    }

    /// Its process answers from now on when it is asked whether it runs, and says so at once.
    pub(crate) fn set_answers(&mut self, cx: &Cx<'_>) {
        if !core::mem::replace(&mut self.answers, true) {
            self.acknowledge_soon(cx);
        }
    }

    /// What the store said about itself.
    pub(crate) const fn on_info(&mut self, info: &StoreInfo) {
        self.max_value = info.max_value;
    }

    /// The clock stood still for so long, or for an unknown time: nothing sent before now counts, and
    /// what was valid ends earlier.
    pub(crate) fn distrust(&mut self, now: Instant, by: Option<Duration>) {
        self.trusted_from = now;
        self.deadline = by.map_or(now, |by| self.deadline.saturating_sub(by));
    }

    /// Whether it is valid and of no use now, which must not last: a session that is renewed keeps
    /// partitions that nobody works on. After `apply_timeout` it falls silent for long enough to
    /// be ended; if nobody ends it, it is tried again.
    pub(crate) fn set_idle(&mut self, cx: &Cx<'_>, idle: bool) {
        self.idle_since = idle.then(|| self.idle_since.unwrap_or(cx.now));
        let given_up = self.idle_since.is_some_and(|since| {
            let patience = cx.config().apply_timeout();
            cx.now >= since + patience
        });
        if given_up && matches!(self.renewal, Renewal::Due(_)) {
            self.renewal = Renewal::Due(cx.now + cx.config().detection_bound());
            (self.acknowledge_at, self.idle_since) = (None, None);
        }
    }

    /// There is something to acknowledge: renew soon, together with what else comes meanwhile.
    pub(crate) fn acknowledge_soon(&mut self, cx: &Cx<'_>) {
        let at = cx.now + cx.config().acknowledge_delay();
        self.acknowledge_at = Some(self.acknowledge_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Changes what the guards are to obey. A stricter mode is obeyed from the moment it is sent, a
    /// looser one from when that was applied: what an observer sees last is never more than is kept.
    pub(crate) fn set_promise(&mut self, cx: &Cx<'_>, promise: Mode) {
        if self.promise != promise {
            self.promise = promise;
            self.acknowledge_soon(cx);
        }
    }

    /// Tells that its own source lists something else than the group has, or that it does not.
    pub(crate) fn set_list(&mut self, cx: &Cx<'_>, list: Option<u128>) {
        if self.list != list {
            self.list = list;
            self.acknowledge_soon(cx);
        }
    }

    /// Changes the status and says so at once.
    pub(crate) fn set_status(&mut self, cx: &Cx<'_>, status: SessionStatus) {
        self.status = status;
        self.acknowledge_at = Some(cx.now);
    }

    pub(crate) fn on_reply(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        result: &Result<StoreReply, StoreError>,
    ) -> SessionNews {
        let Renewal::Running { attempt, .. } = &mut self.renewal else {
            return SessionNews::Pending;
        };
        let outcome = attempt.on_reply(cx, op, result);
        if result.is_err() && cx.planted(Planted::TimeoutIsSuccess) {
            self.deadline = self.deadline.max(attempt.first_sent() + cx.config().hold());
        }
        self.on_outcome(cx, outcome)
    }

    /// Whether a write of somebody else cannot have been there in the history this session is of. Each
    /// of its own writes expects the one before, so that nobody comes in between them.
    ///
    /// An example: it was created at revision 10 and written last at 15. Somebody else's write at 12
    /// contradicts it. One at 9 is of an earlier session of the slot; one at 16 has taken the slot.
    pub(crate) fn is_contradicted_by(&self, revision: Revision) -> bool {
        Epoch::from(revision) >= self.epoch && revision <= self.revision
    }

    /// The watch or another read showed this worker's key.
    pub(crate) fn on_seen(&mut self, cx: &mut Cx<'_>, seen: &Seen<'_>) -> SessionNews {
        if let Renewal::Running { attempt, .. } = &self.renewal {
            let outcome = attempt.on_seen(cx, seen);
            return self.on_outcome(cx, outcome);
        }
        if seen.revision() > self.revision && !self.adopt(cx, seen) {
            SessionNews::Lost
        } else {
            SessionNews::Pending
        }
    }

    /// Whether a renewal is to be sent now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        match &self.renewal {
            Renewal::Running { .. } => false,
            Renewal::Due(at) => now >= *at || self.acknowledge_at.is_some_and(|at| now >= at),
        }
    }

    /// What the next renewals are to tell everybody.
    pub(crate) fn set_bulletin(&mut self, bulletin: Option<Bulletin>) {
        self.bulletin = bulletin;
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>, holdings: &Holdings) {
        match &mut self.renewal {
            Renewal::Running { attempt, .. } => attempt.handle_timeout(cx),
            Renewal::Due(at) => {
                if cx.now < *at && self.acknowledge_at.is_none_or(|at| cx.now < at) {
                    return;
                }
                if let Gate::Until(until) = cx.gate(OpOwner::Session) {
                    *at = until;
                    self.acknowledge_at = self.acknowledge_at.map(|at| at.max(until));
                } else {
                    self.renew(cx, holdings);
                }
            }
        }
    }

    pub(crate) fn wake(&self) -> Option<Wake> {
        match &self.renewal {
            Renewal::Running { attempt, .. } => attempt.wake(),
            Renewal::Due(at) => Wake::earlier(
                Some(Wake::new(*at, WakeReason::Renewal)),
                self.acknowledge_at
                    .map(|at| Wake::new(at, WakeReason::Acknowledge)),
            ),
        }
    }

    fn renew(&mut self, cx: &mut Cx<'_>, holdings: &Holdings) {
        self.seq += 1;
        self.acknowledge_at = None;
        let id = WriteId {
            nonce: self.nonce,
            seq: self.seq,
        };
        let value = self.value(cx, id, holdings);
        let expect = Expect::Revision(self.revision);
        let last = cx.unless_planted(Planted::UnconditionalRelease, expect, Expect::Any);
        let released = matches!(self.status, SessionStatus::Released { .. });
        let write = Write {
            key: session_key(&self.worker),
            value: Some(value),
            expect: if released { last } else { expect },
        };
        let attempt = Attempt::begin(cx, OpOwner::Session, id, [write].into()).by(self.deadline);
        self.promised = self.promised.stricter(self.promise);
        self.renewal = Renewal::Running {
            attempt: Box::new(attempt),
            status: self.status,
            promise: self.promise,
        };
    }

    /// What a renewal writes. A list of what is still worked on that does not fit is not said at all,
    /// nor that its version was taken in: what was not acknowledged stays where it is.
    fn value(&mut self, cx: &Cx<'_>, write: WriteId, holdings: &Holdings) -> Vec<u8> {
        let (applied, draining) = (holdings.applied(), holdings.draining());
        let record = self.record(cx, write, (applied, draining.clone()), holdings);
        let value = self.encode(cx, record);
        if value.len() <= self.max_value {
            self.told = (applied, draining);
            return value;
        }
        // What still runs of a former session cannot be named one by one: it may be all of it.
        for pending in &mut self.predecessors {
            pending.predecessor.remains = Remains::Everything;
        }
        let still: BTreeSet<PartitionKey> = draining.into_iter().collect();
        let (applied, mut told) = self.told.clone();
        told.retain(|key| still.contains(key));
        let record = self.record(cx, write, (applied, told), holdings);
        self.encode(cx, record)
    }

    /// The bytes of a record. What only informs is left out if it does not fit, the wordiest first: no
    /// lease is lost to a report of what is wrong.
    fn encode(&self, cx: &Cx<'_>, record: SessionRecord) -> Vec<u8> {
        let mut record = Record::Session(record);
        let mut value = cx.encode(&record);
        for shorten in [
            without_details,
            without_problems,
            without_rejections,
            without_prepared,
        ] {
            if value.len() <= self.max_value {
                break;
            }
            if let Record::Session(session) = &mut record {
                shorten(session);
            }
            value = cx.encode(&record);
        }
        value
    }

    fn record(
        &self,
        cx: &Cx<'_>,
        write: WriteId,
        (applied, mut draining): (Version, Vec<PartitionKey>),
        holdings: &Holdings,
    ) -> SessionRecord {
        draining.retain(|_| !cx.planted(Planted::EarlyAcknowledgement));
        SessionRecord {
            write,
            epoch: self.epoch,
            status: self.status,
            applied,
            known: cx.known(),
            age: cx.now.since(self.began),
            reads: cx.formats(),
            draining,
            capacity: cx.config().capacity(),
            labels: cx.config().labels().clone(),
            heartbeat_interval: cx.config().heartbeat_interval(),
            lease: cx.config().lease(),
            software: cx.boot().software.clone(),
            endpoint: cx.boot().endpoint.clone(),
            settings: GroupSettings {
                list: self.list,
                ..GroupSettings::new(cx.config(), &cx.boot().strategy)
            },
            honours: self.promise,
            rejections: holdings.rejections().told(cx.now, self.max_value),
            predecessors: self.unproven(cx.now, holdings),
            bulletin: self.bulletin.clone().filter(|_| self.status.is_living()),
            readiness: Readiness {
                answers: self.answers,
                prepares: cx.boot().prepares,
                prepared: holdings.told_prepared(self.max_value),
            },
        }
    }

    /// The earlier sessions of the slot that have not been proven to have ended: their lease is not
    /// over on this worker's clock, or their callbacks run in this very process.
    fn unproven(&self, now: Instant, holdings: &Holdings) -> Vec<Predecessor> {
        let unproven = self.predecessors.iter().filter(|pending| {
            let remains = match pending.predecessor.remains {
                Remains::Everything => true,
                Remains::Draining => holdings.is_ending_former(),
            };
            remains && now < pending.until
        });
        unproven
            .map(|pending| pending.predecessor.clone())
            .collect()
    }

    /// An earlier renewal of this very session that was given up and applied late after all: the
    /// session goes on from it. It gives no validity, for nobody knows any more when it was sent.
    fn adopt(&mut self, cx: &Cx<'_>, seen: &Seen<'_>) -> bool {
        let Some(record) = seen.session() else {
            // What this process wrote it can read.
            return false;
        };
        let own = record.nonce() == self.nonce && record.status.is_living();
        if own {
            self.promised = record.honours;
            self.revision = seen.revision();
            self.renewal = Renewal::Due(cx.now);
        }
        own
    }

    fn on_outcome(&mut self, cx: &mut Cx<'_>, outcome: Outcome) -> SessionNews {
        let Renewal::Running {
            attempt,
            status,
            promise,
        } = &self.renewal
        else {
            return SessionNews::Pending;
        };
        let first_sent = attempt.first_sent();
        let first_sent = cx.unless_planted(Planted::DeadlineFromAnswer, first_sent, cx.now);
        match outcome {
            Outcome::Pending => SessionNews::Pending,
            Outcome::Won(revision) => {
                let status = *status;
                self.promised = *promise;
                self.revision = revision;
                cx.on_renewal_applied();
                let mut due = first_sent + cx.config().heartbeat_interval();
                if is_trusted(first_sent, self.trusted_from) {
                    self.deadline = self.deadline.max(first_sent + cx.config().hold());
                } else {
                    due = cx.now;
                }
                if cx.is_short_of_retries() {
                    // Each renewal costs several requests now: fewer of them leave the load as it is.
                    due += cx.config().heartbeat_interval() / 4;
                }
                self.renewal = Renewal::Due(due.max(cx.now + Duration::from_millis(1)));
                SessionNews::Renewed(status)
            }
            Outcome::Lost(Some(entry)) if self.adopt(cx, &cx.seen(&entry)) => SessionNews::Pending,
            Outcome::Lost(_) => SessionNews::Lost,
            Outcome::Refused(error) | Outcome::Rejected(error) => {
                let pause = cx.config().heartbeat_interval();
                self.renewal = Renewal::Due(cx.now + pause);
                SessionNews::Rejected(alloc::format!("{error}"))
            }
        }
    }
}

/// Whether what was sent then counts. Without a suspension everything does, also what was sent when
/// the clock began.
fn is_trusted(sent: Instant, trusted_from: Instant) -> bool {
    trusted_from == Instant::ORIGIN || sent > trusted_from
}

fn without_details(record: &mut SessionRecord) {
    let bulletin = record.bulletin.iter_mut();
    let problems = bulletin.flat_map(|bulletin| &mut bulletin.problems);
    problems.for_each(|problem| problem.detail.clear());
}

fn without_problems(record: &mut SessionRecord) {
    let bulletin = record.bulletin.iter_mut();
    bulletin.for_each(|bulletin| bulletin.problems.clear());
}

/// A leader that is not told tries nothing else meanwhile.
fn without_rejections(record: &mut SessionRecord) {
    record.rejections.clear();
}

/// A move that waits for it goes on waiting.
fn without_prepared(record: &mut SessionRecord) {
    record.readiness.prepared.clear();
}

#[cfg(test)]
mod tests;
