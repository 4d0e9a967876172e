//! S8: all writes of `head` in one term carry the nonce of one session, the one that took over.

use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Findings, Process, Written};
use parti_core::{Instant, Key, Nonce, Record, Term};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Terms {
    owners: BTreeMap<Term, (Nonce, Process)>,
}

impl Check for Terms {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        for write in writes {
            let Some(Record::Head(head)) = write.record() else {
                continue;
            };
            let writer = (head.write.nonce, process);
            let owner = *self.owners.entry(head.term).or_insert(writer);
            if owner != writer {
                findings.report(format!(
                    "{process} as {:?} wrote version {} in the term {} of {} as {:?}",
                    writer.0, head.version, head.term, owner.1, owner.0
                ));
            }
        }
    }

    fn on_external(&mut self, _: Instant, writes: &[Written]) {
        if writes.iter().any(|write| write.key == Key::Head) {
            // The next leader may not know which terms there were.
            self.owners.clear();
        }
    }
}
