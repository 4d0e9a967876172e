//! What came out of a run: facts passed to the checkers, situations counted, planted bugs hunted.

pub(in crate::simulator) mod judge;
pub(in crate::simulator) mod movement;
#[cfg(feature = "planted")]
pub mod planted;
pub(in crate::simulator) mod situations;
