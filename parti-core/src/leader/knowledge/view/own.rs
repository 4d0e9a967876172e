//! What a leader wrote itself: known at once, without waiting for the watch.

use super::View;
use crate::leader::committing::fitting::{Put, What};
use crate::model::id::{Revision, WorkerId};
use crate::model::time::Instant;
use crate::records::record::SessionRecord;

impl View {
    /// Takes over what this leader wrote in a commit whose first write has this revision.
    pub(crate) fn wrote(&mut self, revision: Revision, format: u16, put: Put) {
        let Put {
            worker,
            what,
            keys,
            after,
            ..
        } = put;
        for key in keys {
            let known = self.revisions.entry(key).or_insert(Revision::ZERO);
            *known = revision.max(*known);
        }
        if after.is_empty() {
            self.pieces.remove(&worker);
        } else {
            self.pieces.insert(worker.clone(), after);
        }
        match what {
            What::Written(record) => {
                self.formats.insert(worker.clone(), format);
                self.records.insert(worker.clone(), record);
            }
            What::Removed => {
                self.records.remove(&worker);
            }
            What::Repaired => return,
        }
        self.damaged.remove(&worker);
        self.unread.remove(&worker);
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
