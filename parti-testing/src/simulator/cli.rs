//! Batches of runs for command-line tools and tests: many seeds, several threads, one result.
//!
//! What always holds: the result depends on the seeds alone, not on the number of threads.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parti_core::{ConfigError, Mode};
use serde::Serialize;

use super::{BugReport, Handoff, Outcome, Plan, Sim};

/// From this many runs on, a batch must have seen every situation.
pub const ENOUGH_RUNS: u64 = 1000;
/// Situations that overlap mode does not know: there work goes on past the lease.
const NOT_IN_OVERLAP: &[&str] = &["lease_lost", "lease_lost_in_pause", "paused_past_lease"];
/// Situations that only mode fenced knows.
const ONLY_FENCED: &[&str] = &["evicted_suspected"];

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// How many seeds.
    pub runs: u64,
    /// The first of them.
    pub first_seed: u64,
    /// The mode of the handoff.
    pub mode: Mode,
    /// How many threads.
    pub jobs: usize,
    /// After how many runs with violations the batch ends early.
    pub max_failures: usize,
    /// After how much time no further run begins.
    pub time_limit: Option<Duration>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            runs: 1000,
            first_seed: 0,
            mode: Mode::Exclusive,
            jobs: 1,
            max_failures: 5,
            time_limit: None,
        }
    }
}

/// A run with violations.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// The first property that did not hold.
    pub property: String,
    /// The whole report, for people.
    #[serde(skip)]
    pub report: String,
}

/// The result of a batch. Serialises to one JSON object.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BatchReport {
    /// How many runs there were.
    pub runs: u64,
    /// How many of them had violations.
    pub violations: u64,
    /// How much time passed in all of them.
    pub simulated_hours: f64,
    /// How much processor time they took.
    pub cpu_seconds: f64,
    /// Simulated hours per second of processor time.
    pub hours_per_cpu_second: f64,
    /// The most memory this process ever took, in MiB; zero where the system does not tell.
    pub peak_memory_mib: f64,
    /// How many generations were committed.
    pub generations: u64,
    /// The longest time a group took to settle after the faults, as a share of the allowed time.
    pub slowest_settling: f64,
    /// How often each situation was seen that there is in this mode.
    pub situations: BTreeMap<String, u64>,
    /// The runs with violations, ordered by seed.
    pub failures: Vec<Failure>,
}

impl BatchReport {
    /// Situations that were never seen: what the batch says nothing about.
    #[must_use]
    pub fn never_seen(&self) -> Vec<&str> {
        let unseen = self.situations.iter().filter(|(_, count)| **count == 0);
        unseen.map(|(name, _)| name.as_str()).collect()
    }

    /// Situations that a batch of this size must have seen and has not: its checkers had nothing to
    /// check there. Empty for batches of fewer than [`ENOUGH_RUNS`].
    #[must_use]
    pub fn missing(&self) -> Vec<&str> {
        if self.runs < ENOUGH_RUNS {
            return Vec::new();
        }
        self.never_seen()
    }

    /// The situations that were seen least, and how often, the rarest first.
    #[must_use]
    pub fn rarest(&self, count: usize) -> Vec<(&str, u64)> {
        let seen = self.situations.iter();
        let mut rarest: Vec<_> = seen.map(|(name, count)| (name.as_str(), *count)).collect();
        rarest.sort_by_key(|(_, count)| *count);
        rarest.truncate(count);
        rarest
    }

    /// The report as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    fn add(&mut self, plan: &Plan, outcome: &Outcome) {
        self.runs += 1;
        self.simulated_hours += outcome.stats.simulated.as_secs_f64() / 3600.0;
        self.generations += outcome.stats.generations;
        let here = |name: &str| {
            let mode = plan.settings.mode;
            (mode != Handoff::Overlap || !NOT_IN_OVERLAP.contains(&name))
                && (mode == Handoff::Fenced || !ONLY_FENCED.contains(&name))
        };
        for (name, count) in outcome.situations.iter().filter(|(name, _)| here(name)) {
            *self.situations.entry(name.clone()).or_default() += count;
        }
        let bound = plan
            .nodes
            .first()
            .and_then(|node| plan.settings.config(node).ok());
        if let (Some(config), Some(after)) = (bound, outcome.stats.settled_after) {
            let share = after.as_secs_f64() / config.convergence_bound().as_secs_f64();
            self.slowest_settling = self.slowest_settling.max(share);
        }
        if let Some(violation) = outcome.violations.first() {
            self.violations += 1;
            self.failures.push(Failure {
                seed: plan.seed,
                property: violation.id.to_owned(),
                report: BugReport { plan, outcome }.to_string(),
            });
        }
    }
}

/// Runs a batch. `progress` is told after every run how many are done.
///
/// # Errors
/// [`ConfigError`] when a generated plan is incoherent, which is a bug of the generator.
pub fn run_batch(
    options: &BatchOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<BatchReport, ConfigError> {
    let next = AtomicU64::new(0);
    let report = Mutex::new(BatchReport::default());
    let failed = Mutex::new(None);
    let end = options.time_limit.map(|limit| Instant::now() + limit);
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                let started = CpuTime::now();
                while end.is_none_or(|end| Instant::now() < end)
                    && let Some(done) = run_next(options, &next, &report, &failed)
                {
                    progress(done);
                }
                if let Ok(mut report) = report.lock() {
                    report.cpu_seconds += started.elapsed().as_secs_f64();
                }
            });
        }
    });
    if let Ok(Some(error)) = failed.into_inner() {
        return Err(error);
    }
    let mut report = report.into_inner().unwrap_or_default();
    report.failures.sort_by_key(|failure| failure.seed);
    report.hours_per_cpu_second = report.simulated_hours / report.cpu_seconds.max(1e-9);
    report.peak_memory_mib = peak_memory_mib();
    Ok(report)
}

/// Runs the next seed, if there is one and the batch goes on.
fn run_next(
    options: &BatchOptions,
    next: &AtomicU64,
    report: &Mutex<BatchReport>,
    failed: &Mutex<Option<ConfigError>>,
) -> Option<u64> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    if index >= options.runs {
        return None;
    }
    let plan = Plan::from_seed(options.first_seed + index, options.mode);
    match Sim::run(&plan) {
        Ok(outcome) => {
            let mut report = report.lock().ok()?;
            report.add(&plan, &outcome);
            (report.failures.len() < options.max_failures).then_some(report.runs)
        }
        Err(error) => {
            *failed.lock().ok()? = Some(error);
            None
        }
    }
}

/// Processor time of this thread where the system tells it, else the time on the wall.
enum CpuTime {
    Thread(Duration),
    Wall(Instant),
}

impl CpuTime {
    fn now() -> Self {
        thread_time().map_or_else(|| Self::Wall(Instant::now()), Self::Thread)
    }

    fn elapsed(&self) -> Duration {
        match self {
            Self::Thread(then) => thread_time().unwrap_or_default().saturating_sub(*then),
            Self::Wall(then) => then.elapsed(),
        }
    }
}

/// The most memory this process ever took, in MiB; zero where the system does not tell.
#[must_use]
pub fn peak_memory_mib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

fn thread_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace()
        .next()?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}
