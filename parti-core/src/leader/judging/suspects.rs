//! Suspects: who may be evicted before its lease is over, in a group whose sinks compare tokens.
//!
//! It is separate from the judgement of leases because a suspicion is no proof. What always holds: nobody is
//! suspected for what may be the leader's own trouble; the number of evictions on a suspicion is
//! bounded over terms; a worker that was evicted so is left to its lease for a long while.

use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::leader::knowledge::quarantine::Quarantine;
use crate::model::id::WorkerId;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::records::carried::{Carried, Quarantined, REMEMBERED};

/// A worker that is suspected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suspect {
    pub(crate) worker: WorkerId,
    /// From when on.
    pub(crate) at: Instant,
    /// Whether somebody said that there is nobody, rather than nobody anything.
    pub(crate) gone: bool,
    /// Whether it has partitions.
    pub(crate) owns: bool,
    /// Whether the leader's own process has answered a probe that was sent after the first one that this one
    /// has not answered; and how many others have.
    pub(crate) answered: (bool, usize),
}

/// What a leader knows of those who do not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unanswered {
    /// How many others are asked.
    pub(crate) others: usize,
    /// Who of them is suspected, now or soon.
    pub(crate) suspects: Vec<Suspect>,
    /// Whether the leader's own process answers, asked in the same way.
    pub(crate) own_way: OwnWay,
}

/// What probes of the leader's own process say of the way that all probes take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OwnWay {
    /// They are not answered: the way is broken, and silence says nothing of others.
    #[default]
    Broken,
    /// They are answered; but until then it was broken, or somebody looked gone who was not: others may be
    /// about to connect again, too.
    Restored(Instant),
    /// They always were, and nobody was suspected wrongly.
    Good,
}

impl Unanswered {
    /// Whether enough answer to say that it is the suspect that is silent, and not the leader that is cut
    /// off: half of the rest.
    fn confirm(&self, suspect: &Suspect) -> bool {
        let (own, others) = suspect.answered;
        own && others * 2 + 1 >= self.others
    }
}

/// What follows from that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Suspicions {
    /// Whom to evict now.
    pub(crate) evict: Vec<WorkerId>,
    /// When to look again, although nothing happens.
    pub(crate) again_at: Option<Instant>,
    /// Most of the group does not answer this leader: it is to step down.
    pub(crate) isolated: bool,
}

/// Evictions on a suspicion of late.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget {
    /// Who was evicted: until it ends, leases decide on them.
    spent: Quarantine,
    /// Until when leases alone decide.
    leases_until: Instant,
}

impl Budget {
    /// The budget as an earlier leader left it.
    pub(crate) fn resumed(now: Instant, carried: &Carried) -> Self {
        Self {
            spent: Quarantine::resumed(now, &carried.suspected),
            leases_until: now + carried.leases_decide,
        }
    }

    /// A worker is evicted on a suspicion. One that comes back and is suspected again is left to its
    /// lease for twice as long.
    pub(crate) fn spend(&mut self, config: &Config, now: Instant, worker: &WorkerId) {
        self.spent.expire(now);
        self.spent.add(now, worker, config.lease() * REMEMBERED);
    }

    /// From now on leases alone decide, for a long while.
    pub(crate) fn close(&mut self, config: &Config, now: Instant) {
        self.leases_until = now + config.lease() * REMEMBERED;
    }

    /// The budget for the next leader.
    pub(crate) fn carried(&self, now: Instant) -> (Vec<Quarantined>, Duration) {
        (self.spent.carried(now), self.leases_until.since(now))
    }

    fn is_closed(&self, now: Instant) -> bool {
        now < self.leases_until
    }

    /// How many more evictions a group of this size allows: a quarter of it, and one at least.
    fn left(&self, config: &Config, now: Instant, group: usize) -> usize {
        let spent = self.spent.added_within(now, config.lease() * REMEMBERED);
        (group / 4).max(1).saturating_sub(spent)
    }
}

/// Who is to be evicted on a suspicion now.
pub(crate) fn suspicions(
    config: &Config,
    now: Instant,
    budget: &Budget,
    unanswered: &Unanswered,
) -> Suspicions {
    let (others, suspects) = (unanswered.others, &unanswered.suspects);
    let soon = suspects.iter().map(|s| s.at).filter(|&at| at > now).min();
    let wait = |until: Option<Instant>| Suspicions {
        again_at: until.into_iter().chain(soon).min(),
        ..Suspicions::default()
    };
    if budget.is_closed(now) && !config.planted(Planted::RenewedBudget) {
        return wait(Some(budget.leases_until));
    }
    let restored = match unanswered.own_way {
        OwnWay::Broken => return wait(None),
        OwnWay::Restored(at) => Some(at),
        OwnWay::Good => None,
    };
    let due: Vec<&Suspect> = suspects.iter().filter(|s| s.at <= now).collect();
    // A server that restarts makes those look gone who are about to connect again.
    let lost = suspects.iter().filter(|s| s.gone || s.at <= now);
    let lost: Vec<Instant> = lost.map(|s| s.at).collect();
    let several = lost.iter().copied().max().filter(|_| lost.len() > 1);
    let settled = several.max(restored).map(|at| at + config.reconnection());
    if let Some(settled) = settled.filter(|&settled| now < settled)
        && !config.planted(Planted::NoReconnection)
    {
        return wait(Some(settled));
    }
    if others > 1 && due.len() * 2 > others && !config.planted(Planted::Avalanche) {
        return Suspicions {
            isolated: true,
            ..wait(None)
        };
    }
    let convinces = |s: &&Suspect| {
        // The only other one: silence may be this leader's own, as far as anybody can tell.
        let certain = s.gone || others > 1 || config.planted(Planted::SilentPair);
        let anyway = config.planted(Planted::Unvouched) || config.planted(Planted::Avalanche);
        let confirmed = unanswered.confirm(s) || anyway;
        // Nothing is repaired by the eviction of one that owns nothing, and the budget is small.
        s.owns && certain && confirmed && !budget.spent.holds(now, &s.worker)
    };
    let left = config.unless_planted(
        Planted::RenewedBudget,
        budget.left(config, now, others + 1),
        usize::MAX,
    );
    let evict = due.into_iter().filter(convinces).take(left);
    Suspicions {
        evict: evict.map(|s| s.worker.clone()).collect(),
        ..wait(None)
    }
}

#[cfg(test)]
mod tests;
