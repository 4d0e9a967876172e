//! Suspecting the leader: asking it whether it runs, and standing sooner when it does not.
//!
//! It is separate from the candidacy because a suspicion is evidence and no proof. What always holds: one
//! member alone deposes nobody before a renewal is missed, since its own way to the leader may be what is
//! broken; and a member that has stood on a suspicion rests, each time twice as long.

use alloc::vec;
use core::time::Duration;

use super::Member;
use crate::config::Config;
use crate::io::event::OpOwner;
use crate::link::Link;
use crate::link::cx::Cx;
use crate::model::id::{Nonce, Term, WriteId};
use crate::model::time::Instant;
use crate::ports::store::{Expect, StoreOp, Write};
use crate::records::keys::suspicion_key;
use crate::records::record::{Record, Suspicion};
use crate::records::seen::Seen;

/// The longest rest after a candidacy on a suspicion is this many times the shortest, which is a lease.
const LONGEST_REST: u32 = 16;

/// What a member that suspects the leader remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspecting {
    /// The leadership that this member said it suspects.
    told: Option<Term>,
    /// The leadership that somebody else said it suspects, and when that was seen.
    seconded: Option<(Term, Instant)>,
    /// When it last stood on a suspicion, and for how long it does not do so again.
    rests: Option<(Instant, Duration)>,
}

impl Suspecting {
    /// Until when this member stands on no suspicion.
    fn rests_until(&self) -> Instant {
        let rests = self.rests.map(|(since, rest)| since + rest);
        rests.unwrap_or(Instant::ORIGIN)
    }

    /// It stands on a suspicion: the next time only after a rest, twice as long as the last one if that
    /// was not long ago.
    fn rest(&mut self, now: Instant, shortest: Duration) {
        let last = self.rests.filter(|&(since, rest)| now < since + rest * 4);
        let longest = shortest * LONGEST_REST;
        let rest = last.map_or(shortest, |(_, rest)| (rest * 2).min(longest));
        self.rests = Some((now, rest));
    }
}

impl Member {
    /// Asks whom there is to ask, and tells the others of a suspicion.
    pub(super) fn poll_probing(&mut self, cx: &mut Cx<'_>) {
        if cx.config().probe_interval().is_none() {
            return;
        }
        match &self.leader {
            Some(leader) => {
                let config = cx.shared_config();
                cx.aim_probes_for(leader.generation(), || leader.to_probe(&config));
            }
            None => cx.aim_probes(self.to_probe(cx.link())),
        }
        cx.poll_probes();
        if cx.take_suspicion_news()
            && let Some(leader) = &mut self.leader
        {
            leader.on_suspicions();
        }
        self.tell_suspicion(cx);
    }

    /// The session of the leader, while somebody else leads.
    fn to_probe(&self, link: &Link) -> Option<Nonce> {
        let leader = self.follow.leader_to_probe(link.contact());
        leader
            .filter(|_| self.leader.is_none())
            .map(|(session, _)| session)
    }

    /// From when on this member may stand because the leader is suspected, if nothing is heard of it.
    pub(super) fn suspicion_holds_at(
        &self,
        config: &Config,
        link: &Link,
        now: Instant,
    ) -> Option<Instant> {
        config.probe_interval()?;
        let (session, missed_at) = self.follow.leader_to_probe(link.contact())?;
        let suspected = link.probes().suspected_at(config, session)?;
        let term = self.follow.head()?.term;
        // What somebody else saw long ago says nothing of now.
        let fresh = config.heartbeat_interval() * 2;
        let second = self.suspecting.seconded;
        let second = second.filter(|&(of, at)| of == term && now.since(at) <= fresh);
        let confirmed = second.map_or(missed_at, |(_, at)| missed_at.min(at));
        Some(suspected.max(confirmed).max(self.suspecting.rests_until()))
    }

    /// Says that the leader is suspected, once for each leadership.
    fn tell_suspicion(&mut self, cx: &mut Cx<'_>) {
        let Some(session) = self.to_probe(cx.link()) else {
            return;
        };
        let suspected = cx.link().probes().suspected_at(cx.config(), session);
        let Some(term) = self.follow.head().map(|head| head.term) else {
            return;
        };
        if suspected.is_none_or(|at| cx.now < at)
            || self.suspecting.told == Some(term)
            || !cx.store_is_sound()
        {
            return;
        }
        self.suspecting.told = Some(term);
        let (nonce, seq) = (self.session.nonce, term.get());
        let write = WriteId { nonce, seq };
        let value = cx.encode(&Record::Suspicion(Suspicion { write, term }));
        let writes = vec![Write {
            key: suspicion_key(),
            value: Some(value),
            // Nothing is decided by it alone; the last word counts.
            expect: Expect::Any,
        }];
        cx.store(OpOwner::Candidate, StoreOp::Commit { writes });
    }

    /// Anyone who asks for a session is answered from now on.
    pub(crate) fn on_answering(&mut self, cx: &Cx<'_>, session: Nonce) {
        if session == self.session.nonce {
            self.session.set_answers(cx);
        }
    }

    /// Somebody says that it suspects a leader.
    pub(super) fn on_suspicion(&mut self, cx: &Cx<'_>, seen: &Seen<'_>) {
        // What a watch begins with may be old.
        if !cx.link().watching().is_caught_up() {
            return;
        }
        if let Some(Record::Suspicion(suspicion)) = seen.record()
            && suspicion.write.nonce != self.session.nonce
        {
            self.suspecting.seconded = Some((suspicion.term, cx.now));
        }
    }

    /// It stands. If only a suspicion lets it, it rests afterwards.
    pub(super) fn note_candidacy(&mut self, cx: &Cx<'_>) {
        let me = (&self.session.worker, self.session.epoch);
        let (config, contact) = (cx.config(), cx.link().contact());
        let vacant = self.follow.vacant_at(config, contact, me);
        if vacant.is_none_or(|at| cx.now < at) {
            self.suspecting.rest(cx.now, config.lease());
        }
    }
}
