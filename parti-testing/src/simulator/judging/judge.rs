//! Passes every fact to the checkers, counts what was seen, and keeps the digest and the trace.
//!
//! The trace costs more than the run itself, so it is kept only on demand; the digest is always
//! taken, and equal digests mean equal runs.

use core::fmt;
use std::collections::VecDeque;

use parti_core::{Instant, Revision};

use crate::simulator::checks::{AppliedCommit, Check, Fact, Findings, PROPERTIES, Rules};
use crate::simulator::judging::movement::MoveCount;
use crate::simulator::judging::situations::Situations;
use crate::simulator::plans::dice::scramble;

/// How many lines of the trace are kept.
const TRACE_LINES: usize = 80;

/// Properties of one history of the store; all others hold across histories.
const PER_HISTORY: [&str; 9] = [
    "S2", "S7", "S11", "S12", "S13", "S17", "S18b", "S23", "S23b",
];

/// Properties that are not judged once a history was lost: they follow who had heard of which write,
/// and numbers of writes come twice then. Exclusion, tokens and justified grants are judged throughout.
const NOT_AFTER_A_LOSS: [&str; 7] = ["S1", "S8", "S10", "S14", "S15", "S16", "S22"];

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property.
    pub id: &'static str,
    /// When, in true time.
    pub at: Instant,
    /// What happened.
    pub reason: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.id, self.at, self.reason)
    }
}

pub(in crate::simulator) struct Judge {
    checks: Vec<(&'static str, Box<dyn Check>)>,
    /// Who still judges, as indices of `checks`.
    judging: Vec<usize>,
    /// Those of them that look at each kind of frequent fact, once they have shown whether they do.
    heeding: [Vec<usize>; Fact::FREQUENT],
    findings: Findings,
    pub(in crate::simulator) violations: Vec<Violation>,
    pub(in crate::simulator) situations: Situations,
    pub(in crate::simulator) moves: MoveCount,
    pub(in crate::simulator) digest: u64,
    /// Requests and watches begun before everything healed.
    pub(in crate::simulator) requests: u64,
    healed: bool,
    trace: Option<VecDeque<String>>,
    full: bool,
    rules: Rules,
    /// Every commit of the present history, if a history may be lost.
    commits: Option<Vec<AppliedCommit>>,
}

impl Judge {
    pub(in crate::simulator) fn new(rules: &Rules, trace: Tracing, loses_history: bool) -> Self {
        let applying = PROPERTIES
            .iter()
            .filter(|property| (property.applies)(rules));
        let checks: Vec<_> = applying
            .map(|property| (property.id, (property.make)(rules)))
            .collect();
        let judging: Vec<usize> = (0..checks.len()).collect();
        let heeding = core::array::from_fn(|_| judging.clone());
        Self {
            checks,
            judging,
            heeding,
            findings: Findings::new(rules),
            violations: Vec::new(),
            situations: Situations::new(rules),
            moves: MoveCount::default(),
            digest: 0,
            requests: 0,
            healed: false,
            trace: (trace != Tracing::Off).then(VecDeque::new),
            full: trace == Tracing::Full,
            rules: *rules,
            commits: loses_history.then(Vec::new),
        }
    }

    /// The largest revision up to the given one at which a commit ends.
    pub(in crate::simulator) fn whole_commits(&self, upto: Revision) -> Revision {
        let ends = self
            .commits
            .iter()
            .flatten()
            .map(AppliedCommit::last_revision);
        ends.filter(|&end| end <= upto).max().unwrap_or_default()
    }

    /// The store lost its history but for the commits up to a revision: what is judged per history is
    /// judged from these on.
    pub(in crate::simulator) fn lose_history(&mut self, kept: Revision) {
        let commits = self.commits.get_or_insert_default();
        commits.retain(|commit| commit.last_revision() <= kept);
        for (id, check) in &mut self.checks {
            let property = PROPERTIES.iter().find(|property| property.id == *id);
            let Some(property) = property.filter(|_| PER_HISTORY.contains(id)) else {
                check.lose_history(commits);
                continue;
            };
            *check = (property.make)(&self.rules);
            for commit in commits.iter() {
                self.findings.begin(commit.at);
                check.on_commit(commit.process, &commit.writes, &mut self.findings);
            }
        }
        let goes_on = |index: &usize| !NOT_AFTER_A_LOSS.contains(&self.checks[*index].0);
        self.judging.retain(goes_on);
        self.heeding
            .iter_mut()
            .for_each(|told| told.retain(goes_on));
        self.findings.take();
        self.findings.take_situations();
        self.situations.begin_history(commits);
    }

    pub(in crate::simulator) fn observe(&mut self, at: Instant, fact: &Fact) {
        self.line(at, || describe(fact));
        self.keep(at, fact);
        self.findings.prepare(fact);
        let kind = fact.frequent();
        let told = kind.map(|kind| &mut self.heeding[kind]);
        told.unwrap_or(&mut self.judging).retain(|&index| {
            let (id, check) = &mut self.checks[index];
            let id = *id;
            fact.tell(at, &mut **check, &mut self.findings);
            if !self.findings.is_empty() {
                let found = self.findings.take().into_iter();
                self.violations
                    .extend(found.map(|reason| Violation { id, at, reason }));
            }
            kind.is_none() || self.findings.is_heeded()
        });
        for situation in self.findings.take_situations() {
            self.situations.count(situation);
        }
    }

    /// Keeps what is needed besides the checkers.
    fn keep(&mut self, at: Instant, fact: &Fact) {
        if let Fact::Settled { end, .. } = fact {
            self.fold(end.local.as_nanos());
            self.fold(end.wake.map_or(0, |wake| wake.at.as_nanos()));
            self.fold(end.effects as u64);
        }
        if let (Fact::Commit(commit), Some(commits)) = (fact, &mut self.commits) {
            commits.push(commit.clone());
        }
        self.healed |= matches!(fact, Fact::Healed);
        self.requests += u64::from(!self.healed && matches!(fact, Fact::Request { .. }));
        if !matches!(
            fact,
            Fact::Step { .. } | Fact::Settled { .. } | Fact::Heard { .. }
        ) {
            fact.tell(at, &mut self.situations, &mut self.findings);
            fact.tell(at, &mut self.moves, &mut self.findings);
        }
    }

    pub(in crate::simulator) const fn fold(&mut self, value: u64) {
        self.digest = scramble(self.digest ^ value).wrapping_add(value);
    }

    /// Adds a line to the trace, if one is kept.
    pub(in crate::simulator) fn line(
        &mut self,
        at: Instant,
        text: impl FnOnce() -> Option<String>,
    ) {
        let Some(trace) = &mut self.trace else {
            return;
        };
        let Some(text) = text() else {
            return;
        };
        if !self.full && trace.len() == TRACE_LINES {
            trace.pop_front();
        }
        trace.push_back(format!("{:>10}  {text}", seconds(at)));
    }

    pub(in crate::simulator) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().map(Vec::from).unwrap_or_default()
    }
}

/// How much of the trace is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// Nothing.
    Off,
    /// The last lines.
    Last,
    /// Everything.
    Full,
}

/// A time with a microsecond's resolution, such as `12.500000s`.
fn seconds(at: Instant) -> String {
    let micros = at.as_nanos() / 1000;
    format!("{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
}

/// The line of a fact; facts that only frame others have none.
fn describe(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::Began { process } => format!("{process} begins"),
        Fact::Ended { process } => format!("{process} ends"),
        Fact::Commit(commit) => {
            let mut line = format!("store: {} commits", commit.process);
            for write in &commit.writes {
                let (name, revision) = (&write.name, write.revision);
                line.push_str(&format!("\n{:>12}{name}@{revision} = ", ""));
                line.push_str(&match write.record() {
                    Some(record) => format!("{record:?}"),
                    None => format!("{:?}", write.value),
                });
            }
            line
        }
        Fact::Assign { process, assigned } => {
            let (grants, deadline) = (&assigned.grants, assigned.deadline);
            format!("{process} assigns {grants:?}, deadline {deadline:?}")
        }
        Fact::Revoke { process, revoked } => {
            format!("{process} revokes {:?}: {}", revoked.grants, revoked.cause)
        }
        Fact::Prepare {
            process,
            preparations,
        } => format!("{process} prepares for {preparations:?}"),
        Fact::Withdraw {
            process,
            preparations,
        } => format!("{process} withdraws {preparations:?}"),
        Fact::Released { process, grants } => format!("{process} has released {grants:?}"),
        Fact::Notice { process, notice } => format!("{process} notes {notice:?}"),
        Fact::Panicked { process, message } => format!("{process} panics: {message}"),
        Fact::External { writes } => {
            let names = writes.iter().map(|w| format!("{}@{}", w.name, w.revision));
            let names: Vec<_> = names.collect();
            format!("somebody writes {}", names.join(" "))
        }
        Fact::Healed => "all faults end".to_owned(),
        Fact::Due(_) => "the group must have settled".to_owned(),
        Fact::Over(_) => "the calm is over".to_owned(),
        Fact::Asked { process, request } => format!("{process} is asked {request:?}"),
        Fact::Planned { process, planning } => format!("{process} plans {:?}", planning.owners),
        Fact::Milestone(stage, _) => format!("time is up: {stage:?}"),
        Fact::Step { .. }
        | Fact::Heard { .. }
        | Fact::Probe { .. }
        | Fact::Probed { .. }
        | Fact::Request { .. }
        | Fact::Proposes { .. }
        | Fact::Settled { .. } => return None,
    })
}
