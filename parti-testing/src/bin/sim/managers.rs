//! The second simulator, of shipped managers: batches of seeds, and bugs planted in the shell.

use std::sync::Arc;
use std::time::Duration;

use parti::{Guard, HandlerError, PartitionHandler, PartitionKey, RevokeCause, async_trait};
use parti_testing::manager::{Batch, Process, Report, Run};

use super::batch::processors;
use super::{Args, Failure};

/// A handler that writes now and then for each partition, and asks its guard right before.
struct Writer(Process);

#[async_trait]
impl PartitionHandler for Writer {
    async fn on_assigned(&self, _: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        let process = self.0.clone();
        tokio::spawn(async move {
            while guard.is_valid() && !guard.is_revoking() {
                let _ = process.write(LEDGER, &guard, 1).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
}

const LEDGER: &str = "ledger";
/// How long a handler waits between two writes.
const PAUSE: Duration = Duration::from_millis(300);

fn plain() -> Run {
    Run::new(|process| Arc::new(Writer(process))).writing_to(LEDGER)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if args.planted.is_some() {
        return hunt(args);
    }
    let batch = Batch {
        seeds: args.seed
            ..args
                .seed
                .saturating_add(if args.trace { 1 } else { args.runs }),
        jobs: args.jobs.unwrap_or_else(processors),
        max_failures: 3,
    };
    let total = batch.seeds.end - batch.seeds.start;
    let report = batch.run(&plain(), &|done| {
        if done % 50 == 0 {
            eprintln!("    {done} of {total}");
        }
    });
    show(&report, args);
    if let Some(first) = report.failures.first() {
        let plan = serde_json::to_string(&first.plan).unwrap_or_default();
        eprintln!("    the smallest plan as JSON: {plan}");
        return Err(Failure::new(
            format!(
                "{} of {} runs show violations",
                report.failures.len(),
                report.runs
            ),
            format!("cargo xtask sim --manager --seed {} --runs 1", first.seed),
        ));
    }
    let missing = report.missing();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        format!("{} runs never met {missing:?}", report.runs),
        "widen parti-testing/src/manager/plan.rs, or run more seeds",
    ))
}

fn show(report: &Report, args: &Args) {
    if args.json {
        println!("{}", serde_json::to_string(report).unwrap_or_default());
        return;
    }
    print!("{report}");
    println!(
        "{:.0} virtual seconds in {:.1} s of threads, {:.0} in each; slowest recovery {} ms; digest {:016x}",
        report.simulated_seconds,
        report.thread_seconds,
        report.simulated_seconds / report.thread_seconds,
        report.slowest_recovery_ms,
        report.digest,
    );
    for (situation, count) in &report.situations {
        println!("{count:>12}  {situation:?}");
    }
}

/// Every bug of the shell, and whether a seed shows it.
#[cfg(feature = "planted")]
fn hunt(args: &Args) -> Result<(), Failure> {
    use parti::planted::ShellBug;

    let wanted = args.planted.as_deref().unwrap_or("all");
    let bugs = ShellBug::ALL
        .iter()
        .filter(|bug| wanted == "all" || bug.as_str() == wanted);
    let bugs: Vec<ShellBug> = bugs.copied().collect();
    if bugs.is_empty() {
        let words: Vec<&str> = ShellBug::ALL.iter().map(|bug| bug.as_str()).collect();
        return Err(Failure::new(
            format!("there is no bug {wanted:?} in the shell"),
            format!("all, or one of {}", words.join(", ")),
        ));
    }
    let mut unseen = Vec::new();
    for bug in bugs {
        match find(bug, args) {
            Some((seed, property)) => println!("{:<24} seed {seed:<4} {property}", bug.as_str()),
            None => {
                println!("{:<24} NOT FOUND: {}", bug.as_str(), bug.description());
                unseen.push(bug.as_str());
            }
        }
    }
    unseen.retain(|bug| !SURVIVORS.contains(bug));
    if unseen.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        format!(
            "planted bugs that {BUDGET} seeds do not show: {}",
            unseen.join(", ")
        ),
        "widen parti-testing/src/manager/plan.rs or judge.rs",
    ))
}

/// Bugs that no seed shows yet, and why: docs/verification/PLANTED.md.
#[cfg(feature = "planted")]
const SURVIVORS: [&str; 4] = [
    "timeout-is-refusal",
    "early-deadline",
    "lease-loss-ignored",
    "lost-watch-unseen",
];

/// How many seeds a planted bug may take.
#[cfg(feature = "planted")]
const BUDGET: u64 = 150;

#[cfg(feature = "planted")]
fn find(bug: parti::planted::ShellBug, args: &Args) -> Option<(u64, String)> {
    use parti_testing::manager::{Plan, run};

    let planted = plain().planted(bug);
    (args.seed..args.seed + BUDGET).find_map(|seed| {
        let found = run(&planted, &Plan::from_seed(seed)).violations;
        let first = found.into_iter().next()?;
        Some((seed, format!("{:?}", first.property)))
    })
}

/// Without the feature there is nothing to hunt.
#[cfg(not(feature = "planted"))]
fn hunt(_: &Args) -> Result<(), Failure> {
    Err(Failure::new(
        "this build has no planted bugs",
        "use `cargo xtask sim --manager --planted all`, which builds one",
    ))
}
