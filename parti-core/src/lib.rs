#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

mod config;
mod core;
pub mod directory;
mod io;
mod leader;
mod link;
mod model;
#[cfg(feature = "planted")]
pub mod planted;
#[cfg(not(feature = "planted"))]
mod planted;
mod ports;
mod records;
mod resilience;
#[cfg(test)]
mod tests {
    mod refusals;
    mod words;
}
mod worker;

pub use crate::core::Core;
pub use config::error::ConfigError;
pub use config::{
    Config, ConfigBuilder, DegradedPreset, DegradedSettings, Mode, OnBucketLost, Preset,
};
pub use io::boot::Boot;
pub use io::effect::{Effect, RevokeCause, Wake, WakeReason};
pub use io::event::{Event, OpId, OpOwner, RequestId, StopMode, WatchId};
pub use io::grant::Grant;
pub use io::notice::{
    AlertLevel, DegradedReason, FailedStep, HistoryLoss, Notice, OwnerEnd, StartError,
    StepDownReason, Transfer,
};
pub use io::status::{GroupStatus, ModeStatus, Status, StoreStatus};
pub use model::endpoint::{Endpoint, EndpointError, MAX_ENDPOINT_BYTES};
pub use model::id::{
    Epoch, Formats, GroupName, MAX_NAME_LEN, NameError, Nonce, Revision, Term, Token, Version,
    WorkerId, WriteId,
};
pub use model::partition::{MAX_KEY_BYTES, MAX_KEY_PARTS, Partition, PartitionError, PartitionKey};
pub use model::preparation::Preparation;
pub use model::rng::Rng;
pub use model::state::{Cause, InvalidTransition, State};
pub use model::table::{NO_RANK, PartitionTable, align, carry_over, hash_key};
pub use model::time::Instant;
pub use ports::kv;
pub use ports::liveness::{Answering, Liveness, ProbeAnswer, ProbeId};
pub use ports::source::{PartitionSource, SourceError};
pub use ports::store::{
    Entry, Expect, Store, StoreError, StoreErrorKind, StoreFault, StoreInfo, StoreOp, StoreReply,
    Watch, WatchEvent, WatchScope, Write,
};
pub use ports::strategy::{
    AssignmentStrategy, NO_OWNER, ParkReason, Plan, PlanError, PlanInput, Report, StrategyId,
    Unmet, WorkerInfo, WorkerTable, anchors_after,
};
pub use records::agreement::{Agreed, Difference, Disagreement, GroupSettings};
pub use records::assembly::Assembly;
pub use records::carried::{Carried, Quarantined};
pub use records::history::{
    Explanation, Gap, Generation, History, Leaving, Move, Owner, OwnerSession, Parking, Unreadable,
};
pub use records::keys::{Key, SOURCE_PARTS_PREFIX, control_key, head_key, parked_key, source_key};
pub use records::problem::{Bulletin, Problem, ProblemKind, ToldProblem};
pub use records::record::{
    AssignmentPiece, AssignmentRecord, AuditEntry, Control, Head, LeaderName, Manifest, Parked,
    ParkedGroup, ParkedRecord, PieceStamp, Pin, Predecessor, Prepared, Readiness, Record,
    RecordGrant, RejectedAt, Rejection, Remains, Revoking, SessionRecord, SessionStatus,
    SourcePart, Suspicion, Verb, WorkerChange,
};
pub use records::stored_list::{EARLIER_MAX, PieceError, joined, pieces};
pub use records::wire;
pub use resilience::backoff::{Backoff, Jitter, RetryPolicy, RetryPolicyBuilder, RetryPolicyError};
pub use resilience::breaker::{
    Breaker, BreakerError, BreakerSettings, CallEnd, Circuit, CircuitOpen, CircuitState,
    CircuitStatus, Judged, Permit,
};
pub use worker::callbacks;
