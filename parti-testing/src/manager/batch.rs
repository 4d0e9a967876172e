//! Many seeds on several threads, one result.
//!
//! What always holds: the result depends on the seeds alone, not on the number of threads.

use core::fmt;
use core::ops::Range;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::judge::{Situation, Violation};
use super::plan::Plan;
use super::run::{Outcome, Run};
use super::shrink::shrink;
use super::world::run;

/// From this many runs on a batch must have met every situation.
const ENOUGH_RUNS: u64 = 200;

/// How many lines of a trace are kept.
const TRACE_LINES: usize = 40;

/// Which seeds to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The seeds.
    pub seeds: Range<u64>,
    /// How many threads.
    pub jobs: usize,
    /// After how many failures it ends early.
    pub max_failures: usize,
}

/// A run in which something did not hold.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What did not hold, first of all.
    pub violation: Violation,
    /// The smallest plan found that shows the same.
    pub plan: Plan,
    /// The last that happened with it.
    pub trace: Vec<String>,
    /// False when the seed ran differently the second time: the handler depends on something that no seed
    /// determines.
    pub deterministic: bool,
}

/// The result of a batch. Serialises to one JSON object.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// How many runs there were.
    pub runs: u64,
    /// How much virtual time passed in all of them, in seconds.
    pub simulated_seconds: f64,
    /// How much real time the threads took together, in seconds.
    pub thread_seconds: f64,
    /// The longest time until everything was owned after the faults, in milliseconds.
    pub slowest_recovery_ms: u64,
    /// How often each situation was met.
    pub situations: BTreeMap<Situation, u64>,
    /// The same for two batches of the same seeds.
    pub digest: u64,
    /// Runs in which something did not hold.
    pub failures: Vec<Failure>,
    /// The command that runs the same test again.
    pub command: Option<String>,
}

impl Report {
    /// Situations that a batch of this size must have met and has not.
    #[must_use]
    pub fn missing(&self) -> Vec<Situation> {
        if self.runs < ENOUGH_RUNS {
            return Vec::new();
        }
        let all = Situation::ALL.into_iter();
        all.filter(|situation| !self.situations.contains_key(situation))
            .collect()
    }

    /// # Panics
    /// When something did not hold, with what, the seed and the smallest plan.
    pub fn assert_holds(&self) {
        assert!(self.failures.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (runs, failures) = (self.runs, self.failures.len());
        writeln!(f, "{runs} runs of managers, {failures} with violations")?;
        for failure in &self.failures {
            let Failure {
                seed,
                violation,
                plan,
                ..
            } = failure;
            writeln!(f, "seed {seed}: {violation}")?;
            if !failure.deterministic {
                f.write_str("  the second run of this seed was different: the handler uses a ")?;
                writeln!(f, "clock, randomness or an order that no seed determines")?;
            }
            writeln!(f, "  {} nodes, {} partitions", plan.nodes, plan.partitions)?;
            for timed in &plan.actions {
                let seconds = Duration::from_millis(timed.at_ms).as_secs_f64();
                writeln!(f, "  at {seconds:>7.3} s {:?}", timed.action)?;
            }
            if plan.handlers != super::plan::HandlerFaults::default() {
                writeln!(f, "  {:?}", plan.handlers)?;
            }
            for line in &failure.trace {
                writeln!(f, "  {line}")?;
            }
            if let Some(command) = &self.command {
                writeln!(f, "again: PARTI_SIM_SEED={seed} {command}")?;
            }
        }
        Ok(())
    }
}

impl Batch {
    /// Runs the seeds; `progress` hears how many are done.
    #[must_use]
    pub fn run(&self, of: &Run, progress: &(dyn Fn(u64) + Sync)) -> Report {
        let next = AtomicU64::new(self.seeds.start);
        let report = Mutex::new(Report::default());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.seeds.end {
                            break;
                        }
                        let (plan, begun) = (of.plan(seed), Instant::now());
                        let outcome = run(of, &plan);
                        let took = begun.elapsed();
                        let Ok(mut report) = report.lock() else { break };
                        report.add(seed, plan, outcome, took);
                        progress(report.runs);
                        if report.failures.len() >= self.max_failures {
                            break;
                        }
                    }
                });
            }
        });
        let mut report = report.into_inner().unwrap_or_default();
        report.failures.sort_by_key(|failure| failure.seed);
        report.failures.truncate(self.max_failures);
        for failure in &mut report.failures {
            failure.explain(of);
        }
        report
    }
}

impl Failure {
    /// Finds the smallest plan, and what happens with it.
    fn explain(&mut self, of: &Run) {
        let (one, other) = (run(of, &self.plan), run(of, &self.plan));
        self.deterministic = one.digest == other.digest;
        if let Some(plan) = shrink(of, &self.plan) {
            self.plan = plan;
        }
        let traced = Run {
            traced: true,
            ..of.clone()
        };
        self.trace = run(&traced, &self.plan).trace;
        let first = self
            .trace
            .iter()
            .position(|line| line.contains("VIOLATION"));
        self.trace
            .truncate(first.map_or(self.trace.len(), |first| first + 1));
        let kept = self.trace.len().saturating_sub(TRACE_LINES);
        self.trace.drain(..kept);
    }
}

impl Report {
    fn add(&mut self, seed: u64, plan: Plan, outcome: Outcome, took: Duration) {
        self.runs += 1;
        self.simulated_seconds += outcome.simulated.as_secs_f64();
        self.thread_seconds += took.as_secs_f64();
        let recovery = outcome.recovered_after.unwrap_or_default().as_millis() as u64;
        self.slowest_recovery_ms = self.slowest_recovery_ms.max(recovery);
        for (situation, count) in outcome.met {
            *self.situations.entry(situation).or_default() += count;
        }
        // The order in which threads end does not count.
        self.digest ^= outcome.digest.rotate_left((seed % 64) as u32);
        if let Some(violation) = outcome.violations.into_iter().next() {
            self.failures.push(Failure {
                seed,
                violation,
                plan,
                trace: Vec::new(),
                deterministic: true,
            });
        }
    }
}
