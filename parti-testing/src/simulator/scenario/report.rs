//! What came out of one run of a scenario, and how it is told.
//!
//! It is separate because it is read by people. What always holds: it names the property, the seed and
//! the command that shows the failure again.

use core::fmt;

use super::super::app::FencedResource;
use super::super::{Outcome, Violation};
use crate::simulator::plans::plan::Plan;

/// One run of a scenario. Prints as a bug report.
#[derive(Clone, Debug)]
pub struct ScenarioReport {
    /// The name of the scenario.
    pub scenario: String,
    /// The plan that was run; store it to keep a failure beyond changes of the generator.
    pub plan: Plan,
    /// What came out.
    pub outcome: Outcome,
    /// False when a failing seed ran differently the second time: the handler depends on something
    /// that no seed determines.
    pub deterministic: bool,
    pub(super) command: String,
    pub(super) resources: Vec<FencedResource>,
}

impl ScenarioReport {
    /// A resource as it was at the end.
    #[must_use]
    pub fn resource(&self, name: &str) -> Option<&FencedResource> {
        self.resources
            .iter()
            .find(|resource| resource.name() == name)
    }

    /// The first property that did not hold.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.outcome.violations.first()
    }

    /// The command that runs this seed again.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.command
    }
}

impl fmt::Display for ScenarioReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.outcome.trace {
            writeln!(f, "{line}")?;
        }
        let (name, seed) = (&self.scenario, self.plan.seed);
        if self.outcome.violations.is_empty() {
            writeln!(f, "{name}, seed {seed}: everything held")?;
        }
        for violation in &self.outcome.violations {
            writeln!(f, "{name}, seed {seed}: {violation}")?;
        }
        if !self.deterministic {
            f.write_str("the second run of this seed was different: the handler uses a clock, ")?;
            writeln!(f, "randomness or an order that no seed determines")?;
        }
        for pending in &self.outcome.pending {
            writeln!(f, "pending: {pending}")?;
        }
        write!(f, "again: {}", self.command)
    }
}
