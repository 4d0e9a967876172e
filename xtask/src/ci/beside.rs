//! Programs that only compute, run while other steps mostly wait for clocks and servers.
//!
//! Separate because two things at once must not read as one. What always holds: those beside have the
//! lowest priority, so that nothing which measures time is late for them; what they say comes out in one
//! piece once all is done; and none of them begins after a failure.

use std::io::Read as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::proc::{Failure, times, works};

/// A program with the name of its step.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) name: String,
    pub(crate) command: Command,
    pub(crate) remedy: &'static str,
}

/// What came of one.
#[derive(Debug)]
struct Done {
    name: String,
    said: String,
    seconds: f64,
    outcome: Result<(), Failure>,
}

/// Does the work while the programs run, one after the other.
pub(crate) fn beside(
    programs: Vec<Beside>,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failed = AtomicBool::new(false);
    let (outcome, done) = thread::scope(|scope| {
        let computing = scope.spawn(|| run(programs, &failed));
        let outcome = work();
        failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
        eprintln!("==> the end of what ran beside");
        (outcome, computing.join())
    });
    let all = done.map_err(|_| Failure::new("a step beside others panicked", "look above"))?;
    let mut result = outcome;
    for done in all {
        eprint!("==> {}\n{}", done.name, done.said);
        let word = if done.outcome.is_ok() { "ok" } else { "FAILED" };
        eprintln!("    {}: {word} in {:.1} s", done.name, done.seconds);
        result = result.and(done.outcome);
    }
    result
}

fn run(programs: Vec<Beside>, failed: &AtomicBool) -> Vec<Done> {
    let nice = works(Command::new("nice").args(["-n", "19", "true"]));
    let mut all = Vec::new();
    for program in programs {
        if failed.load(Ordering::Relaxed) {
            break;
        }
        let Beside {
            name,
            command,
            remedy,
        } = program;
        let command = if nice { lowered(&command) } else { command };
        let named = format!("{name} (beside others)");
        let ((said, outcome), wall) = times::measured(&named, || said(&name, command, remedy));
        failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
        let seconds = wall.as_secs_f64();
        all.push(Done {
            name,
            said,
            seconds,
            outcome,
        });
    }
    all
}

/// The same program with the lowest priority.
fn lowered(command: &Command) -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]).arg(command.get_program());
    nice.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        nice.current_dir(folder);
    }
    nice
}

/// Runs it; both of its outputs in the order in which they were written.
fn said(name: &str, mut command: Command, remedy: &str) -> (String, Result<(), Failure>) {
    let mut said = Vec::new();
    let mut run = || {
        let (mut from, to) = std::io::pipe()?;
        command.stdout(to.try_clone()?).stderr(to);
        let mut child = command.spawn()?;
        // It keeps copies of the writing end, and reading ends when there are none.
        drop(std::mem::replace(&mut command, Command::new("")));
        from.read_to_end(&mut said)?;
        child.wait()
    };
    let outcome = match run() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(format!("{name} failed ({status})"), remedy)),
        Err(error) => Err(Failure::new(format!("{name}: {error}"), remedy)),
    };
    (String::from_utf8_lossy(&said).into_owned(), outcome)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(name: &str, words: &str) -> Beside {
        let mut command = Command::new("sh");
        command.args(["-c", words]).env("WORD", "two");
        let (name, remedy) = (name.to_owned(), "do it by hand");
        Beside {
            name,
            command,
            remedy,
        }
    }

    /// A failure beside that goes unseen passes a broken change; one that waits for the rest wastes it.
    #[test]
    fn a_failure_on_either_side_is_the_failure_of_both() {
        let here = || Err(Failure::new("here", "repair it"));
        assert_eq!(beside(vec![shell("a", "true")], || Ok(())), Ok(()));
        assert_eq!(beside(vec![shell("a", "true")], here), here());
        let error = beside(vec![shell("a", "false"), shell("b", "true")], || Ok(()))
            .expect_err("one of them failed");
        assert!(error.to_string().contains("a failed"), "{error}");
        let all = run(
            vec![shell("a", "false"), shell("b", "true")],
            &AtomicBool::new(false),
        );
        assert_eq!(all.len(), 1, "{all:?}");
    }

    /// An error above the step that it belongs to is looked for in the wrong place.
    #[test]
    fn what_is_said_is_kept_in_its_order() {
        let failed = AtomicBool::new(false);
        let all = run(
            vec![shell("a", "echo one; echo $WORD >&2; echo three")],
            &failed,
        );
        assert_eq!(all[0].said, "one\ntwo\nthree\n");
    }
}
