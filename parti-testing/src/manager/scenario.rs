//! A test of the user's own handler: the handler that production runs, under seeded faults.

use core::ops::Range;
use core::time::Duration;
use std::sync::Arc;

use parti::sources::PartitionSource;
use parti::{Config, ManagerBuilder};

use super::batch::{Batch, Report};
use super::nemesis::Nemesis;
use super::plan::Plan;
use super::process::{Process, SharedHandler};
use super::resource::{Fencing, Resource};
use super::run::{Outcome, Run};
use super::world::run;

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
/// Scenario::new(|process| Arc::new(Work(process))).check(2);
/// ```
///
/// # What a seed determines
/// Within one version of this crate and of your code: everything. It is the same on every machine, with any
/// number of threads, in every build profile. It does not survive a change of the generator, of the
/// library or of your code: store the [`Plan`] of a failure, it serialises, and run it with
/// [`Nemesis::plan`] to keep it. And it cannot determine what your handler takes from elsewhere: clocks of
/// the machine, randomness, hash maps, threads, files. A failing seed is run twice, and the report says so
/// when the two runs differ.
#[derive(Clone, Debug)]
#[must_use = "a scenario does nothing until `run` or `check`"]
pub struct Scenario {
    run: Run,
    batch: Batch,
}

impl Scenario {
    /// With the handler that this makes for each process.
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

    /// Which seeds [`Scenario::run`] runs; 0 to 19 if not set.
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.batch.seeds = seeds;
        self
    }

    /// On how many threads; one if not set.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.batch.jobs = jobs;
        self
    }

    /// What goes wrong; the default is [`Nemesis::swarm`].
    pub fn nemesis(mut self, nemesis: Nemesis) -> Self {
        self.run.nemesis = nemesis;
        self
    }

    /// On how many nodes a process runs, at least one; drawn per seed unless set, 3 to 5.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.run.size.nodes = Some(nodes.max(1));
        self
    }

    /// How many partitions there are; drawn per seed unless set.
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.run.size.partitions = Some(partitions);
        self
    }

    /// Your own partitions, instead of numbered ones. Everything it lists at the end of the faults must be
    /// processed again.
    pub fn source(mut self, source: impl PartitionSource) -> Self {
        self.run.source = Some(Arc::new(source));
        self
    }

    /// How long things go wrong, in virtual time; a minute if not set.
    pub fn faults_last(mut self, duration: Duration) -> Self {
        self.run.size.faults_last = Some(duration);
        self
    }

    /// The configuration of each process. Its group name does not matter; a lease of a second or so keeps
    /// runs short.
    pub fn config(mut self, config: Config) -> Self {
        self.run.config = config;
        self
    }

    /// Has the last word on each process: hooks, limits of callbacks, strategy, labels.
    pub fn adjust(
        mut self,
        adjust: impl Fn(ManagerBuilder, &Process) -> ManagerBuilder + Send + Sync + 'static,
    ) -> Self {
        self.run.adjust = Some(Arc::new(adjust));
        self
    }

    /// Something that handlers write to under this name, with [`Process::write`].
    pub fn resource(mut self, name: &str, fencing: Fencing) -> Self {
        self.run.resources.push(Resource::new(name, fencing));
        self
    }

    /// Demands that after the faults every partition is written to.
    pub fn expect_progress(mut self) -> Self {
        self.run.progress = true;
        self
    }

    /// Looks at the resources at the end of a run without violations; an error is one.
    pub fn finally(
        mut self,
        check: impl Fn(&[Resource]) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.run.finally = Some(Arc::new(check));
        self
    }

    /// Plants a bug in the managers. **Not for production.**
    #[cfg(feature = "planted")]
    pub fn planted(mut self, bug: parti::planted::ShellBug) -> Self {
        self.run = self.run.planted(bug);
        self
    }

    /// The plan of a seed.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Plan {
        self.run.plan(seed)
    }

    /// Runs the seeds. Failing plans are made as small as possible, which takes a while.
    ///
    /// # Panics
    /// Inside a runtime of tokio.
    #[must_use = "it tells what did not hold"]
    pub fn run(&self) -> Report {
        let mut report = self.batch.run(&self.run, &|_| {});
        report.command = Some(test_command());
        report
    }

    /// Runs one seed: what it met, and what the resources hold at the end.
    ///
    /// # Panics
    /// As [`Scenario::run`].
    #[must_use = "it tells what did not hold"]
    pub fn run_seed(&self, seed: u64) -> Outcome {
        run(&self.run, &self.plan(seed))
    }

    /// Runs seeds `0..runs` and panics with a bug report at the first violation.
    ///
    /// The environment changes what is run: `PARTI_SIM_SEED=869` runs that seed alone and tells its smallest
    /// plan as JSON too; `PARTI_SIM_RUNS=5000` runs so many; with `PARTI_SIM_FIRST=...` they begin elsewhere.
    ///
    /// # Panics
    /// When a property does not hold, when the environment makes no sense, and inside a runtime of tokio.
    #[track_caller]
    pub fn check(&self, runs: u64) {
        let seed = number("PARTI_SIM_SEED");
        let first = seed.or_else(|| number("PARTI_SIM_FIRST")).unwrap_or(0);
        let runs = number("PARTI_SIM_RUNS").unwrap_or(runs);
        let runs = if seed.is_some() { 1 } else { runs };
        let report = self.clone().seeds(first..first.saturating_add(runs)).run();
        let plan = report.failures.first().filter(|_| seed.is_some());
        let plan = plan.and_then(|failure| serde_json::to_string(&failure.plan).ok());
        if let Some(plan) = plan {
            panic!("{report}smallest plan as JSON: {plan}");
        }
        report.assert_holds();
    }
}

/// A number from the environment. What is not a number is a mistake that must not pass unseen.
#[track_caller]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    match text.trim().parse() {
        Ok(number) => Some(number),
        Err(error) => panic!("{name}={text:?} is not a number: {error}"),
    }
}

/// The command that runs the present test. Cargo tells the package, the harness names the thread.
fn test_command() -> String {
    let package = std::env::var("CARGO_PKG_NAME").map(|name| format!(" -p {name}"));
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main");
    let test = test.map(|name| format!(" {name}"));
    format!(
        "cargo test{}{}",
        package.unwrap_or_default(),
        test.unwrap_or_default()
    )
}
