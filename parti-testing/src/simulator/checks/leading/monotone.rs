//! S23b: the revisions that the commits of one session expect of a key never go back.

use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Fact, Findings, Kind, Process, Proposal};
use parti_core::{Expect, Instant, Notice, Revision};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Monotone {
    expected: BTreeMap<Process, BTreeMap<String, Revision>>,
}

impl Monotone {
    fn propose(&mut self, process: Process, proposal: &Proposal, findings: &mut Findings) {
        let expected = self.expected.entry(process).or_default();
        for (key, expect) in &proposal.expects {
            let Expect::Revision(revision) = *expect else {
                continue;
            };
            let known = expected.entry(key.clone()).or_insert(revision);
            if revision < *known {
                findings.report(format!(
                    "{process} expects {key} at {revision} after it knew it at {known}"
                ));
            }
            *known = revision;
        }
    }
}

impl Check for Monotone {
    fn sees(&self) -> &[Kind] {
        &[Kind::Proposes, Kind::Ended, Kind::Notice]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Proposes {
                process, proposal, ..
            } => self.propose(*process, proposal, findings),
            Fact::Ended { process }
            | Fact::Notice {
                process,
                notice: Notice::Claimed { .. },
            } => {
                self.expected.remove(process);
            }
            Fact::Began { .. }
            | Fact::Commit { .. }
            | Fact::Step { .. }
            | Fact::Heard { .. }
            | Fact::Asked { .. }
            | Fact::Request { .. }
            | Fact::Planned { .. }
            | Fact::Assign { .. }
            | Fact::Revoke { .. }
            | Fact::Released { .. }
            | Fact::Notice { .. }
            | Fact::Settled { .. }
            | Fact::Panicked { .. }
            | Fact::Foreign { .. }
            | Fact::Healed
            | Fact::Milestone(..)
            | Fact::Due(_)
            | Fact::Over(_) => {}
        }
    }
}
