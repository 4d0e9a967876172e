//! Troubles of the store: settings, sizes, speed, and what others write into the bucket.

use std::time::Duration;

use parti_core::Version;

use super::{Facts, Finding, error, some, warning};

/// How slow an answer of the store may be.
const SLOW: Duration = Duration::from_millis(500);
/// The part of the limit, in percent, from which on a value is near it.
const NEAR: usize = 80;
/// How far a leader's wall clock may be ahead of this machine's.
const AHEAD_MS: u64 = 30_000;

impl Facts {
    pub(super) fn about_store(&self) -> Vec<Finding> {
        let faults = self.info.faults.iter().map(|fault| {
            error(
                "store-unfit",
                fault.to_string(),
                "Set it back with `nats stream edit`, or update that server: the group rests on it.",
            )
        });
        let checks = [
            self.slow(),
            self.large_record(),
            self.unreadable(),
            self.foreign_keys(),
            self.rolled_back(),
            self.clock_ahead(),
        ];
        faults.chain(checks.into_iter().flatten()).collect()
    }

    fn slow(&self) -> Option<Finding> {
        (self.answered > SLOW).then(|| {
            warning(
                "store-slow",
                format!("the store took {:?} to answer", self.answered),
                "Look at the server's load and disk, and at the way to it: renewals are as slow.",
            )
        })
    }

    fn large_record(&self) -> Option<Finding> {
        let (key, &size) = self.sizes.iter().max_by_key(|(_, size)| **size)?;
        let limit = self.info.max_value;
        (size > limit / 100 * NEAR).then(|| {
            warning(
                "record-large",
                format!("{key} has {size} bytes of at most {limit}"),
                "Raise max_payload of the server (and max_msg_size of the stream), or use more workers: a \
                 plan that does not fit is not made.",
            )
        })
    }

    fn unreadable(&self) -> Option<Finding> {
        let keys = &self.last.unreadable;
        (!keys.is_empty()).then(|| {
            error(
                "record-unreadable",
                some(keys.iter().map(|it| format!("{}: {}", it.key, it.reason))),
                "Who else writes into the bucket? A record of a worker comes back with its next write; \
                 restart the worker if it does not. Of a newer release: use its `parti`.",
            )
        })
    }

    fn foreign_keys(&self) -> Option<Finding> {
        let keys = self.foreign();
        (!keys.is_empty()).then(|| {
            warning(
                "key-foreign",
                format!("keys that are not the group's: {}", some(keys)),
                "Find out who writes into the bucket, and take its permission away; then delete the keys.",
            )
        })
    }

    fn rolled_back(&self) -> Option<Finding> {
        let version = self.history.head.as_ref().map(|head| head.version);
        let version = version.unwrap_or(Version::ZERO);
        let ahead = self
            .history
            .sessions
            .iter()
            .filter(|(_, session)| session.status.is_living() && session.known > version);
        let ahead: Vec<_> = ahead.map(|(worker, _)| worker).collect();
        (!ahead.is_empty()).then(|| {
            error(
                "history-lost",
                format!(
                    "{} know later versions than the bucket, which is at {version}",
                    some(ahead)
                ),
                "The bucket was restored from a backup or made again: docs/OPERATIONS.md says what \
                 workers do then. Tokens handed out meanwhile may be given out again.",
            )
        })
    }

    fn clock_ahead(&self) -> Option<Finding> {
        let last = self.last.generations.last()?;
        let ahead = last.at_ms.checked_sub(self.wall_ms)?;
        (ahead > AHEAD_MS).then(|| {
            warning(
                "clock-ahead",
                format!(
                    "the wall clock of {} is {:?} ahead of this machine's",
                    last.leader,
                    Duration::from_millis(ahead)
                ),
                "Set the clocks with NTP. No lease depends on it; times in the audit do.",
            )
        })
    }
}
