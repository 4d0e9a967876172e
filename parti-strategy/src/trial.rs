//! Planning without acting: from plain data, for a change that is only thought of, for a measurement.
//!
//! What always holds: nothing here is used by a running leader.

pub(crate) mod situation;
pub(crate) mod what_if;
pub mod workload;
