//! The details of actions and settings: which keys, what an external writer writes, who plans, what
//! partitions weigh.
//!
//! They are separate from the actions because several of them share one; all are plain data that
//! can be stored.

use core::time::Duration;
use parti_core::StopMode;
use parti_strategy::Eligibility;
use serde::{Deserialize, Serialize};

/// How a worker is told to leave, in a form that can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leave {
    /// [`StopMode::Handoff`].
    Handoff,
    /// [`StopMode::Restart`].
    Restart {
        /// How long the slot is to be kept.
        hold_ms: u64,
    },
    /// [`StopMode::Now`].
    Now,
}

impl From<Leave> for StopMode {
    fn from(leave: Leave) -> Self {
        match leave {
            Leave::Handoff => Self::Handoff,
            Leave::Restart { hold_ms } => Self::Restart {
                hold: Duration::from_millis(hold_ms),
            },
            Leave::Now => Self::Now,
        }
    }
}

/// How the history of the bucket is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The bucket is deleted.
    Delete,
    /// It is deleted and created again at once.
    Recreate,
    /// Every key is gone without a trace; revisions go on.
    Wipe,
    /// The last writes are gone.
    RollBack {
        /// Those of the last so many milliseconds.
        by_ms: u64,
    },
}

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
    /// What has no owner.
    Parked,
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
            Self::Parked => key == "parked",
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

/// A key that an external writer writes.
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
    /// What has no owner.
    Parked,
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
            Self::Parked => "parked".to_owned(),
        }
    }
}

/// What somebody writes who is not part of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExternalWrite {
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
    /// A worker of a later release takes a slot and renews a session that nobody here can read.
    Alien {
        /// The number of its slot.
        worker: u32,
        /// How long it stays.
        for_ms: u64,
    },
    /// An order of an operator.
    Order {
        /// What.
        verb: OrderVerb,
        /// About whom, unless it is about the group.
        worker: u32,
        /// For how long.
        for_ms: u64,
    },
    /// An operator wants a partition at a worker, besides what is wanted already.
    Pin {
        /// Which of the partitions that are listed.
        partition: u32,
        /// The number of the worker.
        worker: u32,
        /// Whether it is done once the partition is there.
        once: bool,
        /// For how long.
        for_ms: u64,
    },
    /// The withdrawal of one.
    Withdraw {
        /// What.
        verb: OrderVerb,
        /// About whom, unless it is about the group.
        worker: u32,
    },
}

/// What an operator orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderVerb {
    /// A worker is to own nothing.
    Drain,
    /// A worker gets nothing new.
    Cordon,
    /// Nothing moves that may stay.
    Freeze,
    /// The leader resigns.
    StepDown,
    /// The session that a worker has is ended.
    Evict,
    /// Partitions are wanted at workers; it can only be withdrawn, all of it.
    Pin,
}

impl OrderVerb {
    /// The key of the order.
    #[must_use]
    pub fn key(self, worker: u32) -> String {
        match self {
            Self::Drain => format!("ctl.drain.worker-{worker}"),
            Self::Cordon => format!("ctl.cordon.worker-{worker}"),
            Self::Freeze => "ctl.freeze.group".to_owned(),
            Self::StepDown => format!("ctl.step-down.operator-{worker}"),
            Self::Evict => format!("ctl.evict.worker-{worker}"),
            Self::Pin => "ctl.pin.group".to_owned(),
        }
    }
}

/// Who decides which worker a partition goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Planner {
    /// [`KeepThenFill`](crate::simulator::KeepThenFill).
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

/// Which workers may own which partitions. Of every four partitions three belong to a pool, in turn,
/// up to a number; nodes belong to pools, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pools {
    /// Any worker may own anything.
    #[default]
    None,
    /// Only workers of its pool may own a partition.
    Hard {
        /// How many pools there are.
        pools: u32,
    },
    /// Workers of its pool are waited for.
    Soft {
        /// How many pools there are.
        pools: u32,
        /// For how long.
        grace_ms: u64,
    },
}

/// Partitions from this number on belong to no pool: there are at most 64 rules.
const POOLED: u32 = 60;

impl Pools {
    /// The pool of the partition with a number.
    #[must_use]
    pub const fn of(self, number: u32) -> Option<u32> {
        match self {
            Self::Hard { pools } | Self::Soft { pools, .. }
                if number < POOLED && number % 4 != 3 && pools > 0 =>
            {
                Some(number % pools)
            }
            Self::None | Self::Hard { .. } | Self::Soft { .. } => None,
        }
    }

    /// Whether a worker of a pool may own a partition, however long it waits.
    #[must_use]
    pub fn allow(self, partition: &str, pool: u32) -> bool {
        let number = partition.strip_prefix('p').and_then(|n| n.parse().ok());
        match (self, number.and_then(|number| self.of(number))) {
            (Self::Hard { .. }, Some(of)) => of == pool,
            (Self::Hard { .. }, None) | (Self::None | Self::Soft { .. }, _) => true,
        }
    }

    /// How long a partition waits at most before anybody will do.
    #[must_use]
    pub const fn grace(self) -> Duration {
        match self {
            Self::None | Self::Hard { .. } => Duration::ZERO,
            Self::Soft { grace_ms, .. } => Duration::from_millis(grace_ms),
        }
    }

    /// The rules of a strategy, if there are any.
    #[must_use]
    pub fn rules(self) -> Option<Eligibility> {
        let pooled = (0..POOLED).filter_map(|number| Some((number, self.of(number)?)));
        let rules = pooled.fold(Eligibility::new(), |rules, (number, pool)| {
            let (partition, values) = ([format!("p{number}")], [pool.to_string()]);
            match self {
                Self::Soft { .. } => rules.prefer(partition, "pool", values, self.grace()),
                Self::None | Self::Hard { .. } => rules.require(partition, "pool", values),
            }
        });
        (!rules.is_empty()).then_some(rules)
    }
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
    NoAnswers,
    /// It stands still for so long, runs for a moment, and so on for ever.
    Throttled {
        /// How long it stands still each time, in milliseconds.
        pause_ms: u64,
    },
    /// Some of its links stay cut for good.
    NetworkPartition {
        /// Requests do not arrive.
        requests: bool,
        /// Answers do not arrive.
        replies: bool,
        /// Watch events do not arrive.
        watch: bool,
    },
}
