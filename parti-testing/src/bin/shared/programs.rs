//! The programs that real groups run: servers and workers, found or built by cargo.
//!
//! It is separate because conformance and scenarios both need servers. What always holds: a program
//! that cannot be had is a failure that names the command to try by hand.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Failure, root};

/// A nats-server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its version, or `default` for the one that tests use.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
}

impl Server {
    /// Finds or downloads exactly this version, or the one that tests use.
    pub(crate) fn find(version: Option<&str>) -> Result<Self, Failure> {
        let name = version.unwrap_or("default").to_owned();
        let mut find = cargo();
        find.args(["xtask", "nats"]);
        find.args(version.iter().flat_map(|version| ["--version", *version]));
        let remedy = match version {
            Some(version) => format!("run `cargo xtask nats --version {version}`"),
            None => "run `cargo xtask nats`".to_owned(),
        };
        let said = output(&mut find, &remedy)?;
        let path = said.lines().last().unwrap_or_default().trim();
        if path.is_empty() {
            return Err(Failure::new("cargo xtask nats names no server", remedy));
        }
        let program = std::path::absolute(path).unwrap_or_else(|_| path.into());
        Ok(Self { name, program })
    }
}

/// The program that a worker process runs: from the folder that `PARTI_EXAMPLES` names, or built.
#[allow(dead_code, reason = "conformance runs no workers")]
pub(crate) fn worker() -> Result<PathBuf, Failure> {
    if let Some(folder) = std::env::var_os("PARTI_EXAMPLES") {
        return Ok(PathBuf::from(folder).join("worker"));
    }
    let mut build = cargo();
    build.args([
        "build",
        "--quiet",
        "--package",
        "parti-rs",
        "--example",
        "worker",
    ]);
    build.args(["--all-features", "--message-format=json"]);
    let remedy = "fix the example `worker` of the package parti-rs";
    let messages = output(&mut build, remedy)?;
    let program = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    };
    let mut programs = messages.lines().filter_map(program);
    let is_worker = |program: &PathBuf| program.file_stem().is_some_and(|name| name == "worker");
    let found = programs.find(is_worker);
    found.ok_or_else(|| Failure::new("cargo built no `worker`", remedy))
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Set by the outer cargo for this program; inner builds must not inherit them.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    command.current_dir(root());
    command
}

/// Runs a program and takes what it says.
fn output(command: &mut Command, remedy: &str) -> Result<String, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.output();
    let out = out.map_err(|error| Failure::new(format!("{program}: {error}"), remedy))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let what = format!("{program} failed ({}): {}", out.status, said.trim());
    Err(Failure::new(what, remedy))
}
