//! Programs outside the workspace, as users write them: that they build, work, and need few lines.
//!
//! Separate because they are the measure of friction: what a user has to write that the library could
//! have done. What always holds: lines are counted as rustfmt leaves them, without blank ones and
//! comments, so that a budget is kept by a better library and not by denser code.

use std::fs;

use crate::nats;
use crate::proc::{Failure, cargo, root, step, target_dir, timed};

/// Where the programs are.
const FOLDER: &str = "docs/downstream";

/// The most lines that a file may have which a user would write.
const BUDGETS: [(&str, usize); 7] = [
    ("orders/src/main.rs", 60),
    ("backend/src/lib.rs", 210),
    ("cache/src/main.rs", 100),
    ("postgres/src/lib.rs", 320),
    ("tenants/src/main.rs", 60),
    ("simulated/src/lib.rs", 70),
    ("warm/src/main.rs", 115),
];

/// Counts the lines, then builds and runs the programs.
pub(crate) fn run() -> Result<(), Failure> {
    timed("lines of downstream programs", budgets)?;
    let manifest = root().join(FOLDER).join("Cargo.toml");
    let mut format = cargo();
    format.args(["fmt", "--all", "--check", "--manifest-path"]);
    step(
        "format of downstream programs",
        format.arg(&manifest),
        "run `cargo fmt --all` in docs/downstream",
    )?;
    let server = timed("nats-server", || nats::locate(None))?;
    let server = std::path::absolute(&server).unwrap_or(server);
    lock()?;
    let mut tests = cargo();
    tests.args(["test", "--tests", "--manifest-path"]);
    tests.arg(&manifest).env(nats::VARIABLE, server);
    super::postgres::tell(&mut tests, "the backend on PostgreSQL");
    // With the workspace's own: most of what comes from outside has the same features there.
    tests.env("CARGO_TARGET_DIR", target_dir());
    step(
        "downstream programs, as users build and test them",
        &mut tests,
        "a user's program broke: repair the library, or say in CHANGELOG.md what users have to change",
    )
}

fn budgets() -> Result<(), Failure> {
    let mut over = Vec::new();
    for (file, most) in BUDGETS {
        let path = root().join(FOLDER).join(file);
        let text = fs::read_to_string(&path).map_err(|error| {
            Failure::new(format!("{FOLDER}/{file}: {error}"), "correct the budgets")
        })?;
        let lines = lines(&text);
        eprintln!("    {FOLDER}/{file}: {lines} of {most} lines");
        if lines > most {
            over.push(format!(
                "{FOLDER}/{file} has {lines} lines, at most {most} are allowed"
            ));
        }
    }
    if over.is_empty() {
        return Ok(());
    }
    let remedy = "let the library do what every user would have to write; denser code is no remedy";
    Err(Failure::new(over.join("\n       "), remedy))
}

/// How many lines have code.
fn lines(text: &str) -> usize {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

/// Gives the programs the versions of the workspace, so that there is one list of them.
fn lock() -> Result<(), Failure> {
    let to = root().join(FOLDER).join("Cargo.lock");
    let copied = fs::copy(root().join("Cargo.lock"), &to);
    let what = |error| Failure::new(format!("{}: {error}", to.display()), "is the disk full?");
    copied.map(drop).map_err(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A count that takes comments for code punishes those who explain theirs.
    #[test]
    fn lines_are_those_with_code() {
        let text = "//! A program.\n\nfn main() {\n    // Nothing.\n    work(); // now\n}\n";
        assert_eq!(lines(text), 3);
        assert_eq!(budgets(), Ok(()));
    }
}
