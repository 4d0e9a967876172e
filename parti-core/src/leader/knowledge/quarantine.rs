//! The bench: workers that did not do what they were told sit out for a while, each time longer.
//!
//! It is separate so that "who may be planned for" has one reason more and no flag. What always
//! holds: a group in which everybody would have to sit out plans as if the bench were empty. Who sits
//! out is handed on in `head`, so that a change of leaders brings nobody back too soon.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::LONGEST_TIME_OUT as LONGEST;
use crate::model::id::WorkerId;
use crate::model::time::Instant;
use crate::records::carried::Quarantined;

/// Who sits out, and until when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bench {
    workers: BTreeMap<WorkerId, TimeOut>,
}

#[derive(Clone, Copy, Debug)]
struct TimeOut {
    until: Instant,
    length: Duration,
    /// When it is forgotten.
    forgiven: Instant,
}

impl Bench {
    /// A worker was evicted for not doing what it was told. Its first time out has this length, each
    /// further one twice that of the one before, unless it did well for as long as the longest.
    pub(crate) fn strike(&mut self, now: Instant, worker: &WorkerId, first: Duration) {
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

    /// The bench as an earlier leader left it.
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

    /// The bench for the next leader.
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

    /// Whether a worker sat out a while ago.
    pub(crate) fn knows(&self, worker: &WorkerId) -> bool {
        self.workers.contains_key(worker)
    }

    /// Forgets those that have done well for long enough.
    pub(crate) fn forgive(&mut self, now: Instant) {
        self.workers.retain(|_, last| now < last.forgiven);
    }

    /// Who sits out now. `others_take_part` says whether anybody else could be planned for.
    pub(crate) fn sitting_out(
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
    pub(crate) fn next_return(&self, now: Instant) -> Option<Instant> {
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

    fn out(bench: &Bench, ms: u64) -> usize {
        let now = Instant::from_millis(ms);
        bench.sitting_out(now, |_| true).len()
    }

    /// A worker that hangs at every assignment would take its share down again and again.
    #[test]
    fn time_outs_double_up_to_a_limit() {
        let mut bench = Bench::default();
        let mut now = Instant::from_millis(0);
        for factor in [1, 2, 4, 8, 8] {
            bench.strike(now, &worker(1), FIRST);
            let until = now + FIRST * factor;
            assert_eq!(bench.next_return(now), Some(until));
            assert_eq!(bench.next_return(until), None);
            now = until + Duration::from_millis(1);
        }
    }

    /// A worker that hung once last week is not to be punished for it.
    #[test]
    fn doing_well_for_as_long_as_the_longest_time_out_clears_the_record() {
        let mut bench = Bench::default();
        bench.strike(Instant::from_millis(0), &worker(1), FIRST);
        assert_eq!((out(&bench, 9_999), out(&bench, 10_000)), (1, 0));
        bench.strike(Instant::from_millis(89_999), &worker(1), FIRST);
        assert_eq!((out(&bench, 109_998), out(&bench, 109_999)), (1, 0));
        let later = Instant::from_millis(189_999);
        bench.strike(later, &worker(1), FIRST);
        assert_eq!(bench.next_return(later), Some(later + FIRST));
        bench.forgive(later + FIRST * 9);
        assert!(bench.workers.is_empty());
    }

    /// A leader change once brought a worker that hangs back into the next plan.
    #[test]
    fn a_new_leader_goes_on_with_the_bench_of_the_one_before() {
        let mut bench = Bench::default();
        bench.strike(Instant::from_millis(0), &worker(1), FIRST);
        bench.strike(Instant::from_millis(11_000), &worker(1), FIRST);
        let carried = bench.carried(Instant::from_millis(16_000));
        // Another clock.
        let mut next = Bench::resumed(Instant::from_millis(500), &carried);
        assert_eq!((out(&next, 15_499), out(&next, 15_500)), (1, 0));
        assert!(next.knows(&worker(1)) && !next.knows(&worker(2)));
        next.strike(Instant::from_millis(20_000), &worker(1), FIRST);
        assert_eq!(
            (out(&next, 59_999), out(&next, 60_000)),
            (1, 0),
            "twice as long"
        );
        assert!(next.carried(Instant::from_millis(200_000)).is_empty());
    }

    /// A bad worker is better than none: partitions without an owner are served by nobody.
    #[test]
    fn nobody_sits_out_when_nobody_else_could_play() {
        let mut bench = Bench::default();
        let now = Instant::from_millis(0);
        bench.strike(now, &worker(1), FIRST);
        assert!(bench.sitting_out(now, |_| false).is_empty());
        assert_eq!(bench.sitting_out(now, |out| out.len() == 1).len(), 1);
    }
}
