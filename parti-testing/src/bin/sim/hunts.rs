//! `sim --planted`: the hunts for planted bugs, one after the other.
//!
//! What always holds: standard output carries one line for each bug and the sum, nothing else.

use std::time::Instant;

use parti_core::planted::Planted;
use parti_testing::simulator::planted::{Finding, HUNTS, Hunt};

use super::Args;
use super::Failure;
use super::batch::{incoherent, processors};
use super::failure::root;

/// Looks for one bug or for all.
pub(crate) fn hunt(word: &str, args: &Args) -> Result<(), Failure> {
    let hunts = chosen(word)?;
    let (start, jobs) = (Instant::now(), args.jobs.unwrap_or_else(processors).max(1));
    if !args.json {
        println!(" #  bug                    found  by    meant           seeds of budget");
    }
    let mut wrong = Vec::new();
    for hunt in &hunts {
        let finding = hunt.run(jobs).map_err(|error| incoherent(&error))?;
        if args.json {
            println!("{}", finding.to_json());
        } else {
            println!("{}", row(&finding));
        }
        if let Some(problem) = &finding.problem {
            eprintln!("{}: {problem}", finding.name);
            wrong.push(finding.name);
        }
    }
    for plan in stored(&hunts)? {
        wrong.push(plan);
    }
    let (count, spent) = (hunts.len(), start.elapsed().as_secs_f64());
    if args.json {
        let ok = wrong.is_empty();
        println!(
            "{}",
            serde_json::json!({"bugs": count, "wrong": wrong, "seconds": spent, "ok": ok})
        );
    } else {
        println!(
            "{count} planted bugs, {} not as they should be, {spent:.1} s",
            wrong.len()
        );
    }
    match wrong.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(
            format!("{} planted bugs were missed: {wrong:?}", wrong.len()),
            format!("cargo xtask sim --planted {first}; then fix the checker or the generator"),
        )),
    }
}

/// Stored plans that no longer show the bug they are named after.
fn stored(hunts: &[&'static Hunt]) -> Result<Vec<&'static str>, Failure> {
    let mut wrong = Vec::new();
    for hunt in hunts {
        let name = hunt.bug.as_str();
        let path = root().join(format!("parti-testing/tests/plans/planted-{name}.json"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let plan = serde_json::from_str(&text).map_err(|error| incoherent(&error))?;
        if !hunt
            .is_shown_by(&plan)
            .map_err(|error| incoherent(&error))?
        {
            eprintln!("{name}: its stored plan no longer shows it");
            wrong.push(name);
        }
    }
    Ok(wrong)
}

fn chosen(word: &str) -> Result<Vec<&'static Hunt>, Failure> {
    if word == "all" {
        return Ok(HUNTS.iter().collect());
    }
    let bug = Planted::parse(word);
    let hunts: Vec<_> = HUNTS.iter().filter(|hunt| Some(hunt.bug) == bug).collect();
    if hunts.is_empty() {
        let names: Vec<_> = HUNTS.iter().map(|hunt| hunt.bug.as_str()).collect();
        let remedy = format!("use `all` or one of {}", names.join(", "));
        return Err(Failure::new(format!("there is no bug {word:?}"), remedy));
    }
    Ok(hunts)
}

fn row(finding: &Finding) -> String {
    let Finding { number, name, .. } = finding;
    let verdict = if finding.ok { "" } else { "  WRONG" };
    if let Some(test) = finding.scenario {
        return format!("{number:>2}  {name:<22} scripted: {test}{verdict}");
    }
    let seed = finding
        .seed
        .map_or("-".to_string(), |seed| seed.to_string());
    let property = finding.property.unwrap_or("-");
    let meant = match finding.expected {
        [] => "nothing".to_string(),
        expected => expected.join(" "),
    };
    let (runs, budget) = (finding.runs, finding.budget);
    format!(
        "{number:>2}  {name:<22} {seed:>5}  {property:<4}  {meant:<14} {runs:>6} of {budget}{verdict}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that is misspelt must not pass for a bug that was found.
    #[test]
    fn an_unknown_bug_is_an_error_that_names_the_known_ones() {
        let error = chosen("no-such-bug").expect_err("unknown").to_string();
        assert!(error.contains("old-record"), "{error}");
        assert_eq!(chosen("all").map(|all| all.len()), Ok(HUNTS.len()));
        assert_eq!(chosen("4").map(|one| one[0].bug), Ok(Planted::OldRecord));
    }

    /// A hunt that went wrong must show in the table.
    #[test]
    fn a_missed_bug_is_marked() {
        let mut finding = chosen("14").expect("known")[0].run(1).expect("coherent");
        assert!(!row(&finding).contains("WRONG"), "{finding:?}");
        finding.ok = false;
        assert!(row(&finding).ends_with("WRONG"));
    }
}
