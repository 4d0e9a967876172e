//! Seeing a group: health, log, metrics, hooks and subscriptions.
//!
//! What always holds: who observes decides nothing.

pub(crate) mod catalogue;
pub mod directory;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod instrument;
pub(crate) mod log;
pub(crate) mod meter;
pub mod metrics;
pub(crate) mod observer;
#[cfg(feature = "probes")]
pub(crate) mod probes;
#[cfg(feature = "prometheus")]
pub mod prometheus;
pub(crate) mod subscription;
