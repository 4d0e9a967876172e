//! Benchmarks by name, so that nobody has to know which crate carries which.

use crate::proc::{Failure, cargo, visible};

pub(crate) mod instructions;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Planning: the time of every strategy over growing groups
    Strategies(Strategies),
    /// What one event costs a leader, over growing groups: one JSON object per size and line
    Judgement,
    /// Planning and records: instruction counts of fixed workloads against those on record
    Instructions(instructions::Args),
}

/// Arguments of `bench strategies`.
#[derive(Debug, clap::Args)]
struct Strategies {
    /// One JSON object per workload and line, which is the only form there is
    #[arg(long)]
    json: bool,
    /// Leave out the largest group
    #[arg(long)]
    quick: bool,
    /// Only workloads whose name contains this
    name: Option<String>,
}

/// Runs a benchmark.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::Strategies(args) => strategies(args),
        What::Judgement => judgement(),
        What::Instructions(args) => instructions::run(args),
    }
}

fn strategies(args: &Strategies) -> Result<(), Failure> {
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--package", "parti-strategy"]);
    bench.args(["--bench", "strategies", "--"]);
    let options = [(args.json, "--json"), (args.quick, "--quick")];
    bench.args(options.iter().filter(|(set, _)| *set).map(|(_, word)| word));
    bench.args(&args.name);
    visible("the benchmark", &mut bench, "read what it said above")
}

fn judgement() -> Result<(), Failure> {
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--package", "parti-testing"]);
    bench.args(["--bench", "judgement", "--", "--bench"]);
    visible("the benchmark", &mut bench, "read what it said above")
}
