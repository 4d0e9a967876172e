//! Opening a store: addresses, options, the connection, the bucket, and whether the server is good enough.
//!
//! What always holds: what a store is opened with is checked here, and refused with what would be right.

pub(crate) mod address;
pub(crate) mod bucket;
pub(crate) mod connect;
pub(crate) mod error;
pub(crate) mod options;
pub(crate) mod twin;
pub(crate) mod version;
