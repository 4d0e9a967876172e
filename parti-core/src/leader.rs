//! Leading: what only the worker named in `head` does.
//!
//! The rooms are `knowledge` (what is known), `judging` (what is to be done), `planning` (how),
//! `committing` (doing it) and `resigning`; `leadership` says where the term stands. What always holds: one
//! commit is in flight at a time, every commit expects the previous `head`, and a refused `head` ends the
//! leadership.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::io::effect::{Wake, WakeReason};
use crate::io::event::{OpId, OpOwner};
use crate::io::notice::{FailedStep, HistoryLoss, Notice, StepDownReason};
use crate::link::attempt::Outcome;
use crate::link::contact::Sightings;
use crate::link::continuity::Continuity;
use crate::link::cx::Cx;
use crate::model::id::{Nonce, Revision, Term, Version, WorkerId, WriteId};
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{Entry, StoreInfo};
use crate::records::agreement::Disagreement;
use crate::records::carried::tries;
use crate::records::problem::Problem;
use crate::records::record::Head;
use crate::records::seen::Seen;
use crate::resilience::backoff::Backoff;

mod committing;
mod judging;
mod knowledge;
mod leadership;
mod planning;
mod resigning;

use judging::problems::GroupHealth;
use judging::verdict::Judgement;
use knowledge::Knowledge;
use knowledge::view::News;
use leadership::Leadership;
use planning::in_force::InForce;
use planning::listing::PartitionList;

/// What a new leader brings along.
#[derive(Clone, Debug)]
pub(crate) struct Inauguration {
    pub(crate) worker: WorkerId,
    pub(crate) nonce: Nonce,
    pub(crate) info: StoreInfo,
    pub(crate) head: Head,
    pub(crate) revision: Revision,
    /// The version of the `head` it was elected over, and the highest version known then.
    pub(crate) base: Version,
    pub(crate) known: Version,
    /// Whether that `head` is its own: nobody else led meanwhile.
    pub(crate) again: bool,
    /// The session of the former leader, as observed while following it.
    pub(crate) predecessor: Option<(WorkerId, Revision, Instant)>,
    /// When the last rebalance was, as far as is known.
    pub(crate) last_rebalance: Option<Instant>,
    /// When the last versions were first seen.
    pub(crate) sightings: Sightings,
    /// Partitions without an owner, as the former leader told.
    pub(crate) unowned: Option<Problem>,
}

/// A leader.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    author: Author,
    limits: Limits,
    leadership: Leadership,
    knowledge: Knowledge,
    list: PartitionList,
    in_force: InForce,
    judgement: Judgement,
    retry: Retry,
    last_rebalance: Option<Instant>,
    /// How many terms in a row were given up before this one, until it has shown that it can do its work.
    futile: u32,
    health: GroupHealth,
}

/// Who writes, and how often it has.
#[derive(Clone, Debug)]
struct Author {
    nonce: Nonce,
    writes: u64,
}

/// What the store takes.
#[derive(Clone, Debug)]
struct Limits {
    info: StoreInfo,
    /// What it took when the last plan was made: the largest value, and how many writes at once.
    planned: (usize, usize),
    /// The question about it that is on its way.
    asking: Option<OpId>,
}

impl Limits {
    const fn new(info: StoreInfo) -> Self {
        Self {
            planned: (info.max_value, info.max_batch),
            info,
            asking: None,
        }
    }

    /// A plan is made for what the store takes now.
    const fn on_plan(&mut self) {
        self.planned = (self.info.max_value, self.info.max_batch);
    }

    /// Whether the store takes more than the last plan was made for.
    const fn have_grown(&self) -> bool {
        self.info.max_value > self.planned.0 || self.info.max_batch > self.planned.1
    }
}

/// Steps that failed in a row.
#[derive(Clone, Debug)]
struct Retry {
    failures: u32,
    backoff: Backoff,
}

/// Whether the leadership goes on.
#[derive(Clone, Debug)]
pub(crate) enum Leading {
    On,
    /// It is over; the entry of `head` that ended it, if it was seen.
    Over(StepDownReason, Option<Entry>),
    /// It was given up; `head` names nobody now.
    Resigned(StepDownReason, Box<Head>, Revision),
}

impl Author {
    fn next_write(&mut self, head: &Head) -> WriteId {
        self.writes += 1;
        // Take-overs use their term as the number; generations must not repeat it.
        WriteId {
            nonce: self.nonce,
            seq: (head.term.get() << 32) + self.writes,
        }
    }
}

impl Retry {
    fn reset(&mut self) {
        self.failures = 0;
        self.backoff.reset();
    }
}

impl Leader {
    pub(crate) fn new(cx: &mut Cx<'_>, start: Inauguration) -> Self {
        let term = start.head.term;
        cx.notify(Notice::LeadershipGained { term });
        let (from, to) = (&start.head.strategy, &cx.boot().strategy);
        if from != to && !from.as_str().is_empty() {
            let (from, to) = (from.clone(), to.clone());
            cx.notify(Notice::StrategyChanged { from, to });
        }
        if cx.continuity().misses(start.base) && start.known > start.base {
            let until = cx.now + cx.longest_lease();
            cx.continuity().hold_back(until);
        }
        let last_rebalance =
            cx.unless_planted(Planted::ForgottenCooldown, start.last_rebalance, None);
        Self {
            author: Author {
                nonce: start.nonce,
                writes: 0,
            },
            limits: Limits::new(start.info.clone()),
            leadership: Leadership::CatchingUp { head_seen: false },
            list: PartitionList::wanted(),
            in_force: InForce::default(),
            judgement: Judgement::none(),
            retry: Retry {
                failures: 0,
                backoff: cx.config().retry().endless(Duration::MAX),
            },
            last_rebalance,
            futile: start.head.carried.futile,
            health: GroupHealth::inherit(start.unowned.clone()),
            knowledge: Knowledge::new(cx, start),
        }
    }

    pub(crate) const fn term(&self) -> Term {
        self.knowledge.head.term
    }

    pub(crate) const fn head(&self) -> (&Head, Revision) {
        (&self.knowledge.head, self.knowledge.head_revision)
    }

    /// A snapshot of the watch begins.
    pub(crate) fn on_snapshot(&mut self) {
        if let Leadership::CatchingUp { head_seen } = &mut self.leadership {
            // A snapshot that broke off proves nothing about the next, which may be older.
            *head_seen = false;
        }
        self.knowledge.view.begin_snapshot();
    }

    /// The watch has delivered everything up to a revision.
    pub(crate) fn on_caught_up(&mut self, cx: &mut Cx<'_>, revision: Revision) {
        self.knowledge.on_caught_up(cx, revision);
        let own = matches!(self.leadership, Leadership::CatchingUp { head_seen: true });
        if own || revision >= self.knowledge.head_revision {
            self.catch_up(cx.now);
        }
    }

    /// The watch or a list showed an entry.
    pub(crate) fn on_entry(&mut self, cx: &mut Cx<'_>, seen: &Seen<'_>) -> News {
        let news = self.knowledge.on_entry(cx, seen);
        match news {
            News::Nothing | News::Renewal => {}
            // Also the end of a session frees what it was still to acknowledge.
            News::Acknowledgement | News::Change => self.expect_advance(cx),
        }
        news
    }

    /// What is wrong with a list that is complete up to a revision.
    pub(crate) fn contradiction(&self, entries: &[Entry], upto: Revision) -> Option<HistoryLoss> {
        self.knowledge.contradiction(entries, upto)
    }

    /// A complete list up to a revision shows exactly these keys.
    pub(crate) fn on_list(&mut self, cx: &mut Cx<'_>, keys: &BTreeSet<String>, upto: Revision) {
        self.knowledge.on_list(cx, keys, upto);
    }

    /// The watch delivered this leader's own `head` write, and with it everything before.
    fn catch_up(&mut self, now: Instant) {
        if self.leadership.caught_up() {
            self.knowledge.become_whole(now, self.author.nonce);
        }
    }

    /// Its own `head` write came back, or somebody else's. Only if the leader's own watch brought it,
    /// everything before has been delivered too.
    pub(crate) fn on_head(&mut self, cx: &mut Cx<'_>, seen: &Seen<'_>, watched: bool) -> Leading {
        let own = self.knowledge.head_revision;
        let revision = seen.revision();
        if revision < own || (revision == own && !watched) {
            return Leading::On;
        }
        if revision == own {
            // Inside a snapshot, keys written after `head` are still to come.
            if !self.knowledge.view.is_in_snapshot() {
                self.catch_up(cx.now);
            } else if let Leadership::CatchingUp { head_seen } = &mut self.leadership {
                *head_seen = true;
            }
            return Leading::On;
        }
        let outcome = match self.leadership.attempt() {
            Some(attempt) => attempt.on_seen(cx, seen),
            None => Outcome::Lost(Some(seen.entry().clone())),
        };
        self.on_outcome(cx, outcome)
    }

    /// Another number whenever something has changed that it decides on.
    pub(crate) const fn generation(&self) -> u64 {
        self.knowledge.generation()
    }

    /// The sessions whose processes are to be asked whether they run.
    pub(crate) fn to_probe(&self, config: &Config) -> Vec<Nonce> {
        self.knowledge.to_probe(config)
    }

    /// Others are suspected than before.
    pub(crate) const fn on_suspicions(&mut self) {
        self.knowledge.changed();
    }

    /// What the store said about itself.
    pub(crate) fn on_info(&mut self, info: StoreInfo) {
        self.limits.info = info;
        if self.limits.have_grown() {
            self.knowledge.changed();
        }
    }

    /// How the others differ from this leader, those that would break a promise first.
    pub(crate) fn differences(&self) -> &[Disagreement] {
        self.knowledge.differences()
    }

    /// When to be woken.
    pub(crate) fn wake(&self, now: Instant, config: &Config, history: &Continuity) -> Option<Wake> {
        match &self.leadership {
            Leadership::CatchingUp { .. } => None,
            Leadership::Resigning(resigning) => resigning.step.wake(),
            Leadership::Leading(work) => {
                let held_back_until = self.knowledge.held_back_until(config, history);
                let waits = self.leadership.is_idle() && now < held_back_until;
                let window = waits.then(|| Wake::new(held_back_until, WakeReason::Window));
                let next = window.or_else(|| work.wake(self.judgement.again_at));
                Wake::earlier(next, self.list.wake())
            }
        }
    }

    /// The handoff under way, if there is one, goes on soon.
    fn expect_advance(&mut self, cx: &Cx<'_>) {
        let at = cx.now + cx.config().acknowledge_delay();
        if self.in_force.expect_advance(at) {
            self.judgement.hasten(at);
        }
    }

    fn fail(&mut self, cx: &mut Cx<'_>, step: FailedStep, reason: String) {
        // A limit may have changed since the store was last asked.
        cx.suspect();
        // Whatever step failed, a handoff under way has to go on after it.
        self.expect_advance(cx);
        self.retry.failures += 1;
        let failures = self.retry.failures;
        cx.notify(Notice::StepFailed {
            step,
            failures,
            reason: reason.clone(),
        });
        if failures >= tries(cx.config().leader_failure_limit(), self.futile) {
            cx.note_exhausted(OpOwner::Leader, failures);
            self.resign(StepDownReason::Failing(reason));
        }
        self.leadership
            .pause(cx.now + self.retry.backoff.next(cx.rng()));
    }
}
