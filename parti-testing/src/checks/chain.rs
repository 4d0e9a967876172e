//! S7: applied writes of `head` form one chain, and assignments are written only together with it.

use super::{Check, Fact, Findings, Kind};
use parti_core::{Expect, Instant, Key, Record, Revision, Term, Version};

#[derive(Debug, Default)]
pub(super) struct Chain {
    term: Term,
    version: Version,
}

impl Check for Chain {
    fn sees(&self) -> &[Kind] {
        &[Kind::Commit]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        let Fact::Commit { process, writes } = fact else {
            return;
        };
        let mut version = None;
        for write in writes.iter().filter(|write| write.key == Key::Head) {
            let conditional = match write.expect {
                Expect::Absent => write.previous == Revision::ZERO,
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
            if head.version <= self.version || head.term < self.term {
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
}
