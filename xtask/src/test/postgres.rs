//! Where the programs of a PostgreSQL server are, for the tests that start servers of their own.
//!
//! What always holds: without them it is said which tests are skipped, and what to do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Where tests find the programs.
const VARIABLE: &str = "PARTI_POSTGRES";

/// Debian's folder for them: one for each version, with `bin` below it.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Tells the tests where the programs are, or says that these tests are skipped.
pub(super) fn tell(tests: &mut Command, what: &str) {
    match find() {
        Some(programs) => drop(tests.env(VARIABLE, programs)),
        None => eprintln!(
            "==> {what}: SKIPPED, there is no server; to do: install Debian's `postgresql`, or let \
             {VARIABLE} name the folder with `initdb`"
        ),
    }
}

/// The folder of the server's programs: as told, or on the PATH, or Debian's newest.
fn find() -> Option<PathBuf> {
    if let Some(told) = std::env::var_os(VARIABLE) {
        return Some(PathBuf::from(told));
    }
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut debian: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    debian.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain(debian.into_iter().rev());
    // A folder that has only some of them holds links to others.
    let programs = ["initdb", "postgres", "pg_isready"];
    places.find(|folder| programs.iter().all(|program| folder.join(program).exists()))
}
