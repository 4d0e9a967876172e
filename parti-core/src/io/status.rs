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
    /// Why that version was made; `None` while no `head` is known.
    pub cause: Option<Cause>,
    /// How many workers share the partitions, according to `head`.
    pub workers: u32,
    /// How many partitions there are, according to `head`.
    pub partitions: u32,
    /// How many of them still wait for their planned owner, according to `head`.
    pub unfinished: u32,
    /// How many terms in a row before were given up because the leader could not do its work,
    /// according to `head`. More than one says that the cause is common to all.
    pub futile_terms: u32,
    /// How many have no owner because nobody may own them, and since when, according to `head`.
    pub parked: Parked,
    /// How many of them for which reason, at the leader; empty elsewhere.
    pub parked_by: Vec<(ParkReason, u32)>,
    /// How many terms this worker saw begin within the last minute.
    pub recent_terms: u32,
    /// The version of the assignment record taken in.
    pub applied: Version,
    /// How many partitions are assigned.
    pub assigned: usize,
    /// The mode that this worker's guards obey; `None` without a session.
    pub honours: Option<Mode>,
    /// The mode that holds in the group according to `head`: what is promised about two owners.
    pub holds: Option<Mode>,
    /// How others of the group are configured otherwise, one example for each setting, those that
    /// would break a promise first. A leader compares all sessions, the others what `head` says.
    pub differences: Vec<Disagreement>,
    /// Records that were not understood or not meant for this session, so far.
    pub ignored_records: u64,
    /// The circuit of requests to the store.
    pub store_circuit: CircuitStatus,
    /// The circuit of the watch.
    pub watch_circuit: CircuitStatus,
    /// Signs of life of the watch that its circuit counted, so far: it was caught up, or brought back
    /// an own renewal.
    pub watch_successes: u64,
    /// Failures of the watch that its circuit counted, so far: it was lost, or fell silent.
    pub watch_failures: u64,
    /// Requests to the store that were tried again, so far.
    pub retries: u64,
    /// Steps that failed as often as they may be tried, so far.
    pub retries_exhausted: u64,
    /// What is wrong now, with this worker or with its group; each kind at most once.
    pub problems: Vec<Problem>,
}
