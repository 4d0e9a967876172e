//! What a store is opened with: addresses, options, and why an opening fails.
//!
//! What always holds: a setting that cannot work is refused with what would be right.

pub(crate) mod address;
pub(crate) mod error;
pub(crate) mod options;
