//! Assignments in pieces, shown to the checkers as what they are: one record.
//!
//! Checkers judge what is granted and not how it is laid out. What always holds: what the group itself
//! wrote last is what is shown; a manifest whose pieces the group never wrote is shown as it is, which no
//! checker takes.

use std::collections::BTreeMap;

use parti_core::{Assembly, Entry, Key, Record, WorkerId};

use crate::simulator::checks::{Value, Written};
use crate::simulator::storage::store::any_release;

#[derive(Debug, Default)]
pub(in crate::simulator) struct Split {
    pieces: BTreeMap<WorkerId, Assembly>,
    /// Whether the last commit had an assignment in pieces.
    pub(in crate::simulator) seen: bool,
}

impl Split {
    /// What is stored in these entries.
    pub(in crate::simulator) fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut split = Self::default();
        for entry in entries {
            let record = entry
                .value
                .as_deref()
                .and_then(|value| any_release(value).ok());
            split.note(&Key::parse(&entry.key), record.as_ref());
        }
        split
    }

    /// Puts whole assignments in place of the manifests of a commit.
    pub(in crate::simulator) fn take_in(&mut self, writes: &mut [Written]) {
        self.seen = false;
        for write in &*writes {
            self.note(&write.key, write.record());
        }
        for write in writes {
            let (Key::Assignment(worker), Some(Record::Manifest(_))) = (&write.key, write.record())
            else {
                continue;
            };
            self.seen = true;
            if let Some(whole) = self.pieces.get(worker).and_then(Assembly::whole) {
                write.value = Value::Record(Box::new(Record::Assignment(whole)));
            }
        }
    }

    /// The whole assignment of a worker that is stored in pieces.
    pub(in crate::simulator) fn whole(
        &self,
        worker: &WorkerId,
    ) -> Option<parti_core::AssignmentRecord> {
        self.pieces.get(worker)?.whole()
    }

    fn note(&mut self, key: &Key, record: Option<&Record>) {
        match (key, record) {
            (Key::Assignment(worker), Some(Record::Manifest(manifest))) => {
                let stored = self.pieces.entry(worker.clone()).or_default();
                stored.expect(Some(manifest.clone()));
            }
            (Key::Piece(worker, number), Some(Record::Piece(piece))) => {
                let stored = self.pieces.entry(worker.clone()).or_default();
                stored.take(*number, 0, piece.clone());
            }
            (Key::Piece(worker, number), None) => {
                let stored = self.pieces.entry(worker.clone()).or_default();
                stored.lose(*number);
            }
            _ => {}
        }
    }
}
