//! The tokio shell around the core: it carries out effects, and runs callbacks.
//!
//! What always holds: what a user's code does, a panic included, ends as an answer to the core.

pub(crate) mod callbacks;
pub(crate) mod driver;
pub(crate) mod partition_tasks;
pub(crate) mod planted;
pub(crate) mod shared;
