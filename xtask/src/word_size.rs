//! The golden plans on a 32-bit target: a plan must not depend on the word size of the machine.
//!
//! The target is one whose C library and linker come with the Rust toolchain, so that a fresh
//! machine needs nothing else. What always holds: a machine that cannot build for it or run it says
//! so and fails nothing.

use std::path::Path;
use std::process::Command;

use crate::proc::{Failure, cargo, output, programs, works};

const TARGET: &str = "i686-unknown-linux-musl";
const LINKER: &str = "CARGO_TARGET_I686_UNKNOWN_LINUX_MUSL_LINKER";

/// `execve` of a program for another kind of machine: "Exec format error".
const ENOEXEC: i32 = 8;

const REMEDY: &str = "a plan depends on the word size: hash and compare u32 and u64, never usize; \
                      again: cargo xtask word-size";

/// Builds the golden tests for the target and runs them.
pub(crate) fn run() -> Result<(), Failure> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return skipped("only x86-64 Linux runs its programs");
    }
    if !is_installed() && !works(Command::new("rustup").args(["target", "add", TARGET])) {
        return skipped(&format!("`rustup target add {TARGET}` fails"));
    }
    let mut build = cargo();
    build.args([
        "test",
        "--quiet",
        "--target",
        TARGET,
        "--package",
        "parti-strategy",
    ]);
    build.args(["--test", "golden", "--test", "go_parity"]);
    build.args(["--no-run", "--message-format=json"]);
    // What the tests need is built once and runs for a moment: no time is to be spent on making it
    // faster.
    build.args(["--config", "profile.dev.package.\"*\".opt-level=0"]);
    build.env(LINKER, "rust-lld");
    let tests = programs(&output(&mut build, "fix what the compiler names")?);
    if tests.is_empty() {
        return Err(Failure::new("cargo named no test program", REMEDY));
    }
    tests.iter().try_for_each(|test| run_one(test))
}

fn run_one(test: &Path) -> Result<(), Failure> {
    match Command::new(test).arg("--quiet").status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(
            format!("plans differ on {TARGET} ({status})"),
            REMEDY,
        )),
        Err(error) if error.raw_os_error() == Some(ENOEXEC) => {
            skipped("the kernel of this machine runs no 32-bit programs")
        }
        Err(error) => Err(Failure::new(format!("{}: {error}", test.display()), REMEDY)),
    }
}

fn is_installed() -> bool {
    let mut query = Command::new("rustc");
    query.args(["--print", "target-libdir", "--target", TARGET]);
    output(&mut query, "").is_ok_and(|path| Path::new(path.trim()).is_dir())
}

fn skipped(why: &str) -> Result<(), Failure> {
    eprintln!("    NOT CHECKED on {TARGET}: {why}.");
    Ok(())
}
