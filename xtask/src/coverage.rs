//! Line coverage of the core by its own unit tests, with the lines that no test reaches.
//!
//! Separate because it builds with instrumentation and needs tools of the very LLVM that the
//! compiler brings. What always holds: below the required share it fails and names the files; a
//! machine on which the tools cannot be had says so and fails nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::proc::{Failure, MESSAGES, built, cargo, output, root, target_dir, works};

const REMEDY: &str =
    "write the test that reaches the lines named above; again: cargo xtask coverage";

/// Arguments of `coverage`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The least share of lines, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 95.0)]
    least: f64,
    /// List every line that is not reached, rather than the number of each file
    #[arg(long)]
    lines: bool,
}

impl Default for Args {
    fn default() -> Self {
        let (least, lines) = (95.0, false);
        Self { least, lines }
    }
}

/// Measures, prints a table and compares with the required share.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let Some(tools) = tools() else {
        eprintln!(
            "    NOT MEASURED: the compiler's llvm-cov and llvm-profdata cannot be had here."
        );
        return Ok(());
    };
    let report = measure(&tools)?;
    let files = files(&report)?;
    print(&files, args.lines);
    let (reached, all) = files.iter().fold((0, 0), |(reached, all), file| {
        (reached + file.reached, all + file.lines)
    });
    let share = percent(reached, all);
    println!("parti-core: {share:.2} % of {all} lines are reached by its unit tests");
    if share < args.least {
        let what = format!("the coverage of parti-core is below {} %", args.least);
        return Err(Failure::new(what, REMEDY));
    }
    Ok(())
}

/// The two programs of LLVM.
#[derive(Debug)]
struct Tools {
    cov: PathBuf,
    profdata: PathBuf,
}

/// The compiler's own component, or a package of the same major version.
fn tools() -> Option<Tools> {
    component().or_else(|| {
        // Asked for once; without an answer in time the packages are tried.
        let add = ["60", "rustup", "component", "add", "llvm-tools"];
        works(Command::new("timeout").args(add));
        component().or_else(package)
    })
}

fn component() -> Option<Tools> {
    let mut query = Command::new("rustc");
    query.args(["--print", "target-libdir"]);
    let lib = PathBuf::from(output(&mut query, "").ok()?.trim());
    let bin = lib.parent()?.join("bin");
    let (cov, profdata) = (bin.join("llvm-cov"), bin.join("llvm-profdata"));
    (cov.exists() && profdata.exists()).then_some(Tools { cov, profdata })
}

fn package() -> Option<Tools> {
    let version = output(Command::new("rustc").arg("-vV"), "").ok()?;
    let line = version
        .lines()
        .find_map(|l| l.strip_prefix("LLVM version: "))?;
    let major = line.split('.').next()?;
    let name = |tool: &str| PathBuf::from(format!("{tool}-{major}"));
    let (cov, profdata) = (name("llvm-cov"), name("llvm-profdata"));
    let is_there = |path: &Path| works(Command::new(path).arg("--version"));
    if !is_there(&cov) {
        let install = ["install", "--yes", "--quiet", &format!("llvm-{major}")];
        works(Command::new("apt-get").args(install));
    }
    (is_there(&cov) && is_there(&profdata)).then_some(Tools { cov, profdata })
}

fn measure(tools: &Tools) -> Result<Value, Failure> {
    let mut build = cargo();
    build.args(["rustc", "--package", "parti-core", "--lib"]);
    // The core alone is instrumented: what it depends on is built already.
    build.args(["--profile", "test", MESSAGES]);
    build.args(["--", "-C", "instrument-coverage"]);
    let programs = built(&mut build, "fix what the compiler names")?;
    let program = programs.into_iter().next();
    let program =
        program.ok_or_else(|| Failure::new("cargo built no tests of the core", REMEDY))?;
    let raw = target_dir().join("coverage.profraw");
    let data = target_dir().join("coverage.profdata");
    let mut tests = Command::new(&program);
    tests.current_dir(root().join("parti-core"));
    tests.arg("--quiet").env("LLVM_PROFILE_FILE", &raw);
    output(
        &mut tests,
        "a unit test of parti-core fails: cargo test -p parti-core",
    )?;
    let mut merge = Command::new(&tools.profdata);
    merge.args(["merge", "--sparse"]).arg(&raw);
    output(merge.arg("-o").arg(&data), REMEDY)?;
    let mut export = Command::new(&tools.cov);
    export.args(["export", "--skip-functions"]).arg(&program);
    export.arg("--instr-profile").arg(&data);
    let text = output(&mut export, REMEDY)?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("llvm-cov's report cannot be read: {error}"), REMEDY))
}

/// How much of a file is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    name: String,
    reached: u64,
    lines: u64,
    /// The first lines of regions that no test enters.
    missed: Vec<u64>,
}

/// The files of the core, its tests left out.
fn files(report: &Value) -> Result<Vec<File>, Failure> {
    let all = report["data"][0]["files"].as_array();
    let all = all.ok_or_else(|| Failure::new("llvm-cov's report lists no files", REMEDY))?;
    let mut files: Vec<File> = all.iter().filter_map(file).collect();
    files.sort_by_key(|file| file.reached as i64 - file.lines as i64);
    if files.is_empty() {
        return Err(Failure::new(
            "llvm-cov's report has no file of parti-core",
            REMEDY,
        ));
    }
    Ok(files)
}

fn file(entry: &Value) -> Option<File> {
    let (_, name) = entry["filename"].as_str()?.split_once("parti-core/src/")?;
    let mut parts = name.split('/');
    let is_test = parts.any(|part| part == "tests" || part == "tests.rs");
    if is_test {
        return None;
    }
    let lines = &entry["summary"]["lines"];
    // A segment is [line, column, count, has count, is entry, is gap].
    let segments = entry["segments"].as_array().into_iter().flatten();
    let missed = segments.filter(|s| s[2] == 0 && s[3] == true && s[4] == true && s[5] == false);
    let mut missed: Vec<u64> = missed.filter_map(|s| s[0].as_u64()).collect();
    missed.dedup();
    Some(File {
        name: name.to_owned(),
        reached: lines["covered"].as_u64()?,
        lines: lines["count"].as_u64()?,
        missed,
    })
}

fn print(files: &[File], each_line: bool) {
    println!(
        "{:<28} {:>7} {:>7} {:>8}",
        "file", "lines", "missed", "reached"
    );
    for file in files.iter().filter(|file| file.reached < file.lines) {
        let missed = file.lines - file.reached;
        let share = percent(file.reached, file.lines);
        println!(
            "{:<28} {:>7} {missed:>7} {share:>6.1} %",
            file.name, file.lines
        );
        if each_line {
            let lines: Vec<String> = file.missed.iter().map(u64::to_string).collect();
            println!("    {}", lines.join(" "));
        }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counting the tests themselves would hide what they do not reach.
    #[test]
    fn the_lines_of_tests_do_not_count_and_the_worst_file_comes_first() {
        let entry = |name: &str, covered: u64| {
            serde_json::json!({
                "filename": format!("some/where/parti-core/src/{name}"),
                "summary": { "lines": { "count": 10, "covered": covered } },
                "segments": [[3, 1, 0, true, true, false], [3, 9, 0, true, true, false],
                             [4, 1, 7, true, true, false], [5, 1, 0, true, true, true]],
            })
        };
        let names = [
            "a.rs",
            "b.rs",
            "tests.rs",
            "tests/words.rs",
            "leader/tests.rs",
            "core/tests/world.rs",
        ];
        let entries: Vec<Value> = names
            .iter()
            .zip([10, 5, 0, 0, 0, 0])
            .map(|(n, c)| entry(n, c))
            .collect();
        let report = serde_json::json!({ "data": [{ "files": entries }] });
        let files = files(&report).expect("readable");
        let found: Vec<_> = files.iter().map(|f| (f.name.as_str(), f.reached)).collect();
        assert_eq!(found, [("b.rs", 5), ("a.rs", 10)]);
        assert_eq!(files[0].missed, [3]);
    }
}
