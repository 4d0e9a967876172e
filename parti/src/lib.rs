//! Exclusive ownership of partitions for a group of identical workers, with fencing tokens.
//!
//! Each process runs a [`Manager`]. Through a shared store, NATS `JetStream` as a rule, the managers
//! of a group agree who processes which partition, move partitions when workers come, go or die,
//! and call your [`PartitionHandler`]. In the default mode a partition is given to a new worker only
//! when the old one has said that it has ended, or when its lease is over.
//!
//! What is decided, and why it is safe, is in `parti-core`, whose public words are re-exported here.
//!
//! # Guarantees
//! * At any time at most one worker has a *valid* [`Guard`] for a partition, as long as clocks run
//!   at about the same rate.
//! * [`Guard::token`] rises with each owner of a partition. A process can be suspended between
//!   checking its guard and acting on it; let what you write to refuse smaller tokens.
#![forbid(unsafe_code)]

mod builder;
mod error;
mod handler;
mod manager;
mod observe;
mod plan;
mod resilience;
mod shell;
mod sources;
mod stores;

pub use builder::ManagerBuilder;
pub use error::{Ended, LaunchError, ReadError, RequestError, StopError, StopFailure, StopReport};
pub use handler::{Callback, HandlerError, PartitionHandler};
pub use manager::Manager;
pub use observe::health::{Condition, Health, HealthCode, Impact};
pub use observe::hooks::{
    AssignedKeys, AssignmentChange, ChangeCause, DegradedChange, HookEvent, HookStream, Hooks,
    LeadershipChange, NoHooks, StateChange, Trouble, hook_channel,
};
pub use observe::subscription::{ManagerNotice, Subscription};
pub use plan::plan;
pub use resilience::breaker::{CallError, CircuitBreaker, CircuitBreakerBuilder, CircuitChange};
pub use resilience::retry::{RetryError, retry};
pub use shell::clock::Clock;
pub use shell::guard::Guard;
pub use sources::kv_source::{KvSource, KvSourceError};
pub use sources::source::{StaticSource, source_fn};
pub use stores::local_store::LocalStore;

pub use async_trait::async_trait;
#[doc(inline)]
pub use parti_core::{
    Agreed, AlertLevel, AssignmentStrategy, AuditEntry, BreakerError, BreakerSettings, CallEnd,
    Cause, Circuit, CircuitOpen, CircuitState, CircuitStatus, Config, ConfigBuilder, ConfigError,
    DegradedReason, Difference, Disagreement, Epoch, Explanation, FailedStep, Gap, Generation,
    Grant, GroupName, HistoryLoss, Instant, Jitter, Judged, Leaving, Mode, Move, NO_OWNER,
    NameError, Nonce, Notice, OnBucketLost, Owner, OwnerEnd, OwnerSession, ParkReason, Parked,
    ParkedGroup, Parking, Partition, PartitionError, PartitionKey, PartitionSource, PartitionTable,
    PieceError, Plan, PlanError, PlanInput, Preset, Problem, ProblemKind, Report, RequestId,
    RetryPolicy, RetryPolicyBuilder, RetryPolicyError, Revision, RevokeCause, SourceError,
    StartError, State, Status, StepDownReason, StopMode, Store, StoreError, StoreErrorKind,
    StrategyId, Term, Token, Transfer, Unmet, Version, WorkerChange, WorkerId, WorkerInfo,
    WorkerTable,
};
#[cfg(feature = "nats")]
#[doc(no_inline)]
pub use parti_nats::async_nats;
#[cfg(feature = "nats")]
#[doc(inline)]
pub use parti_nats::{NatsOptions, NatsStore};
#[doc(inline)]
pub use parti_strategy::{
    Change, ConsistentHash, Eligibility, Forecast, Move as PlannedMove, Rendezvous, RoundRobin,
    Sticky, WeightedConsistentHash, situation, what_if,
};

pub use observe::metrics;
#[cfg(feature = "prometheus")]
pub use observe::prometheus;
pub use stores::store;

// The README's example must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
