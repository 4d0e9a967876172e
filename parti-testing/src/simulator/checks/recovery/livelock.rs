//! L11: after the faults a group comes to rest in a bounded number of generations.
//!
//! One that keeps a worker which comes and goes may need more: that one is brought in and put out again,
//! and the time between must grow. Steps of a handoff that bring it nearer to its end do not count:
//! there are no more of them than partitions, however slowly these are released.

use std::collections::BTreeSet;

use crate::simulator::checks::{Check, Fact, Findings, Kind, Process};
use parti_core::{Cause, Instant, Key, Record};

/// Generations that any group may need: take-overs, restarts, a cold start, a list that changed.
const BASE: usize = 20;
/// Generations for each process: it joins, and its partitions are handed over one by one.
const EACH: usize = 15;

#[derive(Debug, Default)]
pub(in crate::simulator) struct Livelock {
    healed: bool,
    causes: Vec<Cause>,
    /// How much of the handoff was left at the last generation.
    unfinished: u32,
    processes: BTreeSet<Process>,
}

impl Check for Livelock {
    fn sees(&self) -> &[Kind] {
        &[Kind::Healed, Kind::Commit, Kind::Due]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Healed => self.healed = true,
            Fact::Commit { process, writes } if self.healed => {
                self.processes.insert(*process);
                let head = writes.iter().find(|write| write.key == Key::Head);
                if let Some(Record::Head(head)) = head.and_then(|write| write.record()) {
                    let begins = head.planned == head.version;
                    if begins || head.unfinished >= self.unfinished {
                        self.causes.push(head.cause);
                    }
                    self.unfinished = head.unfinished;
                }
            }
            Fact::Due(_) => {
                let (count, most) = (self.causes.len(), BASE + EACH * self.processes.len());
                if count > most {
                    let last = &self.causes[count.saturating_sub(20)..];
                    findings.report(format!(
                        "{count} generations since the faults, more than {most}; the last: {last:?}"
                    ));
                }
            }
            Fact::Began { .. }
            | Fact::Ended { .. }
            | Fact::Commit { .. }
            | Fact::Step { .. }
            | Fact::Heard { .. }
            | Fact::Asked { .. }
            | Fact::Request { .. }
            | Fact::Planned { .. }
            | Fact::Proposes { .. }
            | Fact::Assign { .. }
            | Fact::Revoke { .. }
            | Fact::Released { .. }
            | Fact::Notice { .. }
            | Fact::Settled { .. }
            | Fact::Panicked { .. }
            | Fact::Foreign { .. }
            | Fact::Milestone(..)
            | Fact::Over(_) => {}
        }
    }
}
