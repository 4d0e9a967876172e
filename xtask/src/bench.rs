//! Benchmarks by name, so that nobody has to know which crate carries which.

use crate::nats::{VARIABLE, locate};
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
    /// From start until all is owned, for many workers that start at once: one JSON object per round
    Start(Start),
    /// What a reader of a group costs: look-ups, memory, how soon a change shows: one JSON object each
    Directory(Directory),
    /// What a planned move adds to the time of requests to owners: one JSON object
    Route(Route),
    /// Consuming a stream by partition beside plain pull consumers, in one run: one JSON object each
    Consume(Consume),
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

/// Arguments of `bench start`.
#[derive(Debug, clap::Args)]
struct Start {
    /// Group sizes, joined by commas
    #[arg(long)]
    workers: Option<String>,
    /// How many partitions there are
    #[arg(long)]
    partitions: Option<String>,
    /// How often each is measured
    #[arg(long)]
    rounds: Option<String>,
    /// Beside a thread that does nothing but use a core
    #[arg(long)]
    busy: bool,
    /// Each worker names the ID it wants
    #[arg(long)]
    hints: bool,
    /// Without exclusive ownership
    #[arg(long)]
    overlap: bool,
}

/// Arguments of `bench directory`.
#[derive(Debug, clap::Args)]
struct Directory {
    /// How many partitions there are for look-ups and memory
    #[arg(long)]
    partitions: Option<String>,
    /// How many readers wait for each change
    #[arg(long)]
    readers: Option<String>,
}

/// Arguments of `bench route`.
#[derive(Debug, clap::Args)]
struct Route {
    /// How many requests a second
    #[arg(long)]
    rate: Option<String>,
    /// How many joins and leaves
    #[arg(long)]
    moves: Option<String>,
    /// How many partitions there are
    #[arg(long)]
    partitions: Option<String>,
    /// Build without optimization, which is quicker
    #[arg(long)]
    dev: bool,
}

/// Arguments of `bench consume`.
#[derive(Debug, clap::Args)]
struct Consume {
    /// Build without optimization, which is quicker
    #[arg(long)]
    dev: bool,
}

/// Runs a benchmark.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::Strategies(args) => strategies(args),
        What::Judgement => judgement(),
        What::Start(args) => start(args),
        What::Directory(args) => directory(args),
        What::Route(args) => route(args),
        What::Consume(args) => consume(args),
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

fn start(args: &Start) -> Result<(), Failure> {
    let mut bench = cargo();
    bench.args([
        "bench",
        "--quiet",
        "--package",
        "parti-rs",
        "--bench",
        "start",
    ]);
    bench.args(["--", "--bench"]);
    bench.env(VARIABLE, locate(None)?);
    let options = [
        ("--workers", &args.workers),
        ("--partitions", &args.partitions),
        ("--rounds", &args.rounds),
    ];
    for (name, value) in options {
        bench.args(value.iter().flat_map(|value| [name, value]));
    }
    let words = [
        (args.busy, "--busy"),
        (args.hints, "--hints"),
        (args.overlap, "--overlap"),
    ];
    bench.args(words.iter().filter(|(set, _)| *set).map(|(_, word)| word));
    visible("the benchmark", &mut bench, "read what it said above")
}

fn directory(args: &Directory) -> Result<(), Failure> {
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--package", "parti-rs"]);
    bench.args(["--bench", "directory", "--", "--bench"]);
    bench.env(VARIABLE, locate(None)?);
    let options = [
        ("--partitions", &args.partitions),
        ("--readers", &args.readers),
    ];
    for (name, value) in options {
        bench.args(value.iter().flat_map(|value| [name, value]));
    }
    visible("the benchmark", &mut bench, "read what it said above")
}

fn route(args: &Route) -> Result<(), Failure> {
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--package", "parti-rs"]);
    if args.dev {
        bench.args(["--profile", "dev"]);
    }
    bench.args(["--bench", "route", "--", "--bench"]);
    bench.env(VARIABLE, locate(None)?);
    let options = [
        ("--rate", &args.rate),
        ("--moves", &args.moves),
        ("--partitions", &args.partitions),
    ];
    for (name, value) in options {
        bench.args(value.iter().flat_map(|value| [name, value]));
    }
    visible("the benchmark", &mut bench, "read what it said above")
}

fn consume(args: &Consume) -> Result<(), Failure> {
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--package", "parti-rs"]);
    bench.args(["--features", "jetstream"]);
    if args.dev {
        bench.args(["--profile", "dev"]);
    }
    bench.args(["--bench", "jetstream", "--", "--bench"]);
    bench.env(VARIABLE, locate(None)?);
    visible("the benchmark", &mut bench, "read what it said above")
}

fn judgement() -> Result<(), Failure> {
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--package", "parti-testing"]);
    bench.args(["--bench", "judgement", "--", "--bench"]);
    visible("the benchmark", &mut bench, "read what it said above")
}
