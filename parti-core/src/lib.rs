#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod agreement;
mod assembly;
mod attempt;
mod backoff;
mod boot;
mod breaker;
mod carried;
mod circuits;
mod claim;
mod config;
mod config_error;
mod contact;
mod continuity;
mod core;
mod cx;
mod departure;
mod effect;
mod event;
mod failing;
mod follow;
mod grant;
mod health;
mod history;
mod holdings;
mod id;
mod keys;
mod leader;
mod member;
mod misfits;
mod notice;
mod outline;
mod partition;
#[cfg(feature = "planted")]
pub mod planted;
#[cfg(not(feature = "planted"))]
mod planted;
mod problem;
mod record;
mod requests;
mod rng;
mod session;
mod source;
mod state;
mod status;
mod store;
mod stored_list;
mod strategy;
mod table;
#[cfg(test)]
mod tests;
mod time;
mod watching;
pub mod wire;

pub use crate::core::Core;
pub use agreement::{Agreed, Difference, Disagreement, GroupSettings};
pub use assembly::Assembly;
pub use backoff::{Backoff, Jitter, RetryPolicy, RetryPolicyBuilder, RetryPolicyError};
pub use boot::Boot;
pub use breaker::{
    Breaker, BreakerError, BreakerSettings, CallEnd, Circuit, CircuitOpen, CircuitState,
    CircuitStatus, Judged, Permit,
};
pub use carried::{Carried, Quarantined};
pub use config::{
    Config, ConfigBuilder, DegradedPreset, DegradedSettings, Mode, OnBucketLost, Preset,
};
pub use config_error::ConfigError;
pub use effect::{Effect, RevokeCause, Wake, WakeReason};
pub use event::{Event, OpId, OpOwner, RequestId, StopMode, WatchId};
pub use grant::Grant;
pub use history::{
    Explanation, Gap, Generation, History, Leaving, Move, Owner, OwnerSession, Parking, Unreadable,
};
pub use id::{
    Epoch, Formats, GroupName, MAX_NAME_LEN, NameError, Nonce, Revision, Term, Token, Version,
    WorkerId, WriteId,
};
pub use keys::{Key, SOURCE_PARTS_PREFIX, head_key, parked_key, source_key};
pub use notice::{
    AlertLevel, DegradedReason, FailedStep, HistoryLoss, Notice, OwnerEnd, StartError,
    StepDownReason, Transfer,
};
pub use partition::{MAX_KEY_BYTES, MAX_KEY_PARTS, Partition, PartitionError, PartitionKey};
pub use problem::{Bulletin, Problem, ProblemKind, ToldProblem};
pub use record::{
    AssignmentPiece, AssignmentRecord, AuditEntry, Control, Head, LeaderName, Manifest, Misfit,
    Parked, ParkedGroup, ParkedRecord, PieceStamp, Predecessor, Record, RecordGrant, Remains,
    Revoking, SessionRecord, SessionStatus, SourcePart, Verb, WorkerChange,
};
pub use rng::Rng;
pub use source::{PartitionSource, SourceError};
pub use state::{Cause, InvalidTransition, State};
pub use status::Status;
pub use store::{
    Entry, Expect, Store, StoreError, StoreErrorKind, StoreFault, StoreInfo, StoreOp, StoreReply,
    Watch, WatchEvent, WatchScope, Write,
};
pub use stored_list::{EARLIER_MAX, PieceError, joined, pieces};
pub use strategy::{
    AssignmentStrategy, NO_OWNER, ParkReason, Plan, PlanError, PlanInput, Report, StrategyId,
    Unmet, WorkerInfo, WorkerTable, anchors_after,
};
pub use table::{NO_RANK, PartitionTable, align, carry_over, hash_key};
pub use time::Instant;
