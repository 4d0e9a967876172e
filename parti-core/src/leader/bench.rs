//! The bench: workers that did not do what they were told sit out for a while, each time longer.
//!
//! It is separate so that "who may be planned for" has one reason more and no flag. What always
//! holds: a group in which everybody would have to sit out plans as if the bench were empty. A new
//! leader begins with an empty bench: it has not seen anybody fail.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use crate::config::LONGEST_TIME_OUT as LONGEST;
use crate::id::WorkerId;
use crate::time::Instant;

/// Who sits out, and until when.
#[derive(Clone, Debug, Default)]
pub(super) struct Bench {
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
    pub(super) fn strike(&mut self, now: Instant, worker: &WorkerId, first: Duration) {
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

    /// Forgets those that have done well for long enough.
    pub(super) fn forgive(&mut self, now: Instant) {
        self.workers.retain(|_, last| now < last.forgiven);
    }

    /// Who sits out now. `others_take_part` says whether anybody else could be planned for.
    pub(super) fn sitting_out(
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
    pub(super) fn next_return(&self, now: Instant) -> Option<Instant> {
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
