//! S9: when a commit grants a partition, everybody who had it acknowledged or ended before, in the
//! true history of the store and not in what the leader happened to see.
//!
//! It finds bugs hundreds of times sooner than S4, since it needs no unlucky timing.

use core::time::Duration;

use super::ledger::Ledger;
use super::{Check, Fact, Findings, Kind, Rules};
use parti_core::Instant;

#[derive(Debug)]
pub(super) struct Justified {
    lease: Duration,
    ledger: Ledger,
}

impl Justified {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            lease: rules.shortest_lease(),
            ledger: Ledger::default(),
        }
    }
}

impl Check for Justified {
    fn sees(&self) -> &[Kind] {
        &[Kind::Commit]
    }

    fn observe(&mut self, at: Instant, fact: &Fact, findings: &mut Findings) {
        let Fact::Commit { process, writes } = fact else {
            return;
        };
        for grant in self.ledger.take_in(at, self.lease, *process, writes) {
            if !grant.unjustified.is_empty() {
                findings.report(format!(
                    "{process} grants {} to {:?} while {:?} may hold it",
                    grant.partition, grant.to, grant.unjustified
                ));
            }
        }
    }
}
