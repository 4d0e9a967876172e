//! What workers write to: storage behind the partitions, which compares tokens or does not.
//!
//! It is separate because it outlives every process. What always holds: requests of one process arrive
//! in the order in which they were sent, as on one connection, but perhaps much later.

use core::fmt;
use std::collections::BTreeMap;

use parti_core::{Instant, PartitionKey, Token};

use crate::simulator::checks::Process;

/// Whether a resource compares tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fencing {
    /// A request with a smaller token than the largest one seen for its partition is refused.
    Checked,
    /// Everything is carried out: storage that cannot compare a number.
    Ignored,
}

/// Storage of one value per partition that lives outside the workers.
#[derive(Clone, Debug)]
pub struct FencedResource {
    name: String,
    fencing: Fencing,
    values: BTreeMap<PartitionKey, Stored>,
    accepted: Vec<Accepted>,
    refused: u64,
}

/// What a resource keeps for a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The value; zero if none was written.
    pub value: u64,
    /// The largest token seen with a request.
    pub token: Token,
}

/// A write that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// When, in true time.
    pub at: Instant,
    /// Who sent it. It may have been dead by then.
    pub process: Process,
    /// The partition.
    pub partition: PartitionKey,
    /// The token it came with.
    pub token: Token,
    /// The value.
    pub value: u64,
}

/// A request on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Request {
    pub(super) resource: String,
    pub(super) partition: PartitionKey,
    pub(super) token: Token,
    /// The value to write; reads have none.
    pub(super) value: Option<u64>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Reply {
    Done(Stored),
    Refused { newest: Token },
    Nothing,
}

impl FencedResource {
    /// A resource that refuses smaller tokens: what the guarantees of the library need.
    #[must_use]
    pub fn checking(name: &str) -> Self {
        Self::new(name, Fencing::Checked)
    }

    /// A resource that does not look at tokens: what a test should be able to tell from the other.
    #[must_use]
    pub fn ignoring(name: &str) -> Self {
        Self::new(name, Fencing::Ignored)
    }

    /// A resource with or without a check.
    #[must_use]
    pub fn new(name: &str, fencing: Fencing) -> Self {
        Self {
            name: name.to_owned(),
            fencing,
            values: BTreeMap::new(),
            accepted: Vec::new(),
            refused: 0,
        }
    }

    /// The name that requests use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is kept for a partition.
    #[must_use]
    pub fn stored(&self, partition: &PartitionKey) -> Stored {
        self.values.get(partition).copied().unwrap_or_default()
    }

    /// Every write that was carried out, in order.
    #[must_use]
    pub fn accepted(&self) -> &[Accepted] {
        &self.accepted
    }

    /// How many requests were refused for their token.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Carries out a request; answers and, if something was written, says so.
    pub(super) fn execute(&mut self, at: Instant, process: Process, request: &Request) -> Reply {
        let stored = self.values.entry(request.partition.clone()).or_default();
        if self.fencing == Fencing::Checked && request.token < stored.token {
            self.refused += 1;
            let newest = stored.token;
            return Reply::Refused { newest };
        }
        stored.token = stored.token.max(request.token);
        if let Some(value) = request.value {
            stored.value = value;
            self.accepted.push(Accepted {
                at,
                process,
                partition: request.partition.clone(),
                token: request.token,
                value,
            });
        }
        Reply::Done(*stored)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resource, partition, token) = (&self.resource, &self.partition, self.token);
        match self.value {
            Some(value) => write!(f, "{resource}: {partition} = {value} with token {token}"),
            None => write!(f, "{resource}: read {partition} with token {token}"),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(stored) => write!(f, "done, {}", stored.value),
            Self::Refused { newest } => write!(f, "refused, the newest token is {newest}"),
            Self::Nothing => f.write_str("no answer"),
        }
    }
}
