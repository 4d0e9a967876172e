//! Stored plans: what was found once stays a file, since generators change.
//!
//! Every plan must pass with the core as it is. One called `planted-<bug>.json` must fail with that
//! bug, by the property its hunt names; that half needs the feature `planted`.

use std::path::PathBuf;

use parti_testing::simulator::{BugReport, Plan, Sim};

/// Every stored plan and the name of its file, in order.
fn plans() -> Vec<(String, Plan)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let files = std::fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("has a name").to_string_lossy();
        let text = std::fs::read_to_string(&path).expect("readable");
        let plan = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        (name.into_owned(), plan)
    };
    paths.into_iter().map(read).collect()
}

/// A plan that shows a bug must show the bug and not the core.
#[test]
fn planted_and_other_stored_plans_pass_with_the_core_as_it_is() {
    let plans = plans();
    assert!(!plans.is_empty());
    for (name, plan) in &plans {
        let outcome = Sim::run(plan).expect("coherent");
        let report = BugReport {
            plan,
            outcome: &outcome,
        };
        assert!(outcome.violations.is_empty(), "{name}\n{report}");
    }
}

/// The rarest bugs must be found even if the generator no longer makes the plan that shows them.
#[cfg(feature = "planted")]
#[test]
fn each_stored_plan_finds_its_planted_bug() {
    use parti_core::planted::Planted;
    use parti_testing::simulator::planted::Hunt;

    let mut found = 0;
    for (name, plan) in plans() {
        let Some(bug) = name.strip_prefix("planted-") else {
            continue;
        };
        let bug = Planted::parse(bug).expect("the file is named after a bug");
        let hunt = Hunt::of(bug).expect("in the table");
        let shown = hunt.is_shown_by(&plan).expect("coherent");
        assert!(shown, "{name} no longer shows its bug");
        found += 1;
    }
    assert!(found > 0, "no plan is named after a bug");
}
