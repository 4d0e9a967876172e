//! S1a: in true time a session is relied on no longer than the shortest lease after its last applied
//! renewal, since from then on a rival may count it as silent.
//!
//! It looks at one worker and the store, so it finds a deadline that is too late without any rival.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Fact, Findings, Kind, Process, Rules};
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
    fn sees(&self) -> &[Kind] {
        &[Kind::Ended, Kind::Commit, Kind::Settled]
    }

    fn observe(&mut self, at: Instant, fact: &Fact, findings: &mut Findings) {
        if let Fact::Ended { process } = fact {
            self.renewed.remove(process);
        } else if let Fact::Commit { process, writes } = fact {
            if writes.iter().filter_map(|w| w.record()).any(is_renewal) {
                self.renewed.insert(*process, at);
            }
        } else if let Fact::Settled {
            process,
            until: Some(until),
            ..
        } = fact
        {
            let renewed = self.renewed.get(process).copied();
            if let Some(renewed) = renewed
                && *until > at
                && *until > renewed + self.least
            {
                findings.report(format!(
                    "{process} relies on its session until {until}, but its last renewal was \
                     applied at {renewed}"
                ));
            }
        }
    }
}

fn is_renewal(record: &Record) -> bool {
    matches!(record, Record::Session(session) if session.status.is_living())
}
