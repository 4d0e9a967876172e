//! Claiming an ID: look who is there, choose a free one, write it under the condition that it is
//! still free, and choose another when somebody was faster.
//!
//! Looking is a list of all sessions, unless there is nothing to inherit: in a bucket without a write, or
//! while the group has not planned yet. A thousand that start at once must not list each other.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{Config, OnBucketLost};
use crate::io::effect::{Wake, WakeReason};
use crate::io::event::{OpId, OpOwner};
use crate::io::notice::StartError;
use crate::link::attempt::{Attempt, Outcome};
use crate::link::circuits::Gate;
use crate::link::cx::Cx;
use crate::model::id::{Epoch, Nonce, Revision, WorkerId, WriteId};
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{
    Entry, Expect, StoreError, StoreErrorKind, StoreInfo, StoreOp, StoreReply, Write,
};
use crate::records::agreement::Disagreement;
use crate::records::keys::{Key, session_key};
use crate::records::outline::{self, SessionOutline};
use crate::records::seen::Seen;
use crate::resilience::backoff::Backoff;

mod agree;
pub(crate) mod choice;
mod first;
mod herd;
mod observe;

use choice::{Choice, Claimant, Pending, Slot, Wish};

/// A claim under way.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// The ID to try first.
    wish: Wish,
    /// The session this process had before: everything of it was revoked.
    former: Option<(WorkerId, Epoch, Nonce)>,
    /// What was held then and may still be in callbacks.
    draining: Vec<PartitionKey>,
    /// The session it had in a history that is gone: if it shows again, it has ended.
    survivor: Option<Nonce>,
    started: Instant,
    /// When to give up; a claim after a lost identity never does.
    give_up_at: Option<Instant>,
    info: Option<StoreInfo>,
    /// Each slot at its highest revision seen, and since when. Lists can be stale: an older entry
    /// changes nothing.
    slots: BTreeMap<WorkerId, Slot>,
    step: Step,
    /// Whether it has looked at anything yet.
    looked: bool,
    /// How often it has waited for a first leader.
    waits: u32,
    /// How many claims were lost to others, but for that of a slot that was wanted for itself.
    losses: u32,
    last_error: Option<StoreError>,
    backoff: Backoff,
    exhausted: Option<StartError>,
    /// Another worker with which this one must not share a group, if it is still there.
    disagreement: Option<Disagreement>,
    /// What was sent up to this proves nothing.
    trusted_from: Instant,
}

#[derive(Clone, Debug)]
enum Step {
    Informing(OpId),
    /// There is no bucket: it is being created.
    Creating(OpId),
    /// Who leads, and whether the group has planned yet.
    ReadingHead(OpId),
    /// The leader's session, in place of all.
    ReadingLeader(OpId),
    Listing(OpId),
    Writing {
        attempt: Box<Attempt>,
        worker: WorkerId,
        nonce: Nonce,
        predecessors: Vec<Pending>,
    },
    Pausing {
        until: Instant,
    },
}

/// How a claim stands.
#[derive(Clone, Debug)]
pub(crate) enum Claiming {
    Pending,
    Won(Claimed),
    Failed(StartError),
}

/// A claim that was won.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) worker: WorkerId,
    pub(crate) nonce: Nonce,
    pub(crate) revision: Revision,
    pub(crate) first_sent: Instant,
    /// A claim sent up to this gives no validity; the first renewal does.
    pub(crate) trusted_from: Instant,
    pub(crate) info: StoreInfo,
    /// Earlier sessions of the slot that may not have ended.
    pub(crate) predecessors: Vec<Pending>,
}

impl Claim {
    /// Begins the first claim of a process.
    pub(crate) fn first(cx: &mut Cx<'_>) -> Self {
        let give_up_at = Some(cx.now + cx.config().startup_timeout());
        let dead = cx.config().predecessor_is_dead();
        let wish = hinted(cx.config(), dead, give_up_at).unwrap_or(Wish::Any);
        Self::begin(cx, wish, None, Vec::new(), give_up_at)
    }

    /// Begins a claim after the identity was lost. What was said of a predecessor at the start says
    /// nothing of the process that has the slot now: two processes must not take it from each other in turns.
    pub(crate) fn again(
        cx: &mut Cx<'_>,
        lost: &WorkerId,
        (epoch, nonce): (Epoch, Nonce),
        draining: Vec<PartitionKey>,
    ) -> Self {
        let wish = hinted(cx.config(), false, None);
        let wish = wish.unwrap_or_else(|| Wish::Former(lost.clone()));
        let former = Some((lost.clone(), epoch, nonce));
        Self::begin(cx, wish, former, draining, None)
    }

    /// Begins a claim after the history was lost: the old slot first, whatever is left of it.
    pub(crate) fn after_loss(
        cx: &mut Cx<'_>,
        lost: Option<(WorkerId, Nonce)>,
        give_up_at: Option<Instant>,
    ) -> Self {
        let (worker, survivor) = lost.unzip();
        let wish = worker.map(Wish::Former);
        let wish = wish.or_else(|| hinted(cx.config(), false, give_up_at));
        Self {
            survivor,
            ..Self::begin(cx, wish.unwrap_or(Wish::Any), None, Vec::new(), give_up_at)
        }
    }

    /// The slot this process had in a history that is gone.
    pub(crate) fn slot(&self) -> Option<(WorkerId, Nonce)> {
        self.wish.worker().cloned().zip(self.survivor)
    }

    /// When to give up.
    pub(crate) const fn give_up_at(&self) -> Option<Instant> {
        self.give_up_at
    }

    fn begin(
        cx: &mut Cx<'_>,
        wish: Wish,
        former: Option<(WorkerId, Epoch, Nonce)>,
        draining: Vec<PartitionKey>,
        give_up_at: Option<Instant>,
    ) -> Self {
        let (slots, started) = (BTreeMap::new(), cx.now);
        let (info, last_error, exhausted) = (None, None, None);
        let most = cx.config().heartbeat_interval();
        let mut claim = Self {
            wish,
            former,
            draining,
            survivor: None,
            started,
            give_up_at,
            info,
            slots,
            step: Step::Pausing { until: started },
            looked: false,
            waits: 0,
            losses: 0,
            last_error,
            backoff: cx.config().retry().endless(most),
            exhausted,
            disagreement: None,
            trusted_from: Instant::ORIGIN,
        };
        claim.look(cx);
        claim
    }

    /// The clock stood still for an unknown time: what was sent before now proves nothing.
    pub(crate) const fn distrust(&mut self, now: Instant) {
        self.trusted_from = now;
    }

    pub(crate) fn on_reply(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        result: &Result<StoreReply, StoreError>,
    ) -> Claiming {
        match &mut self.step {
            Step::Informing(expected) | Step::Creating(expected) if *expected == op => {
                self.on_info(cx, result)
            }
            Step::ReadingHead(expected) if *expected == op => self.on_head(cx, result),
            Step::ReadingLeader(expected) if *expected == op => self.on_leader(cx, result),
            Step::Listing(expected) if *expected == op => self.on_list(cx, result),
            Step::Writing { attempt, .. } => {
                let outcome = attempt.on_reply(cx, op, result);
                self.on_outcome(cx, outcome)
            }
            Step::Informing(_)
            | Step::Creating(_)
            | Step::ReadingHead(_)
            | Step::ReadingLeader(_)
            | Step::Listing(_)
            | Step::Pausing { .. } => Claiming::Pending,
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> Claiming {
        if self.give_up_at.is_some_and(|at| cx.now >= at) {
            return Claiming::Failed(self.failure(cx.now));
        }
        match &mut self.step {
            Step::Pausing { until } if cx.now >= *until => self.look(cx),
            Step::Writing { attempt, .. } => attempt.handle_timeout(cx),
            Step::Informing(_) | Step::Creating(_) | Step::Pausing { .. } => {}
            Step::ReadingHead(_) | Step::ReadingLeader(_) | Step::Listing(_) => {}
        }
        Claiming::Pending
    }

    pub(crate) fn wake(&self) -> Option<Wake> {
        let step = match &self.step {
            Step::Pausing { until } => Some(Wake::new(*until, WakeReason::Claim)),
            Step::Writing { attempt, .. } => attempt.wake(),
            Step::Informing(_) | Step::Creating(_) | Step::Listing(_) => None,
            Step::ReadingHead(_) | Step::ReadingLeader(_) => None,
        };
        let give_up = self
            .give_up_at
            .map(|at| Wake::new(at, WakeReason::StartDeadline));
        Wake::earlier(step, give_up)
    }

    fn look(&mut self, cx: &mut Cx<'_>) {
        let until = match cx.gate(OpOwner::Claim) {
            Gate::Free => None,
            Gate::Until(at) => Some(at),
            // The answer to a probe of an earlier session is still to come.
            Gate::Shut => Some(cx.now + cx.config().heartbeat_interval() / 4),
        };
        if let Some(until) = until {
            self.step = Step::Pausing { until };
            return;
        }
        if self.info.is_none() {
            self.step = Step::Informing(cx.store(OpOwner::Claim, StoreOp::Info));
        } else if self.may_do_without_list() {
            self.read_head(cx);
        } else {
            self.list(cx);
        }
    }

    fn on_info(&mut self, cx: &mut Cx<'_>, result: &Result<StoreReply, StoreError>) -> Claiming {
        match result {
            Ok(StoreReply::Info(info)) => {
                let nothing = info.last_revision == Revision::ZERO;
                self.info = Some(info.clone());
                if nothing {
                    // As a list would show it.
                    self.looked = true;
                    return self.join(cx);
                }
                self.look(cx);
                Claiming::Pending
            }
            Ok(
                StoreReply::Entry(_) | StoreReply::Entries { .. } | StoreReply::Committed { .. },
            ) => self.fail_step(cx, StoreError::new(StoreErrorKind::Unknown, "not facts")),
            Err(error) if error.kind == StoreErrorKind::Missing => {
                match (&self.step, cx.config().on_bucket_lost()) {
                    (_, OnBucketLost::Halt) => {
                        Claiming::Failed(StartError::Rejected(error.clone()))
                    }
                    // What was created is gone already: not to be done over and over.
                    (Step::Creating(_), OnBucketLost::Recreate) => {
                        self.fail_step(cx, error.clone())
                    }
                    (_, OnBucketLost::Recreate) => {
                        self.step = Step::Creating(cx.store(OpOwner::Claim, StoreOp::Create));
                        Claiming::Pending
                    }
                }
            }
            Err(error) => self.fail_step(cx, error.clone()),
        }
    }

    fn on_list(&mut self, cx: &mut Cx<'_>, result: &Result<StoreReply, StoreError>) -> Claiming {
        match result {
            Ok(StoreReply::Entries {
                entries,
                last_revision,
            }) => {
                let seen: Vec<Seen<'_>> = entries.iter().map(|entry| cx.seen(entry)).collect();
                let empty = !seen
                    .iter()
                    .any(|seen| matches!(seen.key(), Key::Session(_)));
                if empty && *last_revision > Revision::ZERO {
                    // Sessions are never removed: where writes were and no session is left, it was
                    // wiped, and leases of it may be relied on.
                    let until = cx.now + cx.longest_lease();
                    cx.continuity().hold_back(until);
                }
                self.backoff.reset();
                self.observe(cx, &seen);
                adopt_format(cx, &seen);
                self.forget_deleted(entries, *last_revision);
                self.join(cx)
            }
            Ok(StoreReply::Entry(_) | StoreReply::Info(_) | StoreReply::Committed { .. }) => {
                self.fail_step(cx, StoreError::new(StoreErrorKind::Unknown, "not a list"))
            }
            Err(error) => {
                if error.kind == StoreErrorKind::Missing {
                    self.info = None;
                }
                self.fail_step(cx, error.clone())
            }
        }
    }

    /// A slot that a list should show and does not was deleted: its revision is not to be expected.
    fn forget_deleted(&mut self, entries: &[Entry], upto: Revision) {
        let living = entries.iter().filter(|entry| entry.value.is_some());
        let listed: BTreeSet<_> = living.map(|entry| entry.key.as_str()).collect();
        self.slots.retain(|worker, slot| {
            slot.revision > upto || listed.contains(session_key(worker).as_str())
        });
    }

    fn choose(&mut self, cx: &mut Cx<'_>) {
        let claimant = Claimant {
            wish: &self.wish,
            draining: !self.draining.is_empty() && !cx.planted(Planted::RetakenTooEarly),
            losses: self.losses,
            dice: cx.rng().next_u64(),
        };
        match choice::choose(cx.config(), claimant, &self.slots, cx.now) {
            Choice::Take {
                worker,
                expect,
                predecessors,
            } => self.write(cx, worker, expect, predecessors),
            Choice::Await { until } => self.look_again(cx, until),
            Choice::Wait { until, holders } => {
                let (min, max) = cx.config().worker_id_range();
                let ends = cx.config().worker_id(min).zip(cx.config().worker_id(max));
                self.exhausted = ends.map(|(first, last)| StartError::StableIdExhausted {
                    first,
                    last,
                    holders,
                });
                self.look_again(cx, until);
            }
        }
    }

    /// Looks again at a time, or after a heartbeat if that is sooner.
    fn look_again(&mut self, cx: &mut Cx<'_>, at: Instant) {
        let soon = cx.now + cx.config().heartbeat_interval();
        let jitter = cx.config().heartbeat_interval() / 20;
        let until = at.min(soon) + cx.rng().duration_below(jitter);
        self.step = Step::Pausing {
            until: until.max(cx.now + Duration::from_millis(1)),
        };
    }

    fn write(
        &mut self,
        cx: &mut Cx<'_>,
        worker: WorkerId,
        expect: Expect,
        mut predecessors: Vec<Pending>,
    ) {
        let nonce = cx.rng().nonce();
        let id = WriteId { nonce, seq: 0 };
        let most = self.info.as_ref().map_or(usize::MAX, |info| info.max_value);
        let value = first::value(cx, id, (&self.draining, &mut predecessors), most);
        let write = Write {
            key: session_key(&worker),
            value: Some(value),
            expect,
        };
        let attempt = Attempt::begin(cx, OpOwner::Claim, id, [write].into());
        self.step = Step::Writing {
            attempt: Box::new(attempt),
            worker,
            nonce,
            predecessors,
        };
    }

    fn on_outcome(&mut self, cx: &mut Cx<'_>, outcome: Outcome) -> Claiming {
        let Step::Writing {
            attempt,
            worker,
            nonce,
            predecessors,
        } = &self.step
        else {
            return Claiming::Pending;
        };
        match outcome {
            Outcome::Pending => Claiming::Pending,
            Outcome::Won(revision) => {
                let (worker, nonce) = (worker.clone(), *nonce);
                let first_sent = attempt.first_sent();
                let Some(info) = self.info.clone() else {
                    return Claiming::Pending;
                };
                self.tell_differences(cx, &worker);
                Claiming::Won(Claimed {
                    worker,
                    nonce,
                    revision,
                    first_sent,
                    trusted_from: self.trusted_from,
                    info,
                    predecessors: predecessors.clone(),
                })
            }
            Outcome::Lost(winner) => {
                let worker = worker.clone();
                self.on_lost(cx, &worker, winner)
            }
            Outcome::Refused(_) => {
                self.look_at_others(cx);
                Claiming::Pending
            }
            Outcome::Rejected(error) => Claiming::Failed(StartError::Rejected(error)),
        }
    }

    fn fail_step(&mut self, cx: &mut Cx<'_>, error: StoreError) -> Claiming {
        if error.kind == StoreErrorKind::Rejected {
            return Claiming::Failed(StartError::Rejected(error));
        }
        self.last_error = Some(error);
        let pause = self.backoff.next(cx.rng());
        cx.note_retry(OpOwner::Claim, self.backoff.tries(), pause);
        let until = cx.now + pause;
        self.step = Step::Pausing { until };
        Claiming::Pending
    }

    fn failure(&self, now: Instant) -> StartError {
        let disagreement = self.disagreement.clone().map(StartError::Disagrees);
        disagreement
            .or_else(|| self.exhausted.clone())
            .unwrap_or_else(|| StartError::StoreUnavailable {
                after: now.since(self.started),
                last: self.last_error.clone(),
            })
    }
}

/// The hinted slot, if there is a hint.
fn hinted(config: &Config, dead: bool, by: Option<Instant>) -> Option<Wish> {
    let worker = config.worker_id_hint()?.clone();
    Some(Wish::Hinted { worker, dead, by })
}

/// The first write of a session must be readable for those that are there.
fn adopt_format(cx: &mut Cx<'_>, seen: &[Seen<'_>]) {
    let outlines = seen.iter().filter_map(Seen::outline);
    let living = outlines.filter(SessionOutline::is_living);
    let format = outline::common_format(cx.formats(), living.map(|seen| seen.reads));
    cx.adopt_format(format);
}
