//! Planted bugs.
use super::*;
use parti_core::planted::Planted;

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
