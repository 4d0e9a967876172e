//! The simulator as a program: `cargo xtask sim` builds it in the optimised profile and runs it.
//!
//! This file is the command line and nothing else. What always holds: a violation ends with the command
//! that shows it again.

use std::fmt;
use std::process::ExitCode;

use clap::Parser as _;

use failure::{Failure, exit};

mod batch;
#[path = "../shared/failure.rs"]
mod failure;
#[cfg(feature = "planted")]
mod hunts;
mod managers;

/// Simulated groups under faults: a batch of seeds, one seed with its trace, or planted bugs
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "cargo xtask sim",
    bin_name = "cargo xtask sim",
    max_term_width = 100
)]
struct Args {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 200)]
    runs: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// What happens between an old and a new owner
    #[arg(long, value_enum, default_value_t = Mode::Exclusive)]
    mode: Mode,
    /// Run shipped managers with their drivers, callbacks and guards instead of bare cores
    #[arg(long, conflicts_with_all = ["mode", "nightly", "soak"])]
    manager: bool,
    /// Run the first seed alone and print every event
    #[arg(long)]
    trace: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// How many seeds run at once; all processors unless given
    #[arg(long, value_name = "J")]
    jobs: Option<usize>,
    /// Ten times as many seeds
    #[arg(long)]
    nightly: bool,
    /// Go on with new seeds for so long, such as `90s`, `30m` or `2h`; the first one is printed
    #[arg(long, value_name = "TIME", value_parser = length, conflicts_with_all = ["runs", "nightly"])]
    soak: Option<Length>,
    /// Plant this bug in every core and see whether it is found; a name, a number or `all`
    #[arg(long, value_name = "BUG", conflicts_with_all = ["runs", "seed", "mode", "trace"])]
    planted: Option<String>,
}

/// A length of time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Length {
    time: std::time::Duration,
}

fn length(text: &str) -> Result<Length, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write a number and s, m or h, such as 30m".to_string()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{number:?} is not a number"))?;
    Ok(Length {
        time: std::time::Duration::from_secs(number * seconds),
    })
}

/// The ownership mode of the simulated group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Nobody is granted a partition that another may still hold
    Exclusive,
    /// The same, but who does not answer loses its partitions before its lease is over
    Fenced,
    /// The new owner is granted it at once
    Overlap,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exclusive => "exclusive",
            Self::Fenced => "fenced",
            Self::Overlap => "overlap",
        })
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    exit(if args.manager {
        managers::run(&args)
    } else {
        batch::run(&args)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A soak that takes minutes for hours would be believed to have found nothing.
    #[test]
    fn lengths_are_read_with_their_unit_and_nothing_else() {
        let seconds = |text| length(text).map(|length| length.time.as_secs());
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("30m"), Ok(1800));
        assert_eq!(seconds("2h"), Ok(7200));
        assert!(seconds("30").is_err() && seconds("m").is_err() && seconds("3d").is_err());
    }
}
