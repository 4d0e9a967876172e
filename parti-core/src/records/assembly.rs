//! An assignment that is stored in pieces, put together again.
//!
//! Pieces and manifest arrive one by one, in any order and mixed from several generations. Separate
//! because leaders, their workers and other readers of the bucket have to agree on when they are one
//! record. What always holds: only a set that matches the newest manifest, digest by digest, is a
//! record; what matches nothing is kept, since its manifest may be on its way.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::records::record::{AssignmentPiece, AssignmentRecord, Manifest};

mod layout;

pub(crate) use layout::{TooLarge, bound, capacity, largest, lay_out};

/// The format of what is not stored as it should be: later than any.
const UNKNOWN: u16 = u16::MAX;

/// What is stored of one worker's assignment in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembly {
    manifest: Option<Manifest>,
    /// What stands under the key of each piece.
    pieces: BTreeMap<u32, Stored>,
}

/// What stands under the key of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    format: u16,
    digest: u128,
    /// `None` when it cannot be read.
    piece: Option<Arc<AssignmentPiece>>,
}

impl Assembly {
    /// The manifest that is in force from now on; none when the assignment is stored whole, or not
    /// at all.
    pub fn expect(&mut self, manifest: Option<Manifest>) {
        self.manifest = manifest;
    }

    /// The manifest in force.
    #[must_use]
    pub const fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// A piece was written in a format.
    pub fn take(&mut self, number: u32, format: u16, piece: AssignmentPiece) {
        let stored = Stored {
            format,
            digest: piece.digest(),
            piece: Some(Arc::new(piece)),
        };
        self.pieces.insert(number, stored);
    }

    /// Something that cannot be read stands where a piece belongs.
    pub fn spoil(&mut self, number: u32) {
        let stored = Stored {
            format: UNKNOWN,
            digest: 0,
            piece: None,
        };
        self.pieces.insert(number, stored);
    }

    /// A piece was removed.
    pub fn lose(&mut self, number: u32) {
        self.pieces.remove(&number);
    }

    /// Somebody spoiled or removed a piece whose content is known: it has to be written again. Whether
    /// the manifest names it.
    pub(crate) fn doubt(&mut self, number: u32) -> bool {
        let named = self.names(number);
        if let Some(stored) = self.pieces.get_mut(&number).filter(|_| named) {
            stored.format = UNKNOWN;
        }
        named
    }

    /// Whether the manifest names a piece and it is stored as it should be.
    pub(crate) fn is_stored(&self, number: u32) -> bool {
        let stored = self.pieces.get(&number);
        self.names(number) && stored.is_some_and(|stored| stored.format < UNKNOWN)
    }

    /// Takes over that a piece was written as it is known, in a format.
    pub(crate) fn repaired(&mut self, number: u32, format: u16) {
        if let Some(stored) = self.pieces.get_mut(&number) {
            stored.format = format;
        }
    }

    /// Whether the manifest names a piece by this digest.
    pub(crate) fn wants(&self, number: u32, digest: u128) -> bool {
        let stamps = self.manifest.iter().flat_map(|manifest| &manifest.pieces);
        let mut stamps = stamps.filter(|stamp| stamp.number == number);
        stamps.any(|stamp| stamp.digest == digest)
    }

    /// The numbers of the pieces that are not there as the manifest names them.
    pub fn missing(&self) -> impl Iterator<Item = u32> {
        let stamps = self.manifest.iter().flat_map(|manifest| &manifest.pieces);
        stamps
            .filter(|stamp| self.get(stamp.number, stamp.digest).is_none())
            .map(|stamp| stamp.number)
    }

    /// The numbers of stored pieces that the manifest does not name.
    pub(crate) fn leftovers(&self) -> impl Iterator<Item = u32> {
        self.pieces
            .keys()
            .copied()
            .filter(|&number| !self.names(number))
    }

    /// Whether the manifest names a piece.
    pub(crate) fn names(&self, number: u32) -> bool {
        let manifest = self.manifest.as_ref();
        manifest.is_some_and(|manifest| {
            let stamps = &manifest.pieces;
            stamps
                .binary_search_by_key(&number, |stamp| stamp.number)
                .is_ok()
        })
    }

    /// The numbers of the pieces that are stored.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.pieces.keys().copied()
    }

    /// Whether two manifests name the same piece by this number.
    pub(crate) fn agrees(&self, other: &Self, number: u32) -> bool {
        let digest = self.pieces.get(&number).map(|stored| stored.digest);
        digest.is_some_and(|digest| self.wants(number, digest) && other.wants(number, digest))
    }

    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.manifest.is_none() && self.pieces.is_empty()
    }

    /// The newest format in which a piece is stored that the manifest names.
    pub(crate) fn newest_format(&self) -> u16 {
        let named = self
            .pieces
            .iter()
            .filter(|(number, _)| self.names(**number));
        let formats = named.map(|(_, stored)| stored.format);
        formats.max().unwrap_or_default()
    }

    /// The whole record, if all pieces of the manifest are there.
    #[must_use]
    pub fn whole(&self) -> Option<AssignmentRecord> {
        self.assemble(|number, digest| self.get(number, digest))
    }

    /// What the pieces say that happen to be there, of whichever generation: a planted bug.
    pub(crate) fn unmatched(&self) -> Option<AssignmentRecord> {
        self.assemble(|number, _| self.pieces.get(&number)?.piece.as_deref())
    }

    fn assemble<'a>(
        &'a self,
        piece: impl Fn(u32, u128) -> Option<&'a AssignmentPiece>,
    ) -> Option<AssignmentRecord> {
        let manifest = self.manifest.as_ref()?;
        let (mut granted, mut revoking, mut preparing) = (Vec::new(), Vec::new(), Vec::new());
        for stamp in &manifest.pieces {
            let piece = piece(stamp.number, stamp.digest)?;
            granted.extend(piece.granted.iter().cloned());
            revoking.extend(piece.revoking.iter().cloned());
            preparing.extend(piece.preparing.iter().cloned());
        }
        Some(AssignmentRecord {
            write: manifest.write,
            version: manifest.version,
            epoch: manifest.epoch,
            session: manifest.session,
            granted,
            revoking,
            preparing,
        })
    }

    fn get(&self, number: u32, digest: u128) -> Option<&AssignmentPiece> {
        let stored = self.pieces.get(&number)?;
        let piece = stored.piece.as_deref()?;
        (stored.digest == digest).then_some(piece)
    }
}

#[cfg(test)]
mod tests;
