//! Where a group's records are kept: in this process, in a file of this machine, on a NATS server, or in a
//! backend of one's own.
//!
//! What always holds: all of them keep the promises of the port.

pub(crate) mod local_store;
#[cfg(feature = "nats")]
pub(crate) mod nats;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
pub mod store;
