//! Batches of seeds, and one seed with its trace: calls the test kit and shows progress.
//!
//! It is separate from the command line so that each can be read alone. What always holds: standard
//! output carries the result and nothing else; progress goes to standard error.

use std::io::{IsTerminal, Write as _, stderr};
use std::num::NonZero;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use parti_testing::simulator::cli::{BatchOptions, BatchReport, run_batch};
use parti_testing::simulator::{BugReport, Plan, Sim, Tracing};

use super::{Args, Failure, Mode};

/// Runs the simulator in this process.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.planted {
        Some(bug) => hunt(bug, args),
        None if args.trace => trace(args),
        None => batch(args),
    }
}

#[cfg(feature = "planted")]
use super::hunts::hunt;

/// Without the feature there is nothing to hunt.
#[cfg(not(feature = "planted"))]
fn hunt(_: &str, _: &Args) -> Result<(), Failure> {
    let what = "this build has no planted bugs";
    Err(Failure::new(
        what,
        "use `cargo xtask sim --planted`, which builds one",
    ))
}

fn mode(mode: Mode) -> parti_core::Mode {
    match mode {
        Mode::Exclusive => parti_core::Mode::Exclusive,
        Mode::Fenced => parti_core::Mode::Fenced,
        Mode::Overlap => parti_core::Mode::Overlap,
    }
}

/// One seed with every event.
fn trace(args: &Args) -> Result<(), Failure> {
    let plan = Plan::from_seed(args.seed, mode(args.mode));
    let outcome = Sim::run_traced(&plan, Tracing::Full).map_err(|error| incoherent(&error))?;
    let plan = &plan;
    let outcome = &outcome;
    println!("{}", BugReport { plan, outcome });
    match outcome.violations.len() {
        0 => Ok(()),
        count => Err(Failure::new(
            format!("seed {} shows {count} violations", args.seed),
            "read the trace from its end; then write the scenario down as a test",
        )),
    }
}

fn batch(args: &Args) -> Result<(), Failure> {
    let (runs, first_seed) = match &args.soak {
        Some(_) if args.seed == 0 => (u64::MAX, seed_of_the_day()),
        Some(_) => (u64::MAX, args.seed),
        None if args.nightly => (args.runs.saturating_mul(10), args.seed),
        None => (args.runs, args.seed),
    };
    if args.soak.is_some() {
        eprintln!("    seeds from {first_seed} on");
    }
    let time_limit = args.soak.as_ref().map(|soak| soak.time);
    let options = BatchOptions {
        runs,
        first_seed,
        time_limit,
        mode: mode(args.mode),
        jobs: args.jobs.unwrap_or_else(processors).max(1),
        ..BatchOptions::default()
    };
    let progress = Progress::new(runs, time_limit);
    let outcome = run_batch(&options, &|done| progress.show(done));
    progress.end();
    let report = outcome.map_err(|error| incoherent(&error))?;
    for failure in &report.failures {
        eprintln!("{}\n", failure.report);
    }
    if args.json {
        println!("{}", report.to_json());
    } else {
        print_table(&report);
    }
    verdict(&report, args)
}

/// A first seed that another day does not have.
fn seed_of_the_day() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs()) << 20
}

pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn print_table(report: &BatchReport) {
    let (runs, violations) = (report.runs, report.violations);
    let (hours, cpu) = (report.simulated_hours, report.cpu_seconds);
    println!("{runs} runs, {violations} with violations");
    println!(
        "{hours:.1} simulated hours in {cpu:.1} processor seconds, {:.1} in each; {:.0} MiB at most",
        report.hours_per_cpu_second, report.peak_memory_mib
    );
    println!(
        "{} generations; slowest settling {:.0} % of what is allowed",
        report.generations,
        report.slowest_settling * 100.0
    );
    for (situation, count) in &report.situations {
        println!("{count:>12}  {situation}");
    }
}

fn verdict(report: &BatchReport, args: &Args) -> Result<(), Failure> {
    if let Some(first) = report.failures.first() {
        let again = format!(
            "cargo xtask sim --seed {} --mode {} --trace",
            first.seed, args.mode
        );
        let what = format!(
            "{} of {} runs have violations",
            report.violations, report.runs
        );
        return Err(Failure::new(
            format!("{what}, first {}", first.property),
            again,
        ));
    }
    let missing = report.missing();
    if !missing.is_empty() {
        return Err(Failure::new(
            format!("{} runs never saw {}", report.runs, missing.join(", ")),
            "fix the generator in parti-testing/src/simulator/plans/generate.rs, or run more seeds",
        ));
    }
    let rarest = report.rarest(10);
    let rarest: Vec<String> = rarest
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    eprintln!("    rarest: {}", rarest.join(", "));
    for situation in report.never_seen() {
        eprintln!("    never seen: {situation}; these seeds say nothing about it");
    }
    Ok(())
}

pub(super) fn incoherent(error: &dyn std::error::Error) -> Failure {
    let what = format!("a generated plan is incoherent: {error}");
    Failure::new(
        what,
        "fix the generator in parti-testing/src/simulator/plans/generate.rs",
    )
}

/// A line that says how far it is, how fast, and how long it will take.
struct Progress {
    total: u64,
    /// The end is a time rather than a number.
    limit: Option<Duration>,
    start: Instant,
    shown: Mutex<Instant>,
    pause: Duration,
    terminal: bool,
}

impl Progress {
    fn new(total: u64, limit: Option<Duration>) -> Self {
        let (start, terminal) = (Instant::now(), stderr().is_terminal());
        // A log file wants few lines, a person wants to see it move.
        let pause = Duration::from_millis(if terminal { 200 } else { 15_000 });
        let shown = Mutex::new(start);
        Self {
            total,
            limit,
            start,
            shown,
            pause,
            terminal,
        }
    }

    fn show(&self, done: u64) {
        // Another thread is showing already.
        let Ok(mut shown) = self.shown.try_lock() else {
            return;
        };
        if shown.elapsed() < self.pause {
            return;
        }
        *shown = Instant::now();
        let spent = self.start.elapsed();
        let line = match self.limit {
            Some(limit) => soak_line(done, limit, spent),
            None => line(done, self.total, spent),
        };
        // Progress that cannot be shown is no reason to stop.
        let _ = match self.terminal {
            true => write!(stderr(), "\r{line}"),
            false => writeln!(stderr(), "{line}"),
        };
    }

    fn end(&self) {
        if self.terminal {
            eprintln!();
        }
    }
}

fn line(done: u64, total: u64, spent: Duration) -> String {
    let rate = done as f64 / spent.as_secs_f64().max(0.001);
    let left = total.saturating_sub(done) as f64 / rate.max(0.001);
    format!("    {done} of {total} seeds, {rate:.1} a second, {left:.0} s to go   ")
}

fn soak_line(done: u64, limit: Duration, spent: Duration) -> String {
    let rate = done as f64 / spent.as_secs_f64().max(0.001);
    let left = limit.saturating_sub(spent).as_secs();
    format!("    {done} seeds, {rate:.1} a second, {left} s to go   ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An estimate that divides by nothing ends a long run with a panic.
    #[test]
    fn progress_is_sane_at_the_start_and_at_the_end() {
        assert!(line(0, 10, Duration::ZERO).contains("0 of 10"));
        let end = line(10, 10, Duration::from_secs(5));
        assert!(end.contains("2.0 a second, 0 s to go"), "{end}");
        let half = line(5, 10, Duration::from_secs(5));
        assert!(half.contains("1.0 a second, 5 s to go"), "{half}");
    }
}
