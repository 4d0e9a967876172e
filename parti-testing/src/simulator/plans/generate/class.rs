//! The classes of faults and of workload, each on or off as a whole in a run.
//!
//! They are separate because the list is the fault model: what is not here is not simulated.

/// A kind of trouble, or of use, that is on or off as a whole.
///
/// The fault model and how each part of it is injected (N network, P processes, C clocks, K the
/// store, U use):
///
#[doc = include_str!("fault-model.md")]
///
/// New classes are added at the end: the number of a class keys its decisions, so the plans of the
/// others stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// Slow messages, some of them very slow.
    Delay,
    /// Lost requests.
    DropRequest,
    /// Lost answers to requests that were carried out.
    DropReply,
    /// Requests carried out twice.
    Duplicate,
    /// Refusals without a reason.
    Refuse,
    /// Reads from a lagging copy.
    StaleRead,
    /// Slow watches.
    WatchDelay,
    /// Watches that end.
    WatchLost,
    /// Watches that fall silent.
    WatchStall,
    /// Watch events that come again.
    WatchDuplicate,
    /// Watch events that are left out.
    WatchSkip,
    /// Processes that die.
    Crash,
    /// Processes that stand still.
    Pause,
    /// Callbacks that take long.
    SlowCallback,
    /// Clocks at the extremes of their allowed rates.
    Drift,
    /// The store out of reach for everybody.
    Outage,
    /// A node cut off, in some directions or all.
    NetworkPartition,
    /// Clocks that jump.
    ClockJump,
    /// Late timers and wake-ups without a reason.
    Timers,
    /// A partition source that fails or names partitions twice.
    Source,
    /// Workers that leave in order and come back.
    Leave,
    /// A partition list that changes.
    Partitions,
    /// Users who ask for refreshes and rebalances.
    Requests,
    /// Messages that arrive at the very moment of a limit.
    AtLimit,
    /// Links that stall and then deliver everything.
    Stall,
    /// Nodes cut off one by one and healed in another order.
    RollingNetworkPartition,
    /// Clients that lose their connection.
    Reconnect,
    /// Requests carried out minutes later.
    VeryLate,
    /// Processes that are slow in everything.
    Slow,
    /// Callbacks that never return.
    HungCallback,
    /// Callbacks that fail at once.
    FailedCallback,
    /// Processes that are cut off for longer than a lease and go on.
    Zombie,
    /// Processes from one image.
    Twins,
    /// Workers and records of a later release.
    NewerRelease,
    /// Wall clocks that are off.
    WallSkew,
    /// Machines that are suspended.
    Suspend,
    /// Clocks that go back.
    ClockBack,
    /// Snapshots that break off.
    SnapshotCut,
    /// Writes of one kind of key that do not succeed.
    Deny,
    /// Values that are too large for a while.
    PayloadLimit,
    /// A replica that serves the store without a quorum.
    StuckLeader,
    /// Commits that take long.
    SlowStore,
    /// External writers in the bucket.
    ExternalWrite,
    /// A bucket with rubbish in it at the start.
    Garbage,
    /// Many workers leaving and coming back together.
    Scale,
    /// Rolling updates.
    RollingUpdate,
    /// All processes restarting at once.
    Herd,
    /// Joins and leaves about as often as a window is long.
    Churn,
    /// A worker that is alive and silent in turn, each about a lease.
    Flapping,
    /// More processes than IDs.
    Crowd,
    /// Weights that differ and change.
    Weights,
    /// Capacities down to zero.
    Capacity,
    /// A long time in which nothing happens.
    Calm,
    /// Clocks that show centuries.
    OldClocks,
    /// Another strategy than the simulator's own.
    Strategy,
    /// A strategy that fails or makes wrong plans.
    FaultyStrategy,
    /// A store that takes only small commits.
    SmallBatch,
    /// A store that takes only small values, and partitions with long names.
    SmallValue,
    /// Buckets that are deleted, created again, wiped or rolled back.
    History,
    /// Processes that are killed and started again at once.
    Restart,
    /// Plans that take longer than an interval of renewals.
    SlowPlans,
    /// Workers that go on renewing and hear nothing, some of them for ever.
    NoAnswers,
    /// Processes that run only now and then, some of them for ever.
    Throttled,
    /// Workers of both modes and with two leases in one group, as in a rolling change.
    MixedSettings,
    /// Two releases in one group, and nodes that are updated and downgraded.
    Releases,
    /// Workers that may own only some of the partitions, or are preferred for some.
    Pools,
    /// Handlers that cannot begin with a partition, on one node or on all, some of them for ever.
    BrokenHandler,
    /// A partition source that is down while leaders are replaced.
    SourceDown,
    /// Leaders that are replaced faster than the window of a cold start is long.
    Takeovers,
    /// Workers that ask each other whether they run.
    Probing,
    /// The same with answers that are lost, late, wrong, or wrong for one of two.
    Probes,
    /// Orders of operators: workers drained and cordoned, groups frozen, for a while.
    Orders,
}

impl FaultClass {
    /// Every class, in the order of their numbers.
    pub const ALL: [Self; 72] = [
        Self::Delay,
        Self::DropRequest,
        Self::DropReply,
        Self::Duplicate,
        Self::Refuse,
        Self::StaleRead,
        Self::WatchDelay,
        Self::WatchLost,
        Self::WatchStall,
        Self::WatchDuplicate,
        Self::WatchSkip,
        Self::Crash,
        Self::Pause,
        Self::SlowCallback,
        Self::Drift,
        Self::Outage,
        Self::NetworkPartition,
        Self::ClockJump,
        Self::Timers,
        Self::Source,
        Self::Leave,
        Self::Partitions,
        Self::Requests,
        Self::AtLimit,
        Self::Stall,
        Self::RollingNetworkPartition,
        Self::Reconnect,
        Self::VeryLate,
        Self::Slow,
        Self::HungCallback,
        Self::FailedCallback,
        Self::Zombie,
        Self::Twins,
        Self::NewerRelease,
        Self::WallSkew,
        Self::Suspend,
        Self::ClockBack,
        Self::SnapshotCut,
        Self::Deny,
        Self::PayloadLimit,
        Self::StuckLeader,
        Self::SlowStore,
        Self::ExternalWrite,
        Self::Garbage,
        Self::Scale,
        Self::RollingUpdate,
        Self::Herd,
        Self::Churn,
        Self::Flapping,
        Self::Crowd,
        Self::Weights,
        Self::Capacity,
        Self::Calm,
        Self::OldClocks,
        Self::Strategy,
        Self::FaultyStrategy,
        Self::SmallBatch,
        Self::History,
        Self::Restart,
        Self::SlowPlans,
        Self::NoAnswers,
        Self::Throttled,
        Self::MixedSettings,
        Self::Releases,
        Self::Pools,
        Self::BrokenHandler,
        Self::SourceDown,
        Self::Takeovers,
        Self::SmallValue,
        Self::Probing,
        Self::Probes,
        Self::Orders,
    ];

    /// Whether it is ordinary use rather than a fault.
    pub(super) const fn is_workload(self) -> bool {
        matches!(
            self,
            Self::Leave
                | Self::Partitions
                | Self::Requests
                | Self::Scale
                | Self::Churn
                | Self::Weights
                | Self::Capacity
                | Self::Calm
                | Self::OldClocks
                | Self::WallSkew
                | Self::Strategy
                | Self::SmallBatch
                | Self::SmallValue
                | Self::SlowPlans
                | Self::Releases
                | Self::Pools
                | Self::Takeovers
                | Self::Probing
                | Self::Orders
        )
    }
}
