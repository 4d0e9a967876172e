//! What a leader wrote itself: known at once, without waiting for the watch.

use alloc::string::String;

use super::View;
use crate::id::{Revision, WorkerId};
use crate::record::{AssignmentRecord, SessionRecord};
use crate::time::Instant;

impl View {
    /// Takes over what this leader wrote in a commit whose first write has this revision.
    pub(crate) fn wrote(
        &mut self,
        key: String,
        revision: Revision,
        format: u16,
        worker: &WorkerId,
        record: Option<AssignmentRecord>,
    ) {
        let known = self.revisions.entry(key).or_insert(Revision::ZERO);
        *known = revision.max(*known);
        self.damaged.remove(worker);
        self.unread.remove(worker);
        self.formats.insert(worker.clone(), format);
        match record {
            Some(record) => self.records.insert(worker.clone(), record),
            None => self.records.remove(worker),
        };
    }

    /// Takes over an eviction this leader made.
    pub(crate) fn evicted(&mut self, now: Instant, worker: &WorkerId, record: SessionRecord) {
        if let Some(session) = self.sessions.get_mut(worker) {
            session.since = now;
            (session.record, session.unread) = (Some(record), None);
            self.settings_news = true;
        }
    }
}
