//! Quarantine: workers that did not do what they were told are not planned for, each time longer.
//!
//! It is separate so that "who may be planned for" has one reason more and no flag. What always
//! holds: a group in which everybody is in quarantine plans as if nobody were. Who is in it
//! out is handed on in `head`, so that a change of leaders brings nobody back too soon.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::LONGEST_TIME_OUT as LONGEST;
use crate::model::id::WorkerId;
use crate::model::time::Instant;
use crate::records::carried::Quarantined;

/// Who is in quarantine, and until when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quarantine {
    workers: BTreeMap<WorkerId, TimeOut>,
}

#[derive(Clone, Copy, Debug)]
struct TimeOut {
    until: Instant,
    length: Duration,
    /// When it is forgotten.
    forgiven: Instant,
}

impl Quarantine {
    /// A worker was evicted for not doing what it was told. Its first time out has this length, each
    /// further one twice that of the one before, unless it did well for as long as the longest.
    pub(crate) fn add(&mut self, now: Instant, worker: &WorkerId, first: Duration) {
        let before = self.workers.get(worker);
        let repeated = before.filter(|last| now < last.forgiven);
        let length = repeated.map_or(first, |last| (last.length * 2).min(first * LONGEST));
        let time_out = TimeOut {
            until: now + length,
            length,
            forgiven: now + length + first * LONGEST,
        };
        self.workers.insert(worker.clone(), time_out);
    }

    /// The quarantine as an earlier leader left it.
    pub(crate) fn resumed(now: Instant, quarantined: &[Quarantined]) -> Self {
        let workers = quarantined.iter().map(|kept| {
            let time_out = TimeOut {
                until: now + kept.rest,
                length: kept.length,
                forgiven: now + kept.forgiven,
            };
            (kept.worker.clone(), time_out)
        });
        Self {
            workers: workers.collect(),
        }
    }

    /// The quarantine for the next leader.
    pub(crate) fn carried(&self, now: Instant) -> Vec<Quarantined> {
        let last = self.workers.iter().filter(|(_, last)| now < last.forgiven);
        let carried = last.map(|(worker, last)| Quarantined {
            worker: worker.clone(),
            rest: last.until.since(now),
            length: last.length,
            forgiven: last.forgiven.since(now),
        });
        carried.collect()
    }

    /// Whether a worker is in quarantine.
    pub(crate) fn holds(&self, now: Instant, worker: &WorkerId) -> bool {
        self.workers
            .get(worker)
            .is_some_and(|last| now < last.until)
    }

    /// How many were put into it within such a time.
    pub(crate) fn added_within(&self, now: Instant, window: Duration) -> usize {
        let added = |last: &&TimeOut| now + last.length < last.until + window;
        self.workers.values().filter(added).count()
    }

    /// Whether a worker sat out a while ago.
    pub(crate) fn contains(&self, worker: &WorkerId) -> bool {
        self.workers.contains_key(worker)
    }

    /// Forgets those that have done well for long enough.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.workers.retain(|_, last| now < last.forgiven);
    }

    /// Who is in quarantine now. `others_take_part` says whether anybody else could be planned for.
    pub(crate) fn excluded(
        &self,
        now: Instant,
        others_take_part: impl Fn(&BTreeSet<WorkerId>) -> bool,
    ) -> BTreeSet<WorkerId> {
        let out = self.workers.iter().filter(|(_, last)| now < last.until);
        let out: BTreeSet<WorkerId> = out.map(|(worker, _)| worker.clone()).collect();
        if out.is_empty() || others_take_part(&out) {
            out
        } else {
            BTreeSet::new()
        }
    }

    /// When the next of them may take part again.
    pub(crate) fn next_end(&self, now: Instant) -> Option<Instant> {
        let ends = self.workers.values().map(|last| last.until);
        ends.filter(|&until| until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(number: u32) -> WorkerId {
        WorkerId::numbered("worker", number).expect("valid")
    }

    const FIRST: Duration = Duration::from_secs(10);

    fn out(quarantine: &Quarantine, ms: u64) -> usize {
        let now = Instant::from_millis(ms);
        quarantine.excluded(now, |_| true).len()
    }

    /// A worker that hangs at every assignment would take its share down again and again.
    #[test]
    fn time_outs_double_up_to_a_limit() {
        let mut quarantine = Quarantine::default();
        let mut now = Instant::from_millis(0);
        for factor in [1, 2, 4, 8, 8] {
            quarantine.add(now, &worker(1), FIRST);
            let until = now + FIRST * factor;
            assert_eq!(quarantine.next_end(now), Some(until));
            assert_eq!(quarantine.next_end(until), None);
            now = until + Duration::from_millis(1);
        }
    }

    /// A worker that hung once last week is not to be punished for it.
    #[test]
    fn doing_well_for_as_long_as_the_longest_time_out_clears_the_record() {
        let mut quarantine = Quarantine::default();
        quarantine.add(Instant::from_millis(0), &worker(1), FIRST);
        assert_eq!((out(&quarantine, 9_999), out(&quarantine, 10_000)), (1, 0));
        quarantine.add(Instant::from_millis(89_999), &worker(1), FIRST);
        assert_eq!(
            (out(&quarantine, 109_998), out(&quarantine, 109_999)),
            (1, 0)
        );
        let later = Instant::from_millis(189_999);
        quarantine.add(later, &worker(1), FIRST);
        assert_eq!(quarantine.next_end(later), Some(later + FIRST));
        quarantine.expire(later + FIRST * 9);
        assert!(quarantine.workers.is_empty());
    }

    /// A leader change once brought a worker that hangs back into the next plan.
    #[test]
    fn a_new_leader_goes_on_with_the_bench_of_the_one_before() {
        let mut quarantine = Quarantine::default();
        quarantine.add(Instant::from_millis(0), &worker(1), FIRST);
        quarantine.add(Instant::from_millis(11_000), &worker(1), FIRST);
        let carried = quarantine.carried(Instant::from_millis(16_000));
        // Another clock.
        let mut next = Quarantine::resumed(Instant::from_millis(500), &carried);
        assert_eq!((out(&next, 15_499), out(&next, 15_500)), (1, 0));
        assert!(next.contains(&worker(1)) && !next.contains(&worker(2)));
        next.add(Instant::from_millis(20_000), &worker(1), FIRST);
        assert_eq!(
            (out(&next, 59_999), out(&next, 60_000)),
            (1, 0),
            "twice as long"
        );
        assert!(next.carried(Instant::from_millis(200_000)).is_empty());
    }

    /// A bad worker is better than none: partitions without an owner are served by nobody.
    #[test]
    fn nobody_is_quarantined_when_nobody_else_could_work() {
        let mut quarantine = Quarantine::default();
        let now = Instant::from_millis(0);
        quarantine.add(now, &worker(1), FIRST);
        assert!(quarantine.excluded(now, |_| false).is_empty());
        assert_eq!(quarantine.excluded(now, |out| out.len() == 1).len(), 1);
    }
}
