//! Exclusive ownership of partitions for a group of identical workers, with fencing tokens.
//!
//! Each process runs a [`Manager`]. Through a shared store, NATS `JetStream` as a rule, the managers
//! of a group agree who processes which partition, move partitions when workers come, go or die,
//! and call your [`PartitionHandler`]. In the default mode a partition is given to a new worker only
//! when the old one has said that it has ended, or when its lease is over.
//!
//! What is decided, and why it is safe, is in `parti-core`, whose public words are re-exported here.
//!
//! # Where to look
//! At the root is what every worker needs: [`Manager`], [`Config`], [`PartitionHandler`], [`Guard`], names,
//! and errors. The rest is in modules: where partitions come from ([`sources`]), who gets them
//! ([`strategy`], [`planning`]), where records are kept ([`store`], `nats`), and how a group is watched
//! ([`health`], [`events`], [`history`], [`metrics`]).
//!
//! # Guarantees
//! * At any time at most one worker has a *valid* [`Guard`] for a partition, as long as clocks run
//!   at about the same rate.
//! * [`Guard::token`] rises with each owner of a partition. A process can be suspended between
//!   checking its guard and acting on it; let what you write to refuse smaller tokens.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod callers;
pub mod config;
mod error;
mod handler;
#[cfg(feature = "jetstream")]
pub mod jetstream;
mod manager;
mod observe;
pub mod planning;
mod shell;
pub mod sources;
mod stores;
mod system;

pub use async_trait::async_trait;
pub use callers::resilience;
pub use error::{Ended, LaunchError, RequestError, StopError, StopFailure, StopReport};
pub use handler::fence;
pub use handler::guard::Guard;
pub use handler::{HandlerError, PartitionHandler, Preparation};
pub use manager::Manager;
pub use manager::builder::ManagerBuilder;
pub use observe::directory;
pub use observe::metrics;
#[cfg(feature = "prometheus")]
pub use observe::prometheus;
#[doc(inline)]
pub use parti_core::{
    Config, ConfigBuilder, ConfigError, GroupName, Mode, NameError, Partition, PartitionError,
    PartitionKey, Preset, RevokeCause, StartError, State, Status, StopMode, Token, Version,
    WorkerId,
};
pub use stores::store;

pub mod clock {
    //! The clock by which leases are counted, and what it shows.
    //!
    //! Production needs nothing of it. A test with paused time gives the manager [`Clock::tokio`].

    pub use crate::system::clock::Clock;
    pub use crate::system::machine::Machine;
    #[doc(inline)]
    pub use parti_core::Instant;
}

pub mod events {
    //! What happens, as it happens: notices to subscribe to, and hooks that are called.
    //!
    //! Nothing waits for a reader or depends on one.

    pub use crate::handler::Callback;
    pub use crate::observe::hooks::{
        AssignedKeys, AssignmentChange, ChangeCause, DegradedChange, HookEvent, HookStream, Hooks,
        LeadershipChange, NoHooks, StateChange, Trouble, hook_channel,
    };
    pub use crate::observe::subscription::{ManagerNotice, Subscription};
    #[doc(inline)]
    pub use parti_core::{
        AlertLevel, Epoch, FailedStep, Grant, HistoryLoss, Nonce, Notice, OpOwner, OwnerEnd,
        RequestId, StepDownReason, Term, Transfer,
    };
}

pub mod health {
    //! How the worker and its group are: conditions for probes, and the problems behind them.

    pub use crate::observe::health::{Condition, Health, HealthCode, Impact};
    #[cfg(feature = "probes")]
    pub use crate::observe::probes::ProbeServer;
    #[doc(inline)]
    pub use parti_core::{
        Agreed, DegradedReason, Difference, Disagreement, GroupStatus, ModeStatus, Parked, Problem,
        ProblemKind, StoreStatus,
    };
}

pub mod history {
    //! What the group did and why, read back: what [`Manager::history`](crate::Manager::history) and
    //! [`Manager::explain`](crate::Manager::explain) answer.

    pub use crate::error::ReadError;
    #[doc(inline)]
    pub use parti_core::{
        AuditEntry, Cause, Explanation, Gap, Generation, Leaving, Move, Owner, OwnerSession,
        ParkedGroup, Parking, WorkerChange, WriteId,
    };
}

#[cfg(feature = "nats")]
pub mod nats {
    //! Records on a NATS server: the store, its options, and the client's own crate. Requests to the owners
    //! of partitions: [`router`].
    //!
    //! [`ManagerBuilder::nats`](crate::ManagerBuilder::nats) is enough as a rule.

    pub use crate::callers::router;
    #[doc(no_inline)]
    pub use parti_nats::async_nats;
    #[doc(inline)]
    pub use parti_nats::{NatsConnection, NatsOptions, NatsStore, OpenError};
}

pub mod strategy {
    //! Who gets which partition: ready-made strategies, rules that limit them, and what a strategy of
    //! your own implements.

    #[doc(inline)]
    pub use parti_core::{
        AssignmentStrategy, NO_OWNER, ParkReason, PartitionTable, Plan, PlanError, PlanInput,
        Report, StrategyId, Unmet, WorkerInfo, WorkerTable,
    };
    #[doc(inline)]
    pub use parti_strategy::{
        ConsistentHash, Eligibility, Rendezvous, RoundRobin, Sticky, WeightedConsistentHash,
    };
}

#[cfg(feature = "planted")]
pub mod planted {
    //! Deliberate defects, to prove that tests find them. **Not for production.**

    pub use crate::shell::planted::ShellBug;
}

// The examples of both READMEs must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct PackageReadme;
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
