//! A look at the core from outside: what a caller may read between two events.

use alloc::vec::Vec;

use crate::config::Mode;
use crate::model::id::{Epoch, Nonce, Term, Version, WorkerId};
use crate::model::state::{Cause, State};
use crate::model::time::Instant;
use crate::ports::strategy::ParkReason;
use crate::records::agreement::Disagreement;
use crate::records::problem::Problem;
use crate::records::record::Parked;
use crate::resilience::breaker::CircuitStatus;

/// Where a core stands. Every value is as of the last `handle*` call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The public state.
    pub state: State,
    /// The ID this process holds.
    pub worker: Option<WorkerId>,
    /// The incarnation.
    pub epoch: Option<Epoch>,
    /// The session's own name.
    pub nonce: Option<Nonce>,
    /// Until when the session, and with it every guard, is valid on the local clock; `None` when
    /// nothing is valid.
    pub deadline: Option<Instant>,
    /// The leader according to `head`.
    pub leader: Option<WorkerId>,
    /// Whether this worker leads.
    pub is_leader: bool,
    /// The term according to `head`.
    pub term: Term,
    /// The version according to `head`.
    pub version: Version,
    /// The version of the assignment record taken in.
    pub applied: Version,
    /// How many partitions are assigned.
    pub assigned: usize,
    /// How the group is.
    pub group: GroupStatus,
    /// What is promised about two owners, and who is configured otherwise.
    pub mode: ModeStatus,
    /// How the store answers.
    pub store: StoreStatus,
    /// What is wrong now, with this worker or with its group; each kind at most once.
    pub problems: Vec<Problem>,
}

/// How the group is, as this worker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupStatus {
    /// Why the present version was made; `None` while no `head` is known.
    pub cause: Option<Cause>,
    /// How many workers share the partitions, according to `head`.
    pub workers: u32,
    /// How many partitions there are, according to `head`.
    pub partitions: u32,
    /// How many of them still wait for their planned owner, according to `head`.
    pub unfinished: u32,
    /// How many have no owner because nobody may own them, and since when, according to `head`.
    pub parked: Parked,
    /// How many of them for which reason, at the leader; empty elsewhere.
    pub parked_by: Vec<(ParkReason, u32)>,
    /// How many terms in a row before were given up because the leader could not do its work,
    /// according to `head`. More than one says that the cause is common to all.
    pub futile_terms: u32,
    /// How many terms this worker saw begin within the last minute.
    pub recent_terms: u32,
}

/// Which mode is obeyed, and how others of the group are configured.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModeStatus {
    /// The mode that this worker's guards obey; `None` without a session.
    pub honours: Option<Mode>,
    /// The mode that holds in the group according to `head`: what is promised about two owners.
    pub holds: Option<Mode>,
    /// How others of the group are configured otherwise, one example for each setting, those that
    /// would break a promise first. A leader compares all sessions, the others what `head` says.
    pub differences: Vec<Disagreement>,
}

/// How the store answers this worker; numbers are since it began.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStatus {
    /// The circuit of requests.
    pub circuit: CircuitStatus,
    /// The circuit of the watch.
    pub watch_circuit: CircuitStatus,
    /// Signs of life of the watch that its circuit counted: it was caught up, or brought back a renewal
    /// of its worker.
    pub watch_successes: u64,
    /// Failures of the watch that its circuit counted: it was lost, or fell silent.
    pub watch_failures: u64,
    /// Requests that were tried again.
    pub retries: u64,
    /// Steps that failed as often as they may be tried.
    pub retries_exhausted: u64,
    /// Records that were not understood or not meant for this session.
    pub ignored_records: u64,
}
