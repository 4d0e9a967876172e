//! Groups of real worker processes on real servers, put through what production does to them.
//!
//! `scenarios` finds the servers, builds the `worker` example and starts this same program again as
//! `scenarios-inner` with the feature `scenarios`, so that every other command compiles without the
//! test kit. What always holds: a scenario that cannot be set up is a failure and not a gap in the
//! table; a failing one keeps its histories and says where.

use std::path::PathBuf;

use crate::nats::Server;
use crate::proc::{Failure, cargo, output, programs, visible};

#[cfg(feature = "scenarios")]
mod catalogue;
#[cfg(feature = "scenarios")]
mod crashes;
#[cfg(feature = "scenarios")]
mod group;
#[cfg(feature = "scenarios")]
mod hands;
#[cfg(feature = "scenarios")]
mod inner;
#[cfg(feature = "scenarios")]
mod network;
#[cfg(feature = "scenarios")]
mod outages;
#[cfg(feature = "scenarios")]
mod restarts;
#[cfg(feature = "scenarios")]
mod scale;
#[cfg(feature = "scenarios")]
mod splits;
#[cfg(feature = "scenarios")]
mod worker;
#[cfg(feature = "scenarios")]
pub(crate) use inner::run_here;

/// Arguments of `scenarios`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
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

/// Arguments of the program with the test kit in it.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Inner {
    #[arg(long, value_delimiter = ',')]
    name: Vec<String>,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    seeds: u64,
    /// A server as `version=program`
    #[arg(long)]
    server: Vec<Server>,
    #[arg(long)]
    worker: PathBuf,
    #[arg(long)]
    jobs: usize,
    #[arg(long)]
    full: bool,
    #[arg(long)]
    json: bool,
    #[arg(long)]
    list: bool,
}

/// The servers of `--full`: the oldest supported and the newest.
const FULL: [&str; 2] = ["2.12.1", "2.15.1"];

/// Finds the servers, builds the worker and starts the program with the test kit in it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (server, worker) = match args.list {
        true => (Vec::new(), PathBuf::new()),
        false => (servers(args)?, worker()?),
    };
    let inner = Inner {
        name: args.name.clone(),
        seed: args.seed,
        seeds: args.seeds.unwrap_or(if args.full { 3 } else { 1 }),
        server,
        worker,
        jobs: args.jobs.unwrap_or(if args.full { 3 } else { 2 }).max(1),
        full: args.full,
        json: args.json,
        list: args.list,
    };
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "xtask"]);
    command.args(["--features", "scenarios", "--", "scenarios-inner"]);
    command.args(words(&inner));
    let remedy = "a scenario did not end as it must; its reason and histories are named above";
    visible("scenarios", &mut command, remedy)
}

/// The short form that a change must pass.
pub(crate) fn run_quick() -> Result<(), Failure> {
    run(&Args {
        name: Vec::new(),
        seed: 1,
        seeds: None,
        server: Vec::new(),
        jobs: None,
        full: false,
        json: false,
        list: false,
    })
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

/// Builds the program that a worker process runs.
fn worker() -> Result<PathBuf, Failure> {
    let mut build = cargo();
    build.args([
        "build",
        "--quiet",
        "--package",
        "parti",
        "--example",
        "worker",
    ]);
    build.args(["--all-features", "--message-format=json"]);
    let remedy = "fix the example `worker` of the package parti";
    let messages = output(&mut build, remedy)?;
    let mut programs = programs(&messages).into_iter();
    let is_worker = |program: &PathBuf| program.file_stem().is_some_and(|name| name == "worker");
    let found = programs.find(is_worker);
    found.ok_or_else(|| Failure::new("cargo built no `worker`", remedy))
}

fn words(inner: &Inner) -> Vec<String> {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let mut words = vec![
        format!("--seed={}", inner.seed),
        format!("--seeds={}", inner.seeds),
        format!("--jobs={}", inner.jobs),
        format!("--worker={}", absolute(&inner.worker).display()),
    ];
    if !inner.name.is_empty() {
        words.push(format!("--name={}", inner.name.join(",")));
    }
    words.extend(inner.server.iter().map(Server::word));
    words.extend(inner.full.then(|| "--full".to_owned()));
    words.extend(inner.json.then(|| "--json".to_owned()));
    words.extend(inner.list.then(|| "--list".to_owned()));
    words
}

/// Runs the scenarios in this process.
#[cfg(not(feature = "scenarios"))]
pub(crate) fn run_here(_: &Inner) -> Result<(), Failure> {
    let what = "this build has no test kit";
    Err(Failure::new(
        what,
        "use `cargo xtask scenarios`, which builds it",
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

    /// An option lost between the two programs would run something else than was asked.
    #[test]
    fn every_option_reaches_the_inner_program() {
        let server = |text: &str| Server::from_str(text).expect("a server");
        let asked = Inner {
            name: vec!["split".to_owned(), "herd".to_owned()],
            seed: 7,
            seeds: 5,
            server: vec![server("2.12.1=/a"), server("default=/b=c")],
            worker: "/w".into(),
            jobs: 3,
            full: true,
            json: true,
            list: true,
        };
        let line = std::iter::once("inner".to_owned()).chain(words(&asked));
        let parsed = Line::try_parse_from(line).expect("its own words");
        assert_eq!(parsed.inner, asked);
        assert!(Server::from_str("2.12.1").is_err());
    }
}
