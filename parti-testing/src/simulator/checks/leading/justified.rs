//! S9: when a commit grants a partition, everybody who had it acknowledged or ended before, in the
//! true history of the store and not in what the leader happened to see.
//!
//! It finds bugs hundreds of times sooner than S4, since it needs no unlucky timing.

use core::time::Duration;

use crate::simulator::checks::basis::ledger::{Ledger, NewGrant};
use crate::simulator::checks::{AppliedCommit, Check, Findings, Process, Rules, Written};

#[derive(Debug)]
pub(in crate::simulator) struct Justified {
    lease: Duration,
    /// The ledger of the present history; after a rollback also the one that goes on as if nothing had
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
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let at = findings.now();
        let mut found: Vec<Vec<NewGrant>> = Vec::new();
        for ledger in &mut self.ledgers {
            found.push(ledger.take_in(at, self.lease, process, writes));
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

    fn lose_history(&mut self, kept: &[AppliedCommit]) {
        let mut ledger = Ledger::default();
        for commit in kept {
            ledger.take_in(commit.at, self.lease, commit.process, &commit.writes);
        }
        if kept.is_empty() {
            self.ledgers.clear();
        }
        self.ledgers.insert(0, ledger);
    }
}
