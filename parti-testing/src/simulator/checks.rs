//! What must always hold, one property a file, all of them in one table.
//!
//! Checkers see facts in true time: what the store applied, what a core was told and asked for. They
//! know nothing of the simulator, so the same checkers judge hand-made traces (a checker that cannot
//! fail is worthless) and, on one host with one clock, real runs.

pub(in crate::simulator) mod basis;
pub(in crate::simulator) mod leading;
mod ownership;
mod recovery;
mod sessions;
use core::fmt;

use parti_core::Instant;

mod table;
#[cfg(test)]
mod tests;

pub use basis::coverage::{Coverage, Stage, Standing, Stored, Unfit, Worker};
pub use basis::fact::{Eviction, Fact, Kind, Planning, Process, Proposal, Value, Written};
pub use basis::rules::Rules;
pub use table::PROPERTIES;

/// What a checker found, in words, and the situations it met.
#[derive(Debug, Default)]
pub struct Findings {
    reasons: Vec<String>,
    situations: Vec<&'static str>,
}

impl Findings {
    /// Reports a violation.
    pub fn report(&mut self, reason: impl Into<String>) {
        self.reasons.push(reason.into());
    }

    /// Takes everything reported since the last call.
    pub fn take(&mut self) -> Vec<String> {
        core::mem::take(&mut self.reasons)
    }

    /// Says that the property had something to check: only the checker knows that this was the case.
    pub fn met(&mut self, situation: &'static str) {
        self.situations.push(situation);
    }

    /// Takes every situation met since the last call.
    pub fn take_situations(&mut self) -> Vec<&'static str> {
        core::mem::take(&mut self.situations)
    }

    /// Whether nothing was reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Watches facts for one property.
pub trait Check: Send {
    /// The kinds of facts it looks at; it is told no others.
    fn sees(&self) -> &[Kind];

    /// Takes in a fact and reports what is wrong with it.
    fn observe(&mut self, at: Instant, fact: &Fact, findings: &mut Findings);

    /// The store lost its history but for these commits. Whoever judges each history by itself is made
    /// again instead.
    fn lose_history(&mut self, kept: &[(Instant, Fact)]) {
        let _ = kept;
    }
}

/// One property: what it is called, why it matters and who checks it.
#[derive(Clone, Copy)]
pub struct Property {
    /// The short name in reports.
    pub id: &'static str,
    /// What must hold.
    pub name: &'static str,
    /// The production problem it prevents.
    pub why: &'static str,
    /// Whether it holds in this mode.
    pub applies: fn(&Rules) -> bool,
    /// Makes its checker.
    pub make: fn(&Rules) -> Box<dyn Check>,
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.name)
    }
}
