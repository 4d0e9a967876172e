//! The tables of `docs/verification/SIMULATION.md` and `docs/BACKENDS.md` are those of the code.
//!
//! `PARTI_WRITE_DOCS=1 cargo test -p parti-testing --test documents` writes them again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use parti_testing::kit::conformance;
use parti_testing::simulator::FaultClass;
use parti_testing::simulator::checks::PROPERTIES;

const CLASSES: &str = include_str!("../src/simulator/plans/generate/fault-model.md");

fn page(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name)
}

fn properties<'a>(rows: impl Iterator<Item = (&'a str, &'a str, &'a str)>) -> String {
    let mut table = "| property | what must hold | or else |\n|---|---|---|\n".to_owned();
    for (id, name, why) in rows {
        let _ = writeln!(table, "| `{id}` | {name} | {why} |");
    }
    table
}

#[cfg(feature = "manager")]
fn of_managers() -> String {
    let mut table = "| property | what must hold |\n|---|---|\n".to_owned();
    for (property, what) in parti_testing::manager::PROPERTIES {
        let _ = writeln!(table, "| `{property:?}` | {what} |");
    }
    table
}

/// The table in the documentation of `FaultClass`. A link of rustdoc leads nowhere on a page.
fn faults() -> String {
    CLASSES.replace("[`Boot::seed`](parti_core::Boot::seed)", "`Boot::seed`")
}

fn replaced(text: &str, name: &str, table: &str) -> String {
    let begin = format!("<!-- table: {name} -->\n");
    let (before, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("no place for {name}"));
    let (_, after) = rest.split_once("<!-- end -->").expect("the place ends");
    format!("{before}{begin}{table}<!-- end -->{after}")
}

/// A page about what is checked that has fallen behind the code promises what nobody checks.
#[test]
fn the_tables_of_properties_and_faults_are_those_of_the_code() {
    let page = page("verification/SIMULATION.md");
    let present = std::fs::read_to_string(&page).expect("the page is there");
    let library = PROPERTIES.iter().map(|p| (p.id, p.name, p.why));
    let mut wanted = replaced(&present, "properties", &properties(library));
    #[cfg(feature = "manager")]
    {
        wanted = replaced(&wanted, "properties of managers", &of_managers());
    }
    wanted = replaced(&wanted, "faults", &faults());
    keep(&page, &present, &wanted);
}

/// The page is as it should be, or is written so.
fn keep(page: &Path, present: &str, wanted: &str) {
    if std::env::var_os("PARTI_WRITE_DOCS").is_some() {
        std::fs::write(page, wanted).expect("writable");
        return;
    }
    let differs = present
        .lines()
        .zip(wanted.lines())
        .find(|(is, should)| is != should);
    assert_eq!(differs, None, "write it again with PARTI_WRITE_DOCS=1");
    assert_eq!(present, wanted, "write it again with PARTI_WRITE_DOCS=1");
}

/// Somebody who writes a backend looks up there why a case matters.
#[test]
fn the_tables_of_cases_are_those_of_the_suite() {
    let page = page("BACKENDS.md");
    let present = std::fs::read_to_string(&page).expect("the page is there");
    let table = |rows: &mut dyn Iterator<Item = (&str, &str)>| {
        let mut table = "| what must hold | or else |\n|---|---|\n".to_owned();
        for (name, why) in rows {
            let _ = writeln!(table, "| {name} | {why} |");
        }
        table
    };
    let mut cases = conformance::cases().map(|case| (case.name, case.why));
    let wanted = replaced(&present, "cases", &table(&mut cases));
    let outages = table(&mut conformance::outage_cases());
    keep(&page, &present, &replaced(&wanted, "outages", &outages));
}

/// A class that is injected and not in the fault model is one that nobody can look up.
#[test]
fn every_class_of_faults_is_in_the_table() {
    let table = faults();
    let missing: Vec<_> = FaultClass::ALL
        .iter()
        .map(|class| format!("`{class:?}`"))
        .filter(|class| !table.contains(class.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
