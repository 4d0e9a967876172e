//! Many that start at once: how a claim does without the list of all sessions, and what it does when
//! another was faster.
//!
//! It is separate because none of it is needed for a claim to be right: the conditional write finds out
//! whether a slot is free, whatever was looked at. What always holds: nobody does without the list who could
//! inherit a slot, and each process does without it once.

use alloc::string::ToString;
use core::time::Duration;

use super::choice::FEW;
use super::{Claim, Claiming, Step};
use crate::config::Config;
use crate::io::event::OpOwner;
use crate::link::cx::Cx;
use crate::model::id::{Version, WorkerId};
use crate::ports::store::{Entry, StoreError, StoreOp, StoreReply};
use crate::records::keys::{SESSION_PREFIX, head_key, session_key};
use crate::records::record::Record;
use crate::records::seen::Content;

/// So many claims are tried from one list: each loss tells who has the slot. Then it is too old.
const TRIES_A_LIST: u32 = 10;
/// The longest pause before a list after one lost claim; longer after several.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest time over which they spread at first.
const SPREAD: Duration = Duration::from_secs(1);
/// How often a first leader is waited for before a list.
const WAITS: u32 = 3;

impl Claim {
    /// Whether it may do without a list. One that had a session looks for what is left of it, and one
    /// that wants a slot of its own for who has it.
    pub(super) const fn may_do_without_list(&self) -> bool {
        !self.looked && self.former.is_none() && self.survivor.is_none()
    }

    /// Looks whether the group has planned: before that no slot is worth more than another.
    pub(super) fn read_head(&mut self, cx: &mut Cx<'_>) {
        self.looked = true;
        let key = head_key();
        self.step = Step::ReadingHead(cx.store(OpOwner::Claim, StoreOp::Get { key }));
    }

    /// Looks at all sessions.
    pub(super) fn list(&mut self, cx: &mut Cx<'_>) {
        let prefix = SESSION_PREFIX.to_string();
        self.step = Step::Listing(cx.store(OpOwner::Claim, StoreOp::List { prefix }));
    }

    pub(super) fn on_head(
        &mut self,
        cx: &mut Cx<'_>,
        result: &Result<StoreReply, StoreError>,
    ) -> Claiming {
        let leader = match result {
            Ok(StoreReply::Entry(Some(entry))) => leader_before_any_plan(cx, entry),
            Ok(_) => None,
            Err(error) => return self.fail_step(cx, error.clone()),
        };
        match leader {
            Some(leader) => {
                let key = session_key(&leader);
                self.step = Step::ReadingLeader(cx.store(OpOwner::Claim, StoreOp::Get { key }));
            }
            None => match spread(cx.config(), self.waits) {
                // Its first leader may be on its way.
                Some(spread) => {
                    self.waits += 1;
                    self.looked = false;
                    let until = cx.now + cx.rng().duration_below(spread);
                    self.step = Step::Pausing { until };
                }
                None => self.list(cx),
            },
        }
        Claiming::Pending
    }

    /// The leader stands for all that are there: with it the settings are compared.
    pub(super) fn on_leader(
        &mut self,
        cx: &mut Cx<'_>,
        result: &Result<StoreReply, StoreError>,
    ) -> Claiming {
        let entry = match result {
            Ok(StoreReply::Entry(entry)) => entry.as_ref(),
            Ok(_) => None,
            Err(error) => return self.fail_step(cx, error.clone()),
        };
        let seen = entry.map(|entry| cx.seen(entry));
        let Some(seen) = seen.filter(|seen| seen.session().is_some_and(|s| s.status.is_living()))
        else {
            self.list(cx);
            return Claiming::Pending;
        };
        self.backoff.reset();
        self.observe(cx, core::slice::from_ref(&seen));
        self.join(cx)
    }

    /// Somebody was faster. Who is known now, so that another slot of the same list can be tried: a herd
    /// that starts at once must not list everything again for each loss of each.
    pub(super) fn on_lost(
        &mut self,
        cx: &mut Cx<'_>,
        worker: &WorkerId,
        winner: Option<Entry>,
    ) -> Claiming {
        let Some(winner) = winner else {
            // What was seen of the slot is not there any more: it is looked at afresh.
            self.slots.remove(worker);
            self.look_at_others(cx);
            return Claiming::Pending;
        };
        self.observe(cx, &[cx.seen(&winner)]);
        let wanted = self.wish.worker() == Some(worker);
        self.losses += u32::from(!wanted);
        if wanted || self.losses.is_multiple_of(TRIES_A_LIST) {
            self.look_at_others(cx);
            return Claiming::Pending;
        }
        self.join(cx)
    }

    /// Looks again, after a pause that spreads a herd.
    pub(super) fn look_at_others(&mut self, cx: &mut Cx<'_>) {
        let longest = PAUSE * self.losses.clamp(1, TRIES_A_LIST);
        let until = cx.now + cx.rng().duration_below(longest);
        self.step = Step::Pausing {
            until: until.max(cx.now + Duration::from_millis(1)),
        };
    }
}

/// Over how long those spread who would list a group that many start at once, if they do: longer each time,
/// so that a few list first and the others find a leader.
fn spread(config: &Config, waits: u32) -> Option<Duration> {
    let expected = config.expected_workers().unwrap_or(0);
    let spread = (Duration::from_millis(1) * expected).min(SPREAD);
    (expected as usize > FEW && waits < WAITS).then(|| spread * (1 << waits))
}

/// The leader that an entry of `head` names, if no plan was made yet. The first write has to be readable for
/// that group.
fn leader_before_any_plan(cx: &mut Cx<'_>, entry: &Entry) -> Option<WorkerId> {
    let seen = cx.seen(entry);
    let Content::Record(record) = seen.content() else {
        return None;
    };
    let Record::Head(head) = &**record else {
        return None;
    };
    let leader = head
        .leader
        .as_ref()
        .filter(|_| head.planned == Version::ZERO)?;
    cx.adopt_format(head.format);
    Some(leader.worker.clone())
}
