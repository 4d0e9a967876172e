//! Benchmarks by name, so that nobody has to know which crate carries which.

use crate::proc::{Failure, cargo, visible};

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(value_enum)]
    what: What,
    /// One JSON object per line instead of a table
    #[arg(long)]
    json: bool,
    /// Passed to the benchmark
    #[arg(last = true)]
    rest: Vec<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// Planning: every strategy over growing groups
    Strategies,
}

/// Runs a benchmark.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut bench = cargo();
    match args.what {
        What::Strategies => bench.args([
            "bench",
            "--package",
            "parti-strategy",
            "--bench",
            "strategies",
        ]),
    };
    bench.arg("--");
    if args.json {
        bench.arg("--json");
    }
    bench.args(&args.rest);
    visible("the benchmark", &mut bench, "read what it said above")
}
