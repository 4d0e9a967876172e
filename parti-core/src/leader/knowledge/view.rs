//! What a leader knows of the bucket: the fold of its watch over all keys.
//!
//! What always holds: per key, revisions never go back; what a leader wrote itself is known at once,
//! without waiting for the watch.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use core::cmp::Ordering;
use core::time::Duration;

use crate::config::{Config, Mode};
use crate::io::notice::{HistoryLoss, Notice};
use crate::leader::knowledge::parking::Parking;
use crate::leader::knowledge::predecessors;
use crate::link::cx::Cx;
use crate::model::id::{Epoch, Nonce, Revision, Version, WorkerId};
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{Entry, Expect};
use crate::records::assembly::Assembly;
use crate::records::keys::Key;
use crate::records::orders::Orders;
use crate::records::record::{AssignmentRecord, SessionRecord, SessionStatus, Verb};
use crate::records::seen::{Content, Seen};

mod absence;
mod assignments;
mod orders;
mod own;
mod planning;
mod seen;
mod session;
mod suspects;

pub(crate) use session::unknown_session;

pub(crate) use seen::SessionView;

/// What became of an incarnation, as far as the leader can prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It may hold what it was granted.
    Living,
    /// It was evicted although alive, or its slot was taken before its end: it may hold partitions
    /// until then.
    EndsAt(Instant),
    /// It has ended, but its slot is kept for a replacement until then.
    Reserved { until: Instant },
    /// It holds nothing any more.
    Ended,
}

/// What an entry changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing.
    Nothing,
    /// A session was renewed and says what it said before.
    Renewal,
    /// A session acknowledged something.
    Acknowledgement,
    /// Something else changed.
    Change,
}

/// The bucket as the leader knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) sessions: BTreeMap<WorkerId, SessionView>,
    pub(crate) records: BTreeMap<WorkerId, AssignmentRecord>,
    pub(crate) controls: BTreeMap<(Verb, WorkerId), Revision>,
    pub(crate) orders: Orders,
    /// What has no owner.
    pub(crate) parking: Parking,
    /// Workers whose record was overwritten by an external writer and has to be written again.
    pub(crate) damaged: BTreeSet<WorkerId>,
    /// Assignments that this release cannot read, and for which incarnation they are.
    pub(crate) unread: BTreeMap<WorkerId, Epoch>,
    /// Of assignments in pieces, what is stored.
    pub(crate) pieces: BTreeMap<WorkerId, Assembly>,
    /// In which format each assignment is stored.
    pub(crate) formats: BTreeMap<WorkerId, u16>,
    /// Sessions that were seen to be evicted because they did not answer.
    pub(crate) refused: BTreeSet<(WorkerId, Epoch)>,
    /// Assignments of which nothing can be read, and when they were written.
    pub(crate) illegible: BTreeMap<WorkerId, Revision>,
    /// Sessions without a record that may hold what no record lists although some should.
    pub(crate) suspects: BTreeSet<(WorkerId, Epoch)>,
    /// Once the view is whole, assignments have one author: this leader's session.
    author: Option<Nonce>,
    revisions: BTreeMap<String, Revision>,
    /// Since when this leader's contact has been without a gap, while there is contact: only then silence is
    /// the other's.
    pub(crate) hears_since: Option<Instant>,
    /// Records up to this version are what a rollback left over: later ones are known to have been.
    pub(crate) distrusted: Option<Version>,
    /// Whether a session was seen whose settings or standing may be news.
    settings_news: bool,
    /// Keys seen since the present snapshot began, while it is being delivered.
    mentioned: Option<BTreeSet<String>>,
}

impl View {
    /// An empty view in which records up to a version are what a rollback left over.
    pub(crate) fn distrusting(distrusted: Option<Version>) -> Self {
        Self {
            distrusted,
            ..Self::default()
        }
    }

    /// The view is whole: from now on only this session writes assignments.
    pub(crate) const fn trust_only(&mut self, author: Nonce) {
        self.author = Some(author);
    }

    /// Whether everything before this leader's take-over is known.
    pub(crate) const fn is_whole(&self) -> bool {
        self.author.is_some()
    }

    /// What is wrong with a list that is complete up to a revision: it shows a key at an earlier
    /// revision than one known to have been written before.
    pub(crate) fn contradiction(&self, entries: &[Entry], upto: Revision) -> Option<HistoryLoss> {
        let known = |entry: &Entry| self.revisions.get(&entry.key).copied().unwrap_or_default();
        let earlier = |entry: &&Entry| entry.revision < known(entry) && known(entry) <= upto;
        entries
            .iter()
            .find(earlier)
            .map(|entry| HistoryLoss::Vanished {
                key: entry.key.clone(),
                revision: known(entry),
            })
    }

    /// Takes in an entry of the watch or of a list.
    pub(crate) fn on_entry(&mut self, cx: &mut Cx<'_>, seen: &Seen<'_>) -> News {
        self.orders.saw(cx.now, seen.entry().at_ms);
        if let Some(mentioned) = &mut self.mentioned {
            mentioned.insert(seen.name().to_string());
        }
        let known = self
            .revisions
            .entry(seen.name().to_string())
            .or_insert(Revision::ZERO);
        if seen.revision() <= *known {
            return News::Nothing;
        }
        *known = seen.revision();
        self.apply(cx, seen)
    }

    fn apply(&mut self, cx: &mut Cx<'_>, seen: &Seen<'_>) -> News {
        match seen.key() {
            Key::Session(worker) => self.on_session(cx, worker, seen),
            Key::Assignment(worker) => self.on_assignment(cx, worker, seen),
            Key::Piece(worker, number) => self.on_piece(cx, worker, *number, seen),
            Key::Control(verb, worker) if verb.is_order() => {
                self.on_order(cx, (*verb, worker), seen)
            }
            Key::Control(verb, worker) => {
                let request = (*verb, worker.clone());
                match seen.value() {
                    Some(_) => self.controls.insert(request, seen.revision()),
                    None => self.controls.remove(&request),
                };
                News::Change
            }
            Key::Parked => self.parking.on_entry(cx, seen, self.author),
            Key::Head | Key::Audit(_) | Key::Source | Key::Suspicion | Key::Foreign => {
                News::Nothing
            }
        }
    }

    fn on_session(&mut self, cx: &mut Cx<'_>, worker: &WorkerId, seen: &Seen<'_>) -> News {
        let (record, unread) = (seen.session().cloned(), seen.other_release());
        if let Content::Unreadable { reason, .. } = seen.content() {
            cx.ignore(seen, reason);
        }
        let expect = match seen.value() {
            Some(_) => Expect::Revision(seen.revision()),
            None => Expect::Absent,
        };
        let before = self
            .sessions
            .get(worker)
            .and_then(|session| session.record.as_ref());
        if let Some(record) = record.as_ref().filter(|record| record.readiness.answers) {
            cx.note_renewal(record.nonce());
        }
        let news = match (before, &record) {
            (Some(a), Some(b)) if a.nonce() == b.nonce() && a.status == b.status => {
                let alike = a.settings == b.settings && a.honours == b.honours;
                self.settings_news |= !alike;
                self.note_return(cx, worker);
                let same = alike && a.applied == b.applied && a.draining == b.draining;
                let same = same && a.readiness == b.readiness;
                if same && a.predecessors == b.predecessors && a.rejections == b.rejections {
                    News::Renewal
                } else {
                    News::Acknowledgement
                }
            }
            (None, None) if self.is_renewed_unread(worker, unread.as_ref()) => News::Renewal,
            (_, _) => {
                self.settings_news = true;
                News::Change
            }
        };
        let said = self.sessions.get(worker).map(|session| session.said);
        let ends = predecessors::ends(self.sessions.get(worker), record.as_ref(), cx.now);
        let known = self.sessions.get(worker).map_or(cx.now, |s| s.since);
        let began = self.began(cx.now, worker, record.as_ref());
        let session = SessionView {
            revision: seen.revision(),
            since: cx.unless_planted(Planted::SilenceGoesOn, cx.now, known),
            began,
            heard: cx.now,
            said: said.filter(|_| news == News::Renewal).unwrap_or(cx.now),
            record,
            unread,
            expect,
            // A new leader has not seen the predecessor itself.
            ends: match self.author {
                None if cx.planted(Planted::ForgottenPredecessor) => BTreeMap::new(),
                None | Some(_) => ends,
            },
        };
        if session.record.as_ref().map(|record| record.status) == Some(SessionStatus::Suspected) {
            self.refused.retain(|(other, _)| other != worker);
            self.refused.insert((worker.clone(), session.epoch()));
        }
        self.sessions.insert(worker.clone(), session);
        news
    }

    /// When a session began: every renewal says how old it is, and the earliest of what follows counts.
    fn began(&self, now: Instant, worker: &WorkerId, record: Option<&SessionRecord>) -> Instant {
        let Some(record) = record else {
            return now;
        };
        let told = now.saturating_sub(record.age);
        let nonce = |session: &SessionView| session.record.as_ref().map(SessionRecord::nonce);
        let before = self.sessions.get(worker);
        let same = before.filter(|before| nonce(before) == Some(record.nonce()));
        same.map_or(told, |known| known.began.min(told))
    }

    /// A session that is heard of again: says so if it was overdue and did not count as lost yet.
    fn note_return(&self, cx: &mut Cx<'_>, worker: &WorkerId) {
        let (Some(session), Some(hears_since)) = (self.sessions.get(worker), self.hears_since)
        else {
            return;
        };
        let since = session.since.max(hears_since);
        let (lost, overdue) = session.patience(cx.config());
        if session.is_living() && cx.now > since + overdue && cx.now < since + lost {
            let worker = worker.clone();
            cx.notify(Notice::SuspicionCancelled { worker });
        }
    }

    /// An earlier observation of a session counts when it is of the same revision.
    pub(crate) fn remember(&mut self, worker: &WorkerId, revision: Revision, since: Instant) {
        if let Some(session) = self.sessions.get_mut(worker)
            && session.revision == revision
        {
            session.since = session.since.min(since);
        }
    }

    /// Whether settings may have changed since this was asked last.
    pub(crate) fn take_settings_news(&mut self) -> bool {
        core::mem::take(&mut self.settings_news)
    }

    /// Workers with an assignment record but no session key: their silence is counted from now on.
    pub(crate) fn note_orphans(&mut self, now: Instant) {
        for worker in self.records.keys().chain(self.unread.keys()) {
            self.sessions.entry(worker.clone()).or_insert(SessionView {
                revision: Revision::ZERO,
                since: now,
                began: now,
                heard: now,
                said: now,
                record: None,
                unread: None,
                expect: Expect::Absent,
                ends: BTreeMap::new(),
            });
        }
    }

    /// The nonce of an incarnation: its session says it, or the record of it that is in force.
    pub(crate) fn session_of(&self, worker: &WorkerId, epoch: Epoch) -> Nonce {
        let session = self
            .sessions
            .get(worker)
            .filter(|session| session.epoch() == epoch);
        let said = session.and_then(|session| session.record.as_ref());
        // A leader that ends a session writes under its own name.
        let said = said
            .filter(|said| said.status.is_living())
            .map(SessionRecord::nonce);
        let record = self
            .records
            .get(worker)
            .filter(|record| record.epoch == epoch);
        let nonce = said.or_else(|| Some(record?.session));
        nonce.unwrap_or_else(|| Nonce::new(0))
    }

    /// The epoch of a worker's session if it takes part.
    pub(crate) fn active_epoch(&self, worker: &WorkerId) -> Option<Epoch> {
        let session = self.sessions.get(worker)?;
        (session.record.as_ref()?.status == SessionStatus::Active).then(|| session.epoch())
    }

    /// Sessions that have taken in an assignment of which there is no record, or may have: what they
    /// hold is not known, until they end. Only an external writer can bring this about, or a loss of
    /// writes. When each ends for certain, if that is known.
    ///
    /// An example. Epoch 40 of `worker-1` says that it has applied version 9:
    ///
    /// * There is a record for epoch 40 of version 9 or later: it is known what it holds. It is not here.
    /// * The record is of version 7, or for epoch 30, or there is none: version 9 granted it something
    ///   that is written nowhere. It is here, without an end while it lives; so the leader evicts it as
    ///   it does a worker that is stuck, and from then on with the end of its lease.
    /// * It has applied nothing and there is no record: it holds nothing. It is not here, unless records
    ///   are known to be missing from before it came (a suspect).
    /// * The record is of version 9, but the store was rolled back and versions above 9 are known to have
    ///   been: version 12 may have granted it more, or the same to somebody else. It is here.
    /// * Epoch 41 has taken the slot and names epoch 40 as a predecessor that may not have ended: the
    ///   slot is here until the end that was counted for epoch 40, however well epoch 41 is known.
    ///
    /// * In a group whose sinks compare tokens, epoch 40 was evicted because it did not answer: what it
    ///   held was given to others. It is not here, also when epoch 41 names it.
    ///
    /// As long as anybody is here, partitions that nobody is known to hold are granted to nobody in exclusive
    /// mode: they may be the ones it holds.
    pub(crate) fn unaccounted(
        &self,
        config: &Config,
        now: Instant,
        mode: Mode,
    ) -> BTreeMap<WorkerId, Option<Instant>> {
        let sessions = self.sessions.iter().filter_map(|(worker, session)| {
            let record = session.record.as_ref()?;
            let page = self.records.get(worker);
            let page = page.filter(|page| page.epoch == session.epoch());
            let left_over = page.is_some_and(|page| Some(page.version) <= self.distrusted);
            let known = page.is_some_and(|page| page.version >= record.applied);
            // A worker that was evicted alive and has no record was one of them already.
            let suspect = self.is_suspect(worker, session.epoch())
                || record.status == SessionStatus::Evicted { silent: false };
            // The leader that suspected it gave what it held to others, or to nobody, as the records say.
            let nothing = record.applied == Version::ZERO && !(suspect && page.is_none());
            let nothing = nothing || (record.status == SessionStatus::Suspected && page.is_none());
            if !left_over && (known || nothing) {
                return None;
            }
            match self.fate(config, worker, session.epoch()) {
                Fate::Living => Some((worker.clone(), None)),
                Fate::EndsAt(at) if at > now => Some((worker.clone(), Some(at))),
                Fate::EndsAt(_) | Fate::Reserved { .. } | Fate::Ended => None,
            }
        });
        // What another release granted is not known before its worker has ended.
        let unread = self.unread.iter().filter_map(|(worker, &epoch)| {
            match self.fate(config, worker, epoch) {
                Fate::Living => Some((worker.clone(), None)),
                Fate::EndsAt(at) if at > now => Some((worker.clone(), Some(at))),
                Fate::EndsAt(_) | Fate::Reserved { .. } | Fate::Ended => None,
            }
        });
        let mut unaccounted: BTreeMap<WorkerId, Option<Instant>> = sessions.chain(unread).collect();
        for (worker, session) in &self.sessions {
            let Some(at) = self.unaccounted_before(worker, session, now, mode) else {
                continue;
            };
            let ends = unaccounted.entry(worker.clone()).or_insert(Some(at));
            *ends = ends.map(|known| known.max(at));
        }
        unaccounted
    }

    /// What became of an incarnation.
    pub(crate) fn fate(&self, config: &Config, worker: &WorkerId, epoch: Epoch) -> Fate {
        let Some(session) = self.sessions.get(worker) else {
            return Fate::Living;
        };
        if session.record.is_none() && session.unread.is_none() {
            return Fate::Living;
        }
        match session.epoch().cmp(&epoch) {
            // Evidence older than what it is to refute proves nothing.
            Ordering::Less => {
                return config.unless_planted(Planted::StaleEvidence, Fate::Living, Fate::Ended);
            }
            // The slot was taken again: after the end of this session, unless the present one says
            // that it may not have ended.
            Ordering::Greater => {
                if let Some(at) = session.unread_predecessors() {
                    return Fate::EndsAt(at);
                }
                let at = session.ends.get(&epoch);
                let at = at.filter(|_| !config.planted(Planted::GreaterEpochIsEnd));
                return at.map_or(Fate::Ended, |&at| Fate::EndsAt(at));
            }
            Ordering::Equal => {}
        }
        let Some(record) = &session.record else {
            return session.fate_of_outline(config);
        };
        match record.status {
            SessionStatus::Active | SessionStatus::Draining => Fate::Living,
            SessionStatus::Released { hold } if hold > Duration::ZERO => Fate::Reserved {
                until: session.since + config.bounded_hold(hold),
            },
            SessionStatus::Released { .. } | SessionStatus::Evicted { silent: true } => Fate::Ended,
            SessionStatus::Evicted { silent: false } | SessionStatus::Suspected => {
                let drift_ppm = record.settings.clock_drift_ppm;
                Fate::EndsAt(session.since + config.outlasts(record.lease, drift_ppm))
            }
        }
    }
}

#[cfg(test)]
mod tests;
