//! SPIN: after every step a core is settled until a later time, and it does a bounded amount of work.
//!
//! It counts per process over windows of one second; the limits are far above honest work.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Findings, Process, StepEnd};
use parti_core::Instant;

/// The most effects of one step.
const MAX_EFFECTS: usize = 2_000;
/// The most steps of one process in a second.
const MAX_STEPS: u32 = 5_000;
const WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(in crate::simulator) struct NoSpin {
    windows: BTreeMap<Process, (Instant, u32)>,
}

impl Check for NoSpin {
    fn on_settled(&mut self, process: Process, end: &StepEnd, findings: &mut Findings) {
        let at = findings.now();
        let (local, effects) = (end.local, end.effects);
        if let Some(wake) = end.wake.filter(|wake| wake.at <= local) {
            findings.report(format!(
                "{process} at {local} wants to be woken at {wake:?}"
            ));
        }
        if effects > MAX_EFFECTS {
            findings.report(format!("{process} wants {effects} effects in one step"));
        }
        let (since, steps) = self.windows.entry(process).or_insert((at, 0));
        if at.since(*since) >= WINDOW {
            (*since, *steps) = (at, 0);
        }
        *steps += 1;
        if *steps == MAX_STEPS {
            findings.report(format!("{process} made {steps} steps since {since}"));
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.windows.remove(&process);
    }
}
