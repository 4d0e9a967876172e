//! The choices of a consuming group, as values.
//!
//! It is separate because builder, lanes and readers all read them.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parti_nats::consume::{CommitRules, OnOvertaken, OnRecreated, Output};

use crate::handler::HandlerError;
use crate::jetstream::message::PartitionMessage;

/// What is done with messages, at least one.
pub(super) type OnMessages =
    Arc<dyn Fn(Vec<PartitionMessage>) -> BoxFuture<'static, Handled> + Send + Sync>;

/// What it answers: the outputs, of which most groups have none.
pub(super) type Handled = Result<Vec<Output>, HandlerError>;

/// What becomes of a message that failed as often as it may.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnPoison {
    /// The partition stops with [`Condition::Poisoned`](super::Condition::Poisoned) until it has another
    /// owner. Nothing is lost.
    #[default]
    Stop,
    /// It is left out, with an error in the log.
    Skip,
    /// It is published to this subject, with headers that say where it came from and why it failed, and
    /// counts as handled once a stream has stored it there.
    DeadLetter {
        /// The subject. A stream must have it.
        subject: String,
    },
}

/// What may go wrong with messages, and how often.
#[derive(Clone, Debug)]
pub(super) struct Retries {
    pub(super) attempts: u32,
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
    pub(super) then: OnPoison,
}

impl Retries {
    /// The pause after the n-th failure, the first being one.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1).min(20));
        let pause = self.first_pause.saturating_mul(doubled.unwrap_or(1));
        pause.min(self.longest_pause)
    }
}

/// How much may be held in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Messages of one partition.
    pub(super) partition: u64,
    /// Messages of all partitions.
    pub(super) messages: u64,
    /// Bytes of one partition.
    pub(super) partition_bytes: u64,
    /// Bytes of all partitions.
    pub(super) bytes: u64,
}

/// All of them.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) group: String,
    pub(super) commit: CommitRules,
    pub(super) retries: Retries,
    pub(super) bounds: Bounds,
    pub(super) recreated: OnRecreated,
    pub(super) overtaken: OnOvertaken,
    pub(super) on_messages: OnMessages,
    /// How often the lag is measured, if at all.
    pub(super) measure: Option<Duration>,
    /// How many messages the handler is given at most.
    pub(super) batch: NonZeroUsize,
}

pub(super) const fn default_commit() -> CommitRules {
    CommitRules {
        every: NonZeroU64::new(1000).expect("not zero"),
        within: Duration::from_millis(200),
    }
}

pub(super) const fn default_retries() -> Retries {
    Retries {
        attempts: 10,
        first_pause: Duration::from_millis(100),
        longest_pause: Duration::from_secs(30),
        then: OnPoison::Stop,
    }
}

pub(super) const fn default_bounds() -> Bounds {
    Bounds {
        partition: 4_096,
        messages: 16_384,
        partition_bytes: 16 << 20,
        bytes: 64 << 20,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pause that grows without bound is a message that is never tried again.
    #[test]
    fn pauses_double_up_to_the_longest() {
        let retries = default_retries();
        let pauses = [1, 2, 3, 9, 10, 100].map(|failures| retries.pause(failures).as_millis());
        assert_eq!(pauses, [100, 200, 400, 25_600, 30_000, 30_000]);
    }
}
