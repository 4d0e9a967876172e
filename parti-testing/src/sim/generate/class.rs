//! The classes of faults and of workload, each on or off as a whole in a run.
//!
//! They are separate because the list is the fault model: what is not here is not simulated.

/// A kind of trouble, or of use, that is on or off as a whole.
///
/// The fault model and how each part of it is injected (N network, P processes, C clocks, K the
/// store, U use):
///
/// | fault | injected as |
/// |---|---|
/// | N1 delays with a heavy tail | `Delay`; `Hug` aims at the limits: request bound, deadline, one lease |
/// | N2 losses | `DropRequest`, `DropReply` |
/// | N3 requests carried out twice | `Duplicate` |
/// | N4 reordering | follows from independent delays; within a watch only `WatchDuplicate` |
/// | N5 N6 links cut, both ways or one way | `Cut`: requests, replies and watch separately |
/// | N7 a link that stalls, then bursts | `Clog` |
/// | N8 cut one by one, healed in another order | `Swizzle` |
/// | N9 reconnects, one or all at once, buffered requests applied afterwards | `Reconnect` |
/// | P1 P2 crashes: at once, between two effects, in a callback | `Crash` |
/// | P3 stand-still while the world goes on | `Pause` |
/// | P4 slow processes; callbacks slow, hanging, failing | `Slow`; `SlowCallback`, `HungCallback`, `FailedCallback`. Only revocations matter to a core; a callback that panics is one that has ended |
/// | P5 shutdown at any time, also twice | `Leave` |
/// | P6 a process that goes on after it was declared dead | `Zombie` |
/// | P7 processes from one image | `Twins`: same clock, same wished ID, seeds that differ in one bit. Equal seeds are excluded by the contract of [`Boot::seed`](parti_core::Boot::seed) |
/// | P8 other releases in the group | `NewerRelease`: sessions and records of a later format. An older format does not exist yet |
/// | C1 rates at the extremes | `Drift`, and margins of zero in half of the groups |
/// | C2 wall clocks that are off by hours, either way | `WallSkew`; the wall clock is read once per process, so steps and smears are the same as another offset |
/// | C3 suspend: the monotonic clock stands still | `Freeze` (the driver notices on waking, as its duty is), `ClockJump` |
/// | C4 the monotonic clock goes back | `ClockBack`, for a few wake-ups. A step back that stays, or that dates what the store says, is a loss of time like C3, which a driver must report |
/// | C5 clocks of servers | do not apply: no time of a server decides anything |
/// | C6 late timers, wake-ups without a reason | `Timers` |
/// | K1 applied though the answer is lost | `DropReply` |
/// | K2 applied late, up to minutes | `Delay`, `VeryLate`, `Reconnect` |
/// | K3 refused without a reason | `Refuse` |
/// | K4 lagging copies, also in snapshots | `StaleRead` |
/// | K5 watches slow, lost, silent, repeating, broken off in the snapshot | `WatchDelay`, `WatchLost`, `WatchStall`, `WatchDuplicate`, `SnapshotCut` |
/// | K6 only the last value is seen | `WatchSkip` |
/// | K7 K8 expiry | do not apply: nothing is written with a time to live |
/// | K9 no leader, no quorum, no permission, no room | `Outage`; `Deny` for one kind of key, ended in each of three ways; `PayloadLimit` |
/// | K10 a stream leader that cannot commit | `StuckLeader` |
/// | K11 K12 a bucket made anew or restored | actions of plans |
/// | K13 slow storage | `SlowStore` |
/// | K14 damaged, foreign and oversized values, junk keys | `Foreign`, `NewerRelease` |
/// | K15 no fencing header | does not apply here: the port refuses such servers at the start |
/// | U1 scale by one, by half, to zero and back | `Leave`, `Scale` |
/// | U2 rolling updates, one or several at a time | `RollingUpdate` |
/// | U3 thundering herd | half of the groups start within 100 ms; `Herd` |
/// | U4 churn near the length of the window | `Churn` |
/// | U5 flapping around the lease | `Flapping` |
/// | U6 more processes than IDs | `Crowd`; pools of exactly the size in a quarter of the groups |
/// | U7 lists that change, empty, flap, long ones, duplicates, failing sources | `Partitions`, `Source` |
/// | U8 weights: zero, steep, huge; capacities down to zero | `Weights`, `Capacity` |
/// | U9 operators: trigger, refresh, drain, deleted keys | `Requests`, `Leave`, `Foreign`. A session deleted by hand is a known limit and left out |
/// | U11 long calm, long uptime | `Calm`, `OldClocks` |
/// | U12 a bucket that is not empty | `Garbage` |
/// | strategies: every one that ships; failing and wrong ones | `Strategy`, `FaultyStrategy` |
/// | small batches | `SmallBatch` |
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
    Cut,
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
    Hug,
    /// Links that stall and then deliver everything.
    Clog,
    /// Nodes cut off one by one and healed in another order.
    Swizzle,
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
    Freeze,
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
    /// Foreign hands in the bucket.
    Foreign,
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
    /// Buckets that are deleted, created anew, wiped or set back.
    History,
}

impl FaultClass {
    /// Every class, in the order of their numbers.
    pub const ALL: [Self; 58] = [
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
        Self::Cut,
        Self::ClockJump,
        Self::Timers,
        Self::Source,
        Self::Leave,
        Self::Partitions,
        Self::Requests,
        Self::Hug,
        Self::Clog,
        Self::Swizzle,
        Self::Reconnect,
        Self::VeryLate,
        Self::Slow,
        Self::HungCallback,
        Self::FailedCallback,
        Self::Zombie,
        Self::Twins,
        Self::NewerRelease,
        Self::WallSkew,
        Self::Freeze,
        Self::ClockBack,
        Self::SnapshotCut,
        Self::Deny,
        Self::PayloadLimit,
        Self::StuckLeader,
        Self::SlowStore,
        Self::Foreign,
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
        )
    }
}
