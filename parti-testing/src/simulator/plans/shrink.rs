//! Makes a failing plan smaller while it fails in the same way.
//!
//! It works because decisions are keyed: what is taken out of a plan leaves the rest as it was. A step
//! is kept only if the same property is violated first.

use parti_core::ConfigError;

use crate::simulator::judging::judge::Tracing;
use crate::simulator::plans::plan::{Faults, Plan};
use crate::simulator::{Outcome, Sim};

/// The most runs one shrinking may take.
const MAX_RUNS: u32 = 600;

/// A smaller plan that violates the same property, or `None` if the plan violates nothing.
///
/// # Errors
/// [`ConfigError`] when the settings of the plan are incoherent.
pub fn shrink(plan: &Plan) -> Result<Option<Plan>, ConfigError> {
    let outcome = run(plan)?;
    let Some(property) = first_violation(&outcome) else {
        return Ok(None);
    };
    let mut shrinking = Shrinking {
        best: plan.clone(),
        property,
        runs: 0,
    };
    shrinking.truncate(&outcome);
    loop {
        let before = shrinking.best.clone();
        shrinking.drop_faults();
        shrinking.drop_actions();
        shrinking.drop_nodes();
        shrinking.drop_partitions();
        if shrinking.best == before || shrinking.runs >= MAX_RUNS {
            return Ok(Some(shrinking.best));
        }
    }
}

fn run(plan: &Plan) -> Result<Outcome, ConfigError> {
    Sim::run_traced(plan, Tracing::Off)
}

fn first_violation(outcome: &Outcome) -> Option<&'static str> {
    outcome.violations.first().map(|violation| violation.id)
}

struct Shrinking {
    best: Plan,
    property: &'static str,
    runs: u32,
}

impl Shrinking {
    /// Takes the candidate over if it fails in the same way.
    fn attempt(&mut self, candidate: Plan) -> bool {
        if self.runs >= MAX_RUNS || candidate == self.best {
            return false;
        }
        self.runs += 1;
        let outcome = run(&candidate);
        let same = outcome.is_ok_and(|outcome| first_violation(&outcome) == Some(self.property));
        if same {
            self.best = candidate;
        }
        same
    }

    /// Nothing after the violation matters.
    fn truncate(&mut self, outcome: &Outcome) {
        let last_ms = outcome.stats.simulated.as_millis() as u64 + 1;
        let mut candidate = self.best.clone();
        candidate.safety_ms = candidate.safety_ms.min(last_ms);
        candidate.actions.retain(|timed| timed.at_ms <= last_ms);
        self.attempt(candidate);
    }

    /// Switches off one kind of fault after the other.
    fn drop_faults(&mut self) {
        let Ok(serde_json::Value::Object(none)) = serde_json::to_value(Faults::none()) else {
            return;
        };
        for (name, value) in none {
            let Ok(mut faults) = serde_json::to_value(&self.best.faults) else {
                return;
            };
            faults[&name] = value;
            if let Ok(faults) = serde_json::from_value(faults) {
                let candidate = Plan {
                    faults,
                    ..self.best.clone()
                };
                self.attempt(candidate);
            }
        }
        for node in 0..self.best.nodes.len() {
            let mut candidate = self.best.clone();
            candidate.nodes[node].drift_ppm = 0;
            self.attempt(candidate);
        }
    }

    /// Takes out halves, quarters and so on down to single actions.
    fn drop_actions(&mut self) {
        let mut size = self.best.actions.len();
        while size > 0 {
            let mut start = 0;
            while start < self.best.actions.len() {
                let mut candidate = self.best.clone();
                let end = (start + size).min(candidate.actions.len());
                candidate.actions.drain(start..end);
                if !self.attempt(candidate) {
                    start += size;
                }
            }
            size /= 2;
        }
    }

    fn drop_nodes(&mut self) {
        while self.best.nodes.len() > 1 {
            let mut candidate = self.best.clone();
            candidate.nodes.pop();
            if !self.attempt(candidate) {
                return;
            }
        }
    }

    fn drop_partitions(&mut self) {
        for partitions in [1, 2, 4, 8, 16, 32] {
            if partitions < self.best.partitions {
                let candidate = Plan {
                    partitions,
                    ..self.best.clone()
                };
                if self.attempt(candidate) {
                    return;
                }
            }
        }
    }
}
