//! What must always hold, one property a file, all of them in one table.
//!
//! Checkers see facts in true time: what the store applied, what a core was told and asked for. They
//! know nothing of the simulator, so the same checkers judge hand-made traces (a checker that cannot
//! fail is worthless) and, on one host with one clock, real runs.

use core::fmt;
use core::time::Duration;

use parti_core::{
    Config, Expect, Grant, Instant, Key, Mode, Notice, Record, Revision, RevokeCause, Wake,
};

mod alarm;
mod applied;
mod callbacks;
mod chain;
mod cooldown;
mod exclusion;
mod fence;
mod identity;
mod justified;
mod lease;
pub(crate) mod ledger;
mod no_spin;
mod panics;
mod removal;
mod settled;
mod states;
mod terms;
#[cfg(test)]
mod tests;
mod tokens;
mod well_formed;

pub use settled::{Coverage, Worker};

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
    },
    /// A core asked for a store request or a watch.
    Request {
        /// Whose.
        process: Process,
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
    },
    /// A core panicked.
    Panicked {
        /// Whose.
        process: Process,
        /// The message.
        message: String,
    },
    /// Every fault has ended.
    Healed,
    /// The time in which the group may settle is over: who holds what.
    Due(Coverage),
    /// The time of calm that must follow is over: who holds what.
    Over(Coverage),
}

/// What the checkers have to know about a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// The mode of the hand-over.
    pub mode: Mode,
    /// The lease of every session.
    pub lease: Duration,
    /// The least time between two rebalances that can wait.
    pub cooldown: Duration,
    /// The largest rate error of a clock.
    pub drift_ppm: u32,
    /// Whether nothing at all went wrong, so that there is no reason for an alarm.
    pub faultless: bool,
}

impl Rules {
    /// The rules of a configuration.
    #[must_use]
    pub const fn new(config: &Config, faultless: bool) -> Self {
        Self {
            mode: config.mode(),
            lease: config.lease(),
            cooldown: config.min_rebalance_interval(),
            drift_ppm: config.clock_drift_ppm(),
            faultless,
        }
    }

    /// The least true time that a full lease can take on any clock, less two nanoseconds of rounding.
    #[must_use]
    pub fn shortest_lease(&self) -> Duration {
        self.shortest(self.lease)
    }

    /// The least true time that the cooldown can take on any clock, rounded alike.
    #[must_use]
    pub fn shortest_cooldown(&self) -> Duration {
        self.shortest(self.cooldown)
    }

    fn shortest(&self, local: Duration) -> Duration {
        let scaled = local.as_nanos() * 1_000_000 / (1_000_000 + u128::from(self.drift_ppm));
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX).saturating_sub(2))
    }
}

/// What a checker found, in words.
#[derive(Debug, Default)]
pub struct Findings(Vec<String>);

impl Findings {
    /// Reports a violation.
    pub fn report(&mut self, reason: impl Into<String>) {
        self.0.push(reason.into());
    }

    /// Takes everything reported since the last call.
    pub fn take(&mut self) -> Vec<String> {
        core::mem::take(&mut self.0)
    }

    /// Whether nothing was reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Watches facts for one property.
pub trait Check: Send {
    /// Takes in a fact and reports what is wrong with it.
    fn observe(&mut self, at: Instant, fact: &Fact, findings: &mut Findings);

    /// The store lost its history but for these commits. Whoever judges each history by itself is made
    /// anew instead.
    fn lose_history(&mut self, kept: &[(Instant, Fact)]) {
        let _ = kept;
    }
}

/// One property: what it is called, why it matters and who checks it.
#[derive(Clone, Copy)]
pub struct Property {
    /// The short name in reports.
    pub id: &'static str,
    /// What must hold.
    pub name: &'static str,
    /// The production problem it prevents.
    pub why: &'static str,
    /// Whether it holds in this mode.
    pub applies: fn(&Rules) -> bool,
    /// Makes its checker.
    pub make: fn(&Rules) -> Box<dyn Check>,
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.name)
    }
}

const ALWAYS: fn(&Rules) -> bool = |_| true;
const EXCLUSIVE: fn(&Rules) -> bool = |rules| matches!(rules.mode, Mode::Exclusive);

/// Every property.
pub const PROPERTIES: &[Property] = &[
    Property {
        id: "S1a",
        name: "a session is relied on no longer than a lease after its last applied renewal",
        why: "a late answer or a slow clock would keep an owner at work after its successor began",
        applies: EXCLUSIVE,
        make: |rules| Box::new(lease::Lease::new(rules)),
    },
    Property {
        id: "S3",
        name: "past its deadline a worker revokes first and assigns nothing",
        why: "a paused process would go on as if it still owned its partitions",
        applies: ALWAYS,
        make: |_| Box::<fence::SelfFence>::default(),
    },
    Property {
        id: "S4",
        name: "no two workers hold a partition validly at the same true time",
        why: "two workers process the same data although each checks its guard",
        applies: EXCLUSIVE,
        make: |_| Box::<exclusion::Exclusion>::default(),
    },
    Property {
        id: "S6",
        name: "tokens of a partition never fall and rise from session to session",
        why: "downstream storage could not tell an old owner from the present one",
        applies: ALWAYS,
        make: |rules| Box::new(tokens::Tokens::new(rules)),
    },
    Property {
        id: "S7",
        name: "writes of head form one chain of rising versions and terms",
        why: "two leaders would publish on top of each other",
        applies: ALWAYS,
        make: |_| Box::<chain::Chain>::default(),
    },
    Property {
        id: "S8",
        name: "the generations of a term come from one session",
        why: "a deposed leader would go on committing under its successor's name",
        applies: ALWAYS,
        make: |_| Box::<terms::Terms>::default(),
    },
    Property {
        id: "S9",
        name: "a grant is justified: whoever had the partition acknowledged or ended before",
        why: "exclusion would rest on luck with timing instead of on the history of the store",
        applies: EXCLUSIVE,
        make: |rules| Box::new(justified::Justified::new(rules)),
    },
    Property {
        id: "S10",
        name: "sessions end only by their own word or, conditionally, after a silent lease",
        why: "an unconditional delete or an early eviction ends a session that is alive",
        applies: ALWAYS,
        make: |rules| Box::new(removal::Removal::new(rules)),
    },
    Property {
        id: "S11",
        name: "records are readable and grant each partition once",
        why: "a malformed record stops a worker or gives a partition to two",
        applies: ALWAYS,
        make: |rules| Box::new(well_formed::WellFormed::new(rules)),
    },
    Property {
        id: "S13",
        name: "a rebalance that can wait comes no sooner after the last than the cooldown",
        why: "partitions would move back and forth as workers and lists change",
        applies: ALWAYS,
        make: |rules| Box::new(cooldown::Cooldown::new(rules)),
    },
    Property {
        id: "S19",
        name: "assign, revoke and release of a partition alternate",
        why: "user callbacks would overlap or be skipped",
        applies: ALWAYS,
        make: |_| Box::<callbacks::Callbacks>::default(),
    },
    Property {
        id: "STATE",
        name: "public states follow each other as the table of transitions allows",
        why: "a watcher would be told steps that cannot be, and miss the defect behind them",
        applies: ALWAYS,
        make: |_| Box::<states::States>::default(),
    },
    Property {
        id: "SPIN",
        name: "a core settles: wakes are in the future, effects and steps are bounded",
        why: "a driver would spin at full load and starve its renewals",
        applies: ALWAYS,
        make: |_| Box::<no_spin::NoSpin>::default(),
    },
    Property {
        id: "S25",
        name: "a core never panics",
        why: "a panic in the coordination ends the worker",
        applies: ALWAYS,
        make: |_| Box::new(panics::NoPanic),
    },
    Property {
        id: "S18a",
        name: "without faults there is no alarm",
        why: "false emergencies and lost leases move partitions for nothing",
        applies: |rules| rules.faultless,
        make: |_| Box::new(alarm::NoAlarm),
    },
    Property {
        id: "S18b",
        name: "an identity is not given up while it can still be held",
        why: "one old read would cost a worker all its partitions",
        applies: ALWAYS,
        make: |rules| Box::new(identity::Identity::new(rules)),
    },
    Property {
        id: "S23",
        name: "what a session has taken in never goes back",
        why: "a worker would follow a record that its leader has replaced",
        applies: ALWAYS,
        make: |_| Box::<applied::Applied>::default(),
    },
    Property {
        id: "L9",
        name: "after the faults every partition is held by exactly one living worker",
        why: "partitions would stay unprocessed until somebody restarts the group",
        applies: ALWAYS,
        make: |_| Box::<settled::Settled>::default(),
    },
];
