//! What stands on the wire: subjects and keys, times, values, versions, and what an outcome leaves behind.
//!
//! What always holds: these are plain functions of what was sent and received.

pub(crate) mod key;
pub(crate) mod message;
pub(crate) mod outcome;
pub(crate) mod random;
pub(crate) mod timestamp;
pub(crate) mod version;
