//! Developer commands of the workspace: `cargo xtask <command>`.
//!
//! This file is the command line and nothing else; each command has its own file. What always
//! holds: a command that fails says what to do about it, and `.ci/run` does nothing that a
//! developer cannot do with `cargo xtask ci`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod coverage;
mod deny;
mod launch;
mod layers;
mod nats;
mod proc;
mod test;
mod tidy;
mod wheel;
mod word_size;

/// Developer commands of the parti workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything a change must pass: format, lints, docs, licences, layers, seeds, tests
    Ci(ci::Args),
    /// All tests with a real nats-server: doc tests, then the workspace
    Test(test::Args),
    /// Find or download a nats-server and print its path
    Nats(nats::Args),
    /// Check the house rules that no compiler knows
    Tidy,
    /// Check which crate may import which
    Layers,
    /// Run the simulator over many seeds in the optimised profile
    #[command(disable_help_flag = true)]
    Sim(launch::Args),
    /// Simulate the consumption of streams over many seeds, or hunt its planted bugs
    #[command(disable_help_flag = true)]
    Streams(launch::Args),
    /// Hold every store to the same suite, and check what clients saw under chaos
    #[command(disable_help_flag = true)]
    Conformance(launch::Args),
    /// Groups of real processes on real servers, put through what production does to them
    #[command(disable_help_flag = true)]
    Scenarios(launch::Args),
    /// Line coverage of the core by its unit tests
    Coverage(coverage::Args),
    /// Run a benchmark
    Bench(bench::Args),
    /// The golden plans on a 32-bit target
    WordSize,
    /// Build with the oldest versions that the manifests allow
    Minimal,
    /// Make every package as it would be published, and build it
    Package,
    /// Check and test the alert rules with promtool, if it is there
    Alerts(test::alerts::Args),
    /// Build, test and measure programs outside the workspace, as users write them
    Downstream,
    /// Licences, banned crates, sources and, where the database is in reach, advisories
    Deny,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Ci(args) => ci::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Nats(args) => nats::run(&args),
        Command::Tidy => tidy::run(),
        Command::Layers => layers::run(),
        Command::Sim(args) => launch::sim(&args),
        Command::Coverage(args) => coverage::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::WordSize => word_size::run(),
        Command::Minimal => layers::minimal::run(),
        Command::Package => layers::package::run(),
        Command::Alerts(args) => test::alerts::run(&args),
        Command::Downstream => test::downstream::run(),
        Command::Deny => deny::run(),
        Command::Streams(args) => launch::streams(&args),
        Command::Conformance(args) => launch::conformance(&args),
        Command::Scenarios(args) => launch::scenarios(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    /// Contradicting argument definitions only show when somebody asks for help.
    #[test]
    fn the_command_line_is_coherent() {
        Cli::command().debug_assert();
    }
}
