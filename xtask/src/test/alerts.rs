//! The alert rules against series that somebody made up: what fires, and what does not.
//!
//! Separate because it needs a program that not everybody has: `promtool`, in Debian's package `prometheus`.
//! What always holds: without it the step is named as skipped, and never passes in silence.

use std::path::PathBuf;
use std::process::Command;

use crate::proc::{Failure, root, step, works};

/// Which program to take in place of the one on the PATH.
const VARIABLE: &str = "PARTI_PROMTOOL";

/// Arguments of `alerts`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Fail when `promtool` is not there
    #[arg(long)]
    required: bool,
}

/// Checks the rules and plays their tests.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let program =
        std::env::var_os(VARIABLE).map_or_else(|| PathBuf::from("promtool"), PathBuf::from);
    if !works(Command::new(&program).arg("--version")) {
        let remedy = format!("install Debian's `prometheus`, or let {VARIABLE} name a promtool");
        if args.required {
            return Err(Failure::new("there is no promtool", remedy));
        }
        eprintln!("==> alert rules: SKIPPED, there is no promtool; to do: {remedy}");
        return Ok(());
    }
    let folder = root().join("docs/observability");
    for (what, file) in [("check", "alerts.yaml"), ("test", "alerts_test.yaml")] {
        let mut promtool = Command::new(&program);
        promtool.current_dir(&folder).args([what, "rules", file]);
        step(
            &format!("alert rules: {what}"),
            &mut promtool,
            "correct the rule, or the test that says what it should do",
        )?;
    }
    Ok(())
}
