//! What a view that is whole does not show: keys that were removed while nobody told of it.
//!
//! It is separate because absence proves something only together with a revision up to which nothing is
//! missing. What always holds: an assignment stays in force until this leader removes it.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::View;
use crate::io::notice::Notice;
use crate::link::cx::Cx;
use crate::model::id::{Revision, WorkerId};
use crate::ports::store::Entry;
use crate::records::keys::{Key, assignment_key};

impl View {
    /// A snapshot begins: keys it does not mention are gone.
    pub(crate) fn begin_snapshot(&mut self) {
        self.mentioned = Some(BTreeSet::new());
    }

    /// Whether a snapshot is being delivered.
    pub(crate) const fn is_in_snapshot(&self) -> bool {
        self.mentioned.is_some()
    }

    /// A snapshot ends that misses no write up to `revision`.
    pub(crate) fn end_snapshot(&mut self, cx: &mut Cx<'_>, revision: Revision) {
        if let Some(mentioned) = self.mentioned.take() {
            self.purge(cx, &mentioned, revision);
        }
    }

    /// Whether it is the key of a piece that an assignment names and that is known to be stored.
    fn is_needed(&self, key: &Key) -> bool {
        let Key::Piece(worker, number) = key else {
            return false;
        };
        let stored = self.pieces.get(worker);
        self.author.is_some() && stored.is_some_and(|stored| stored.is_stored(*number))
    }

    /// Keys that a complete view up to `revision` does not mention were removed, or they were
    /// written again meanwhile and will be shown later. An assignment stays in force for that, since
    /// only this leader removes them: it has to be written again.
    pub(crate) fn purge(
        &mut self,
        cx: &mut Cx<'_>,
        mentioned: &BTreeSet<String>,
        revision: Revision,
    ) {
        let gone = self.revisions.iter().filter(|(key, known)| {
            **known <= revision
                && !mentioned.contains(*key)
                && !matches!(Key::parse(key), Key::Assignment(_))
        });
        let gone = gone.map(|(key, &known)| Entry {
            at_ms: 0,
            key: key.clone(),
            revision: known,
            value: None,
        });
        let gone: Vec<Entry> = gone.collect();
        for entry in gone {
            let seen = cx.seen(&entry);
            if self.is_needed(seen.key()) {
                let key = entry.key.clone();
                cx.notify(Notice::RecordVanished { key });
            }
            self.apply(cx, &seen);
        }
        let lost = self.records.keys().filter(|worker| {
            let key = assignment_key(worker);
            let known = self.revisions.get(&key);
            known.is_some_and(|known| *known <= revision) && !mentioned.contains(&key)
        });
        let lost: Vec<WorkerId> = lost.cloned().collect();
        for worker in lost {
            if self.author.is_some() && self.damaged.insert(worker.clone()) {
                let key = assignment_key(&worker);
                cx.notify(Notice::RecordVanished { key });
            }
        }
    }
}
