//! Everything a change must pass, in the order in which failures are cheapest.
//!
//! What always holds: the first failure ends the run with its remedy, and the tests come last, so
//! that their own summary closes the output.

use std::time::Instant;

use crate::proc::{Failure, cargo, step, timed};
use crate::{bench, coverage, deny, launch, layers, test, tidy, word_size};

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
    let seeds = args.seeds.to_string();
    for mode in ["exclusive", "overlap"] {
        timed(&format!("{seeds} seeds, {mode}"), || {
            launch::sim(&["--runs", &seeds, "--mode", mode].into())
        })?;
    }
    timed("simulated consumption of streams", || {
        launch::streams(&["--runs", "2000"].into())
    })?;
    timed("planted bugs of consumption", || {
        launch::streams(&["--planted", "all"].into())
    })?;
    timed("conformance, the short form", || {
        launch::conformance(&["--quick"].into())
    })?;
    timed("scenarios, the short form", || {
        launch::scenarios(&launch::Args::default())
    })?;
    timed("simulated managers", || {
        launch::sim(&["--manager", "--runs", "300"].into())
    })?;
    timed("planted bugs", || launch::sim(&["--planted", "all"].into()))?;
    timed("planted bugs of the shell", || {
        launch::sim(&["--manager", "--planted", "all"].into())
    })?;
    timed("coverage of the core", || {
        coverage::run(&coverage::Args::default())
    })?;
    timed("golden plans on a 32-bit target", word_size::run)?;
    let remembered = bench::instructions::Args::default();
    timed("instruction counts", || {
        bench::instructions::run(&remembered)
    })?;
    let spent = start.elapsed().as_secs_f64() / 60.0;
    eprintln!("==> all but the tests passed in {spent:.1} min");
    test::run(&test::Args::default())
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
