//! What checkers are told: plain facts in true time, in the order in which they happened.
//!
//! They are separate from the checkers so that a simulated run, a real one and a trace made by hand
//! are all told in the same words.

use core::fmt;

use parti_core::{
    Expect, Grant, Head, Instant, Key, Notice, PlanInput, Preparation, ProbeAnswer, ProbeId,
    Record, RequestId, Revision, RevokeCause, SessionStatus, Status, StrategyId, Wake, WorkerId,
    WriteId,
};

use crate::simulator::checks::basis::coverage::{Coverage, Stage};
use crate::simulator::checks::{Check, Findings};

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
    /// The store applied a commit.
    Commit(AppliedCommit),
    /// Somebody who is not part of the group wrote into its bucket.
    External {
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
    /// A core asked whether another process runs.
    Probe {
        /// Whose.
        process: Process,
        /// The time on its clock.
        local: Instant,
        /// Which probe.
        probe: ProbeId,
    },
    /// A core is told what became of a probe.
    Probed {
        /// Whose.
        process: Process,
        /// The time on its clock.
        local: Instant,
        /// Which probe.
        probe: ProbeId,
        /// What.
        answer: ProbeAnswer,
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
        /// What was asked, and what the strategy answers.
        planning: Box<Planning>,
    },
    /// A core sent a commit that contains `head`.
    Proposes {
        /// Whose.
        process: Process,
        /// What.
        proposal: Box<Proposal>,
    },
    /// A core asked to begin processing.
    Assign {
        /// Whose.
        process: Process,
        /// What.
        assigned: Assigned,
    },
    /// A core asked to end processing.
    Revoke {
        /// Whose.
        process: Process,
        /// What, and why.
        revoked: Revoked,
    },
    /// A core asked to get ready.
    Prepare {
        /// Whose.
        process: Process,
        /// For what.
        preparations: Vec<Preparation>,
    },
    /// A core said that these are of no more use.
    Withdraw {
        /// Whose.
        process: Process,
        /// What.
        preparations: Vec<Preparation>,
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
        /// How.
        end: StepEnd,
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

impl Fact {
    /// How many kinds of facts are frequent.
    pub const FREQUENT: usize = 8;

    /// The number of its kind, if there are many of it: a checker that [ignores](Findings::ignore) one is not
    /// told of others.
    #[must_use]
    pub const fn frequent(&self) -> Option<usize> {
        match self {
            Self::Step { .. } => Some(0),
            Self::Settled { .. } => Some(1),
            Self::Request { .. } => Some(2),
            Self::Heard { .. } => Some(3),
            Self::Commit(_) => Some(4),
            Self::Notice { .. } => Some(5),
            Self::Probe { .. } => Some(6),
            Self::Probed { .. } => Some(7),
            Self::Began { .. }
            | Self::Ended { .. }
            | Self::External { .. }
            | Self::Asked { .. }
            | Self::Planned { .. }
            | Self::Proposes { .. }
            | Self::Assign { .. }
            | Self::Revoke { .. }
            | Self::Prepare { .. }
            | Self::Withdraw { .. }
            | Self::Released { .. }
            | Self::Panicked { .. }
            | Self::Healed
            | Self::Milestone(..)
            | Self::Due(_)
            | Self::Over(_) => None,
        }
    }

    /// Calls the method of a checker that is for this fact.
    #[inline]
    pub fn tell(&self, at: Instant, check: &mut dyn Check, findings: &mut Findings) {
        findings.begin(at);
        match self {
            Self::Began { process } => check.on_began(*process),
            Self::Ended { process } => check.on_ended(*process),
            Self::Commit(commit) => check.on_commit(commit.process, &commit.writes, findings),
            Self::External { writes } => check.on_external(at, writes),
            Self::Step {
                process,
                local,
                created,
            } => check.on_step(*process, *local, *created, findings),
            Self::Heard {
                process,
                local,
                revision,
                watched,
            } => check.on_heard(*process, *local, *revision, *watched, findings),
            Self::Probe {
                process,
                local,
                probe,
            } => check.on_probe(*process, *local, *probe, findings),
            Self::Probed {
                process,
                local,
                probe,
                answer,
            } => check.on_probed(*process, *local, (*probe, *answer), findings),
            Self::Asked { process, request } => check.on_asked(*process, *request),
            Self::Request { process } => check.on_request(*process, findings),
            Self::Planned { process, planning } => check.on_planned(*process, planning, findings),
            Self::Proposes { process, proposal } => {
                check.on_proposes(*process, proposal, findings);
            }
            Self::Assign { process, assigned } => {
                check.on_assign(*process, assigned, findings);
            }
            Self::Revoke { process, revoked } => check.on_revoke(*process, revoked, findings),
            Self::Prepare {
                process,
                preparations,
            } => check.on_prepare(*process, preparations, findings),
            Self::Withdraw {
                process,
                preparations,
            } => check.on_withdraw(*process, preparations),
            Self::Released { process, grants } => check.on_released(*process, grants),
            Self::Notice { process, notice } => check.on_notice(*process, notice, findings),
            Self::Settled { process, end } => check.on_settled(*process, end, findings),
            Self::Panicked { process, message } => check.on_panicked(*process, message, findings),
            Self::Healed => check.on_healed(),
            Self::Milestone(stage, coverage) => check.on_milestone(*stage, coverage, findings),
            Self::Due(coverage) => check.on_due(coverage, findings),
            Self::Over(coverage) => check.on_over(coverage, findings),
        }
    }
}

/// A commit that the store applied.
#[derive(Clone, Debug, PartialEq)]
pub struct AppliedCommit {
    /// When, in true time.
    pub at: Instant,
    /// Who sent it; it may be gone by now.
    pub process: Process,
    /// What it wrote.
    pub writes: Vec<Written>,
}

impl AppliedCommit {
    /// The revision of the last write.
    #[must_use]
    pub fn last_revision(&self) -> Revision {
        let revisions = self.writes.iter().map(|write| write.revision);
        revisions.max().unwrap_or_default()
    }
}

/// What a core was asked to begin with.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// What.
    pub grants: Vec<Grant>,
    /// The time on the clock of the process.
    pub local: Instant,
    /// The deadline of its session on its clock.
    pub deadline: Option<Instant>,
}

/// What a core was asked to end.
#[derive(Clone, Debug, PartialEq)]
pub struct Revoked {
    /// What.
    pub grants: Vec<Grant>,
    /// Why.
    pub cause: RevokeCause,
}

/// How a step of a core ended.
#[derive(Clone, Debug, PartialEq)]
pub struct StepEnd {
    /// The time on the clock of the process.
    pub local: Instant,
    /// The deadline of its session on its clock.
    pub deadline: Option<Instant>,
    /// The deadline in true time.
    pub until: Option<Instant>,
    /// When it wants to be woken.
    pub wake: Option<Wake>,
    /// How many effects there were.
    pub effects: usize,
    /// What a caller would read now; left out when nothing can have changed.
    pub status: Option<Box<Status>>,
}

/// A plan that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Planning {
    /// The time on the clock of the process.
    pub local: Instant,
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
    /// The time on the clock of the process.
    pub local: Instant,
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
    /// What is said of it from then on.
    pub status: SessionStatus,
}

impl Eviction {
    /// Whether it is said to have been silent for a full lease.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.status == SessionStatus::Evicted { silent: true }
    }
}
