//! Golden plans: the same input must give the same plan on every machine and in every release.
//!
//! A difference means that two leaders of different releases would disagree. If it is intended, the
//! strategy's ID must change; then run the test with `PARTI_GOLDEN=write` to renew the files.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use parti_core::{AssignmentStrategy, PlanInput};
use parti_strategy::workload::{Weights, Workload, worker_table};
use parti_strategy::{
    ConsistentHash, Rendezvous, RoundRobin, Sticky, WeightedConsistentHash, next_input,
};

fn strategies() -> Vec<Box<dyn AssignmentStrategy>> {
    vec![
        Box::new(Sticky::new()),
        Box::new(Sticky::new().without_homes()),
        Box::new(Sticky::new().with_band(20, 50)),
        Box::new(ConsistentHash::new()),
        Box::new(ConsistentHash::new().with_load_bound(250)),
        Box::new(WeightedConsistentHash::new()),
        Box::new(Rendezvous::new()),
        Box::new(RoundRobin::new()),
    ]
}

/// Owners by partition number, for a first plan and for the changes that follow it.
fn plans(workers: u32, partitions: u32) -> String {
    let mut text = String::new();
    for strategy in strategies() {
        for weights in [Weights::Equal, Weights::Uniform, Weights::Zipf] {
            let group = Workload::new(workers, partitions, weights);
            let mut input = PlanInput::fresh(group.partitions(), group.workers());
            let changes = [
                ("fresh", group.workers()),
                ("join", worker_table(0..=workers)),
                ("leave", worker_table(1..=workers)),
                ("return", worker_table(0..=workers)),
            ];
            for (change, table) in changes {
                if change != "fresh" {
                    let plan = strategy.plan(&input).expect("a plan");
                    input = next_input(&input, &plan, table);
                }
                let plan = strategy.plan(&input).expect("a plan");
                write!(text, "{} {} {change}:", strategy.id(), weights.name()).expect("memory");
                for rank in group.ranks() {
                    write!(text, " {}", plan.owners[rank as usize]).expect("memory");
                }
                text.push('\n');
            }
        }
    }
    text
}

fn check(workers: u32, partitions: u32) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = folder.join(format!("{workers}x{partitions}.txt"));
    let found = plans(workers, partitions);
    if std::env::var_os("PARTI_GOLDEN").is_some_and(|mode| mode == "write") {
        fs::write(&path, &found).expect("the golden file can be written");
    }
    let expected = fs::read_to_string(&path).expect("the golden file can be read");
    assert_eq!(
        found.lines().count(),
        expected.lines().count(),
        "{}",
        path.display()
    );
    for (found, expected) in found.lines().zip(expected.lines()) {
        let (name, _) = expected.split_once(':').expect("a name and owners");
        assert!(
            found == expected,
            "the plan of {name} at {workers} x {partitions} has changed"
        );
    }
}

/// A small group, easy to look at when something differs.
#[test]
fn plans_of_ten_workers_are_the_golden_ones() {
    check(10, 100);
}

/// Large enough for every branch of the strategies to be taken.
#[test]
fn plans_of_a_hundred_workers_are_the_golden_ones() {
    check(100, 1000);
}

/// The sources of a crate, without their tests.
fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    let entries = fs::read_dir(folder).expect("the sources are there");
    for path in entries.map(|entry| entry.expect("a readable entry").path()) {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("readable");
            let code = text
                .split("#[cfg(test)]")
                .next()
                .unwrap_or_default()
                .to_owned();
            found.push((path, code));
        }
    }
}

/// Plans must not depend on the word size, the byte order, floating point, hash seeds, clocks or
/// threads. None of these can creep in without naming one of the words below.
#[test]
fn no_source_of_differences_between_machines_is_used() {
    let forbidden = [
        "f32",
        "f64",
        "HashMap",
        "HashSet",
        "RandomState",
        "DefaultHasher",
        "std::hash",
        "core::hash",
        "ne_bytes",
        "be_bytes",
        "Instant",
        "SystemTime",
        "std::thread",
        "std::env",
        "as_ptr",
        "isize",
    ];
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    assert!(files.len() > 20, "the sources were not found");
    for (path, code) in files {
        let lines = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for (number, line) in lines.enumerate() {
            let word = forbidden.iter().find(|word| line.contains(*word));
            assert!(
                word.is_none(),
                "{} uses {word:?} near line {number}: {line}",
                path.display()
            );
            // Whatever is hashed has a fixed width: only u64 and text ever reach the hash function.
            let hashes = line.contains("to_le_bytes") || line.contains("xxh3_64");
            assert!(
                !(hashes && line.contains("usize")),
                "{}: {line}",
                path.display()
            );
        }
    }
}
