//! Properties of partitions: one valid owner, rising tokens, callbacks in order, nothing left unowned.

pub(in crate::simulator) mod callbacks;
pub(in crate::simulator) mod complete;
pub(in crate::simulator) mod drain;
pub(in crate::simulator) mod exclusion;
pub(in crate::simulator) mod fence;
pub(in crate::simulator) mod movement;
pub(in crate::simulator) mod parked;
pub(in crate::simulator) mod preparing;
pub(in crate::simulator) mod processing;
pub(in crate::simulator) mod rejections;
pub(in crate::simulator) mod settled;
pub(in crate::simulator) mod tokens;
