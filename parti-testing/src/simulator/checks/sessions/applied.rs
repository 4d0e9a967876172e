//! S23: the version that a session says it has taken in never goes back.
//!
//! It finds a worker that follows an old record before that record does any harm.

use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Findings, Process, Written};
use parti_core::{Nonce, Record, Version};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Applied {
    sessions: BTreeMap<String, (Nonce, bool, Version)>,
}

impl Check for Applied {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        for write in writes {
            let Some(Record::Session(record)) = write.record() else {
                continue;
            };
            let (living, applied) = (record.status.is_living(), record.applied);
            let next = (record.nonce(), living, applied);
            let before = self.sessions.insert(write.name.clone(), next);
            if let Some((nonce, true, version)) = before
                && nonce == record.nonce()
                && applied < version
                && living
            {
                findings.report(format!(
                    "{process} has taken in version {applied} after version {version}"
                ));
            }
        }
    }
}
