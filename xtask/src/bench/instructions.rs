//! Instruction counts of fixed workloads, compared with those on record.
//!
//! Counts repeat where times do not, so a slower algorithm shows on a busy machine too. What always
//! holds: a count above what is tolerated fails with the command that records the new ones, and a
//! machine that cannot count says so and fails nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::proc::{Failure, cargo, output, programs, root, works};

/// How much more than on record is tolerated, in per cent.
const TOLERANCE: u64 = 5;

const RECORD: &str = "parti-strategy/benches/instructions.json";
const RECORD_COUNTS: &str = "cargo xtask bench instructions --record";

/// Arguments of `bench instructions`.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// One JSON object per workload and line instead of a table
    #[arg(long)]
    json: bool,
    /// Put the counts on record instead of comparing them
    #[arg(long)]
    record: bool,
}

/// Counts by workload, and what they are counts of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counts {
    compiler: String,
    target: String,
    workloads: BTreeMap<String, u64>,
}

/// Counts and compares, or records.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if !works(Command::new("valgrind").arg("--version")) {
        eprintln!("    NOT COUNTED: valgrind is missing. `apt-get install valgrind` brings it.");
        return Ok(());
    }
    let (compiler, target) = compiler()?;
    let program = build()?;
    let mut workloads = BTreeMap::new();
    for name in output(&mut Command::new(&program), "run it by hand")?.lines() {
        workloads.insert(name.to_owned(), count(&program, name)?);
    }
    let counts = Counts {
        compiler,
        target,
        workloads,
    };
    let path = root().join(RECORD);
    if args.record {
        show(&counts, None, args.json);
        return write(&path, &counts);
    }
    let recorded = read(&path)?;
    show(&counts, Some(&recorded), args.json);
    if recorded.target != counts.target {
        let (there, here) = (&recorded.target, &counts.target);
        eprintln!("    NOT COMPARED: the counts on record are of {there}, these of {here}.");
        return Ok(());
    }
    match complaints(&counts, &recorded) {
        none if none.is_empty() => Ok(()),
        all => Err(Failure::new(
            all.join("\n       "),
            format!(
                "make it cheaper again; if it has to cost that much, `{RECORD_COUNTS}` and say why"
            ),
        )),
    }
}

/// What is wrong with the counts, by workload.
fn complaints(counts: &Counts, recorded: &Counts) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, &found) in &counts.workloads {
        match recorded.workloads.get(name) {
            Some(&before) if found * 100 > before * (100 + TOLERANCE) => complaints.push(format!(
                "{name} takes {found} instructions, {before} are on record ({}), more than \
                 {TOLERANCE} % is not tolerated",
                change(before, found)
            )),
            Some(_) => {}
            None => complaints.push(format!("{name} is not on record")),
        }
    }
    let gone = |name: &&String| !counts.workloads.contains_key(*name);
    for name in recorded.workloads.keys().filter(gone) {
        complaints.push(format!("{name} is on record and no longer there"));
    }
    if !complaints.is_empty() && counts.compiler != recorded.compiler {
        let (there, here) = (&recorded.compiler, &counts.compiler);
        complaints.push(format!(
            "the counts on record are of {there}, these of {here}"
        ));
    }
    complaints
}

/// The difference in per cent, with its sign.
fn change(before: u64, found: u64) -> String {
    let percent = 100.0 * (found as f64 - before as f64) / before.max(1) as f64;
    format!("{percent:+.1} %")
}

fn show(counts: &Counts, recorded: Option<&Counts>, as_json: bool) {
    for (name, &found) in &counts.workloads {
        let before = recorded.and_then(|recorded| recorded.workloads.get(name).copied());
        if as_json {
            let line = json!({ "workload": name, "instructions": found, "recorded": before });
            println!("{line}");
        } else {
            let change = before.map_or("new".to_owned(), |before| change(before, found));
            println!("{name:<36} {found:>12}  {change:>8}");
        }
    }
}

/// The compiler's version and the target it builds for.
fn compiler() -> Result<(String, String), Failure> {
    let remedy = "run `rustc -vV` by hand";
    let text = output(Command::new("rustc").current_dir(root()).arg("-vV"), remedy)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    let first = text.lines().next().unwrap_or_default();
    Ok((first.to_owned(), host.unwrap_or_default().to_owned()))
}

/// Builds the workloads in the release profile and finds the program.
fn build() -> Result<PathBuf, Failure> {
    let remedy = "fix what the compiler names";
    let mut build = cargo();
    build.args(["bench", "--quiet", "--package", "parti-strategy"]);
    build.args([
        "--bench",
        "instructions",
        "--no-run",
        "--message-format=json",
    ]);
    let messages = output(&mut build, remedy)?;
    let program = programs(&messages).into_iter().next();
    program.ok_or_else(|| Failure::new("cargo named no program for the workloads", remedy))
}

/// The instructions of one repetition: with it, less without it.
fn count(program: &Path, name: &str) -> Result<u64, Failure> {
    let counted = |repetitions: &str| {
        let mut tool = Command::new("valgrind");
        tool.args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--log-fd=1",
        ]);
        tool.arg(program).args([name, repetitions]);
        let remedy = "run the program by hand, without valgrind and with it";
        let said = output(&mut tool, remedy)?;
        collected(&said).ok_or_else(|| Failure::new(format!("no count in: {said}"), remedy))
    };
    Ok(counted("1")?.saturating_sub(counted("0")?))
}

/// The count in what callgrind says: `==42== Collected : 12345`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected"))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn read(path: &Path) -> Result<Counts, Failure> {
    let broken = |reason: &str| {
        Failure::new(
            format!("{RECORD}: {reason}"),
            format!("run `{RECORD_COUNTS}`"),
        )
    };
    let text = fs::read_to_string(path).map_err(|error| broken(&error.to_string()))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| broken(&error.to_string()))?;
    let word = |name: &str| value[name].as_str().map(str::to_owned);
    let workloads = value["workloads"].as_object();
    let (Some(compiler), Some(target), Some(workloads)) =
        (word("compiler"), word("target"), workloads)
    else {
        return Err(broken(
            "the compiler, the target or the workloads are missing",
        ));
    };
    let number = |(name, count): (&String, &Value)| Some((name.clone(), count.as_u64()?));
    let workloads = workloads.iter().map(number).collect::<Option<_>>();
    let workloads = workloads.ok_or_else(|| broken("a count is not a number"))?;
    Ok(Counts {
        compiler,
        target,
        workloads,
    })
}

fn write(path: &Path, counts: &Counts) -> Result<(), Failure> {
    let value = json!({
        "compiler": counts.compiler,
        "target": counts.target,
        "workloads": counts.workloads,
    });
    fs::write(path, format!("{value:#}\n"))
        .map_err(|error| Failure::new(format!("{RECORD}: {error}"), "make it writable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(compiler: &str, workloads: &[(&str, u64)]) -> Counts {
        let named = |&(name, count): &(&str, u64)| (name.to_owned(), count);
        Counts {
            compiler: compiler.to_owned(),
            target: "here".to_owned(),
            workloads: workloads.iter().map(named).collect(),
        }
    }

    /// A gate that lets a slower plan pass, or a workload vanish, guards nothing.
    #[test]
    fn more_than_tolerated_new_and_missing_workloads_are_named() {
        let recorded = counts("one", &[("a", 1000), ("b", 1000), ("c", 1000)]);
        let same = counts("two", &[("a", 1050), ("b", 900), ("c", 1000)]);
        assert_eq!(complaints(&same, &recorded), [""; 0]);
        let worse = counts("two", &[("a", 1051), ("b", 1000), ("d", 5)]);
        let all = complaints(&worse, &recorded).join("\n");
        for part in ["a takes 1051", "+5.1 %", "d is not on", "c is on", "two"] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }

    /// The tool's words are all there is to read the count from.
    #[test]
    fn the_count_is_read_from_the_tools_words() {
        let said = "==7== Events    : Ir\n==7== Collected : 123456\n==7==\n";
        assert_eq!(collected(said), Some(123_456));
        assert_eq!(collected("==7== nothing"), None);
    }
}
