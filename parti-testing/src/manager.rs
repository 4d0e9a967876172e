//! The second simulator: whole groups of *shipped* managers, drivers, callbacks and guards included, in
//! virtual time over a store that fails, with your own handlers.
//!
//! The first one, [`simulator`](crate::simulator), runs the core with a driver of its own and knows
//! more faults. Here runs what users run: [`parti::Manager`], on one thread with paused time.
//!
//! ```
//! use std::sync::Arc;
//! use parti::{Guard, HandlerError, PartitionHandler, PartitionKey, RevokeCause, async_trait};
//! use parti_testing::manager::Scenario;
//!
//! struct Work;
//! #[async_trait]
//! impl PartitionHandler for Work {
//!     async fn on_assigned(&self, _: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
//!         tokio::spawn(async move { guard.revoking().await });
//!         Ok(())
//!     }
//!     async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
//! }
//!
//! let report = Scenario::new(|_process| Arc::new(Work)).seeds(0..3).run();
//! report.assert_holds();
//! ```
//!
//! # What is judged
//! The properties are listed in [`PROPERTIES`]. A handler adds its own with
//! [`Process::violate`]. A failure names the property, the seed, and the smallest plan that still shows
//! it.
//!
//! What always holds: a plan gives the same run each time, told by [`Outcome::digest`].

mod batch;
mod judge;
mod nemesis;
mod plan;
mod process;
mod resource;
mod run;
mod scenario;
mod shrink;
mod world;

pub use batch::{Batch, Failure, Report};
pub use judge::{PROPERTIES, Property, Situation, Violation};
pub use nemesis::Nemesis;
pub use plan::{Action, HandlerFaults, Plan, TimedAction, Way};
pub use process::{Process, SharedHandler};
pub use resource::{Accepted, Fencing, Resource, Stored, WriteError};
pub use run::{Outcome, Run};
pub use scenario::Scenario;
pub use shrink::shrink;
pub use world::run;

#[cfg(test)]
mod tests;
