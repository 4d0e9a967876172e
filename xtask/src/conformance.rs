//! Every store against the same suite, and random mixes under chaos against real servers.
//!
//! `conformance` finds the servers and starts this same program again as `conformance-inner` with
//! the feature `conformance`, so that every other command compiles without the stores. What always
//! holds: a store that cannot be tried is a failure and not a gap in the table.

use crate::nats::Server;
use crate::proc::{Failure, cargo, visible};

#[cfg(feature = "conformance")]
mod chaos;
#[cfg(feature = "conformance")]
mod inner;
#[cfg(feature = "conformance")]
mod rig;
#[cfg(feature = "conformance")]
pub(crate) use inner::run_here;

/// Arguments of `conformance`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
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
    /// How long each server is struck while clients write
    #[arg(long, value_name = "S", default_value_t = 20)]
    chaos_seconds: u64,
    /// What the faults and the mixes follow from
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// One node of the server that tests use, and five seconds of chaos
    #[arg(long, conflicts_with_all = ["servers", "nodes", "chaos_seconds"])]
    quick: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of the program with every store in it.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Inner {
    /// A server as `version=program`
    #[arg(long)]
    server: Vec<Server>,
    #[arg(long, value_delimiter = ',')]
    nodes: Vec<usize>,
    #[arg(long)]
    chaos_seconds: u64,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    json: bool,
}

/// Finds the servers and starts the program with every store in it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let inner = if args.quick {
        quick(args)?
    } else {
        full(args)?
    };
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "xtask"]);
    command.args(["--features", "conformance", "--", "conformance-inner"]);
    command.args(words(&inner));
    let remedy = "a store broke the contract; the case or the rule is named above";
    visible("conformance", &mut command, remedy)
}

/// The short form that a change must pass.
pub(crate) fn run_quick() -> Result<(), Failure> {
    run(&Args {
        servers: Vec::new(),
        nodes: Vec::new(),
        chaos_seconds: 0,
        seed: 1,
        quick: true,
        json: false,
    })
}

fn quick(args: &Args) -> Result<Inner, Failure> {
    Ok(Inner {
        server: vec![Server::find(None)?],
        nodes: vec![1],
        chaos_seconds: 5,
        seed: args.seed,
        json: args.json,
    })
}

fn full(args: &Args) -> Result<Inner, Failure> {
    if let Some(bad) = args.nodes.iter().find(|nodes| ![1, 3, 5].contains(*nodes)) {
        let what = format!("{bad} nodes are no cluster");
        return Err(Failure::new(what, "use 1, 3 or 5"));
    }
    let servers = args.servers.iter();
    let servers = servers.map(|version| Server::find(Some(version)));
    Ok(Inner {
        server: servers.collect::<Result<_, Failure>>()?,
        nodes: args.nodes.clone(),
        chaos_seconds: args.chaos_seconds,
        seed: args.seed,
        json: args.json,
    })
}

fn words(inner: &Inner) -> Vec<String> {
    let nodes: Vec<_> = inner.nodes.iter().map(usize::to_string).collect();
    let mut words = vec![
        format!("--nodes={}", nodes.join(",")),
        format!("--chaos-seconds={}", inner.chaos_seconds),
        format!("--seed={}", inner.seed),
    ];
    words.extend(inner.server.iter().map(Server::word));
    words.extend(inner.json.then(|| "--json".to_owned()));
    words
}

/// Runs the suite in this process.
#[cfg(not(feature = "conformance"))]
pub(crate) fn run_here(_: &Inner) -> Result<(), Failure> {
    let what = "this build has no stores";
    Err(Failure::new(
        what,
        "use `cargo xtask conformance`, which builds them",
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use std::str::FromStr;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        inner: Inner,
    }

    /// An option lost between the two programs would try something else than was asked.
    #[test]
    fn every_option_reaches_the_inner_program() {
        let server = |text: &str| Server::from_str(text).expect("a server");
        let asked = Inner {
            server: vec![server("2.12.1=/a"), server("default=/b=c")],
            nodes: vec![1, 3],
            chaos_seconds: 20,
            seed: 7,
            json: true,
        };
        let line = std::iter::once("inner".to_owned()).chain(words(&asked));
        let parsed = Line::try_parse_from(line).expect("its own words");
        assert_eq!(parsed.inner, asked);
        assert!(Server::from_str("2.12.1").is_err());
    }
}
