//! The vocabulary: names, numbers, time, partitions and states.
//!
//! What always holds: nothing here knows of records, settings or the machine.

pub(crate) mod endpoint;
pub(crate) mod id;
pub(crate) mod partition;
pub(crate) mod preparation;
pub(crate) mod rng;
pub(crate) mod state;
pub(crate) mod table;
pub(crate) mod time;
