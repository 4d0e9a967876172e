//! Where a group's records are kept: in this process, on a NATS server, or in a backend of one's own.
//!
//! What always holds: all of them keep the promises of the port.

pub(crate) mod local_store;
#[cfg(feature = "nats")]
pub(crate) mod nats;
pub mod store;
