//! Assignments as a leader sees them, stored whole or in pieces.
//!
//! It is separate because a record in pieces is known only when all of it is there. What always holds:
//! once the view is whole, what is known stays in force, whatever a foreign hand does to its keys.

use alloc::string::{String, ToString};

use super::{News, View};
use crate::link::cx::Cx;
use crate::model::id::{Epoch, WorkerId};
use crate::ports::store::Entry;
use crate::records::assembly::Assembly;
use crate::records::record::{AssignmentRecord, Manifest, Record};
use crate::records::wire::{self, Summary, WireError};

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
        worker: WorkerId,
        entry: &Entry,
    ) -> News {
        let envelope = entry.value.as_deref().map(wire::envelope);
        let format = envelope.and_then(|read| read.ok().map(|envelope| envelope.format));
        let trusted = |nonce| self.author.is_none_or(|author| author == nonce);
        let reason = match entry.value.as_deref().map(|value| cx.decode(value)) {
            Some(Ok(Record::Assignment(record))) if trusted(record.write.nonce) => {
                self.take_whole(worker, format, record);
                return News::Change;
            }
            Some(Ok(Record::Manifest(manifest))) if trusted(manifest.write.nonce) => {
                self.take_manifest(worker, format, manifest);
                return News::Change;
            }
            Some(Ok(Record::Assignment(_) | Record::Manifest(_))) => NOT_THE_LEADER.to_string(),
            None if self.author.is_none() || !self.records.contains_key(&worker) => {
                if let Some(stored) = self.pieces.get_mut(&worker) {
                    stored.expect(None);
                }
                self.records.remove(&worker);
                self.unread.remove(&worker);
                return News::Change;
            }
            None => "it was deleted by somebody who does not lead".to_string(),
            Some(Ok(_)) => "it is not an assignment".to_string(),
            Some(Err(error)) => {
                self.note_unread(&worker, &error);
                error.to_string()
            }
        };
        // What is known of it stays in force: a damaged record must not free partitions.
        cx.ignore(entry.key.clone(), reason);
        if self.records.contains_key(&worker) {
            self.damaged.insert(worker);
        }
        News::Change
    }

    fn note_unread(&mut self, worker: &WorkerId, error: &WireError) {
        let WireError::OtherRelease(envelope) = error else {
            return;
        };
        if let Summary::Assignment { epoch, .. } | Summary::Manifest { epoch, .. } =
            envelope.summary
            && !self.records.contains_key(worker)
        {
            self.unread.insert(worker.clone(), epoch);
        }
    }

    fn take_whole(&mut self, worker: WorkerId, format: Option<u16>, record: AssignmentRecord) {
        if let Some(stored) = self.pieces.get_mut(&worker) {
            stored.expect(None);
        }
        self.unread.remove(&worker);
        self.formats
            .extend(format.map(|format| (worker.clone(), format)));
        self.records.insert(worker, record);
    }

    fn take_manifest(&mut self, worker: WorkerId, format: Option<u16>, manifest: Manifest) {
        let epoch = manifest.epoch;
        self.formats
            .extend(format.map(|format| (worker.clone(), format)));
        let stored = self.pieces.entry(worker.clone()).or_default();
        stored.expect(Some(manifest));
        self.put_together(worker, epoch);
    }

    /// The record is known if all of it is there. If not, what is granted is not known, as with a
    /// record that cannot be read.
    fn put_together(&mut self, worker: WorkerId, epoch: Epoch) {
        match self.pieces.get(&worker).and_then(Assembly::whole) {
            Some(record) => {
                self.unread.remove(&worker);
                self.records.insert(worker, record);
            }
            None if self.author.is_some() && self.records.contains_key(&worker) => {
                self.damaged.insert(worker);
            }
            None => {
                self.records.remove(&worker);
                self.unread.insert(worker, epoch);
            }
        }
    }

    pub(super) fn on_piece(
        &mut self,
        cx: &mut Cx<'_>,
        worker: WorkerId,
        number: u32,
        entry: &Entry,
    ) -> News {
        let value = entry.value.as_deref();
        let format = value.and_then(|value| wire::envelope(value).ok());
        let format = format.map(|envelope| envelope.format).unwrap_or_default();
        let (piece, reason) = match value.map(|value| cx.decode(value)) {
            Some(Ok(Record::Piece(piece))) => (Some(piece), String::new()),
            Some(Ok(_)) => (None, "it is not a piece of an assignment".to_string()),
            Some(Err(error)) => (None, error.to_string()),
            None => (None, String::new()),
        };
        let stored = self.pieces.entry(worker.clone()).or_default();
        let known = self.author.is_some() && self.records.contains_key(&worker);
        let manifest = stored.manifest().map(|manifest| manifest.epoch);
        let as_named =
            |piece: &crate::records::record::AssignmentPiece| stored.wants(number, piece.digest());
        if known && stored.names(number) && !piece.as_ref().is_some_and(as_named) {
            // Its content is known, and stays in force.
            stored.doubt(number);
            let reason = "it is not the piece that its manifest names".to_string();
            cx.ignore(entry.key.clone(), reason);
            self.damaged.insert(worker);
            return News::Change;
        }
        match (piece, value) {
            (Some(piece), _) => stored.take(number, format, piece),
            (None, Some(_)) => {
                stored.spoil(number);
                cx.ignore(entry.key.clone(), reason);
            }
            (None, None) => stored.lose(number),
        }
        if let Some(epoch) = manifest.filter(|_| !known) {
            self.put_together(worker, epoch);
            return News::Change;
        }
        News::Nothing
    }
}
