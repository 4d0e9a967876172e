//! House rules that no compiler knows, checked on every file that git tracks or would track.
//!
//! Each rule is a pure function of a file's name and text, so that each can be shown to fail. What
//! always holds: an offence names file, line and rule.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use clap::CommandFactory;

use crate::proc::{Failure, output, root};

mod book;
mod cancellation;
mod errors;
mod facade;
mod fields;
mod prose;
mod rooms;
mod rust;
#[cfg(test)]
mod tests;
mod words;

/// A file of the workspace.
#[derive(Clone, Debug)]
struct File {
    /// Relative to the root, with forward slashes.
    path: String,
    text: String,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offence {
    path: String,
    /// From 1; 0 is the file as a whole.
    line: usize,
    rule: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, rule } = self;
        match line {
            0 => write!(f, "{path}: {rule}"),
            _ => write!(f, "{path}:{line}: {rule}"),
        }
    }
}

/// What prose may refer to.
#[derive(Clone, Debug, Default)]
struct World {
    /// Every file.
    paths: BTreeSet<String>,
    /// The commands of `cargo xtask`.
    commands: BTreeSet<String>,
}

/// Checks the workspace.
pub(crate) fn run() -> Result<(), Failure> {
    let files = files()?;
    let offences = check(&files, &world(&files));
    if offences.is_empty() {
        eprintln!("    {} files are tidy", files.len());
        return Ok(());
    }
    let lines: Vec<String> = offences.iter().map(Offence::to_string).collect();
    Err(Failure::new(
        lines.join("\n       "),
        "each line says what is expected; docs/STYLE.md why",
    ))
}

/// Every offence in the files, in their order.
fn check(files: &[File], world: &World) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in files {
        if file.path.ends_with(".rs") {
            rust::check(file, &mut offences);
            cancellation::check(file, &mut offences);
            facade::check(file, &mut offences);
            fields::check(file, &mut offences);
        }
        if file.path.ends_with(".md") {
            prose::check(file, world, &mut offences);
        }
        prose::check_places(file, &mut offences);
        words::check(file, &mut offences);
    }
    rooms::check_folders(files, &mut offences);
    book::check(files, &mut offences);
    errors::check(files, &mut offences);
    offences
}

fn world(files: &[File]) -> World {
    let command = crate::Cli::command();
    let names = command
        .get_subcommands()
        .map(|command| command.get_name().to_string());
    World {
        paths: files.iter().map(|file| file.path.clone()).collect(),
        commands: names.collect(),
    }
}

/// Tracked files and those that would be; ignored ones are nobody's business.
fn files() -> Result<Vec<File>, Failure> {
    let mut git = std::process::Command::new("git");
    git.current_dir(root());
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
    ]);
    let listed = output(&mut git, "run it inside a git work tree")?;
    let names = listed.split('\0').filter(|name| !name.is_empty());
    Ok(names
        .filter_map(|name| {
            // A file that was deleted but is still tracked, or is no text, has no rules to break.
            let text = fs::read_to_string(root().join(name)).ok()?;
            let path = name.to_string();
            Some(File { path, text })
        })
        .collect())
}
