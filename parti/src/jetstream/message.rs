//! One message of a partition, as the handler gets it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parti_core::Token;
use parti_nats::async_nats::HeaderMap;
use parti_nats::consume::Delivery;

use crate::handler::guard::Guard;

/// A message, and under which ownership it is handled. Cheap to clone.
#[derive(Clone)]
pub struct PartitionMessage(Arc<Inner>);

struct Inner {
    delivery: Delivery,
    partition: u32,
    guard: Guard,
    attempt: u32,
    may_repeat: bool,
}

impl PartitionMessage {
    pub(super) fn new(
        delivery: Delivery,
        partition: u32,
        guard: Guard,
        attempt: u32,
        may_repeat: bool,
    ) -> Self {
        Self(Arc::new(Inner {
            delivery,
            partition,
            guard,
            attempt,
            may_repeat,
        }))
    }

    /// What it says.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.0.delivery.message.payload
    }

    /// Its headers, if it has any.
    #[must_use]
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.0.delivery.message.headers.as_ref()
    }

    /// The subject under which the stream has it, with the partition's number.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.delivery.message.subject
    }

    /// Its sequence in the stream: larger than that of every earlier message of the partition.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.0.delivery.sequence
    }

    /// When the stream stored it, by the server's clock.
    #[must_use]
    pub fn published(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0.delivery.published)
    }

    /// The partition, from zero on.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.0.partition
    }

    /// The fencing token of the ownership under which it is handled. Pass it, with
    /// [`PartitionMessage::sequence`], to what the work writes to.
    #[must_use]
    pub fn token(&self) -> Token {
        self.0.guard.token()
    }

    /// The guard of the ownership.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// How often it was given to the handler under this ownership, this time included.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// Whether it may have been handled before: by an owner that ended without saying so, or in an earlier
    /// attempt. When it is false it was not.
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        self.0.may_repeat || self.0.attempt > 1
    }
}

impl fmt::Debug for PartitionMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionMessage")
            .field("subject", &self.subject())
            .field("sequence", &self.sequence())
            .field("partition", &self.partition())
            .field("token", &self.token())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
