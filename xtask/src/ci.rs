//! Everything a change must pass, in the order in which failures are cheapest.
//!
//! What always holds: the first failure ends the run with its remedy, and the tests come last, so
//! that their own summary closes the output.

use std::time::Instant;

use crate::proc::{Failure, cargo, step, timed, times};
use crate::{bench, coverage, deny, launch, layers, test, tidy, word_size};
use beside::{Beside, beside};

mod beside;

/// Arguments of `ci`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seeds of the simulator, in each mode
    #[arg(long, value_name = "N", default_value_t = 3_000)]
    seeds: u64,
}

/// Runs every step.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let start = Instant::now();
    format_and_lints()?;
    timed("tidy", tidy::run)?;
    timed("layers and oldest compiler", layers::run)?;
    docs()?;
    test::alerts::run(&test::alerts::Args::default())?;
    deny::run()?;
    layers::package::run()?;
    test::downstream::run()?;
    let built = test::build(None)?;
    // Alone: beside what computes, a cluster that heals takes so long that its replicas look like others.
    let mut scenarios = built.program("scenarios")?;
    step("scenarios, the short form", &mut scenarios, launch::REMEDY)?;
    beside(simulators(args.seeds), || others(&built))?;
    let spent = start.elapsed().as_secs_f64() / 60.0;
    eprintln!(
        "==> all but the tests passed in {spent:.1} min\n{}",
        times::table()
    );
    built.tests(&[])
}

/// What only computes, in virtual time.
fn simulators(seeds: u64) -> Vec<Beside> {
    let seeds = seeds.to_string();
    let simulator = |name: &str, words: launch::Args| Beside {
        name: name.to_owned(),
        command: launch::simulator(&words),
        remedy: launch::REMEDY,
    };
    let seeds = |mode| {
        let words = ["--runs", &seeds, "--mode", mode].into();
        simulator(&format!("{seeds} seeds, {mode}"), words)
    };
    let scripted = Beside {
        name: "scripted bugs".to_owned(),
        command: launch::scripted(),
        remedy: launch::SCRIPTED_REMEDY,
    };
    vec![
        seeds("exclusive"),
        seeds("fenced"),
        seeds("overlap"),
        simulator("simulated managers", ["--manager", "--runs", "300"].into()),
        scripted,
        simulator("planted bugs", ["--planted", "all"].into()),
        simulator(
            "planted bugs of the shell",
            ["--manager", "--planted", "all"].into(),
        ),
    ]
}

/// What waits for servers and processes most of its time, and what needs one processor.
fn others(built: &test::Built) -> Result<(), Failure> {
    let remedy = launch::REMEDY;
    let mut streams = built.program("streams")?;
    let name = "simulated consumption of streams";
    step(name, streams.args(["--runs", "2000"]), remedy)?;
    let mut hunts = built.program("streams")?;
    let name = "planted bugs of consumption";
    step(name, hunts.args(["--planted", "all"]), remedy)?;
    let mut conformance = built.program("conformance")?;
    step(
        "conformance, the short form",
        conformance.arg("--quick"),
        remedy,
    )?;
    timed("coverage of the core", || {
        coverage::run(&coverage::Args::default())
    })?;
    timed("golden plans on a 32-bit target", word_size::run)?;
    let remembered = bench::instructions::Args::default();
    timed("instruction counts", || {
        bench::instructions::run(&remembered)
    })?;
    built.doc_tests()
}

fn format_and_lints() -> Result<(), Failure> {
    step(
        "format",
        cargo().args(["fmt", "--all", "--check"]),
        "run `cargo fmt --all`",
    )?;
    let remedy = "fix what clippy names; an `expect` with its reason is the last resort";
    let mut all = cargo();
    all.args(["clippy", "--workspace", "--all-targets", "--all-features"]);
    step("lints", all.args(["--", "-D", "warnings"]), remedy)?;
    let mut bare = cargo();
    bare.args(["clippy", "--package", "parti-rs", "--no-default-features"]);
    step(
        "lints of the facade without features",
        bare.args(["--", "-D", "warnings"]),
        remedy,
    )
}

fn docs() -> Result<(), Failure> {
    let mut docs = cargo();
    docs.args(["doc", "--workspace", "--no-deps", "--all-features"])
        .env("RUSTDOCFLAGS", "-D warnings");
    step(
        "documentation",
        &mut docs,
        "fix the link or example named above",
    )
}
