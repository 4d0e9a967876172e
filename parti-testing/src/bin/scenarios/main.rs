//! Groups of real worker processes on real servers, put through what production does to them.
//! `cargo xtask scenarios` builds and runs it.
//!
//! This file is the command line and nothing else. What always holds: a scenario that cannot be set up
//! is a failure and not a gap in the table; a failing one keeps its histories and says where.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

use failure::{Failure, exit};
use programs::Server;

mod board;
mod catalogue;
mod consumption;
mod crashes;
mod external_writes;
#[path = "../shared/failure.rs"]
mod failure;
mod group;
mod network;
mod outages;
#[path = "../shared/programs.rs"]
mod programs;
mod restarts;
mod scale;
mod worker;

use group::Mode;

/// Groups of real processes on real servers, put through what production does to them
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "cargo xtask scenarios", bin_name = "cargo xtask scenarios")]
#[command(max_term_width = 100)]
struct Args {
    /// Only scenarios whose name contains this; separated by commas
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    name: Vec<String>,
    /// What the times of the faults follow from
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// So many seeds, from that one on; 1, or 3 with --full
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The versions of nats-server, separated by commas; see `cargo xtask nats --help`
    #[arg(long, value_name = "V,V", value_delimiter = ',')]
    server: Vec<String>,
    /// What happens between an old and a new owner of a partition; those in which the store is lost
    /// are judged as exclusive mode has it
    #[arg(long, value_enum, default_value_t = Mode::Exclusive)]
    mode: Mode,
    /// How many scenarios run at once; 2, or 3 with --full, which waits more
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// The long forms, with the oldest and the newest server
    #[arg(long)]
    full: bool,
    /// Print one JSON object a scenario
    #[arg(long)]
    json: bool,
    /// Print what there is and stop
    #[arg(long)]
    list: bool,
}

/// What is run.
#[derive(Clone, Debug)]
struct Task {
    name: Vec<String>,
    seed: u64,
    seeds: u64,
    server: Vec<Server>,
    worker: PathBuf,
    mode: Mode,
    jobs: usize,
    full: bool,
    json: bool,
}

/// The servers of `--full`: the oldest supported and the newest.
const FULL: [&str; 2] = ["2.12.1", "2.15.1"];

fn main() -> ExitCode {
    exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), Failure> {
    if args.list {
        print!("{}", catalogue::table());
        return Ok(());
    }
    let task = Task {
        name: args.name.clone(),
        seed: args.seed,
        seeds: args.seeds.unwrap_or(if args.full { 3 } else { 1 }),
        server: servers(args)?,
        worker: programs::worker()?,
        mode: args.mode,
        jobs: args.jobs.unwrap_or(if args.full { 3 } else { 2 }).max(1),
        full: args.full,
        json: args.json,
    };
    board::run(&task)
}

fn servers(args: &Args) -> Result<Vec<Server>, Failure> {
    let full: &[&str] = if args.full { &FULL } else { &[] };
    let mut versions: Vec<&str> = args.server.iter().map(String::as_str).collect();
    if versions.is_empty() {
        versions.extend(full);
    }
    if versions.is_empty() {
        return Ok(vec![Server::find(None)?]);
    }
    let found = versions.into_iter();
    found.map(|version| Server::find(Some(version))).collect()
}
