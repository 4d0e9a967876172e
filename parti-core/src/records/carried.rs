//! What a leader hands on to the next through `head`, whatever becomes of it.
//!
//! A term may last for seconds only, and what must outlast it is not to begin again with each leader.
//! Nobody compares clocks: every time here is an age or a rest as of the write, and the leader that
//! takes over adds what has passed since it first saw that write. What always holds: an age that is
//! handed on is never longer than the true one, so that no window and no cooldown ends early.

use alloc::vec::Vec;
use core::time::Duration;

use crate::model::id::WorkerId;

/// For so many leases an eviction on a suspicion counts, and its worker is left to its lease.
pub(crate) const REMEMBERED: u32 = 10;

/// Doublings of a leader's patience with itself end here.
const DOUBLINGS: u32 = 4;

/// What outlasts a term.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// How many terms in a row ended because their leader could not do its work.
    pub futile: u32,
    /// For how long at least a group without any assignment has been seen waiting for one.
    pub unassigned: Option<Duration>,
    /// How long ago at least the last rebalance was.
    pub rebalanced: Option<Duration>,
    /// Workers that did not do what they were told.
    pub quarantined: Vec<Quarantined>,
    /// Workers that were evicted because they did not answer, and for how much longer their leases decide.
    pub suspected: Vec<Quarantined>,
    /// For how much longer nobody is evicted for that.
    pub leases_decide: Duration,
}

/// What is held against a worker for a while, each time longer. One that did not do what it was told is not
/// planned for; one that did not answer is not evicted for that again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The worker.
    pub worker: WorkerId,
    /// For how much longer.
    pub rest: Duration,
    /// How long this quarantine is as a whole; the next one is twice as long.
    pub length: Duration,
    /// After how much more time it is forgotten.
    pub forgiven: Duration,
}

impl Carried {
    /// What is handed on when what was handed on before cannot be read.
    pub(crate) fn unknown(lease: Duration) -> Self {
        Self {
            leases_decide: lease.saturating_mul(REMEMBERED),
            ..Self::default()
        }
    }

    /// The same after some more time.
    #[must_use]
    pub fn after(&self, elapsed: Duration) -> Self {
        let older = |age: Duration| age.saturating_add(elapsed);
        let later = |kept: &Quarantined| Quarantined {
            rest: kept.rest.saturating_sub(elapsed),
            forgiven: kept.forgiven.saturating_sub(elapsed),
            ..kept.clone()
        };
        let all_later = |kept: &[Quarantined]| {
            let kept = kept.iter().map(later);
            kept.filter(|kept| !kept.forgiven.is_zero()).collect()
        };
        Self {
            suspected: all_later(&self.suspected),
            leases_decide: self.leases_decide.saturating_sub(elapsed),
            futile: self.futile,
            unassigned: self.unassigned.map(older),
            rebalanced: self.rebalanced.map(older),
            quarantined: all_later(&self.quarantined),
        }
    }
}

/// For how long a leader puts up with not being able to do its work. When those before it could not
/// either, the cause is common to all, and giving up in turn helps nobody: each such term doubles it.
pub(crate) fn patience(once: Duration, futile: u32) -> Duration {
    once.saturating_mul(1 << futile.min(DOUBLINGS))
}

/// The same for a number of tries.
pub(crate) const fn tries(once: u32, futile: u32) -> u32 {
    let doublings = if futile < DOUBLINGS {
        futile
    } else {
        DOUBLINGS
    };
    once.saturating_mul(1 << doublings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(value: u64) -> Duration {
        Duration::from_secs(value)
    }

    /// A window that begins again with every leader never ends while leaders come and go.
    #[test]
    fn ages_grow_and_rests_shrink_until_they_are_forgotten() {
        let worker = WorkerId::numbered("worker", 1).expect("valid");
        let carried = Carried {
            futile: 2,
            unassigned: Some(secs(3)),
            rebalanced: None,
            quarantined: [Quarantined {
                worker,
                rest: secs(5),
                length: secs(12),
                forgiven: secs(20),
            }]
            .into(),
            suspected: Vec::new(),
            leases_decide: secs(9),
        };
        let later = carried.after(secs(7));
        assert_eq!((later.futile, later.unassigned), (2, Some(secs(10))));
        assert_eq!(later.rebalanced, None);
        let kept = &later.quarantined[0];
        assert_eq!(
            (kept.rest, kept.length, kept.forgiven),
            (secs(0), secs(12), secs(13))
        );
        assert!(carried.after(secs(20)).quarantined.is_empty());
        let forever = carried.after(Duration::MAX);
        assert_eq!(forever.unassigned, Some(Duration::MAX));
    }

    /// Leaders that give up in turn for a cause common to all are no help and a load.
    #[test]
    fn each_futile_term_doubles_the_patience_up_to_a_limit() {
        let doubled = [0, 1, 2, 4, 5, u32::MAX].map(|futile| patience(secs(10), futile));
        assert_eq!(doubled, [10, 20, 40, 160, 160, 160].map(secs));
        assert_eq!(
            [0, 1, 4, 99].map(|futile| tries(5, futile)),
            [5, 10, 80, 80]
        );
    }
}
