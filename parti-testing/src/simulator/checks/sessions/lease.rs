//! S1a: in true time a session is relied on no longer than the shortest lease after its last applied
//! renewal, since from then on a rival may count it as silent.
//!
//! It looks at one worker and the store, so it finds a deadline that is too late without any rival.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Findings, Process, Rules, StepEnd, Written};
use parti_core::{Instant, Record};

#[derive(Debug)]
pub(in crate::simulator) struct Lease {
    least: Duration,
    /// When the store last applied a write of a living session by its own process.
    renewed: BTreeMap<Process, Instant>,
}

impl Lease {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            least: rules.shortest_lease(),
            renewed: BTreeMap::new(),
        }
    }
}

impl Check for Lease {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let at = findings.now();
        if writes.iter().filter_map(|w| w.record()).any(is_renewal) {
            self.renewed.insert(process, at);
        }
    }

    fn on_settled(&mut self, process: Process, end: &StepEnd, findings: &mut Findings) {
        let at = findings.now();
        if let (Some(until), Some(renewed)) = (end.until, self.renewed.get(&process))
            && until > at
            && until > *renewed + self.least
        {
            findings.report(format!(
                "{process} relies on its session until {until}, but its last renewal was \
                 applied at {renewed}"
            ));
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.renewed.remove(&process);
    }
}

fn is_renewal(record: &Record) -> bool {
    matches!(record, Record::Session(session) if session.status.is_living())
}
