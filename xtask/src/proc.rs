//! Running programs as named steps, and the failure that every command ends with.
//!
//! Separate because each command needs it. What always holds: a step says when it begins, how long
//! it took and, when it fails, what to do.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) mod times;

/// Makes cargo name what it builds, and say everything else as ever.
pub(crate) const MESSAGES: &str = "--message-format=json-render-diagnostics";

/// Why a command failed and what to do about it. The workspace's sources are as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    what: String,
    remedy: String,
}

impl Failure {
    /// A failure with its remedy.
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (what, remedy) = (what.into(), remedy.into());
        Self { what, remedy }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n   to do: {}", self.what, self.remedy)
    }
}

impl Error for Failure {}

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The folder of everything that is built or downloaded.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The cargo that started us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Set by the outer cargo for this binary; inner builds must not inherit them.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    command.current_dir(root());
    command
}

/// Runs a program as a step with its output in sight.
pub(crate) fn step(name: &str, command: &mut Command, remedy: &str) -> Result<(), Failure> {
    timed(name, || visible(name, command, remedy))
}

/// Does something as a step: says that it begins and how long it took.
pub(crate) fn timed<T>(
    name: &str,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    eprintln!("==> {name}");
    let (outcome, wall) = times::measured(name, work);
    let word = if outcome.is_ok() { "ok" } else { "FAILED" };
    eprintln!("    {name}: {word} in {:.1} s", wall.as_secs_f64());
    outcome
}

/// Runs a program with its output in sight.
pub(crate) fn visible(name: &str, command: &mut Command, remedy: &str) -> Result<(), Failure> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(format!("{name} failed ({status})"), remedy)),
        Err(error) => Err(not_started(command, &error)),
    }
}

/// Builds with cargo in sight, and lists the programs that it built; [`MESSAGES`] is among its arguments.
pub(crate) fn built(build: &mut Command, remedy: &str) -> Result<Vec<PathBuf>, Failure> {
    let out = build.stderr(Stdio::inherit()).output();
    let out = out.map_err(|error| not_started(build, &error))?;
    if out.status.success() {
        return Ok(programs(&String::from_utf8_lossy(&out.stdout)));
    }
    let what = format!("the build failed ({})", out.status);
    Err(Failure::new(what, remedy))
}

/// Runs a program and takes its standard output; what it says on standard error is in the failure.
pub(crate) fn output(command: &mut Command, remedy: &str) -> Result<String, Failure> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_started(command, &error))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let program = command.get_program().to_string_lossy();
    let what = format!("{program} failed ({}): {}", out.status, said.trim());
    Err(Failure::new(what, remedy))
}

/// The programs that a build with `--message-format=json` names.
pub(crate) fn programs(messages: &str) -> Vec<PathBuf> {
    let program = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    };
    messages.lines().filter_map(program).collect()
}

/// Whether a program starts and ends well with these arguments.
pub(crate) fn works(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    let program = command.get_program().to_string_lossy();
    let remedy = format!("install {program} or put it on the PATH");
    Failure::new(format!("{program} could not be started: {error}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step that hides the exit status lets a broken build pass.
    #[test]
    fn a_failing_program_is_a_failure_with_a_remedy() {
        let error = visible(
            "cargo",
            cargo().arg("no-such-command-here"),
            "spell it right",
        )
        .expect_err("must fail");
        assert!(
            error.to_string().contains("to do: spell it right"),
            "{error}"
        );
        let error = output(&mut Command::new("no-such-program-here"), "").expect_err("must fail");
        assert!(
            error.to_string().contains("install no-such-program-here"),
            "{error}"
        );
        assert!(!works(&mut Command::new("no-such-program-here")));
    }
}
