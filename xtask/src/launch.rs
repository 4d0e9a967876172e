//! Programs of the test kit, built and run: the simulators, the conformance suite, the scenarios.
//!
//! They live in `parti-testing` and take their own arguments; this file knows the package, profile and
//! features of each, so every other command compiles without the test kit. What always holds: arguments
//! are handed on as they are, `--help` included.

use std::ffi::OsString;

use crate::proc::{Failure, cargo, output, visible};

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
    let planted = args.has("--planted");
    if planted && !args.has("--manager") {
        scripted()?;
    }
    let features = if planted { "cli,planted" } else { "cli" };
    let program = Program {
        name: "sim",
        features,
        profile: "sim",
    };
    launch(&program, args)
}

/// Simulated consumption of streams. Its planted bugs are in its owners, and need no feature.
pub(crate) fn streams(args: &Args) -> Result<(), Failure> {
    let program = Program {
        name: "streams",
        features: "cli,streams",
        profile: "dev",
    };
    launch(&program, args)
}

/// Every store against one suite.
pub(crate) fn conformance(args: &Args) -> Result<(), Failure> {
    let program = Program {
        name: "conformance",
        features: "cli,stores",
        profile: "dev",
    };
    launch(&program, args)
}

/// Groups of real processes on real servers.
pub(crate) fn scenarios(args: &Args) -> Result<(), Failure> {
    let program = Program {
        name: "scenarios",
        features: "cli,stores",
        profile: "dev",
    };
    launch(&program, args)
}

fn launch(program: &Program, args: &Args) -> Result<(), Failure> {
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
    visible(name, &mut command, "what to do is said above")
}

/// The bugs that no seed reaches, each with its scenario in the core's own tests, and the tests of
/// the hunts themselves.
fn scripted() -> Result<(), Failure> {
    let mut tests = cargo();
    tests.args(["test", "--quiet", "--lib", "--package", "parti-core"]);
    tests.args(["--package", "parti-testing", "--features"]);
    tests.args(["parti-core/planted,parti-testing/planted", "planted::"]);
    let remedy = "a scenario no longer tells a bug from the core as it is; run it by hand";
    output(&mut tests, remedy).map(drop)
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
