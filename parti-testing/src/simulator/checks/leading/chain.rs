//! S7: applied writes of `head` form one chain, and assignments are written only together with it.

use crate::simulator::checks::{Check, Findings, Process, Value, Written};
use parti_core::{Expect, Instant, Key, Record, Revision, Term, Version};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Chain {
    term: Term,
    version: Version,
    /// The revision at which somebody else deleted the key.
    deleted: Revision,
    /// Somebody else wrote the key: who leads next may know neither the term nor the version. What it
    /// grants has larger tokens all the same, since every session says what it knows.
    broken: bool,
}

impl Check for Chain {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let mut version = None;
        for write in writes.iter().filter(|write| write.key == Key::Head) {
            let conditional = match write.expect {
                Expect::Absent => write.previous == self.deleted,
                Expect::Revision(revision) => revision == write.previous,
                Expect::Any => false,
            };
            if !conditional {
                let expect = write.expect;
                findings.report(format!(
                    "{process} wrote head with the expectation {expect:?}"
                ));
            }
            let Some(Record::Head(head)) = write.record() else {
                findings.report(format!("{process} wrote {:?} to head", write.value));
                continue;
            };
            let broken = core::mem::take(&mut self.broken);
            if !broken && (head.version <= self.version || head.term < self.term) {
                findings.report(format!(
                    "{process} wrote version {} of term {} after version {} of term {}",
                    head.version, head.term, self.version, self.term
                ));
            }
            (self.version, self.term) = (head.version, head.term);
            version = Some(head.version);
        }
        for write in writes {
            if let Some(Record::Assignment(record)) = write.record()
                && Some(record.version) != version
            {
                findings.report(format!(
                    "{process} wrote {} of version {} in a commit with the head version {version:?}",
                    write.name, record.version
                ));
            }
        }
    }

    fn on_external(&mut self, _: Instant, writes: &[Written]) {
        let heads = writes.iter().filter(|write| write.key == Key::Head);
        for write in heads {
            self.broken = true;
            if write.value == Value::Tombstone {
                self.deleted = write.revision;
            }
        }
    }
}
