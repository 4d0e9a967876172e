//! S23: what one session relies on never goes back: the revisions its commits expect of a key, and the
//! version it says it has taken in.

use std::collections::BTreeMap;

use super::{Check, Fact, Findings, Kind, Process, Proposal};
use parti_core::{Expect, Instant, Key, Nonce, Notice, Record, Revision, Version, WorkerId};

#[derive(Debug, Default)]
pub(super) struct Monotone {
    expected: BTreeMap<Process, BTreeMap<String, Revision>>,
    applied: BTreeMap<WorkerId, (Nonce, Version)>,
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
        &[Kind::Commit, Kind::Proposes, Kind::Ended, Kind::Notice]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Proposes {
                process, proposal, ..
            } => self.propose(*process, proposal, findings),
            Fact::Commit { process, writes } => {
                for write in writes {
                    let (Key::Session(worker), Some(Record::Session(record))) =
                        (&write.key, write.record())
                    else {
                        continue;
                    };
                    let next = (record.nonce(), record.applied);
                    match self.applied.get_mut(worker) {
                        Some(known) => {
                            if known.0 == next.0 && next.1 < known.1 {
                                let (before, now) = (known.1, next.1);
                                findings.report(format!(
                                    "{process} says that {worker} has taken in {now} after {before}"
                                ));
                            }
                            *known = next;
                        }
                        None => {
                            self.applied.insert(worker.clone(), next);
                        }
                    }
                }
            }
            Fact::Ended { process }
            | Fact::Notice {
                process,
                notice: Notice::Claimed { .. },
            } => {
                self.expected.remove(process);
            }
            Fact::Began { .. }
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
