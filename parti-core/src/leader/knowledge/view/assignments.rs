//! Assignments as a leader sees them, stored whole or in pieces.
//!
//! It is separate because a record in pieces is known only when all of it is there. What always holds:
//! once the view is whole, what is known stays in force, whatever an external writer does to its keys.

use super::{News, View};
use crate::link::cx::Cx;
use crate::model::id::{Epoch, Revision, WorkerId};
use crate::records::assembly::Assembly;
use crate::records::record::{AssignmentRecord, Manifest, Record};
use crate::records::seen::{Content, Seen};
use crate::records::wire::{Envelope, Summary};

/// Why an entry is not taken in.
const NOT_THE_LEADER: &str = "it was written by somebody who does not lead";

impl View {
    /// What is stored of a worker's assignment in pieces.
    pub(crate) fn stored(&self, worker: &WorkerId) -> Option<&Assembly> {
        self.pieces.get(worker)
    }

    /// Pieces that no assignment names.
    pub(crate) fn leftovers(&self) -> impl Iterator<Item = (&WorkerId, u32)> {
        let pieces = self.pieces.iter();
        pieces.flat_map(|(worker, stored)| stored.leftovers().map(move |number| (worker, number)))
    }

    pub(super) fn on_assignment(
        &mut self,
        cx: &mut Cx<'_>,
        worker: &WorkerId,
        seen: &Seen<'_>,
    ) -> News {
        let trusted = |nonce| self.author.is_none_or(|author| author == nonce);
        let reason = match seen.content() {
            Content::Record(record) if trusted(record.write().nonce) => {
                let format = seen.format();
                if let Record::Assignment(record) = &**record {
                    self.take_whole(worker, format, record);
                } else if let Record::Manifest(manifest) = &**record {
                    self.take_manifest(worker, format, manifest);
                }
                return News::Change;
            }
            Content::Record(_) => NOT_THE_LEADER,
            Content::Nothing if self.author.is_none() || !self.records.contains_key(worker) => {
                if let Some(stored) = self.pieces.get_mut(worker) {
                    stored.expect(None);
                }
                self.records.remove(worker);
                self.unread.remove(worker);
                return News::Change;
            }
            Content::Nothing => "it was deleted by somebody who does not lead",
            Content::Unreadable { reason, other } => {
                match other {
                    Some(envelope) => self.note_unread(worker, envelope),
                    None => self.note_illegible(worker, seen.revision()),
                }
                reason
            }
        };
        // What is known of it stays in force: a damaged record must not free partitions.
        cx.ignore(seen, reason);
        if self.records.contains_key(worker) {
            self.damaged.insert(worker.clone());
        }
        News::Change
    }

    fn note_unread(&mut self, worker: &WorkerId, envelope: &Envelope) {
        if let Summary::Assignment { epoch, .. } | Summary::Manifest { epoch, .. } =
            envelope.summary
            && !self.records.contains_key(worker)
        {
            self.unread.insert(worker.clone(), epoch);
        }
    }

    /// What nobody can read may stand where a grant stood, for all that a new leader knows.
    fn note_illegible(&mut self, worker: &WorkerId, written: Revision) {
        if self.author.is_none() && !self.records.contains_key(worker) {
            self.illegible.insert(worker.clone(), written);
        }
    }

    fn take_whole(&mut self, worker: &WorkerId, format: u16, record: &AssignmentRecord) {
        if let Some(stored) = self.pieces.get_mut(worker) {
            stored.expect(None);
        }
        self.unread.remove(worker);
        self.formats.insert(worker.clone(), format);
        self.records.insert(worker.clone(), record.clone());
    }

    fn take_manifest(&mut self, worker: &WorkerId, format: u16, manifest: &Manifest) {
        let epoch = manifest.epoch;
        self.formats.insert(worker.clone(), format);
        let stored = self.pieces.entry(worker.clone()).or_default();
        stored.expect(Some(manifest.clone()));
        self.put_together(worker, epoch);
    }

    /// The record is known if all of it is there. If not, what is granted is not known, as with a
    /// record that cannot be read.
    fn put_together(&mut self, worker: &WorkerId, epoch: Epoch) {
        match self.pieces.get(worker).and_then(Assembly::whole) {
            Some(record) => {
                self.unread.remove(worker);
                self.records.insert(worker.clone(), record);
            }
            None if self.author.is_some() && self.records.contains_key(worker) => {
                self.damaged.insert(worker.clone());
            }
            None => {
                self.records.remove(worker);
                self.unread.insert(worker.clone(), epoch);
            }
        }
    }

    pub(super) fn on_piece(
        &mut self,
        cx: &mut Cx<'_>,
        worker: &WorkerId,
        number: u32,
        seen: &Seen<'_>,
    ) -> News {
        let piece = seen.piece();
        let stored = self.pieces.entry(worker.clone()).or_default();
        let known = self.author.is_some() && self.records.contains_key(worker);
        let manifest = stored.manifest().map(|manifest| manifest.epoch);
        let as_named = piece.is_some_and(|piece| stored.wants(number, piece.digest()));
        if known && stored.names(number) && !as_named {
            // Its content is known, and stays in force.
            stored.doubt(number);
            cx.ignore(seen, "it is not the piece that its manifest names");
            self.damaged.insert(worker.clone());
            return News::Change;
        }
        match (piece, seen.content()) {
            (Some(piece), _) => stored.take(number, seen.format(), piece.clone()),
            (None, Content::Unreadable { reason, .. }) => {
                stored.spoil(number);
                cx.ignore(seen, reason);
            }
            (None, Content::Nothing | Content::Record(_)) => stored.lose(number),
        }
        if let Some(epoch) = manifest.filter(|_| !known) {
            self.put_together(worker, epoch);
            return News::Change;
        }
        News::Nothing
    }
}
