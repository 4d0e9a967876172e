//! Many seeds, one result; and bugs hunted by seeds.
//!
//! What always holds: the result depends on the seeds alone.

use core::ops::Range;
use std::collections::BTreeMap;
use std::fmt;

use super::checks::Violation;
use super::planted::Bug;
use super::world::{Run, run};

/// Which seeds to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The seeds.
    pub seeds: Range<u64>,
    /// After how many failures it ends early.
    pub max_failures: usize,
}

/// A run in which something did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What did not hold.
    pub violation: Violation,
}

/// The result of a batch.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// How many runs there were, by retention.
    pub runs: BTreeMap<String, u64>,
    /// How many messages were published.
    pub published: u64,
    /// How often a partition got another owner.
    pub moves: u64,
    /// How many handler calls were repeats.
    pub repeats: u64,
    /// What did not hold.
    pub failures: Vec<Failure>,
}

impl Batch {
    /// Runs them; a bug is one that every owner has.
    #[must_use]
    pub fn run(&self, bug: Option<Bug>) -> Report {
        let mut report = Report::default();
        for seed in self.seeds.clone() {
            let outcome = run(&Run {
                seed,
                bug,
                traced: false,
            });
            let kind = format!("{:?}", outcome.retention);
            *report.runs.entry(kind).or_default() += 1;
            report.published += outcome.published;
            report.moves += outcome.moves;
            report.repeats += outcome.repeats;
            if let Some(violation) = outcome.violation {
                report.failures.push(Failure { seed, violation });
                if report.failures.len() >= self.max_failures {
                    break;
                }
            }
        }
        report
    }
}

/// The first of the seeds that shows a bug, and how.
#[must_use]
pub fn hunt(bug: Bug, seeds: Range<u64>) -> Option<Failure> {
    let batch = Batch {
        seeds,
        max_failures: 1,
    };
    batch.run(Some(bug)).failures.into_iter().next()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            runs,
            published,
            moves,
            repeats,
            failures,
        } = self;
        let count: u64 = runs.values().sum();
        writeln!(
            f,
            "{count} runs {runs:?}, {} with violations",
            failures.len()
        )?;
        writeln!(
            f,
            "{published} messages, {moves} ownerships, {repeats} repeated calls"
        )?;
        for Failure { seed, violation } in failures {
            writeln!(f, "seed {seed}: {violation}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bug that is not found is one that production can have.
    #[test]
    fn owners_as_they_are_hold_and_every_planted_bug_is_found() {
        let (seeds, max_failures) = (0..200, 3);
        let report = Batch {
            seeds,
            max_failures,
        };
        let report = report.run(None);
        assert!(report.failures.is_empty(), "{report}");
        assert_eq!(report.runs.len(), 3, "{report}");
        for bug in Bug::ALL {
            assert!(hunt(bug, 0..200).is_some(), "{}", bug.as_str());
        }
    }

    /// A seed that runs differently the second time reports nothing.
    #[test]
    fn a_seed_is_a_complete_report() {
        let one = run(&Run {
            seed: 7,
            bug: None,
            traced: true,
        });
        let two = run(&Run {
            seed: 7,
            bug: None,
            traced: true,
        });
        assert!(!one.trace.is_empty());
        assert_eq!(one.trace, two.trace);
    }
}
