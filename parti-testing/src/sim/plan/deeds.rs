//! The details of actions and settings: which keys, what a foreign hand writes, who plans, what
//! partitions weigh.
//!
//! They are separate from the actions because several of them share one; all are plain data that
//! can be stored.

use serde::{Deserialize, Serialize};

/// A kind of key in the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// The head record.
    Head,
    /// Sessions.
    Session,
    /// Assignments.
    Assignment,
    /// The audit ring.
    Audit,
    /// Requests to the leader.
    Control,
}

impl KeyKind {
    /// Whether a key is of this kind.
    #[must_use]
    pub fn contains(self, key: &str) -> bool {
        match self {
            Self::Head => key == "head",
            Self::Session => key.starts_with("w."),
            Self::Assignment => key.starts_with("a."),
            Self::Audit => key.starts_with("h."),
            Self::Control => key.starts_with("ctl."),
        }
    }
}

/// How a commit that is denied ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// It was certainly not carried out.
    Unavailable,
    /// No answer comes.
    Unknown,
    /// It can never succeed, such as without a permission or when the bucket is full.
    Rejected,
}

/// A key that a foreign hand writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The head record.
    Head,
    /// The session of a worker.
    Session {
        /// The number of the worker.
        worker: u32,
    },
    /// The assignment of a worker.
    Assignment {
        /// The number of the worker.
        worker: u32,
    },
    /// A slot of the audit ring.
    Audit {
        /// Its number.
        slot: u32,
    },
    /// A request of a worker to the leader.
    Control {
        /// The number of the worker.
        worker: u32,
    },
}

impl Target {
    /// The key.
    #[must_use]
    pub fn key(self) -> String {
        match self {
            Self::Head => "head".to_owned(),
            Self::Session { worker } => format!("w.worker-{worker}"),
            Self::Assignment { worker } => format!("a.worker-{worker}"),
            Self::Audit { slot } => format!("h.{}", slot % 256),
            Self::Control { worker } => format!("ctl.refresh.worker-{worker}"),
        }
    }
}

/// What somebody writes who is not part of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hand {
    /// A record in a format of a later release.
    NewerFormat {
        /// Where.
        target: Target,
    },
    /// A record that breaks off in the middle.
    Damaged {
        /// Where.
        target: Target,
    },
    /// A sound record of another kind.
    WrongKind {
        /// Where.
        target: Target,
    },
    /// Nothing: the key is deleted.
    Delete {
        /// Which.
        target: Target,
    },
    /// A key is removed without a tombstone, so that no watch tells of it.
    Vanish {
        /// Which.
        target: Target,
    },
    /// Keys that are none of the group, some of them close to it, with values of many sizes.
    Junk {
        /// How many.
        count: u32,
    },
    /// A worker of a later release takes a seat and renews a session that nobody here can read.
    Alien {
        /// The number of its seat.
        worker: u32,
        /// How long it stays.
        for_ms: u64,
    },
}

/// Who decides which worker a partition goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Planner {
    /// [`KeepThenFill`](crate::sim::KeepThenFill).
    #[default]
    KeepThenFill,
    /// [`parti_strategy::Sticky`].
    Sticky,
    /// [`parti_strategy::ConsistentHash`].
    ConsistentHash,
    /// [`parti_strategy::WeightedConsistentHash`].
    WeightedConsistentHash,
    /// [`parti_strategy::RoundRobin`].
    RoundRobin,
    /// [`parti_strategy::Rendezvous`].
    Rendezvous,
}

impl Planner {
    /// Every planner.
    pub const ALL: [Self; 6] = [
        Self::KeepThenFill,
        Self::Sticky,
        Self::ConsistentHash,
        Self::WeightedConsistentHash,
        Self::RoundRobin,
        Self::Rendezvous,
    ];
}

/// How the weights of partitions are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// All alike.
    #[default]
    Even,
    /// All zero.
    Zero,
    /// Zero, small and large ones in turn.
    Mixed,
    /// Each twenty times as heavy as the one before, over and over.
    Steep,
    /// So large that their sum just fits.
    Huge,
}

impl Weights {
    /// The weight of the partition with a number.
    #[must_use]
    pub fn of(self, number: u32) -> u64 {
        match self {
            Self::Even => 1,
            Self::Zero => 0,
            Self::Mixed => [0, 1, 7, 1_000][number as usize % 4],
            Self::Steep => 20_u64.pow(number % 8),
            // There are never more than this many partitions in a plan.
            Self::Huge => u64::MAX / 65_536,
        }
    }
}

/// What remains of the faults of a node. When something remains anywhere, the others are a core that
/// must be served in spite of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aftermath {
    /// Nothing: it is whole again.
    #[default]
    Healed,
    /// Its process stands still for good. One that is dead stays dead.
    Paused,
    /// It renews for ever and never hears anything.
    Deaf,
    /// It stands still for so long, runs for a moment, and so on for ever.
    Limping {
        /// How long it stands still each time, in milliseconds.
        pause_ms: u64,
    },
    /// Some of its links stay cut for good.
    Cut {
        /// Requests do not arrive.
        requests: bool,
        /// Answers do not arrive.
        replies: bool,
        /// Watch events do not arrive.
        watch: bool,
    },
}
