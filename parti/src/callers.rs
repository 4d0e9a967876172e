//! For async callers of services: policies of retry, and the way to the owner of a partition.
//!
//! What always holds: nothing of the coordination waits for any of it.

pub mod resilience;
#[cfg(feature = "nats")]
pub mod router;
