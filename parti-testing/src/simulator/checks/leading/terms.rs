//! S8: all writes of `head` in one term carry the nonce of one session, the one that took over.

use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Fact, Findings, Kind, Process};
use parti_core::{Instant, Key, Nonce, Record, Term};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Terms {
    owners: BTreeMap<Term, (Nonce, Process)>,
}

impl Check for Terms {
    fn sees(&self) -> &[Kind] {
        &[Kind::Commit, Kind::Foreign]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        if let Fact::Foreign { writes } = fact
            && writes.iter().any(|write| write.key == Key::Head)
        {
            // Whoever leads next may not know which terms there were.
            self.owners.clear();
        }
        let Fact::Commit { process, writes } = fact else {
            return;
        };
        for write in writes {
            let Some(Record::Head(head)) = write.record() else {
                continue;
            };
            let writer = (head.write.nonce, *process);
            let owner = *self.owners.entry(head.term).or_insert(writer);
            if owner != writer {
                findings.report(format!(
                    "{process} as {:?} wrote version {} in the term {} of {} as {:?}",
                    writer.0, head.version, head.term, owner.1, owner.0
                ));
            }
        }
    }
}
