//! S1: in true time a session is relied on no longer than the shortest lease after its last applied
//! renewal, since from then on a rival may count it as silent.
//!
//! It looks at one worker and the store, so it finds a deadline that is too late without any rival.

use core::time::Duration;
use std::collections::BTreeMap;

use super::{Check, Fact, Findings, Process, Rules};
use parti_core::{Instant, Record};

#[derive(Debug)]
pub(super) struct Lease {
    least: Duration,
    /// When the store last applied a write of a living session by its own process.
    renewed: BTreeMap<Process, Instant>,
}

impl Lease {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            least: rules.shortest_lease(),
            renewed: BTreeMap::new(),
        }
    }
}

impl Check for Lease {
    fn observe(&mut self, at: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Ended { process } => {
                self.renewed.remove(process);
            }
            Fact::Commit { process, writes } => {
                let living =
                    |record: &Record| matches!(record, Record::Session(s) if s.status.is_living());
                if writes.iter().filter_map(|w| w.record()).any(living) {
                    self.renewed.insert(*process, at);
                }
            }
            Fact::Settled {
                process,
                until: Some(until),
                ..
            } => {
                let renewed = self.renewed.get(process).copied();
                let renewed = renewed.unwrap_or(Instant::ORIGIN);
                if *until > at && *until > renewed + self.least {
                    findings.report(format!(
                        "{process} relies on its session until {until}, but its last renewal was \
                         applied at {renewed}"
                    ));
                }
            }
            Fact::Began { .. }
            | Fact::Step { .. }
            | Fact::Request { .. }
            | Fact::Assign { .. }
            | Fact::Revoke { .. }
            | Fact::Released { .. }
            | Fact::Notice { .. }
            | Fact::Settled { until: None, .. }
            | Fact::Panicked { .. }
            | Fact::Healed
            | Fact::Due(_)
            | Fact::Over(_) => {}
        }
    }
}
