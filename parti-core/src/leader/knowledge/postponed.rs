//! Spared workers: whose eviction the store refused again and again, because they renewed in time.
//!
//! It is separate so that one worker that cannot be evicted just now holds up nobody else. What
//! always holds: the first refusal costs nothing, since it may be spurious; from the second on the
//! eviction rests, each time longer, and what else there is to do goes on without it.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::config::Config;
use crate::model::id::WorkerId;
use crate::model::time::Instant;

/// The longest rest is this many times the shortest, which is one interval of renewals.
const LONGEST: u32 = 8;

/// Whose eviction rests, and until when.
#[derive(Clone, Debug, Default)]
pub(crate) struct PostponedEvictions {
    workers: BTreeMap<WorkerId, Refusals>,
}

#[derive(Clone, Copy, Debug)]
struct Refusals {
    number: u32,
    until: Instant,
    /// When they are forgotten.
    forgiven: Instant,
}

impl PostponedEvictions {
    /// The store refused to evict a worker.
    pub(crate) fn refused(&mut self, config: &Config, now: Instant, worker: &WorkerId) {
        let shortest = config.heartbeat_interval();
        let before = self.workers.get(worker).filter(|last| now < last.forgiven);
        let number = before.map_or(1, |last| last.number.saturating_add(1));
        let rest = match number {
            0 | 1 => Duration::ZERO,
            2..=4 => shortest * (1 << (number - 2)),
            _ => shortest * LONGEST,
        };
        let refusals = Refusals {
            number,
            until: now + rest,
            forgiven: now + rest + config.lease().max(shortest * LONGEST),
        };
        self.workers.insert(worker.clone(), refusals);
    }

    /// It was evicted after all.
    pub(crate) fn forget(&mut self, worker: &WorkerId) {
        self.workers.remove(worker);
    }

    /// Until when a worker is not to be evicted; long ago for most.
    pub(crate) fn until(&self, worker: &WorkerId) -> Instant {
        let refusals = self.workers.get(worker);
        refusals.map_or(Instant::ORIGIN, |refusals| refusals.until)
    }

    /// Whether an eviction may be tried.
    pub(crate) fn is_due(&self, now: Instant, worker: &WorkerId) -> bool {
        now >= self.until(worker)
    }

    /// When the next eviction may be tried again.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let ends = self.workers.values().map(|refusals| refusals.until);
        ends.filter(|&until| until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker whose renewals always cross the commit kept a group from replacing its dead.
    #[test]
    fn an_eviction_that_is_refused_rests_longer_each_time_but_not_after_the_first() {
        let config = Config::builder("g").build().expect("coherent");
        let worker = WorkerId::numbered("worker", 1).expect("valid");
        let mut postponed = PostponedEvictions::default();
        let mut now = Instant::from_millis(1_000);
        for seconds in [0, 2, 4, 8, 16, 16] {
            postponed.refused(&config, now, &worker);
            let until = now + Duration::from_secs(seconds);
            assert_eq!(postponed.until(&worker), until);
            assert!(postponed.is_due(until, &worker));
            assert_eq!(postponed.next(now), (seconds > 0).then_some(until));
            now = until;
        }
        postponed.refused(&config, now + Duration::from_secs(17), &worker);
        assert_eq!(
            postponed.next(now + Duration::from_secs(17)),
            None,
            "long ago"
        );
        postponed.forget(&worker);
        assert_eq!(postponed.until(&worker), Instant::ORIGIN);
    }
}
