//! Rebalancing, scripted: when it happens, what it moves, and what it leaves alone.

pub(super) mod cancelled;
pub(super) mod emergencies;
pub(super) mod limits;
pub(super) mod orders;
pub(super) mod parked;
pub(super) mod preparing;
pub(super) mod rejections;
pub(super) mod slow_plans;
pub(super) mod split;
pub(super) mod stuck;
pub(super) mod transfers;
pub(super) mod windows;
