//! Leading: what only the worker named in `head` does.
//!
//! The parts are `view` (what is known), `facts` and `verdict` (what is to be done), `plan` and
//! `ledger` (how), `commit` (doing it). What always holds: one commit is in flight at a time, every
//! commit expects the previous `head`, and a refused `head` ends the leadership.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use crate::config::Config;
use crate::io::effect::{Wake, WakeReason};
use crate::io::event::{OpId, OpOwner};
use crate::io::notice::{FailedStep, HistoryLoss, Notice, StepDownReason};
use crate::link::attempt::{Attempt, Outcome};
use crate::link::contact::Sightings;
use crate::link::continuity::Continuity;
use crate::link::cx::Cx;
use crate::model::id::{Epoch, Nonce, Revision, Term, Version, WorkerId, WriteId};
use crate::model::partition::PartitionKey;
use crate::model::table::PartitionTable;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{Entry, StoreInfo};
use crate::records::carried::tries;
use crate::records::outline::SessionOutline;
use crate::records::problem::Problem;
use crate::records::record::Head;
use crate::resilience::backoff::Backoff;

use planning::misfits::Around;
mod committing;
mod judging;
mod knowledge;
mod planning;
mod resigning;

use committing::commit::Commit;
use judging::problems::Minding;
use judging::verdict::{Changing, Verdict};
use knowledge::confirmations::Confirmations;
use knowledge::postponed::Spared;
use knowledge::quarantine::Bench;
use knowledge::view::{News, View};
use planning::inherited::Origin;
use planning::target::{Brief, Requested, Target};

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
    worker: WorkerId,
    nonce: Nonce,
    info: StoreInfo,
    /// The question about the store's limits that is on its way.
    asking: Option<OpId>,
    head: Head,
    head_revision: Revision,
    view: View,
    /// The highest version known before the own take-over, and the one of the take-over.
    found: Version,
    began: Version,
    base: Version,
    /// Whether the watch has delivered the own take-over, and with it everything before.
    ready: bool,
    /// Whether the watch has shown the own take-over, perhaps within a snapshot.
    head_seen: bool,
    predecessor: Option<(WorkerId, Revision, Instant)>,
    gathering: Option<Changing>,
    joins: BTreeMap<WorkerId, (Epoch, Instant)>,
    table: Option<Arc<PartitionTable>>,
    /// Where it comes from.
    origin: Origin,
    listing: planning::listing::Listing,
    /// Refresh requests that were listed for.
    listed: BTreeSet<Requested>,
    target: Option<Target>,
    /// What the last plan went around: partitions with those who must not be given them.
    planned_around: BTreeMap<PartitionKey, BTreeSet<WorkerId>>,
    work: Work,
    verdict: Verdict,
    /// Whether something happened since the last judgement.
    stirred: bool,
    /// When to judge again although nothing happened.
    judge_at: Option<Instant>,
    /// When the hold of a seat ends.
    next_end: Option<Instant>,
    /// When parked partitions have waited long enough for another plan.
    parked_until: Option<Instant>,
    /// When the next worker counts as lost unless it renews, whatever else is waited for.
    next_loss: Option<Instant>,
    unfinished: Option<bool>,
    weights_matter: Option<bool>,
    last_rebalance: Option<Instant>,
    /// How many terms in a row were given up before this one, until it has shown that it can do its work.
    futile: u32,
    sightings: Sightings,
    /// What living workers have not confirmed.
    confirmations: Confirmations,
    /// Who failed to, and sits out.
    bench: Bench,
    /// Whose eviction was refused, and until when it is not tried again.
    spared: Spared,
    /// Until when those lost together may still come back, once most of the group was lost at once.
    restarting: Option<Instant>,
    advance_at: Option<Instant>,
    agreement: knowledge::agreement::Agreement,
    failures: u32,
    backoff: Backoff,
    resigning: Option<StepDownReason>,
    minding: Minding,
    writes: u64,
}

#[derive(Clone, Debug)]
enum Work {
    Idle,
    Pausing {
        until: Instant,
    },
    Planning {
        op: OpId,
        brief: Box<Brief>,
        /// The plan, while the strategy is asked again for a part of it.
        around: Option<Box<Around>>,
        /// When the answer is lost.
        give_up: Instant,
    },
    Committing(Box<Commit>),
    Resigning {
        attempt: Box<Attempt>,
        head: Box<Head>,
    },
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

impl Leader {
    pub(crate) fn new(cx: &mut Cx<'_>, start: Inauguration) -> Self {
        let term = start.head.term;
        cx.notify(Notice::LeadershipGained { term });
        let (from, to) = (&start.head.strategy, &cx.boot().strategy);
        if from != to && !from.as_str().is_empty() {
            let (from, to) = (from.clone(), to.clone());
            cx.notify(Notice::StrategyChanged { from, to });
        }
        let (began, agreed) = (start.head.version, start.head.agreed);
        let carried = start.head.carried.clone();
        let waited = carried.unassigned.map(|age| cx.now.saturating_sub(age));
        let waited = cx.unless_planted(Planted::WindowPerLeader, waited, None);
        if cx.continuity().misses(start.base) && start.known > start.base {
            let until = cx.now + cx.longest_lease();
            cx.continuity().hold_back(until);
        }
        Self {
            worker: start.worker,
            nonce: start.nonce,
            info: start.info,
            asking: None,
            head: start.head,
            head_revision: start.revision,
            view: View::distrusting((start.known > start.base).then_some(start.base)),
            found: start.known,
            began,
            base: start.base,
            ready: false,
            head_seen: false,
            predecessor: start.predecessor,
            gathering: waited.map(Changing::begun),
            joins: BTreeMap::new(),
            table: None,
            origin: Origin::default(),
            listing: planning::listing::Listing::Wanted,
            listed: BTreeSet::new(),
            target: None,
            planned_around: BTreeMap::new(),
            work: Work::Idle,
            verdict: Verdict::Quiet,
            stirred: true,
            judge_at: None,
            next_end: None,
            parked_until: None,
            next_loss: None,
            unfinished: None,
            weights_matter: None,
            last_rebalance: cx.unless_planted(
                Planted::ForgottenCooldown,
                start.last_rebalance,
                None,
            ),
            futile: carried.futile,
            sightings: start.sightings,
            confirmations: Confirmations::default(),
            bench: Bench::resumed(cx.now, &carried.quarantined),
            spared: Spared::default(),
            restarting: None,
            advance_at: None,
            agreement: knowledge::agreement::Agreement::new(cx.now, &agreed),
            failures: 0,
            backoff: cx.config().retry().endless(Duration::MAX),
            resigning: None,
            minding: Minding::inherit(start.unowned),
            writes: 0,
        }
    }

    pub(crate) const fn term(&self) -> Term {
        self.head.term
    }

    pub(crate) const fn head(&self) -> (&Head, Revision) {
        (&self.head, self.head_revision)
    }

    /// A snapshot of the watch begins.
    pub(crate) fn on_snapshot(&mut self) {
        // A snapshot that broke off proves nothing about the next, which may be older.
        self.head_seen = false;
        self.view.begin_snapshot();
    }

    /// The watch has delivered everything up to a revision.
    pub(crate) fn on_caught_up(&mut self, cx: &mut Cx<'_>, revision: Revision) {
        self.view.end_snapshot(cx, revision);
        self.stirred = true;
        if self.head_seen || revision >= self.head_revision {
            self.become_ready(cx);
        }
    }

    /// The watch or a list showed an entry.
    pub(crate) fn on_entry(&mut self, cx: &mut Cx<'_>, entry: &Entry) -> News {
        self.view.hears_since = cx.heard().since();
        let news = self.view.on_entry(cx, entry);
        if news != News::Nothing {
            self.compare_versions(cx, entry);
        }
        if let Some((worker, revision, since)) = &self.predecessor {
            self.view.remember(worker, *revision, *since);
        }
        match news {
            News::Nothing | News::Renewal => {}
            News::Acknowledgement => {
                self.expect_advance(cx);
                self.stirred = true;
            }
            News::Change => {
                if self.ready {
                    self.view.note_orphans(cx.now);
                }
                // The end of a session frees what it was still to acknowledge.
                self.expect_advance(cx);
                self.stirred = true;
            }
        }
        news
    }

    /// Something outside the view changed that a judgement depends on, such as the own contact.
    pub(crate) const fn stir(&mut self) {
        self.stirred = true;
    }

    /// What is wrong with a list that is complete up to a revision.
    pub(crate) fn contradiction(&self, entries: &[Entry], upto: Revision) -> Option<HistoryLoss> {
        self.view.contradiction(entries, upto)
    }

    /// A complete list up to a revision shows exactly these keys.
    pub(crate) fn on_list(&mut self, cx: &mut Cx<'_>, keys: &BTreeSet<String>, upto: Revision) {
        self.view.purge(cx, keys, upto);
        self.view.note_orphans(cx.now);
        self.stirred = true;
    }

    /// The watch delivered the own `head` write, and with it everything before.
    pub(crate) fn become_ready(&mut self, cx: &mut Cx<'_>) {
        if self.ready {
            return;
        }
        self.ready = true;
        self.stirred = true;
        self.view.note_orphans(cx.now);
        self.view.trust_only(self.nonce);
        self.view.suspect(&self.head);
        for (worker, record) in &self.view.records {
            // It was written no later than the first later version was seen.
            let seen = self.sightings.range(record.version..).next();
            let since = seen.map_or(cx.now, |(_, &at)| at);
            self.confirmations.expect(since, worker, record.version);
        }
        self.confirmations.note(cx.now, &self.view);
    }

    /// The own `head` write came back, or somebody else's. Only if the leader's own watch brought it,
    /// everything before has been delivered too.
    pub(crate) fn on_head(&mut self, cx: &mut Cx<'_>, entry: &Entry, watched: bool) -> Leading {
        if entry.revision < self.head_revision {
            return Leading::On;
        }
        if entry.revision == self.head_revision {
            self.head_seen |= watched;
            // Inside a snapshot, keys written after `head` are still to come.
            if watched && !self.view.is_in_snapshot() {
                self.become_ready(cx);
            }
            return Leading::On;
        }
        let outcome = match &self.work {
            Work::Committing(commit) => commit.attempt.on_seen(cx, entry),
            Work::Resigning { attempt, .. } => attempt.on_seen(cx, entry),
            Work::Idle | Work::Pausing { .. } | Work::Planning { .. } => {
                Outcome::Lost(Some(entry.clone()))
            }
        };
        self.on_outcome(cx, outcome)
    }

    /// Gives up the office as soon as no commit is in flight.
    pub(crate) fn resign(&mut self, reason: StepDownReason) {
        self.resigning.get_or_insert(reason);
    }

    /// The version of the next generation: above every one known, also of a history that is gone.
    fn next_version(&self, cx: &Cx<'_>) -> Version {
        self.head.version.max(cx.known()).next()
    }

    /// A session may tell of versions that this history does not have: between the `head` this leader
    /// found and its own none was ever written, and none after its last. Then the end of the history
    /// is missing, and somebody may rely on a lease of it. A leader that was deposed may think so too;
    /// it cannot write any more.
    fn compare_versions(&mut self, cx: &mut Cx<'_>, entry: &Entry) {
        let Some(outline) = entry.value.as_deref().and_then(SessionOutline::of) else {
            return;
        };
        let told = outline.known;
        let between = told > self.found && told < self.began;
        let beyond = told > self.head.version.max(self.found);
        if between || beyond {
            self.found = told;
            let left_over = if beyond { self.head.version } else { self.base };
            self.view.distrusted = self.view.distrusted.max(Some(left_over));
            let until = cx.now + cx.longest_lease();
            cx.continuity().hold_back(until);
            self.stirred = true;
        }
        cx.learn(told);
    }

    /// When to be woken.
    pub(crate) fn wake(&self, now: Instant, config: &Config, history: &Continuity) -> Option<Wake> {
        let held_back_until = self.held_back_until(config, history);
        let work = match &self.work {
            Work::Pausing { until } => Some(Wake::new(*until, WakeReason::Retry)),
            Work::Committing(commit) => Wake::earlier(commit.attempt.wake(), Some(commit.give_up)),
            Work::Resigning { attempt, .. } => attempt.wake(),
            Work::Idle if self.ready && self.resigning.is_none() && now < held_back_until => {
                Some(Wake::new(held_back_until, WakeReason::Window))
            }
            Work::Idle => self.judge_at.map(|at| Wake::new(at, self.wake_reason())),
            Work::Planning { give_up, .. } => Some(Wake::new(*give_up, WakeReason::Retry)),
        };
        let listens = self.ready && self.resigning.is_none();
        let listing = if listens { self.listing.wake() } else { None };
        Wake::earlier(work, listing)
    }

    fn wake_reason(&self) -> WakeReason {
        match &self.verdict {
            Verdict::Wait(wake) => wake.why,
            Verdict::Settle { .. } => WakeReason::Window,
            Verdict::Quiet | Verdict::Act { .. } => WakeReason::Handoff,
        }
    }

    /// When to judge again. What is past was judged a moment ago and could not be acted upon: it
    /// waits for an event, such as the return of contact.
    fn next_judgement(&self, config: &Config, now: Instant) -> Option<Instant> {
        let verdict = match &self.verdict {
            Verdict::Quiet | Verdict::Act { .. } => None,
            Verdict::Wait(wake) => Some(wake.at),
            Verdict::Settle { until, .. } => Some(*until),
        };
        let confirmed = self.confirmations.next(config, now);
        let times = confirmed
            .into_iter()
            .chain(verdict)
            .chain(self.bench.next_return(now))
            .chain(self.spared.next(now))
            .chain(self.advance_at)
            .chain(self.agreement.next(config))
            .chain(self.view.unheeding(config).map(|(_, at)| at))
            .chain(self.next_end)
            .chain(self.parked_until)
            .chain(self.next_loss);
        times.filter(|&at| at > now).min()
    }

    fn expect_advance(&mut self, cx: &Cx<'_>) {
        if self.target.is_some() {
            let at = cx.now + cx.config().acknowledge_delay();
            self.advance_at = Some(self.advance_at.map_or(at, |earlier| earlier.min(at)));
            self.stirred = true;
        }
    }

    fn next_write(&mut self) -> WriteId {
        self.writes += 1;
        // Take-overs use their term as the number; generations must not repeat it.
        WriteId {
            nonce: self.nonce,
            seq: (self.head.term.get() << 32) + self.writes,
        }
    }

    fn fail(&mut self, cx: &mut Cx<'_>, step: FailedStep, reason: String) {
        // A limit may have changed since the store was last asked.
        cx.suspect();
        // Whatever step failed, a handoff under way has to go on after it.
        self.expect_advance(cx);
        self.failures += 1;
        let failures = self.failures;
        cx.notify(Notice::StepFailed {
            step,
            failures,
            reason: reason.clone(),
        });
        if failures >= tries(cx.config().leader_failure_limit(), self.futile) {
            cx.note_exhausted(OpOwner::Leader, failures);
            self.resign(StepDownReason::Failing(reason));
        }
        self.work = Work::Pausing {
            until: cx.now + self.backoff.next(cx.rng()),
        };
    }
}
