//! What a run does, as data: made from a seed, made smaller, stored as JSON.
//!
//! What always holds: every random choice is keyed by the seed and what it is for.

pub(crate) mod dice;
pub(in crate::simulator) mod generate;
pub(in crate::simulator) mod plan;
pub(in crate::simulator) mod shrink;
