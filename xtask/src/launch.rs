//! Programs of the test kit, built and run: the simulators, the conformance suite, the scenarios.
//!
//! They live in `parti-testing` and take their own arguments; this file knows the package, profile and
//! features of each, so every other command compiles without the test kit. What always holds: arguments
//! are handed on as they are, `--help` included.

use std::ffi::OsString;
use std::process::Command;

use crate::proc::{Failure, cargo, output, visible};

pub(crate) const REMEDY: &str = "what to do is said above";

pub(crate) const SCRIPTED_REMEDY: &str =
    "a scenario no longer tells a bug from the core as it is; run it by hand";

/// Arguments for the program.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// See `--help` of the program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl<const N: usize> From<[&str; N]> for Args {
    fn from(words: [&str; N]) -> Self {
        let words = words.iter().map(OsString::from).collect();
        Self { words }
    }
}

impl Args {
    /// Whether an option is given, as `--option` or `--option=value`.
    fn has(&self, option: &str) -> bool {
        let is = |word: &OsString| {
            let word = word.to_string_lossy();
            word.strip_prefix(option)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        };
        self.words.iter().any(is)
    }
}

/// A program of the test kit.
struct Program {
    name: &'static str,
    features: &'static str,
    /// The optimised profile with every assertion, or none.
    profile: &'static str,
}

/// Simulated groups. With `--planted`, the core is built with its planted bugs.
pub(crate) fn sim(args: &Args) -> Result<(), Failure> {
    if args.has("--planted") && !args.has("--manager") {
        output(&mut scripted(), SCRIPTED_REMEDY)?;
    }
    visible("sim", &mut simulator(args), REMEDY)
}

/// The command of [`sim`], without the scripted bugs.
pub(crate) fn simulator(args: &Args) -> Command {
    let planted = args.has("--planted");
    let features = if planted { "cli,planted" } else { "cli" };
    let program = Program {
        name: "sim",
        features,
        profile: "sim",
    };
    command(&program, args)
}

/// Simulated consumption of streams. Its planted bugs are in its owners, and need no feature.
pub(crate) fn streams(args: &Args) -> Result<(), Failure> {
    let program = Program {
        name: "streams",
        features: "cli,streams",
        profile: "dev",
    };
    visible(program.name, &mut command(&program, args), REMEDY)
}

/// Every store against one suite.
pub(crate) fn conformance(args: &Args) -> Result<(), Failure> {
    let program = Program {
        name: "conformance",
        features: "cli,stores",
        profile: "dev",
    };
    visible(program.name, &mut command(&program, args), REMEDY)
}

/// Groups of real processes on real servers.
pub(crate) fn scenarios(args: &Args) -> Result<(), Failure> {
    let program = Program {
        name: "scenarios",
        features: "cli,stores",
        profile: "dev",
    };
    visible(program.name, &mut command(&program, args), REMEDY)
}

fn command(program: &Program, args: &Args) -> Command {
    let Program {
        name,
        features,
        profile,
    } = program;
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "parti-testing"]);
    command.args([
        "--profile",
        profile,
        "--features",
        features,
        "--bin",
        name,
        "--",
    ]);
    command.args(&args.words);
    command
}

/// The bugs that no seed reaches, each with its scenario in the core's own tests, and the tests of
/// the hunts themselves.
pub(crate) fn scripted() -> Command {
    let mut tests = cargo();
    tests.args(["test", "--quiet", "--lib", "--package", "parti-core"]);
    tests.args(["--package", "parti-testing", "--features"]);
    tests.args(["parti-core/planted,parti-testing/planted", "planted::"]);
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the feature, a hunt would look for bugs that are not there.
    #[test]
    fn an_option_is_found_in_both_spellings_and_no_other() {
        for words in [["--json", "--planted=all"], ["--planted", "all"]] {
            assert!(Args::from(words).has("--planted"));
        }
        assert!(!Args::from(["--runs", "--planted-not"]).has("--planted"));
    }
}
