//! Hunting planted bugs: each must be found within its budget and by a property that is meant to.
//!
//! A simulator that finds nothing may be blind. Here the core is spoiled on purpose, one bug at a
//! time, and seeds run until a checker objects. What always holds: the result is the lowest seed that
//! finds the bug, however many threads look for it, and the same plan passes without the bug, so that
//! it is the bug that was found.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use parti_core::planted::Planted;
use parti_core::{ConfigError, Mode};
use serde::Serialize;

use crate::simulator::checks::PROPERTIES;
use crate::simulator::judging::judge::Tracing;
use crate::simulator::{BugReport, Outcome, Plan, Sim};

/// With how many seeds a stored plan is tried.
const PLAN_SEEDS: u64 = 40;

/// How a planted bug is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Seeds from 0 on, at most this many; one of the properties must find it.
    Seeds {
        /// The mode in which it matters.
        mode: Mode,
        /// How many seeds it may take.
        budget: u64,
        /// The properties that are meant to find it, the sharpest first.
        expected: &'static [&'static str],
    },
    /// So many seeds, and nothing may be found: the rules do not rest on what the bug breaks.
    Harmless {
        /// How many seeds.
        runs: u64,
        /// Properties that say no more than that the bug is there.
        tolerated: &'static [&'static str],
        /// Why it harms nobody.
        why: &'static str,
    },
    /// No seed reaches it: a scenario of the core's own tests shows it.
    Scripted {
        /// The test, run with `cargo test -p parti-core --features planted planted::`.
        test: &'static str,
        /// Why no seed reaches it.
        why: &'static str,
    },
}

/// A bug and how it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hunt {
    /// The bug.
    pub bug: Planted,
    /// How it is looked for.
    pub search: Search,
}

/// A seed and the first property that did not hold in it.
type Found = (u64, &'static str);

/// A hunt by seeds in exclusive mode.
const fn seeds(bug: Planted, budget: u64, expected: &'static [&'static str]) -> Hunt {
    let mode = Mode::Exclusive;
    Hunt {
        bug,
        search: Search::Seeds {
            mode,
            budget,
            expected,
        },
    }
}

/// A hunt by seeds in mode fenced.
const fn fenced(bug: Planted, budget: u64, expected: &'static [&'static str]) -> Hunt {
    let mode = Mode::Fenced;
    Hunt {
        bug,
        search: Search::Seeds {
            mode,
            budget,
            expected,
        },
    }
}

/// A scenario of the core's tests.
const fn scripted(bug: Planted, test: &'static str, why: &'static str) -> Hunt {
    Hunt {
        bug,
        search: Search::Scripted { test, why },
    }
}

/// Every planted bug, by number.
pub const HUNTS: &[Hunt] = &[
    seeds(
        Planted::GrantWithoutEvict,
        200,
        &["S9", "S4", "S29", "SPIN"],
    ),
    scripted(
        Planted::StaleEvidence,
        "a_restored_session_record_ends_no_later_session",
        "a leader's view never goes back: only an external writer brings old evidence",
    ),
    // A token seen in two sessions shows it before two workers are valid at once.
    seeds(Planted::NameWithoutEpoch, 50, &["S6", "S4", "S29"]),
    seeds(Planted::OldRecord, 100, &["S23", "S6", "S4", "S29"]),
    seeds(Planted::EventBeforeLease, 300, &["S3"]),
    seeds(Planted::EarlyAcknowledgement, 50, &["S4", "S19", "S29"]),
    seeds(Planted::BlindHead, 100, &["S7", "S8"]),
    // A claim that is rebased takes a slot, a take-over the chain of heads.
    seeds(Planted::BlindRebase, 200, &["S10", "S7", "S8", "S9"]),
    seeds(
        Planted::DeadlineFromAnswer,
        3_000,
        &["S1a", "S1", "S4", "S29"],
    ),
    seeds(Planted::NoDriftMargin, 1_000, &["S1a", "S1", "S4", "S29"]),
    seeds(Planted::TimeoutIsSuccess, 100, &["S1a", "S1", "S4", "S29"]),
    seeds(Planted::SilenceGoesOn, 20, &["S15", "S10", "L9"]),
    seeds(Planted::UnconditionalRelease, 50, &["S10"]),
    seeds(Planted::DirectMove, 50, &["S9", "S4", "S29"]),
    scripted(
        Planted::NoRepair,
        "a_watch_that_falls_silent_is_begun_again",
        "the simulated network announces every lost watch in the end",
    ),
    scripted(
        Planted::AbsenceIsEnd,
        "a_session_key_that_expires_frees_nothing_before_its_lease_is_over",
        "nothing is decided by a time-to-live, so none is set and no key expires",
    ),
    // The other rules mostly contain it: who held something cannot renew, who grants waits.
    seeds(Planted::UnseenLoss, 200, &["S27", "L9", "L12"]),
    seeds(Planted::RetryRestartsLease, 1_000, &["S1a", "S1"]),
    seeds(Planted::StaleReadBelieved, 100, &["S18b"]),
    Hunt {
        bug: Planted::NeverYields,
        search: Search::Harmless {
            runs: 300,
            tolerated: &["L2", "L3", "L5", "L9", "S14", "S15", "S30"],
            why: "every write of a deposed leader expects a head that is gone; L2, L3, L5 and L9 see \
                  two who believe to lead, S14 and S15 what it would like to write, S30 what it cannot",
        },
    },
    seeds(Planted::EarlyEmergency, 200, &["S15", "S10"]),
    seeds(Planted::ForgottenCooldown, 500, &["S13"]),
    seeds(Planted::OutageIsSilence, 100, &["S16", "S15"]),
    seeds(
        Planted::SkippedRelease,
        100,
        &["S20", "S19", "S3", "S4", "S29"],
    ),
    seeds(Planted::MovesOnLeave, 20, &["S17"]),
    seeds(Planted::OneFailsAll, 20, &["L2", "L5", "L9", "L10", "S30"]),
    seeds(Planted::GreaterEpochIsEnd, 100, &["S9", "S4", "S29"]),
    seeds(Planted::ForgottenPredecessor, 500, &["S9", "S4", "S29"]),
    seeds(Planted::RetakenTooEarly, 3_000, &["S28"]),
    seeds(Planted::HoldWithoutEnd, 300, &["L9", "L7", "L5"]),
    seeds(Planted::RenewalDropsPlan, 1_000, &["L8", "L4", "L9", "L5"]),
    seeds(
        Planted::UnsteadyForever,
        1_000,
        &["L4", "L5", "L8", "L9", "S15"],
    ),
    seeds(Planted::WindowPerLeader, 1_000, &["S34", "L9", "L5"]),
    seeds(Planted::NoListNoLeader, 1_000, &["S33", "L2", "L9"]),
    seeds(Planted::VanishedHead, 1_000, &["L2", "L9", "L12"]),
    seeds(Planted::IgnoredJump, 300, &["S1a", "S1", "S4", "S29"]),
    seeds(Planted::UnreadHeadVacant, 500, &["S7", "S8", "S6"]),
    seeds(Planted::ReadersLease, 500, &["S15", "S10"]),
    seeds(
        Planted::MixedPieces,
        500,
        &["S29", "S20", "S23", "S4", "S6"],
    ),
    seeds(Planted::OwnMode, 500, &["S29"]),
    scripted(
        Planted::OwnQuarantine,
        "after_a_lost_bucket_nobody_owns_what_a_longer_lease_covers",
        "every simulated worker is started with the longest lease of its group as the maximum",
    ),
    seeds(Planted::LeaderMode, 500, &["S29"]),
    fenced(Planted::SuspicionIsSilence, 100, &["S10", "S15", "S4"]),
    seeds(Planted::SuspicionInExclusive, 300, &["S39", "S9", "S4"]),
    fenced(Planted::Avalanche, 300, &["S39"]),
    scripted(
        Planted::NoReconnection,
        "workers_that_connect_again_after_a_restart_of_the_server_lose_nothing",
        "a leader may evict a worker that does not answer: what it costs are moves, which no property counts",
    ),
    fenced(Planted::RenewedBudget, 100, &["S38"]),
    fenced(Planted::SilentPair, 1_000, &["S39"]),
    fenced(Planted::Unvouched, 300, &["S39"]),
    seeds(Planted::IgnoredRejections, 1_000, &["S31", "S32"]),
    seeds(Planted::RejectedGoesRound, 1_000, &["S32", "L11"]),
    seeds(Planted::LateReady, 1_000, &["S36", "S37"]),
    seeds(Planted::PreparationHolds, 100, &["L9"]),
    seeds(Planted::ReadyIsReleased, 100, &["S9", "S4", "S29"]),
    seeds(Planted::WithdrawnUntold, 100, &["S37"]),
    seeds(Planted::PinIgnored, 1_000, &["L13"]),
    seeds(Planted::EvictIgnored, 1_000, &["L13"]),
];

/// What a hunt came to. Serialises to one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The bug's number.
    pub number: u8,
    /// The bug's name.
    pub name: &'static str,
    /// The seed that found it.
    pub seed: Option<u64>,
    /// The property that found it, or that found what is harmless.
    pub property: Option<&'static str>,
    /// The properties that are meant to find it; none when nothing may be found.
    pub expected: &'static [&'static str],
    /// How many seeds were run.
    pub runs: u64,
    /// How many may be.
    pub budget: u64,
    /// The scenario of the core's tests that shows it, when no seed does.
    pub scenario: Option<&'static str>,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What is wrong, when it is not.
    pub problem: Option<String>,
}

impl Hunt {
    /// The row of the table in `docs/verification/PLANTED.md`, up to what was measured.
    #[must_use]
    pub fn row(&self) -> String {
        let bug = self.bug;
        let (number, name, what) = (bug.number(), bug.as_str(), bug.description());
        let (meant, budget) = match self.search {
            Search::Seeds {
                budget, expected, ..
            } => (expected.join(" "), format!("{budget} seeds")),
            Search::Harmless { runs, .. } => ("nothing".to_owned(), format!("{runs} seeds")),
            Search::Scripted { .. } => ("scripted".to_owned(), "one scenario".to_owned()),
        };
        format!("| {number} | `{name}` | {what} | {meant} | {budget} |")
    }
}

impl Finding {
    /// The finding as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }
}

impl Sim {
    /// Runs a plan with a bug planted in every core.
    ///
    /// # Errors
    /// As [`Sim::run`].
    pub fn run_planted(
        plan: &Plan,
        bug: Planted,
        tracing: Tracing,
    ) -> Result<Outcome, ConfigError> {
        Self::run_adjusted(plan, tracing, &|builder| builder.planted(bug))
    }
}

impl Hunt {
    /// The hunt for a bug.
    #[must_use]
    pub fn of(bug: Planted) -> Option<&'static Self> {
        HUNTS.iter().find(|hunt| hunt.bug == bug)
    }

    /// Whether a stored plan shows the bug by a property that is meant to, with its own seed or one of
    /// the next. What a plan stores is the situation; which message suffers in it changes with the
    /// core.
    ///
    /// # Errors
    /// As [`Sim::run`].
    pub fn is_shown_by(&self, plan: &Plan) -> Result<bool, ConfigError> {
        let Search::Seeds { expected, .. } = self.search else {
            return Ok(false);
        };
        for seed in (0..PLAN_SEEDS).map(|more| plan.seed.wrapping_add(more)) {
            let plan = Plan {
                seed,
                ..plan.clone()
            };
            let outcome = Sim::run_planted(&plan, self.bug, Tracing::Off)?;
            if outcome.violations.iter().any(|v| expected.contains(&v.id)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks for the bug. A scripted one is not run here: it counts as found.
    ///
    /// # Errors
    /// [`ConfigError`] when a generated plan is incoherent, which is a bug of the generator.
    pub fn run(&self, jobs: usize) -> Result<Finding, ConfigError> {
        let bug = self.bug;
        let mut finding = Finding {
            number: bug.number(),
            name: bug.as_str(),
            seed: None,
            property: None,
            expected: &[],
            runs: 0,
            budget: 0,
            scenario: None,
            ok: true,
            problem: None,
        };
        match self.search {
            Search::Scripted { test, .. } => finding.scenario = Some(test),
            // Without a checker that could object there is nothing to look for.
            Search::Seeds { expected, .. } if !is_checked(expected) => {
                finding.expected = expected;
                finding.scenario = Some("none yet, waits for a checker");
            }
            Search::Seeds {
                mode,
                budget,
                expected,
            } => {
                (finding.budget, finding.expected) = (budget, expected);
                finding.fill(search(bug, mode, budget, &[], jobs)?);
                finding.problem = match finding.seed {
                    None => Some(format!("not found in {budget} seeds")),
                    Some(seed) => problem(bug, mode, seed, expected)?,
                };
            }
            Search::Harmless {
                runs, tolerated, ..
            } => {
                finding.budget = runs;
                finding.fill(search(bug, Mode::Exclusive, runs, tolerated, jobs)?);
                finding.problem = finding
                    .property
                    .map(|property| format!("it should harm nobody, but {property} found it"));
            }
        }
        finding.ok = finding.problem.is_none();
        Ok(finding)
    }
}

impl Finding {
    fn fill(&mut self, (runs, found): (u64, Option<Found>)) {
        self.runs = runs;
        (self.seed, self.property) = found.unzip();
    }
}

/// Whether one of these properties has a checker.
fn is_checked(ids: &[&str]) -> bool {
    PROPERTIES.iter().any(|property| ids.contains(&property.id))
}

/// Why a seed that finds something does not count.
fn problem(
    bug: Planted,
    mode: Mode,
    seed: u64,
    expected: &[&str],
) -> Result<Option<String>, ConfigError> {
    let plan = Plan::from_seed(seed, mode);
    let outcome = Sim::run_planted(&plan, bug, Tracing::Last)?;
    let meant = |violation: &crate::simulator::Violation| expected.contains(&violation.id);
    if !outcome.violations.iter().any(meant) {
        let (plan, outcome) = (&plan, &outcome);
        let report = BugReport { plan, outcome };
        return Ok(Some(format!(
            "found, but by none of {expected:?}:\n{report}"
        )));
    }
    Ok(None)
}

/// What but the tolerated is violated at a seed. A seed that the core fails without the bug as well
/// says nothing about the bug.
fn try_seed(
    bug: Planted,
    mode: Mode,
    seed: u64,
    tolerated: &[&str],
) -> Result<Option<&'static str>, ConfigError> {
    let plan = Plan::from_seed(seed, mode);
    let outcome = Sim::run_planted(&plan, bug, Tracing::Off)?;
    let mut violated = outcome.violations.iter().map(|violation| violation.id);
    let Some(id) = violated.find(|id| !tolerated.contains(id)) else {
        return Ok(None);
    };
    let sound = Sim::run_traced(&plan, Tracing::Off)?;
    Ok(sound.violations.is_empty().then_some(id))
}

/// The lowest seed at which something but the tolerated is violated, and how many seeds were run.
fn search(
    bug: Planted,
    mode: Mode,
    budget: u64,
    tolerated: &[&str],
    jobs: usize,
) -> Result<(u64, Option<Found>), ConfigError> {
    let next = AtomicU64::new(0);
    let lowest = AtomicU64::new(budget);
    let found = Mutex::new((None, None));
    let look = || {
        loop {
            // Seeds are handed out in order: below the lowest that was found none is left out.
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= lowest.load(Ordering::Relaxed) {
                return;
            }
            let outcome = try_seed(bug, mode, seed, tolerated);
            let Ok(mut found) = found.lock() else { return };
            match outcome {
                Err(error) => found.1 = Some(error),
                Ok(None) => {}
                Ok(Some(id)) => {
                    if found.0.is_none_or(|(lowest, _)| seed < lowest) {
                        found.0 = Some((seed, id));
                        lowest.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(look);
        }
    });
    match found.into_inner().unwrap_or_default() {
        (_, Some(error)) => Err(error),
        (Some((seed, id)), None) => Ok((seed + 1, Some((seed, id)))),
        (None, None) => Ok((budget, None)),
    }
}

#[cfg(test)]
mod tests;
