//! Rejections: partitions that this process was given and could not begin to process.
//!
//! They are separate from what is held because they outlive it: a worker that failed with a partition
//! says so in its session as long as it has it, and for a quarantine after it was taken away, so that
//! neither this leader nor the next gives it back at once. What always holds: the quarantine of a
//! partition doubles with each failure in a row up to a limit; what a session has to say is bounded in
//! number and bytes; a new process knows of no failures.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::model::id::Token;
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;
use crate::records::problem::{Problem, ProblemKind};
use crate::records::record::{RejectedAt, Rejection};

/// The most rejections that are told at once. What is told first is moved first; then there is room.
const MAX_TOLD: usize = 64;
/// The most bytes of keys and reasons that are told.
const MAX_BYTES: usize = 8 << 10;
/// The most bytes of one reason.
const MAX_REASON: usize = 120;
/// The longest quarantine is this many times the shortest.
const LONGEST: u32 = 8;
/// The most rejections that are remembered.
const MAX_KEPT: usize = 4_096;

/// What this process could not begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rejections(BTreeMap<PartitionKey, Failure>);

#[derive(Clone, Debug)]
struct Failure {
    token: Token,
    at: RejectedAt,
    since: Instant,
    reason: String,
    /// How long it is not to come back after it was taken away.
    length: Duration,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is held, and fails.
    Failing,
    /// It was taken away, and is not to come back before `until`.
    Away { until: Instant },
    /// It was given again, and has not failed since. Should it be taken away first, nothing is forgotten.
    Tried { until: Instant },
}

impl Rejections {
    /// Processing of what is held keeps failing, or getting ready for what is to come has failed.
    pub(crate) fn fail(
        &mut self,
        now: Instant,
        (key, token, at): (&PartitionKey, Token, RejectedAt),
        mut reason: String,
        first: Duration,
    ) {
        self.forgive(now, first);
        if self.0.len() >= MAX_KEPT && !self.0.contains_key(key) {
            return;
        }
        let end = (0..=MAX_REASON.min(reason.len())).rev();
        let end = end.into_iter().find(|&at| reason.is_char_boundary(at));
        reason.truncate(end.unwrap_or_default());
        let length = match self.0.get(key) {
            Some(before) if before.token != token => (before.length * 2).min(first * LONGEST),
            Some(before) => before.length,
            None => first,
        };
        let failure = Failure {
            token,
            at,
            since: now,
            reason,
            length,
            stage: Stage::Failing,
        };
        self.0.insert(key.clone(), failure);
    }

    /// Processing has begun after all.
    pub(crate) fn begun(&mut self, key: &PartitionKey) {
        self.0.remove(key);
    }

    /// What failed under this token counts no more; what failed under another does.
    pub(crate) fn forget(&mut self, key: &PartitionKey, token: Token) {
        if self
            .0
            .get(key)
            .is_some_and(|failure| failure.token == token)
        {
            self.0.remove(key);
        }
    }

    /// A partition is given again: what failed before says nothing of this try, and must not end it.
    pub(crate) fn given(&mut self, key: &PartitionKey) {
        if let Some(failure) = self.0.get_mut(key)
            && let Stage::Away { until } = failure.stage
        {
            failure.stage = Stage::Tried { until };
        }
    }

    /// A partition is held no more.
    pub(crate) fn taken_away(&mut self, now: Instant, key: &PartitionKey) {
        if let Some(failure) = self.0.get_mut(key) {
            let until = match failure.stage {
                Stage::Failing => now + failure.length,
                Stage::Away { until } | Stage::Tried { until } => until,
            };
            failure.stage = Stage::Away { until };
        }
    }

    /// What the session tells: what is held first, and last what has an owner that works on it.
    pub(crate) fn told(&self, now: Instant, max_value: usize) -> Vec<Rejection> {
        let (mut bytes, most) = (0, MAX_BYTES.min(max_value / 8));
        let current = |failure: &&Failure| match failure.stage {
            Stage::Failing => true,
            Stage::Away { until } => now < until,
            Stage::Tried { .. } => false,
        };
        let mut told: Vec<_> = self
            .0
            .iter()
            .filter(|(_, failure)| current(failure))
            .collect();
        told.sort_by_key(|(_, failure)| {
            let preparing = failure.at == RejectedAt::Preparation;
            (preparing, failure.stage != Stage::Failing)
        });
        let told = told
            .into_iter()
            .take(MAX_TOLD)
            .take_while(|(key, failure)| {
                let first = bytes == 0;
                bytes += key.encoded().len() + failure.reason.len();
                first || bytes <= most
            });
        let told = told.map(|(key, failure)| Rejection {
            partition: key.clone(),
            at: failure.at,
            reason: failure.reason.clone(),
        });
        told.collect()
    }

    /// What is held and not processed, or was to be prepared, if anything.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let failing = |failure: &Failure| failure.stage == Stage::Failing;
        let held = self.0.iter().filter(|(_, failure)| failing(failure));
        let (key, oldest) = held.clone().min_by_key(|(_, failure)| failure.since)?;
        let what = match oldest.at {
            RejectedAt::Preparation => "prepared for",
            RejectedAt::Processing => "processed",
        };
        let detail = alloc::format!("{key} cannot be {what} here: {}", oldest.reason);
        let kind = ProblemKind::HandlerFailing;
        Some(Problem::new(kind, oldest.since, held.count(), detail))
    }

    /// Forgets what has been out of quarantine for long enough to count as done with.
    fn forgive(&mut self, now: Instant, first: Duration) {
        let longest = first * LONGEST;
        self.0.retain(|_, failure| match failure.stage {
            Stage::Failing => true,
            Stage::Away { until } | Stage::Tried { until } => now < until + longest,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::RejectedAt::Processing;
    use super::*;
    use crate::model::partition::Partition;
    use alloc::string::ToString;

    const FIRST: Duration = Duration::from_secs(300);

    fn key(name: &str) -> PartitionKey {
        Partition::new([name]).expect("valid key").key
    }

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1_000)
    }

    /// A partition that fails everywhere would be passed round for ever, each time at the same pace.
    #[test]
    fn a_quarantine_begins_when_it_is_taken_away_and_doubles_with_each_return() {
        let (mut rejections, p) = (Rejections::default(), key("p"));
        let mut now = 0;
        for (token, length) in [(1, 300), (2, 600), (3, 1_200), (4, 2_400), (5, 2_400)] {
            rejections.fail(
                at(now),
                (&p, Token::new(token), Processing),
                "x".into(),
                FIRST,
            );
            rejections.fail(
                at(now),
                (&p, Token::new(token), Processing),
                "y".into(),
                FIRST,
            );
            assert_eq!(
                rejections.told(at(now + 9_000), 1 << 20).len(),
                1,
                "as long as it is held"
            );
            rejections.taken_away(at(now), &p);
            assert_eq!(rejections.problem(), None);
            assert_eq!(
                rejections.told(at(now + length - 1), 1 << 20).len(),
                1,
                "token {token}"
            );
            assert_eq!(
                rejections.told(at(now + length), 1 << 20).len(),
                0,
                "token {token}"
            );
            now += length;
        }
        rejections.fail(
            at(now + 5_000),
            (&key("q"), Token::new(6), Processing),
            "x".into(),
            FIRST,
        );
        rejections.fail(
            at(now + 5_000),
            (&p, Token::new(7), Processing),
            "x".into(),
            FIRST,
        );
        rejections.taken_away(at(now + 5_000), &p);
        assert_eq!(
            rejections.told(at(now + 5_300), 1 << 20).len(),
            1,
            "forgiven: the first time again"
        );
    }

    /// A parked partition was given to a worker again a moment before its quarantine was over. What it still
    /// told of the last time ended the try at once, and the partition was parked for twice as long.
    #[test]
    fn what_is_given_again_is_told_of_only_when_it_fails_again_and_then_for_twice_as_long() {
        let (mut rejections, p) = (Rejections::default(), key("p"));
        rejections.fail(at(0), (&p, Token::new(1), Processing), "x".into(), FIRST);
        rejections.taken_away(at(0), &p);
        assert_eq!(rejections.told(at(299), 1 << 20).len(), 1);
        rejections.given(&p);
        assert_eq!(rejections.told(at(299), 1 << 20), []);
        // Taken away before it could fail: nothing is forgotten.
        rejections.taken_away(at(299), &p);
        assert_eq!(rejections.told(at(299), 1 << 20).len(), 1);
        rejections.given(&p);
        rejections.fail(at(299), (&p, Token::new(2), Processing), "x".into(), FIRST);
        assert_eq!(rejections.told(at(299), 1 << 20).len(), 1);
        rejections.taken_away(at(299), &p);
        assert_eq!(rejections.told(at(898), 1 << 20).len(), 1, "twice as long");
        assert_eq!(rejections.told(at(899), 1 << 20), []);
    }

    /// A store with small values has room for two. Failed preparations, which cost nobody anything, took it,
    /// and a partition that fails everywhere went round.
    #[test]
    fn what_was_only_prepared_in_vain_is_told_last() {
        let mut rejections = Rejections::default();
        for (name, step) in [("a", RejectedAt::Preparation), ("b", Processing)] {
            let failed = (&key(name), Token::new(1), step);
            rejections.fail(at(0), failed, "x".into(), FIRST);
        }
        rejections.taken_away(at(0), &key("b"));
        let told = rejections.told(at(1), 1 << 20);
        assert_eq!(
            [&told[0].partition, &told[1].partition],
            [&key("b"), &key("a")]
        );
    }

    /// Every renewal repeats it: a worker that fails with everything must not outgrow its record.
    #[test]
    fn what_is_told_is_bounded_and_begins_with_what_is_held() {
        let mut rejections = Rejections::default();
        for number in 0..500 {
            let key = key(&alloc::format!("{:0200}-{number}", 0));
            let reason = "r".repeat(10_000);
            rejections.fail(at(0), (&key, Token::new(1), Processing), reason, FIRST);
            if number != 400 {
                rejections.taken_away(at(0), &key);
            }
        }
        let told = rejections.told(at(1), 1 << 20);
        assert!(told[0].partition.to_string().ends_with("-400"));
        let bytes = told
            .iter()
            .map(|m| m.partition.encoded().len() + m.reason.len());
        assert!(bytes.sum::<usize>() <= MAX_BYTES && told.len() > 20);
        rejections.begun(&told[0].partition);
        assert_ne!(
            rejections.told(at(1), 1 << 20)[0].partition,
            told[0].partition
        );
    }
}
