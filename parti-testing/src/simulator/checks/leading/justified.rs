//! S9: when a commit grants a partition, everybody who had it acknowledged or ended before, in the
//! true history of the store and not in what the leader happened to see.
//!
//! It finds bugs hundreds of times sooner than S4, since it needs no unlucky timing.

use core::time::Duration;

use crate::simulator::checks::basis::ledger::{Ledger, NewGrant};
use crate::simulator::checks::{Check, Fact, Findings, Kind, Rules};
use parti_core::Instant;

#[derive(Debug)]
pub(in crate::simulator) struct Justified {
    lease: Duration,
    /// The ledger of the present history; after a set-back also the one that goes on as if nothing had
    /// been lost: what was acknowledged in the lost part was let go of all the same.
    ledgers: Vec<Ledger>,
}

impl Justified {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            lease: rules.shortest_lease(),
            ledgers: vec![Ledger::default()],
        }
    }
}

impl Check for Justified {
    fn sees(&self) -> &[Kind] {
        &[Kind::Commit]
    }

    fn lose_history(&mut self, kept: &[(Instant, Fact)]) {
        let mut ledger = Ledger::default();
        for (at, fact) in kept {
            if let Fact::Commit { process, writes } = fact {
                ledger.take_in(*at, self.lease, *process, writes);
            }
        }
        if kept.is_empty() {
            self.ledgers.clear();
        }
        self.ledgers.insert(0, ledger);
    }

    fn observe(&mut self, at: Instant, fact: &Fact, findings: &mut Findings) {
        let Fact::Commit { process, writes } = fact else {
            return;
        };
        let mut found: Vec<Vec<NewGrant>> = Vec::new();
        for ledger in &mut self.ledgers {
            found.push(ledger.take_in(at, self.lease, *process, writes));
        }
        let Some((present, earlier)) = found.split_first() else {
            return;
        };
        for grant in present {
            let same = |other: &&NewGrant| other.partition == grant.partition;
            let justified = |grants: &Vec<NewGrant>| {
                let other = grants.iter().find(same);
                other.is_none_or(|other| other.unjustified.is_empty())
            };
            if !grant.unjustified.is_empty() && !earlier.iter().any(justified) {
                findings.report(format!(
                    "{process} grants {} to {:?} while {:?} may hold it",
                    grant.partition, grant.to, grant.unjustified
                ));
            }
        }
    }
}
