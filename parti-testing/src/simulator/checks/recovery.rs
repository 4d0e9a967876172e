//! Properties of a group that recovers: what was asked is answered, what was lost is noticed, and it
//! comes to rest.

pub(in crate::simulator) mod alarm;
pub(in crate::simulator) mod honesty;
pub(in crate::simulator) mod livelock;
pub(in crate::simulator) mod liveness;
pub(in crate::simulator) mod loss;
pub(in crate::simulator) mod no_spin;
pub(in crate::simulator) mod orders;
pub(in crate::simulator) mod panics;
pub(in crate::simulator) mod resolved;
