//! The store of a run and the messages on the way to it and back.

pub(in crate::simulator) mod network;
pub(in crate::simulator) mod simulated_store;
pub(in crate::simulator) mod split;
pub(in crate::simulator) mod store;
