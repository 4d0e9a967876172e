//! Following: what every member knows of `head` and of the leader's session.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::io::notice::Notice;
use crate::link::contact::{Contact, Sightings};
use crate::link::cx::Cx;
use crate::model::id::{Epoch, Nonce, Revision, Term, Version, WorkerId};
use crate::model::state::Cause;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{Expect, WatchScope};
use crate::records::carried::{Carried, patience};
use crate::records::keys::{assignment_key, control_key, head_key, session_key, suspicion_key};
use crate::records::outline;
use crate::records::problem::{Bulletin, Problem, ProblemKind};
use crate::records::record::{Head, Record, SessionRecord, Verb};
use crate::records::seen::{Content, Seen};
use crate::records::wire::Envelope;

/// How many terms within a minute are too many.
const MANY_TERMS: usize = 4;
const MINUTE: Duration = Duration::from_secs(60);
/// How many beginnings of terms are remembered.
const TERMS_KEPT: usize = 64;

/// What a member knows of the leadership.
#[derive(Clone, Debug, Default)]
pub(crate) struct Follow {
    head: Option<Head>,
    /// The revision of the last write of `head` seen, also of an unreadable one.
    head_revision: Revision,
    head_since: Instant,
    /// Whether `head` was removed without a trace: then the revision is the one up to which that is
    /// known.
    head_gone: bool,
    /// When the last rebalance was, as far as is known.
    planned: Option<(Version, Instant)>,
    /// When the present term was first seen.
    term: Option<(Term, Instant)>,
    /// When the last versions were first seen.
    sightings: Sightings,
    leader: Option<Observed>,
    /// The lease of the leader that wrote a `head` that this release cannot read, while it is in force.
    unread: Option<Duration>,
    /// What the last leader that told anything told to be wrong.
    told: Vec<Problem>,
    /// When the last terms were first seen, the newest last.
    terms: VecDeque<Instant>,
    /// When the store was first seen whole: from then on absence means something.
    looked_at: Option<Instant>,
}

/// So many versions are remembered. A worker that takes nothing in is noticed after two leases.
const SIGHTINGS: usize = 32;

/// The leader's session as observed.
#[derive(Clone, Debug)]
struct Observed {
    worker: WorkerId,
    revision: Revision,
    since: Instant,
    epoch: Epoch,
    ended: bool,
    /// How often it renews, by its own word.
    interval: Duration,
    /// The session, if its process answers probes.
    answers: Option<Nonce>,
}

impl Follow {
    pub(crate) const fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    pub(crate) const fn head_revision(&self) -> Revision {
        self.head_revision
    }

    /// What a candidate must expect of `head`.
    pub(crate) const fn head_expect(&self) -> Expect {
        match self.head_revision {
            Revision::ZERO => Expect::Absent,
            _ if self.head_gone => Expect::Absent,
            revision => Expect::Revision(revision),
        }
    }

    /// A view that is complete up to a revision does not have the `head` that is known: somebody
    /// removed it without leaving a tombstone, or a limit of the store did. Whether that is news.
    pub(crate) fn head_is_gone(&mut self, cx: &mut Cx<'_>, upto: Revision) -> bool {
        if self.head_revision == Revision::ZERO || self.head_revision > upto {
            return false;
        }
        self.head_revision = upto;
        if core::mem::replace(&mut self.head_gone, true) {
            return false;
        }
        let (before, term) = (
            self.leader().cloned(),
            self.head.as_ref().map(|head| head.term),
        );
        self.head_since = cx.now;
        self.vacate(cx);
        cx.notify(Notice::RecordVanished { key: head_key() });
        if before.is_some() {
            let (leader, term) = (None, term.unwrap_or_default());
            cx.notify(Notice::LeaderChanged { leader, term });
        }
        true
    }

    pub(crate) fn last_rebalance(&self) -> Option<Instant> {
        self.planned.map(|(_, since)| since)
    }

    pub(crate) const fn sightings(&self) -> &Sightings {
        &self.sightings
    }

    /// What the next leader is to go on with.
    pub(crate) fn carried(&self, config: &Config, now: Instant) -> Carried {
        let Some(head) = &self.head else {
            let unassigned = self.looked_at.map(|at| now.since(at));
            return Carried {
                unassigned,
                ..Carried::default()
            };
        };
        let mut carried = head.carried.after(now.since(self.head_since));
        let most = patience(config.leader_patience(), carried.futile);
        // A leader that died after a long term could do its work, or would have given it up.
        if head.leader.is_some() && self.term.is_some_and(|(_, at)| now.since(at) > most * 2) {
            carried.futile = 0;
        }
        carried
    }

    /// The leader's session: who, at which revision, seen since when.
    pub(crate) fn predecessor(&self) -> Option<(WorkerId, Revision, Instant)> {
        self.leader
            .as_ref()
            .map(|seen| (seen.worker.clone(), seen.revision, seen.since))
    }

    /// What the leader told to be wrong.
    pub(crate) fn told(&self) -> &[Problem] {
        &self.told
    }

    /// The partitions without an owner, as the leader told.
    pub(crate) fn told_unowned(&self) -> Option<Problem> {
        let unowned = |told: &&Problem| told.kind == ProblemKind::Unowned;
        self.told.iter().find(unowned).cloned()
    }

    /// Its own leadership ends: what it knew is the last that is known until the next leader tells.
    pub(crate) fn remember(&mut self, problems: impl Iterator<Item = Problem>) {
        self.told = problems.collect();
    }

    /// When each term began that was seen within the last minute.
    pub(crate) fn recent_terms(&self, now: Instant) -> impl Iterator<Item = Instant> + Clone {
        let terms = self.terms.iter().copied();
        terms.filter(move |&at| now.since(at) <= MINUTE)
    }

    /// Whether one leader follows the other.
    pub(crate) fn leaders_change(&self, now: Instant) -> Option<Problem> {
        let recent = self.recent_terms(now);
        let (count, since) = (recent.clone().count(), recent.min()?);
        let detail = || alloc::format!("{count} terms began within a minute");
        (count >= MANY_TERMS)
            .then(|| Problem::new(ProblemKind::LeadersChange, since, count, detail()))
    }

    /// The session of the leader named by `head`, if its process answers probes, and when a renewal of
    /// it will have been missed.
    pub(crate) fn leader_to_probe(&self, contact: &Contact) -> Option<(Nonce, Instant)> {
        let head = self.head.as_ref().filter(|_| self.unread.is_none())?;
        let leader = head.leader.as_ref()?;
        let seen = self.leader.as_ref();
        let seen =
            seen.filter(|seen| seen.worker == leader.worker && seen.epoch == leader.epoch)?;
        let missed_at = seen.since.max(contact.since()) + seen.interval * 3 / 2;
        Some((seen.answers?, missed_at))
    }

    /// The leader named by `head`, and when it last gave a sign of life.
    pub(crate) fn leader_heard(&self) -> Option<(&WorkerId, Instant)> {
        let leader = self.leader()?;
        let seen = self.leader.as_ref().filter(|seen| seen.worker == *leader);
        let since = seen.map_or(self.looked_at?, |seen| seen.since);
        Some((leader, since.max(self.head_since)))
    }

    pub(crate) fn leader(&self) -> Option<&WorkerId> {
        self.head
            .as_ref()?
            .leader
            .as_ref()
            .map(|leader| &leader.worker)
    }

    /// The keys a follower watches.
    pub(crate) fn scope(&self, me: &WorkerId) -> WatchScope {
        let mut keys = vec![head_key(), session_key(me), assignment_key(me)];
        keys.push(suspicion_key());
        keys.extend(Verb::REQUESTS.map(|verb| control_key(verb, me)));
        if let Some(leader) = self.leader().filter(|leader| *leader != me) {
            keys.push(session_key(leader));
        }
        WatchScope::Keys(keys)
    }

    /// Everything present has been delivered once.
    pub(crate) fn on_caught_up(&mut self, now: Instant) {
        self.looked_at.get_or_insert(now);
    }

    /// An entry of `head`. Whether it is news.
    pub(crate) fn on_head(&mut self, cx: &mut Cx<'_>, seen: &Seen<'_>) -> bool {
        if seen.revision() <= self.head_revision {
            return false;
        }
        let before = self.leader().cloned();
        self.head_revision = seen.revision();
        self.head_since = cx.now;
        self.unread = None;
        self.head_gone = false;
        match seen.content() {
            Content::Record(record) => {
                if let Record::Head(head) = &**record {
                    if !matches!(head.cause, Cause::Takeover | Cause::Resignation) {
                        cx.failing().leave_to_others();
                    }
                    self.take_head(cx, head.clone());
                }
            }
            Content::Nothing => self.vacate(cx),
            Content::Unreadable { reason, other } => {
                let outline = other.as_deref();
                let taken = outline.is_some_and(|envelope| self.take_outline(cx, envelope));
                cx.ignore(seen, reason);
                if !taken {
                    // A damaged head names nobody: a new leader writes a readable one over it, with
                    // the term and version known from before.
                    self.vacate(cx);
                }
            }
        }
        if self.leader() != before.as_ref() {
            let leader = self.leader().cloned();
            let term = self.head.as_ref().map(|head| head.term).unwrap_or_default();
            cx.notify(Notice::LeaderChanged { leader, term });
        }
        true
    }

    /// Takes in what the envelope of a `head` of another release says. Whether there is anything.
    fn take_outline(&mut self, cx: &mut Cx<'_>, envelope: &Envelope) -> bool {
        let head = outline::head_after(self.head.as_ref(), envelope);
        let Some(head) = head.filter(|_| !cx.planted(Planted::UnreadHeadVacant)) else {
            return false;
        };
        let (lease, known) = (head.lease, self.planned.map(|(version, _)| version));
        self.take_head(cx, head);
        self.unread = Some(lease);
        // The last rebalance cannot be known: it may have been a moment ago.
        self.planned = Some((known.unwrap_or_default(), cx.now));
        true
    }

    /// `head` names nobody any more; terms and versions go on from what was known. The last rebalance
    /// cannot be known: it may have been a moment ago.
    fn vacate(&mut self, cx: &Cx<'_>) {
        if let Some(head) = &mut self.head {
            head.leader = None;
            head.carried = Carried::unknown(cx.config().lease());
        }
        let known = self.planned.map_or(Version::ZERO, |(version, _)| version);
        self.planned = Some((known, cx.now));
    }

    /// Takes in a `head` this process wrote or learned of.
    pub(crate) fn wrote_head(&mut self, cx: &mut Cx<'_>, head: Head, revision: Revision) {
        if revision > self.head_revision {
            self.head_revision = revision;
            self.head_since = cx.now;
            self.unread = None;
            self.head_gone = false;
            self.take_head(cx, head);
        }
    }

    fn take_head(&mut self, cx: &mut Cx<'_>, head: Head) {
        cx.learn(head.version);
        cx.adopt_format(head.format);
        let known = self.planned.filter(|&(version, _)| version == head.planned);
        if head.planned > Version::ZERO {
            let ago = head.carried.rebalanced.unwrap_or_default();
            let at = cx.now.saturating_sub(ago);
            let at = known.map_or(at, |(_, known)| known.min(at));
            self.planned = Some((head.planned, at));
        }
        if self.term.is_none_or(|(term, _)| term != head.term) {
            self.term = Some((head.term, cx.now));
        }
        self.sightings.entry(head.version).or_insert(cx.now);
        while self.sightings.len() > SIGHTINGS {
            self.sightings.pop_first();
        }
        let leader = head.leader.as_ref().map(|leader| &leader.worker);
        if self.leader.as_ref().map(|seen| &seen.worker) != leader {
            self.leader = None;
        }
        if self
            .head
            .as_ref()
            .is_some_and(|known| head.term > known.term)
        {
            self.terms.push_back(cx.now);
            if self.terms.len() > TERMS_KEPT {
                self.terms.pop_front();
            }
        }
        self.head = Some(head);
    }

    /// An entry of the leader's session.
    pub(crate) fn on_leader_session(
        &mut self,
        cx: &mut Cx<'_>,
        worker: &WorkerId,
        seen: &Seen<'_>,
    ) {
        let known = self.leader.as_ref().filter(|seen| seen.worker == *worker);
        if known.is_some_and(|known| known.revision >= seen.revision()) {
            return;
        }
        let record = seen.session();
        if let Some(bulletin) = record.and_then(|record| record.bulletin.as_ref()) {
            self.take_bulletin(cx, worker, bulletin);
        }
        let outline = seen.outline();
        let own_epoch = outline
            .as_ref()
            .map(|seen| seen.epoch)
            .filter(|&epoch| epoch > Epoch::ZERO);
        let ended = outline.is_some_and(|seen| !seen.is_living());
        let answers = record.filter(|record| record.readiness.answers && record.status.is_living());
        let answers = answers.map(SessionRecord::nonce);
        if let Some(session) = answers {
            cx.note_renewal(session);
        }
        self.leader = Some(Observed {
            worker: worker.clone(),
            revision: seen.revision(),
            since: cx.now,
            epoch: own_epoch.unwrap_or_else(|| Epoch::from(seen.revision())),
            ended,
            interval: record.map_or(Duration::ZERO, |record| record.heartbeat_interval),
            answers,
        });
    }

    /// Takes in what a leader tells. One that has been told before keeps its beginning, unless that
    /// is not what is meant any more.
    fn take_bulletin(&mut self, cx: &mut Cx<'_>, leader: &WorkerId, bulletin: &Bulletin) {
        if self
            .head
            .as_ref()
            .is_some_and(|head| bulletin.term < head.term)
        {
            return;
        }
        let settled = cx.now.saturating_sub(cx.config().lease());
        if bulletin.problems.is_empty() && self.terms.back().is_none_or(|&at| at < settled) {
            cx.failing().leave_to_others();
        }
        let slack = cx.config().heartbeat_interval();
        let problems = bulletin.problems.iter().map(|told| {
            let since = cx.now.saturating_sub(told.lasting);
            let known = self.told.iter().find(|known| known.kind == told.kind);
            let known = known.map(|known| known.since);
            let same = known.filter(|&at| at.since(since) <= slack && since.since(at) <= slack);
            Problem {
                kind: told.kind,
                since: same.unwrap_or(since),
                count: told.count,
                detail: told.detail.clone(),
                told_by: Some(leader.clone()),
            }
        });
        self.told = problems.collect();
    }

    /// From when on this member may stand for election, apart from jitter; `None`: not now.
    ///
    /// Over a `head` that it cannot read it stands only when nothing has changed for a full lease of
    /// the leader that wrote it: that one, or others of its release, know better what to do.
    pub(crate) fn vacant_at(
        &self,
        config: &Config,
        contact: &Contact,
        me: (&WorkerId, Epoch),
    ) -> Option<Instant> {
        let Some(lease) = self.unread else {
            return self.vacant_after(config.election_timeout(), contact, me);
        };
        let patience = lease.max(config.lease()).max(config.election_timeout());
        let vacant = self.vacant_after(patience, contact, me)?;
        Some(vacant.max(self.head_since.max(contact.since()) + patience))
    }

    /// As [`Follow::vacant_at`], when a leader may be silent for so long.
    fn vacant_after(
        &self,
        patience: Duration,
        contact: &Contact,
        me: (&WorkerId, Epoch),
    ) -> Option<Instant> {
        let looked_at = self.looked_at?;
        let Some(head) = &self.head else {
            return Some(looked_at.max(self.head_since));
        };
        let Some(leader) = &head.leader else {
            return Some(self.head_since);
        };
        if leader.worker == *me.0 {
            // Either this incarnation was leading and gave up, or it took over the leader's slot.
            return Some(self.head_since);
        }
        let seen = self
            .leader
            .as_ref()
            .filter(|seen| seen.worker == leader.worker);
        match seen {
            // Evidence older than the leader's incarnation proves nothing.
            Some(seen) if seen.revision.get() >= leader.epoch.get() => {
                if seen.ended || seen.epoch > leader.epoch {
                    Some(seen.since.max(self.head_since))
                } else {
                    // A leader that renews more seldom than this member does is not a silent one.
                    let patience = patience.max(seen.interval * 2);
                    Some(seen.since.max(contact.since()) + patience)
                }
            }
            Some(_) | None => {
                let since = looked_at.max(self.head_since).max(contact.since());
                Some(since + patience)
            }
        }
    }
}

#[cfg(test)]
mod tests;
