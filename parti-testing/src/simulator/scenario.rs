//! A scenario: your handler, what it writes to, and what goes wrong, run for one seed or many.
//!
//! It is separate from the simulator because it is the stable surface: the builder, the presets, the
//! names of the properties. What always holds: a failure ends with a command that shows it again.

use core::fmt;
use core::ops::Range;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use parti_core::callbacks::Limits;
use parti_core::{AssignmentStrategy, ConfigError, Mode};

use super::app::{App, FencedResource, Setup};
use super::{Outcome, app};
use crate::simulator::checks::Process;
use crate::simulator::group::world::{Extras, World};
use crate::simulator::judging::judge::{Tracing, Violation};
use crate::simulator::plans::nemesis::{Group, Nemesis};
use crate::simulator::plans::plan::{Handoff, Plan};
use crate::simulator::plans::shrink::shrink_with;

mod report;

pub use report::ScenarioReport;

type Factory = Arc<dyn Fn(Process) -> Rc<dyn App> + Send + Sync>;
type Finally = Arc<dyn Fn(&[FencedResource]) -> Result<(), String> + Send + Sync>;

/// A test of your own handler under simulated faults.
///
/// # What a seed determines
/// Within one version of this crate and of your code: everything. The plan, that is the group, its
/// settings, and what goes wrong when; the fate and delay of every message; what [`Cx::random`](app::Cx)
/// gives. It is the same on every machine, with any number of threads, in every build profile.
///
/// It does not survive a change of the generator, of the core or of your code: store the [`Plan`] of a
/// failure ([`ScenarioReport::plan`], it serialises) and run it with [`Nemesis::plan`] to keep it. And it
/// cannot determine what your handler takes from elsewhere: clocks, randomness, hash maps, threads, files.
///
/// # What is stable
/// The builder, the presets of [`Nemesis`], the identifiers of the properties and the environment
/// variables. The text of traces and reports is for people and changes without notice.
#[derive(Clone)]
pub struct Scenario {
    name: String,
    factory: Factory,
    nemesis: Nemesis,
    mode: Mode,
    workers: Option<u32>,
    partitions: Option<u32>,
    faults_last: Option<Duration>,
    resources: Vec<FencedResource>,
    progress: bool,
    finally: Option<Finally>,
    strategy: Option<Arc<dyn AssignmentStrategy>>,
    limits: Limits,
    command: Option<String>,
}

/// Collects what a [`Scenario`] is.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct ScenarioBuilder(Scenario);

impl ScenarioBuilder {
    /// What goes wrong; the default is [`Nemesis::swarm`].
    pub fn nemesis(mut self, nemesis: Nemesis) -> Self {
        self.0.nemesis = nemesis;
        self
    }

    /// What happens between two owners; the default is [`Mode::Exclusive`].
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.0.mode = mode;
        self
    }

    /// How many workers there are, at least one; drawn per seed unless set.
    pub fn workers(mut self, workers: u32) -> Self {
        self.0.workers = Some(workers.max(1));
        self
    }

    /// How many partitions there are at first; drawn per seed unless set.
    pub const fn partitions(mut self, partitions: u32) -> Self {
        self.0.partitions = Some(partitions);
        self
    }

    /// How long things go wrong, in virtual time; drawn per seed unless set, two to five minutes.
    pub const fn faults_last(mut self, duration: Duration) -> Self {
        self.0.faults_last = Some(duration);
        self
    }

    /// Something that handlers write to under this name.
    pub fn resource(mut self, resource: FencedResource) -> Self {
        self.0.resources.push(resource);
        self
    }

    /// Demands that after the faults every partition is written to by its owner (`OWN-LIVE`).
    pub const fn expect_progress(mut self) -> Self {
        self.0.progress = true;
        self
    }

    /// Looks at the resources at the end of a run without violations; an error is one (`OWN-CLAIM`).
    pub fn finally(
        mut self,
        check: impl Fn(&[FencedResource]) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.0.finally = Some(Arc::new(check));
        self
    }

    /// How partitions are split, instead of what the plan says.
    pub fn strategy(mut self, strategy: impl AssignmentStrategy) -> Self {
        self.0.strategy = Some(Arc::new(strategy));
        self
    }

    /// How many `on_assigned`, and how many `on_revoked`, run at once in a process; the default is that of
    /// `parti::ManagerBuilder::concurrency`.
    pub const fn concurrency(mut self, concurrency: usize) -> Self {
        self.0.limits.concurrency = concurrency;
        self
    }

    /// How long one call of `on_assigned` may take before it is dropped and counts as failed; the default
    /// is that of `parti::ManagerBuilder::assign_timeout`.
    pub const fn assign_timeout(mut self, limit: Option<Duration>) -> Self {
        self.0.limits.assign = limit;
        self
    }

    /// How often in a row `on_assigned` may fail before the partition is given to another worker; the
    /// default is that of `parti::ManagerBuilder::assign_attempts`.
    pub const fn assign_attempts(mut self, attempts: u32) -> Self {
        self.0.limits.attempts = attempts;
        self
    }

    /// The command that reports name after `PARTI_SIM_SEED=...`. The default is `cargo test` with the
    /// package and the test that is running.
    pub fn command(mut self, command: &str) -> Self {
        self.0.command = Some(command.to_owned());
        self
    }

    /// The scenario.
    #[must_use]
    pub fn build(self) -> Scenario {
        self.0
    }
}

impl Scenario {
    /// Begins a scenario of this name for handlers that are made again for each process.
    pub fn builder<A: App>(
        name: &str,
        make: impl Fn(Process) -> A + Send + Sync + 'static,
    ) -> ScenarioBuilder {
        ScenarioBuilder(Self {
            name: name.to_owned(),
            factory: Arc::new(move |process| Rc::new(make(process))),
            nemesis: Nemesis::default(),
            mode: Mode::Exclusive,
            workers: None,
            partitions: None,
            faults_last: None,
            resources: Vec::new(),
            progress: false,
            finally: None,
            strategy: None,
            limits: Limits::new(Duration::ZERO),
            command: None,
        })
    }

    /// The plan of a seed.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Plan {
        let group = Group {
            workers: self.workers,
            partitions: self.partitions,
            faults_last: self.faults_last,
        };
        self.nemesis.make(seed, self.mode, group)
    }

    /// Runs one seed. A run with violations is repeated with the last lines of its trace.
    ///
    /// # Errors
    /// [`ConfigError`] when a given plan is incoherent; nothing was run then.
    pub fn run(&self, seed: u64) -> Result<ScenarioReport, ConfigError> {
        self.run_plan(&self.plan(seed))
    }

    /// Runs a plan.
    ///
    /// # Errors
    /// As [`Scenario::run`].
    pub fn run_plan(&self, plan: &Plan) -> Result<ScenarioReport, ConfigError> {
        let report = self.run_traced(plan, Tracing::Off)?;
        if report.outcome.violations.is_empty() {
            return Ok(report);
        }
        let again = self.run_traced(plan, Tracing::Last)?;
        let deterministic = again.outcome.digest == report.outcome.digest;
        Ok(ScenarioReport {
            deterministic,
            ..again
        })
    }

    /// Runs a plan and keeps as much of the trace as asked for.
    ///
    /// # Errors
    /// As [`Scenario::run`].
    pub fn run_traced(&self, plan: &Plan, tracing: Tracing) -> Result<ScenarioReport, ConfigError> {
        let factory = &*self.factory;
        let setup = Setup {
            factory,
            resources: &self.resources,
            progress: self.progress,
            seed: plan.seed,
            mode: plan.settings.mode.into(),
            traced: tracing != Tracing::Off,
            limits: self.limits,
        };
        let extras = Extras {
            adjust: None,
            strategy: self.strategy.clone(),
            setup: Some(setup),
        };
        let mut world = World::new(plan, tracing, extras)?;
        world.run();
        let mut outcome = world.outcome();
        let at = world.now;
        let resources = world
            .apps
            .take()
            .map(|apps| apps.resources)
            .unwrap_or_default();
        let finally = self
            .finally
            .as_ref()
            .filter(|_| outcome.violations.is_empty());
        if let Some(Err(reason)) = finally.map(|check| check(&resources)) {
            let id = app::CLAIM;
            outcome.violations.push(Violation { id, at, reason });
        }
        Ok(ScenarioReport {
            scenario: self.name.clone(),
            command: self.command(plan),
            plan: plan.clone(),
            outcome,
            resources,
            deterministic: true,
        })
    }

    /// The first of these seeds whose run has a violation: how a test shows that a defect is found.
    ///
    /// # Errors
    /// As [`Scenario::run`].
    pub fn hunt(&self, seeds: Range<u64>) -> Result<Option<ScenarioReport>, ConfigError> {
        for seed in seeds {
            let report = self.run(seed)?;
            if !report.outcome.violations.is_empty() {
                return Ok(Some(report));
            }
        }
        Ok(None)
    }

    /// A smaller plan that violates the same property, or `None` if the plan violates nothing.
    ///
    /// # Errors
    /// As [`Scenario::run`].
    pub fn shrink(&self, plan: &Plan) -> Result<Option<Plan>, ConfigError> {
        let run = |plan: &Plan| -> Result<Outcome, ConfigError> {
            Ok(self.run_traced(plan, Tracing::Off)?.outcome)
        };
        shrink_with(plan, &run)
    }

    /// Runs seeds `0..runs` and panics with a bug report at the first violation.
    ///
    /// The environment changes what is run: `PARTI_SIM_SEED=869` runs that seed alone, prints its whole
    /// trace if it fails and shrinks its plan; `PARTI_SIM_RUNS=5000` runs so many; with
    /// `PARTI_SIM_FIRST=...` they begin elsewhere.
    ///
    /// # Panics
    /// When a property does not hold, and when the plan or the environment makes no sense.
    #[track_caller]
    pub fn check(&self, runs: u64) {
        if let Some(seed) = number("PARTI_SIM_SEED") {
            self.check_seed(seed);
            return;
        }
        let first = number("PARTI_SIM_FIRST").unwrap_or(0);
        let runs = number("PARTI_SIM_RUNS").unwrap_or(runs);
        match self.hunt(first..first.saturating_add(runs)) {
            Ok(None) => {}
            Ok(Some(report)) => panic!("{report}"),
            Err(error) => panic!("the plan of {} is incoherent: {error}", self.name),
        }
    }

    #[track_caller]
    fn check_seed(&self, seed: u64) {
        let plan = self.plan(seed);
        let found = self.run_traced(&plan, Tracing::Full).and_then(|report| {
            let failed = !report.outcome.violations.is_empty();
            let smaller = if failed { self.shrink(&plan)? } else { None };
            Ok(failed.then_some((report, smaller)))
        });
        match found {
            Ok(None) => {}
            Ok(Some((report, smaller))) => {
                let smaller = smaller.and_then(|plan| serde_json::to_string(&plan).ok());
                panic!("{report}\nsmallest plan: {}", smaller.unwrap_or_default());
            }
            Err(error) => panic!("the plan of {} is incoherent: {error}", self.name),
        }
    }

    fn command(&self, plan: &Plan) -> String {
        let command = self.command.clone().unwrap_or_else(test_command);
        format!("PARTI_SIM_SEED={} {command}", plan.seed)
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("nemesis", &self.nemesis)
            .field("mode", &Handoff::from(self.mode).as_str())
            .field("workers", &self.workers)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
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

#[cfg(test)]
mod tests;
