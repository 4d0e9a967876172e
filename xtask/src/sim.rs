//! The simulator over many seeds, always in the optimised `sim` profile.
//!
//! `sim` starts this same program again as `sim-inner`, built in that profile with the feature
//! `sim`; the outer command therefore needs no test kit and compiles in a moment. What always
//! holds: a violation ends with the command that shows it again.

use std::fmt;

use crate::proc::{Failure, cargo, output, visible};

#[cfg(feature = "planted")]
mod hunts;
#[cfg(feature = "sim")]
mod inner;
#[cfg(feature = "sim")]
pub(crate) use inner::run_here;

/// Arguments of `sim`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 200)]
    runs: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// What happens between an old and a new owner
    #[arg(long, value_enum, default_value_t = Mode::Exclusive)]
    mode: Mode,
    /// Run the first seed alone and print every event
    #[arg(long)]
    trace: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// How many seeds run at once; all processors unless given
    #[arg(long, value_name = "J")]
    jobs: Option<usize>,
    /// Plant this bug in every core and see whether it is found; a name, a number or `all`
    #[arg(long, value_name = "BUG", conflicts_with_all = ["runs", "seed", "mode", "trace"])]
    planted: Option<String>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            runs: 200,
            seed: 0,
            mode: Mode::Exclusive,
            trace: false,
            json: false,
            jobs: None,
            planted: None,
        }
    }
}

/// The ownership mode of the simulated group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// Nobody is granted a partition that another may still hold
    Exclusive,
    /// The new owner is granted it at once
    Overlap,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exclusive => "exclusive",
            Self::Overlap => "overlap",
        })
    }
}

/// Runs the simulator as a program of the `sim` profile.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let feature = match args.planted {
        Some(_) => {
            scripted()?;
            "planted"
        }
        None => "sim",
    };
    let mut inner = cargo();
    inner.args(["run", "--quiet", "--profile", "sim", "--package", "xtask"]);
    inner.args(["--features", feature, "--", "sim-inner"]);
    inner.args(words(args));
    let remedy = "what to run next is said above";
    visible("the simulator", &mut inner, remedy)
}

/// Runs so many seeds in a mode, from seed 0.
pub(crate) fn seeds(runs: u64, mode: Mode) -> Result<(), Failure> {
    run(&Args {
        runs,
        mode,
        ..Args::default()
    })
}

/// Looks for every planted bug.
pub(crate) fn planted() -> Result<(), Failure> {
    run(&Args {
        planted: Some("all".to_string()),
        ..Args::default()
    })
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

fn words(args: &Args) -> Vec<String> {
    let mut words = vec![
        format!("--runs={}", args.runs),
        format!("--seed={}", args.seed),
        format!("--mode={}", args.mode),
    ];
    if let Some(bug) = &args.planted {
        words = vec![format!("--planted={bug}")];
    }
    words.extend(args.jobs.map(|jobs| format!("--jobs={jobs}")));
    let flags = [(args.trace, "--trace"), (args.json, "--json")];
    words.extend(
        flags
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, word)| (*word).to_string()),
    );
    words
}

/// Runs the simulator in this process.
#[cfg(not(feature = "sim"))]
pub(crate) fn run_here(_: &Args) -> Result<(), Failure> {
    let what = "this build has no simulator";
    Err(Failure::new(
        what,
        "use `cargo xtask sim`, which builds one",
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Inner {
        #[command(flatten)]
        args: Args,
    }

    /// An option lost between the two programs would check something else than was asked.
    #[test]
    fn every_option_reaches_the_inner_program() {
        let asked = Args {
            runs: 7,
            seed: 3,
            mode: Mode::Overlap,
            trace: true,
            json: true,
            jobs: Some(2),
            planted: None,
        };
        let planted = Args {
            json: true,
            planted: Some("old-record".to_string()),
            ..Args::default()
        };
        for asked in [asked, planted] {
            let line = std::iter::once("sim-inner".to_string()).chain(words(&asked));
            let inner = Inner::try_parse_from(line).expect("its own words");
            assert_eq!(format!("{:?}", inner.args), format!("{asked:?}"));
        }
    }
}
