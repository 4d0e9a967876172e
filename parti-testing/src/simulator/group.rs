//! The processes of a run: cores with their drivers and clocks, the agenda, and what the plan does to them.

pub(in crate::simulator) mod clock;
pub(in crate::simulator) mod drive;
pub(in crate::simulator) mod heal;
pub(in crate::simulator) mod node;
pub(crate) mod panics;
mod probes;
pub(in crate::simulator) mod queue;
pub(in crate::simulator) mod strategy;
pub(in crate::simulator) mod world;
