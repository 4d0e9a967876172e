//! The simulated consumption of streams as a program: `cargo xtask streams` builds and runs it.
//!
//! This file is the command line and nothing else. What always holds: a violation ends with the command that
//! shows it again.

use std::process::ExitCode;

use clap::Parser as _;
use parti_testing::streams::{Batch, Bug, Run, hunt, run};

use failure::{Failure, exit};

#[path = "../shared/failure.rs"]
mod failure;

/// Owners of partitions on a stream in memory, under faults: a batch of seeds, one seed with its trace, or
/// planted bugs
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "cargo xtask streams",
    bin_name = "cargo xtask streams",
    max_term_width = 100
)]
struct Args {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    runs: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Run the first seed alone and print what happens
    #[arg(long)]
    trace: bool,
    /// Plant this bug in every owner and see whether it is found; a name or `all`
    #[arg(long, value_name = "BUG", conflicts_with_all = ["runs"])]
    planted: Option<String>,
}

/// How many seeds a planted bug may take.
const BUDGET: u64 = 500;
/// How many violations are shown.
const SHOWN: usize = 3;

fn main() -> ExitCode {
    let args = Args::parse();
    exit(match &args.planted {
        Some(wanted) => planted(&args, wanted),
        None if args.trace => trace(&args, None),
        None => batch(&args),
    })
}

fn batch(args: &Args) -> Result<(), Failure> {
    let batch = Batch {
        seeds: args.seed..args.seed.saturating_add(args.runs),
        max_failures: SHOWN,
    };
    let report = batch.run(None);
    print!("{report}");
    match report.failures.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(
            format!("{} runs show violations", report.failures.len()),
            format!("cargo xtask streams --seed {} --trace", first.seed),
        )),
    }
}

fn trace(args: &Args, bug: Option<Bug>) -> Result<(), Failure> {
    let outcome = run(&Run {
        seed: args.seed,
        bug,
        traced: true,
    });
    for line in &outcome.trace {
        println!("{line}");
    }
    match outcome.violation {
        None => Ok(()),
        Some(violation) => Err(Failure::new(
            violation.to_string(),
            "the lines above lead to it".to_owned(),
        )),
    }
}

fn planted(args: &Args, wanted: &str) -> Result<(), Failure> {
    let all = Bug::ALL.iter().copied();
    let bugs = all.filter(|bug| wanted == "all" || bug.as_str() == wanted);
    let bugs: Vec<Bug> = bugs.collect();
    if bugs.is_empty() {
        let words: Vec<&str> = Bug::ALL.iter().map(|bug| bug.as_str()).collect();
        return Err(Failure::new(
            format!("there is no bug {wanted:?}"),
            format!("all, or one of {}", words.join(", ")),
        ));
    }
    if let (true, [bug]) = (args.trace, bugs.as_slice()) {
        return trace(args, Some(*bug));
    }
    let mut unseen = Vec::new();
    for bug in bugs {
        match hunt(bug, args.seed..args.seed + BUDGET) {
            Some(found) => {
                let (name, property) = (bug.as_str(), found.violation.property);
                println!("{name:<24} seed {:<4} {property:?}", found.seed);
            }
            None => {
                println!("{:<24} NOT FOUND", bug.as_str());
                unseen.push(bug.as_str());
            }
        }
    }
    if unseen.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        format!(
            "planted bugs that {BUDGET} seeds do not show: {}",
            unseen.join(", ")
        ),
        "widen parti-testing/src/streams/world.rs or checks.rs".to_owned(),
    ))
}
