//! The conformance suite as a program: every store against the same cases, and random workloads under faults
//! against real servers. `cargo xtask conformance` builds and runs it.
//!
//! This file is the command line and nothing else. What always holds: a store that cannot be tried is a
//! failure and not a gap in the table.

use std::process::ExitCode;

use clap::Parser as _;

use failure::{Failure, exit};
use programs::Server;

mod chaos;
#[path = "../shared/failure.rs"]
mod failure;
#[path = "../shared/programs.rs"]
mod programs;
mod rig;
mod targets;

/// Every store against one suite, and what clients see while real servers are killed
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "cargo xtask conformance", bin_name = "cargo xtask conformance")]
#[command(max_term_width = 100)]
struct Args {
    /// The versions of nats-server, separated by commas; see `cargo xtask nats --help`
    #[arg(
        long,
        value_name = "V,V",
        value_delimiter = ',',
        default_value = "2.12.1,2.12.8,2.15.1"
    )]
    servers: Vec<String>,
    /// How many nodes each server is tried with
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,3")]
    nodes: Vec<usize>,
    /// How long each server is under faults while clients write
    #[arg(long, value_name = "S", default_value_t = 20)]
    chaos_seconds: u64,
    /// What the faults and the workloads follow from
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// One node of the server that tests use, and five seconds of chaos
    #[arg(long, conflicts_with_all = ["servers", "nodes", "chaos_seconds"])]
    quick: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// What is tried, and for how long.
#[derive(Clone, Debug)]
struct Task {
    server: Vec<Server>,
    nodes: Vec<usize>,
    chaos_seconds: u64,
    seed: u64,
    json: bool,
}

fn main() -> ExitCode {
    exit(task(&Args::parse()).and_then(|task| targets::run(&task)))
}

fn task(args: &Args) -> Result<Task, Failure> {
    let (seed, json) = (args.seed, args.json);
    if args.quick {
        return Ok(Task {
            server: vec![Server::find(None)?],
            nodes: vec![1],
            chaos_seconds: 5,
            seed,
            json,
        });
    }
    if let Some(bad) = args.nodes.iter().find(|nodes| ![1, 3, 5].contains(*nodes)) {
        let what = format!("{bad} nodes are no cluster");
        return Err(Failure::new(what, "use 1, 3 or 5"));
    }
    let servers = args.servers.iter();
    let servers = servers.map(|version| Server::find(Some(version)));
    Ok(Task {
        server: servers.collect::<Result<_, Failure>>()?,
        nodes: args.nodes.clone(),
        chaos_seconds: args.chaos_seconds,
        seed,
        json,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cluster that cannot exist must be refused before anything is downloaded.
    #[test]
    fn two_nodes_are_refused_with_the_numbers_that_work() {
        let args = Args::try_parse_from(["conformance", "--nodes=2"]).expect("parsed");
        let error = task(&args).expect_err("refused").to_string();
        assert!(
            error.contains("2 nodes") && error.contains("1, 3 or 5"),
            "{error}"
        );
    }
}
