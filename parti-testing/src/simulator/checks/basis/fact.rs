//! What checkers are told: plain facts in true time, in the order in which they happened.
//!
//! They are separate from the checkers so that a simulated run, a real one and a trace made by hand
//! are all told in the same words.

use core::fmt;

use parti_core::{
    Expect, Grant, Head, Instant, Key, Notice, PlanInput, Record, RequestId, Revision, RevokeCause,
    Status, StrategyId, Wake, WorkerId, WriteId,
};

use crate::simulator::checks::basis::coverage::{Coverage, Stage};

/// One process: the node it runs on and how many ran there before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    /// The node.
    pub node: u16,
    /// The number of the process on it, from 1.
    pub run: u16,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}.{}", self.node, self.run)
    }
}

/// One write of an applied commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The key as stored.
    pub name: String,
    /// What the key means.
    pub key: Key,
    /// The revision of the write.
    pub revision: Revision,
    /// The revision of the key before it; zero if there was none.
    pub previous: Revision,
    /// What the write expected.
    pub expect: Expect,
    /// What was written.
    pub value: Value,
}

/// What a write left under its key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: the key was deleted.
    Tombstone,
    /// A record.
    Record(Box<Record>),
    /// Bytes that are not a record, and why.
    Undecodable(String),
}

impl Written {
    /// The record that was written, if it is one.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match &self.value {
            Value::Record(record) => Some(record),
            Value::Tombstone | Value::Undecodable(_) => None,
        }
    }
}

/// Something that happened, as the checkers see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A process began.
    Began {
        /// Which.
        process: Process,
    },
    /// A process is gone, by a crash or by its own end.
    Ended {
        /// Which.
        process: Process,
    },
    /// The store applied a commit; who sent it may be gone by now.
    Commit {
        /// Who sent it.
        process: Process,
        /// What it wrote.
        writes: Vec<Written>,
    },
    /// Somebody who is not part of the group wrote into its bucket.
    Foreign {
        /// What.
        writes: Vec<Written>,
    },
    /// A core is about to handle something.
    Step {
        /// Whose.
        process: Process,
        /// The time on its clock.
        local: Instant,
        /// When the bucket was created, if that is what it is told.
        created: Option<u64>,
    },
    /// A core was shown a revision of the store, by a watch or by the answer to a read.
    Heard {
        /// Whose.
        process: Process,
        /// The time on its clock.
        local: Instant,
        /// The revision.
        revision: Revision,
        /// Whether a watch showed it.
        watched: bool,
    },
    /// A user asked a core for a refresh or a rebalance.
    Asked {
        /// Whose.
        process: Process,
        /// The number of the request.
        request: RequestId,
    },
    /// A core asked for a store request or a watch.
    Request {
        /// Whose.
        process: Process,
    },
    /// A core asked for a plan.
    Planned {
        /// Whose.
        process: Process,
        /// The time on its clock.
        local: Instant,
        /// What was asked, and what the strategy answers.
        planning: Box<Planning>,
    },
    /// A core sent a commit that contains `head`.
    Proposes {
        /// Whose.
        process: Process,
        /// The time on its clock.
        local: Instant,
        /// What.
        proposal: Box<Proposal>,
    },
    /// A core asked to begin processing.
    Assign {
        /// Whose.
        process: Process,
        /// What.
        grants: Vec<Grant>,
        /// The time on its clock.
        local: Instant,
        /// The deadline of its session on its clock.
        deadline: Option<Instant>,
    },
    /// A core asked to end processing.
    Revoke {
        /// Whose.
        process: Process,
        /// What.
        grants: Vec<Grant>,
        /// Why.
        cause: RevokeCause,
    },
    /// The processing of partitions ended.
    Released {
        /// Whose.
        process: Process,
        /// What.
        grants: Vec<Grant>,
    },
    /// A core told something.
    Notice {
        /// Whose.
        process: Process,
        /// What.
        notice: Notice,
    },
    /// A core has handled something and all its effects are begun.
    Settled {
        /// Whose.
        process: Process,
        /// The time on its clock.
        local: Instant,
        /// The deadline of its session on its clock.
        deadline: Option<Instant>,
        /// The deadline in true time.
        until: Option<Instant>,
        /// When it wants to be woken.
        wake: Option<Wake>,
        /// How many effects there were.
        effects: usize,
        /// What a caller would read now; left out when nothing can have changed.
        status: Option<Box<Status>>,
    },
    /// A core panicked.
    Panicked {
        /// Whose.
        process: Process,
        /// The message.
        message: String,
    },
    /// Every fault that ends has ended.
    Healed,
    /// The time for a step of the recovery is over: how far the group is.
    Milestone(Stage, Box<Coverage>),
    /// The time in which the group may settle is over: who holds what.
    Due(Coverage),
    /// The time of calm that must follow is over: who holds what.
    Over(Coverage),
}

/// What a fact is about, without its details: checkers name what they look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// [`Fact::Began`].
    Began,
    /// [`Fact::Ended`].
    Ended,
    /// [`Fact::Commit`].
    Commit,
    /// [`Fact::Foreign`].
    Foreign,
    /// [`Fact::Step`].
    Step,
    /// [`Fact::Heard`].
    Heard,
    /// [`Fact::Asked`].
    Asked,
    /// [`Fact::Request`].
    Request,
    /// [`Fact::Planned`].
    Planned,
    /// [`Fact::Proposes`].
    Proposes,
    /// [`Fact::Assign`].
    Assign,
    /// [`Fact::Revoke`].
    Revoke,
    /// [`Fact::Released`].
    Released,
    /// [`Fact::Notice`].
    Notice,
    /// [`Fact::Settled`].
    Settled,
    /// [`Fact::Panicked`].
    Panicked,
    /// [`Fact::Healed`].
    Healed,
    /// [`Fact::Milestone`].
    Milestone,
    /// [`Fact::Due`].
    Due,
    /// [`Fact::Over`].
    Over,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = Self::Over as usize + 1;
}

impl Fact {
    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Began { .. } => Kind::Began,
            Self::Ended { .. } => Kind::Ended,
            Self::Commit { .. } => Kind::Commit,
            Self::Foreign { .. } => Kind::Foreign,
            Self::Step { .. } => Kind::Step,
            Self::Heard { .. } => Kind::Heard,
            Self::Asked { .. } => Kind::Asked,
            Self::Request { .. } => Kind::Request,
            Self::Planned { .. } => Kind::Planned,
            Self::Proposes { .. } => Kind::Proposes,
            Self::Assign { .. } => Kind::Assign,
            Self::Revoke { .. } => Kind::Revoke,
            Self::Released { .. } => Kind::Released,
            Self::Notice { .. } => Kind::Notice,
            Self::Settled { .. } => Kind::Settled,
            Self::Panicked { .. } => Kind::Panicked,
            Self::Healed => Kind::Healed,
            Self::Milestone(..) => Kind::Milestone,
            Self::Due(..) => Kind::Due,
            Self::Over(..) => Kind::Over,
        }
    }
}

/// A plan that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Planning {
    /// Who plans.
    pub strategy: StrategyId,
    /// What was asked.
    pub input: PlanInput,
    /// The owner of each rank; `None` if there is no plan.
    pub owners: Option<Vec<u32>>,
}

/// A commit of `head` on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The write; sent again, it keeps its name.
    pub write: WriteId,
    /// What `head` is to be.
    pub head: Head,
    /// What the commit expects of each key.
    pub expects: Vec<(String, Expect)>,
    /// Sessions it ends.
    pub evictions: Vec<Eviction>,
}

/// The end of a session as a leader proposes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Whose.
    pub worker: WorkerId,
    /// The revision that was judged; `None` if the key was absent.
    pub judged: Option<Revision>,
    /// Whether it is said to have been silent for a full lease.
    pub silent: bool,
}
