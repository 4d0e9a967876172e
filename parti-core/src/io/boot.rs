//! What a core is told once, when it is made. It is separate because everything below the core reads it.

use alloc::string::String;

use crate::model::endpoint::Endpoint;
use crate::model::time::Instant;
use crate::ports::strategy::StrategyId;

/// What a core is told once, when it is made.
///
/// Closed: a shell has to say all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The time of the call.
    pub now: Instant,
    /// The wall clock at that time, in milliseconds since 1970. It only keeps versions rising when
    /// a bucket is lost, and dates audit entries and parked partitions; nothing is decided by it but
    /// how long a grace of theirs still is.
    pub wall_ms: u64,
    /// The seed of all randomness. Must differ between processes: nonces follow from it.
    pub seed: u128,
    /// The strategy the driver will plan with.
    pub strategy: StrategyId,
    /// Name and version of the software, for operators.
    pub software: String,
    /// Where the worker can be reached, if it says so: stored with its session for readers of the group.
    pub endpoint: Option<Endpoint>,
    /// Whether the handler prepares for partitions before it is given them: only then it is told to,
    /// and planned moves to it wait for that.
    pub prepares: bool,
}
