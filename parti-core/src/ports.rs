//! What a user implements: a store, a source of partitions, a strategy.
//!
//! What always holds: these are interfaces and the data that crosses them, without any decision.

pub mod kv;
pub(crate) mod liveness;
pub(crate) mod source;
pub(crate) mod store;
pub(crate) mod strategy;
