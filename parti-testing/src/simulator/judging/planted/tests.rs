//! Tests of the hunts and of the table that documents them.

use super::*;

/// A bug without a hunt proves nothing.
#[test]
fn every_bug_is_hunted_once_and_by_properties_that_exist() {
    let hunted: Vec<_> = HUNTS.iter().map(|hunt| hunt.bug).collect();
    assert_eq!(hunted, Planted::ALL);
    let mut waiting = 0;
    for hunt in HUNTS {
        let named = match hunt.search {
            Search::Seeds { expected, .. } => expected,
            Search::Harmless { tolerated, .. } => tolerated,
            Search::Scripted { .. } => continue,
        };
        assert!(!named.is_empty(), "{hunt:?}");
        // A hunt may name properties that are still to be written, but no more than a few do.
        waiting += usize::from(!is_checked(named));
    }
    assert!(
        waiting <= 2,
        "{waiting} hunts name no property that is checked"
    );
}

/// Somebody who looks a bug up must find it by number and by name.
#[test]
fn bugs_are_found_by_number_and_by_name() {
    for &bug in Planted::ALL {
        assert_eq!(Planted::parse(bug.as_str()), Some(bug));
        assert_eq!(Planted::parse(&bug.number().to_string()), Some(bug));
        assert!(!bug.description().is_empty());
    }
    assert_eq!(Planted::parse("no-such-bug"), None);
}

/// A result that depends on the number of processors cannot be looked up again.
#[test]
fn a_hunt_is_the_same_with_any_number_of_threads() {
    let hunt = HUNTS.iter().find(|hunt| hunt.bug == Planted::BlindHead);
    let hunt = hunt.expect("in the table");
    let finding = hunt.run(1).expect("coherent");
    assert!(finding.ok, "{finding:?}");
    assert_eq!(hunt.run(3).expect("coherent"), finding);
}

/// A hunt that takes any finding for success would hide a checker that went blind.
#[test]
fn a_bug_found_by_another_property_is_a_problem() {
    let wrong = seeds(Planted::BlindHead, 3, &["S3"]);
    let finding = wrong.run(1).expect("coherent");
    let problem = finding.problem.expect("S7 found it");
    assert!(!finding.ok && problem.contains("S7"), "{problem}");
    let never = seeds(Planted::StaleEvidence, 1, &["S9"]);
    let finding = never.run(1).expect("coherent");
    assert_eq!((finding.ok, finding.runs), (false, 1));
}

/// A table by hand goes stale with the first bug that is added.
#[test]
fn the_table_in_the_documentation_names_every_bug_as_it_is_hunted() {
    let table = include_str!("../../../../../docs/verification/PLANTED.md");
    for hunt in HUNTS {
        let row = hunt.row();
        assert!(
            table.contains(&row),
            "docs/verification/PLANTED.md lacks the row\n{row}"
        );
    }
    let rows = table.lines().filter(|line| {
        let cell = line.split('|').nth(1).map(str::trim);
        cell.is_some_and(|cell| cell.parse::<u8>().is_ok())
    });
    assert_eq!(rows.count(), HUNTS.len(), "a row for each bug and no other");
}
