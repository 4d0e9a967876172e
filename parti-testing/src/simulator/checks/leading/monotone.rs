//! S23b: the revisions that the commits of one session expect of a key never go back.

use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Findings, Process, Proposal};
use parti_core::{Expect, Notice, Revision};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Monotone {
    expected: BTreeMap<Process, BTreeMap<String, Revision>>,
}

impl Check for Monotone {
    fn on_proposes(&mut self, process: Process, proposal: &Proposal, findings: &mut Findings) {
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

    fn on_notice(&mut self, process: Process, notice: &Notice, _: &mut Findings) {
        if let Notice::Claimed { .. } = notice {
            self.expected.remove(&process);
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.expected.remove(&process);
    }
}
