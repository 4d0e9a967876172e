//! The tokio shell around the core: it carries out effects, runs callbacks and keeps guards.
//!
//! What always holds: what a user's code does, a panic included, ends as an answer to the core.

pub(crate) mod callbacks;
pub(crate) mod clock;
pub(crate) mod contain;
pub(crate) mod driver;
pub(crate) mod guard;
pub(crate) mod jump;
pub(crate) mod partition_tasks;
pub(crate) mod shared;
pub(crate) mod validity;

/// The atomics of `validity.rs`, which a test exchanges for others.
mod atomic {
    pub(crate) use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
}
