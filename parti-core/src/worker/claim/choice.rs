//! Which ID to take: a pure function of what the list shows.
//!
//! A slot may be taken when its session has ended for certain: released, evicted after a full lease
//! of silence, or seen unchanged for a full lease on this process's clock. The slot of its former
//! session may be taken at once: a worker that was cut off keeps its ID. A hinted slot is waited for, and
//! taken at once where its predecessor was declared dead. Whenever the end of an earlier session is
//! not certain, the claim names it. Ended slots come before unused ones, because they may still own
//! partitions: a replacement inherits them and nothing moves. Held ones come first of all, since
//! what they own waits for the replacement; that of an evicted one does not. Among those of a kind it is
//! the lowest, unless many are starting: then one of twice as many of the lowest, at random.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::model::id::{Epoch, Revision, WorkerId};
use crate::model::time::Instant;
use crate::ports::store::Expect;
use crate::records::record::{Predecessor, Remains, SessionRecord, SessionStatus};

/// How many holders an error names.
const NAMED_HOLDERS: usize = 5;

/// The most earlier sessions a claim may name. A process that crashes more often than this within a
/// lease waits until the first of them are over.
pub(crate) const MAX_PREDECESSORS: usize = 8;

/// So many renewals of a hinted slot while it is looked at: its holder lives. One may have been on
/// its way when the holder died, or come out of an old read.
pub(super) const SIGNS_OF_LIFE: u32 = 2;

/// A slot as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) revision: Revision,
    /// What was written then.
    pub(crate) value: Vec<u8>,
    /// The same as a record, if it is a session that can be read.
    pub(crate) said: Option<SessionRecord>,
    pub(crate) epoch: Epoch,
    /// Whether its session was this process's own, which it has given up.
    pub(crate) own: bool,
    /// When this revision was first seen, on this process's clock.
    pub(crate) since: Instant,
    /// How often it was written by a living holder while it was looked at.
    pub(crate) signs: u32,
}

impl Slot {
    fn status(&self) -> SessionStatus {
        let said = self.said.as_ref();
        said.map_or(SessionStatus::Active, |said| said.status)
    }

    /// How long it has to be seen unchanged until nobody relies on it.
    fn outlasts(&self, config: &Config) -> Duration {
        let own = config.clock_drift_ppm();
        let said = self.said.as_ref();
        let drift_ppm = said.map_or(own, |said| said.settings.clock_drift_ppm);
        config.outlasts(self.lease(), drift_ppm)
    }

    fn lease(&self) -> Duration {
        let said = self.said.as_ref();
        said.map_or(Duration::ZERO, |said| said.lease)
    }
}

/// Which slot a claim would like to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// None in particular.
    Any,
    /// That of its former session, if it is free.
    Former(WorkerId),
    /// The hinted one. It is waited for, unless its holder shows that it lives.
    Hinted {
        worker: WorkerId,
        /// Whether its predecessor was declared dead, so that it need not be waited for.
        dead: bool,
        /// When waiting is of no use any more.
        by: Option<Instant>,
    },
}

impl Wish {
    /// The slot.
    pub(crate) const fn worker(&self) -> Option<&WorkerId> {
        match self {
            Self::Any => None,
            Self::Former(worker) | Self::Hinted { worker, .. } => Some(worker),
        }
    }
}

/// An earlier session of a slot, and when it has ended for certain on this process's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) predecessor: Predecessor,
    pub(crate) until: Instant,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Write this ID under this condition, naming these earlier sessions.
    Take {
        worker: WorkerId,
        expect: Expect,
        predecessors: Vec<Pending>,
    },
    /// The slot that is wanted may become free at `until`.
    Await { until: Instant },
    /// Every slot is taken; one of them may become free at `until`.
    Wait {
        until: Instant,
        holders: Vec<WorkerId>,
    },
}

/// What a claim knows beside the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimant<'a> {
    pub(crate) wish: &'a Wish,
    /// Whether callbacks of its former session still run.
    pub(crate) draining: bool,
    /// How many claims were lost to others.
    pub(crate) losses: u32,
    /// Which of several equal slots to take.
    pub(crate) dice: u64,
}

impl Claimant<'_> {
    /// One of the lowest, as many as are `starting`.
    fn pick(self, equal: impl Iterator<Item = WorkerId>, starting: usize) -> Option<WorkerId> {
        let mut lowest: Vec<WorkerId> = equal.take(starting).collect();
        let many = u128::try_from(lowest.len()).ok().filter(|&n| n > 0)?;
        let index = usize::try_from((u128::from(self.dice) * many) >> 64).ok()?;
        Some(lowest.swap_remove(index))
    }
}

/// Up to so many that start at once go for the lowest slot first: what they lose to each other is little,
/// and their IDs have no gaps.
pub(super) const FEW: usize = 16;
/// How much wider each lost claim makes the choice.
const WIDER: usize = 4;

/// Among how many of the lowest equal slots to choose. Twice as many as are missing, where many are
/// expected: then most win at once. Otherwise each lost claim shows that they are more than was thought,
/// within what is missing: five expected workers have the IDs 0 to 4.
fn starting(config: &Config, slots: &BTreeMap<WorkerId, Slot>, losses: u32) -> usize {
    let living = slots.values().filter(|slot| slot.status().is_living());
    let expected = config.expected_workers().unwrap_or(0) as usize;
    let missing = expected.saturating_sub(living.count());
    let wider = WIDER.saturating_pow(losses);
    match missing {
        0 => wider,
        1..=FEW => wider.min(missing),
        _ => wider.max(missing.saturating_mul(2)),
    }
}

/// When a slot may be taken as one whose session has ended.
fn free_at(config: &Config, slot: &Slot) -> Instant {
    if slot.own {
        return Instant::ORIGIN;
    }
    match slot.status() {
        SessionStatus::Released { .. } | SessionStatus::Evicted { silent: true } => Instant::ORIGIN,
        SessionStatus::Active
        | SessionStatus::Draining
        | SessionStatus::Suspected
        | SessionStatus::Evicted { silent: false } => slot.since + slot.outlasts(config),
    }
}

pub(crate) fn choose(
    config: &Config,
    claimant: Claimant<'_>,
    slots: &BTreeMap<WorkerId, Slot>,
    now: Instant,
) -> Choice {
    let (min, max) = config.worker_id_range();
    let pool = || (min..=max).filter_map(|number| config.worker_id(number));
    let take = |worker: WorkerId| {
        let slot = slots.get(&worker);
        let expect = slot.map_or(Expect::Absent, |s| Expect::Revision(s.revision));
        let predecessors = slot.map(|slot| predecessors(config, slot, claimant.draining, now));
        Choice::Take {
            worker,
            expect,
            predecessors: predecessors.unwrap_or_default(),
        }
    };
    let is_free = |worker: &WorkerId| {
        slots
            .get(worker)
            .is_none_or(|slot| free_at(config, slot) <= now)
    };
    if let Some(worker) = claimant.wish.worker() {
        if is_free(worker) {
            return take(worker.clone());
        }
        let slot = slots.get(worker);
        match slot.and_then(|slot| worth_waiting_for(config, claimant.wish, slot)) {
            Some(until) if until <= now => return take(worker.clone()),
            Some(until) => return Choice::Await { until },
            None => {}
        }
    }
    let starting = starting(config, slots, claimant.losses);
    let held = pool().filter(|worker| {
        let status = slots.get(worker).map(Slot::status);
        matches!(status, Some(SessionStatus::Released { hold }) if !hold.is_zero())
    });
    let ended = pool().filter(|worker| {
        let slot = slots.get(worker);
        slot.is_some_and(|slot| free_at(config, slot) == Instant::ORIGIN)
    });
    let unused = pool().filter(|worker| !slots.contains_key(worker));
    let found = { claimant.pick(held, starting) }
        .or_else(|| claimant.pick(ended, starting))
        .or_else(|| claimant.pick(unused, starting))
        .or_else(|| claimant.pick(pool().filter(is_free), starting));
    if let Some(worker) = found {
        return take(worker);
    }
    let taken = pool()
        .filter_map(|worker| slots.get(&worker))
        .map(|slot| free_at(config, slot));
    let until = taken.min().unwrap_or(Instant::FAR_FUTURE);
    Choice::Wait {
        until,
        holders: pool().take(NAMED_HOLDERS).collect(),
    }
}

/// When the hinted slot, which is not free, may be taken; `None` when another is to be taken instead.
///
/// A holder that is declared dead and has been written since is waited for until it is overdue: its
/// last renewal may have been on its way when it died. One that renews again lives and wins.
fn worth_waiting_for(config: &Config, wish: &Wish, slot: &Slot) -> Option<Instant> {
    let Wish::Hinted { dead, by, .. } = wish else {
        return None;
    };
    let said = slot.said.as_ref();
    let room = said.filter(|said| said.predecessors.len() < MAX_PREDECESSORS);
    let free = free_at(config, slot);
    let at = match room.filter(|_| *dead) {
        Some(_) if slot.signs == 0 => Instant::ORIGIN,
        Some(said) => {
            let interval = said.heartbeat_interval.max(config.heartbeat_interval());
            free.min(slot.since + interval * 3 / 2)
        }
        None => free,
    };
    (slot.signs < SIGNS_OF_LIFE && by.is_none_or(|by| at < by)).then_some(at)
}

/// The sessions of a slot that may not have ended when it is taken now.
fn predecessors(config: &Config, slot: &Slot, draining: bool, now: Instant) -> Vec<Pending> {
    let Some(said) = &slot.said else {
        return Vec::new();
    };
    let inherited = said.predecessors.iter().map(|named| {
        // What the former holder listed as draining is not known to anybody else.
        let remains = if slot.own {
            named.remains
        } else {
            Remains::Everything
        };
        let predecessor = Predecessor {
            remains,
            ..named.clone()
        };
        (predecessor, slot.since + named.lease)
    });
    let remains = match said.status {
        SessionStatus::Released { .. } | SessionStatus::Evicted { silent: true } => None,
        SessionStatus::Active
        | SessionStatus::Draining
        | SessionStatus::Suspected
        | SessionStatus::Evicted { silent: false } => {
            if slot.own {
                draining.then_some((Remains::Draining, now + said.lease))
            } else {
                Some((Remains::Everything, free_at(config, slot)))
            }
        }
    };
    let itself = remains.map(|(remains, until)| {
        let predecessor = Predecessor {
            epoch: slot.epoch,
            revision: slot.revision,
            lease: said.lease,
            applied: said.applied,
            remains,
        };
        (predecessor, until)
    });
    let all = inherited.chain(itself).filter(|&(_, until)| now < until);
    all.map(|(predecessor, until)| Pending { predecessor, until })
        .collect()
}

#[cfg(test)]
mod tests;
