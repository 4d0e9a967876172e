//! A test of the user's own handler: the handler that production runs, under seeded faults.

use core::ops::Range;

use parti::Config;

use super::batch::{Batch, Report};
use super::process::{Process, SharedHandler};
use super::world::Run;

/// Runs groups of managers with a handler under test.
///
/// ```
/// # use std::sync::Arc;
/// # use parti::{Guard, HandlerError, PartitionHandler, PartitionKey, RevokeCause, async_trait};
/// use parti_testing::manager::{Process, Scenario};
///
/// struct Work(Process);
/// # #[async_trait]
/// # impl PartitionHandler for Work {
/// #     async fn on_assigned(&self, _: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
/// if guard.token().get() == 0 {
///     self.0.violate("a token is never zero");
/// }
/// #         Ok(())
/// #     }
/// #     async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
/// # }
/// Scenario::new(|process| Arc::new(Work(process))).seeds(0..2).run().assert_holds();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a scenario does nothing until `run`"]
pub struct Scenario {
    run: Run,
    batch: Batch,
}

impl Scenario {
    /// With the handler that this makes for each process. What handlers share, such as the resource they
    /// write to, is made by the closure when [`Process::number`] is 1, or kept by process.
    pub fn new(handler: impl Fn(Process) -> SharedHandler + Send + Sync + 'static) -> Self {
        Self {
            run: Run::new(handler),
            batch: Batch {
                seeds: 0..20,
                jobs: 1,
                max_failures: 1,
            },
        }
    }

    /// Which seeds to run; 0 to 19 if not set.
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.batch.seeds = seeds;
        self
    }

    /// On how many threads; one if not set.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.batch.jobs = jobs;
        self
    }

    /// The configuration of each process. Its group name does not matter; a lease of a second or so keeps
    /// runs short.
    pub fn config(mut self, config: Config) -> Self {
        self.run.config = config;
        self
    }

    /// Plants a bug in the managers. **Not for production.**
    #[cfg(feature = "planted")]
    pub fn planted(mut self, bug: parti::planted::ShellBug) -> Self {
        self.run = self.run.planted(bug);
        self
    }

    /// Runs it. Failing plans are made as small as possible, which takes a while.
    ///
    /// # Panics
    /// Inside a runtime of tokio.
    #[must_use = "it tells what did not hold"]
    pub fn run(self) -> Report {
        self.batch.run(&self.run, &|_| {})
    }
}
