//! A sink that refuses older owners and what it has already, as a database with a fencing column would, and
//! the verdict over everything that handlers told it.
//!
//! It is separate from the worker logs because it judges messages and not ownerships. What always holds:
//! the verdict looks at the log of calls alone and not at what the sink remembers, so a sink that compares
//! wrongly is found, too.
//!
//! ```
//! use std::time::Instant;
//! use parti_testing::rig::fenced_sink::{Effect, FencedSink, Verdict, judge};
//!
//! let mut sink = FencedSink::default();
//! let first = Effect::new(3, 1, 10, "key-7", 0);
//! assert_eq!(sink.take(first.clone(), Instant::now()), Verdict::Stored);
//! assert_eq!(sink.take(first, Instant::now()), Verdict::Repeated);
//! let published = [("key-7".to_owned(), 1)].into();
//! let judged = judge(sink.calls(), &published);
//! assert_eq!(judged.findings.len(), 1, "the repeat did not say that it is one");
//! ```

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

mod judge;
#[cfg(test)]
mod tests;

pub use judge::{Handoff, Judged, handoffs, judge};

/// One call of a handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// The partition of the message.
    pub partition: u32,
    /// The fencing token under which it is handled.
    pub token: u64,
    /// The message's sequence in its stream.
    pub sequence: u64,
    /// Whose message it is.
    pub key: String,
    /// The message's number among those of its key, from zero on.
    pub number: u64,
    /// Whether it says that it may have been handled before.
    #[serde(default)]
    pub may_repeat: bool,
}

impl Effect {
    /// A call that does not say that it repeats something.
    #[must_use]
    pub fn new(partition: u32, token: u64, sequence: u64, key: &str, number: u64) -> Self {
        Self {
            partition,
            token,
            sequence,
            key: key.to_owned(),
            number,
            may_repeat: false,
        }
    }

    /// The same of a message that may have been handled before.
    #[must_use]
    pub const fn repeating(mut self) -> Self {
        self.may_repeat = true;
        self
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is stored.
    Stored,
    /// It was stored before.
    Repeated,
    /// A newer owner was here.
    Fenced,
}

impl Verdict {
    /// As workers are told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Repeated => "repeated",
            Self::Fenced => "fenced",
        }
    }
}

/// A call, when it came, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it came.
    pub at: Instant,
    /// What was told.
    pub effect: Effect,
    /// What was answered.
    pub verdict: Verdict,
}

/// Token and sequence by partition, and all calls in their order.
#[derive(Debug, Default)]
pub struct FencedSink {
    partitions: BTreeMap<u32, (u64, u64)>,
    stored: u64,
    calls: Vec<Call>,
}

impl FencedSink {
    /// Stores an effect, or says why not.
    pub fn take(&mut self, effect: Effect, at: Instant) -> Verdict {
        let place = self.partitions.entry(effect.partition).or_default();
        let verdict = if effect.token < place.0 {
            Verdict::Fenced
        } else if effect.sequence <= place.1 {
            place.0 = effect.token;
            Verdict::Repeated
        } else {
            *place = (effect.token, effect.sequence);
            self.stored += 1;
            Verdict::Stored
        };
        self.calls.push(Call {
            at,
            effect,
            verdict,
        });
        verdict
    }

    /// How many messages are stored.
    #[must_use]
    pub const fn stored(&self) -> u64 {
        self.stored
    }

    /// All calls, in their order.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }
}
