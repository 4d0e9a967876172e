//! How an assignment is laid out over keys: whole if it fits into one value, else in pieces.
//!
//! It is separate because it knows how large records get. What always holds: every record it makes
//! fits into a value; a partition stays in the piece it is in, so that a small change of a large
//! assignment changes few pieces.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::{Assembly, Stored};
use crate::model::id::WorkerId;
use crate::model::partition::PartitionKey;
use crate::model::preparation::Preparation;
use crate::ports::store::StoreInfo;
use crate::records::record::{
    AssignmentPiece, AssignmentRecord, Manifest, PieceStamp, Record, RecordGrant, Revoking,
};
use crate::records::wire;

/// The most bytes of an assignment that is stored whole.
const MAX_WHOLE: usize = 1 << 20;
/// The most bytes of a piece: a small change writes no more than this.
const MAX_PIECE: usize = 128 << 10;
/// The most pieces of an assignment.
const MAX_PIECES: usize = 4096;
/// Commits that hold fewer writes than this have no room for pieces beside what must be in them.
const MIN_BATCH: usize = 8;
/// The most bytes of a record besides its partitions: envelope, lengths and extensions.
const OVERHEAD: usize = 96 + 17;
/// The most bytes of a partition besides its key: its length, a token or version, and the number of
/// an anchor or a reason.
const PER_PARTITION: usize = 3 + 9 + 5;
/// The most bytes of a piece in its manifest.
const PER_STAMP: usize = 5 + 17 + 5;

/// An assignment does not fit into what the store takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TooLarge {
    /// One partition is too large for a value.
    Partition {
        key: PartitionKey,
        needed: usize,
        most: usize,
    },
    /// There would be more pieces than a manifest can name.
    Pieces { needed: usize, most: usize },
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition { key, needed, most } => {
                write!(
                    f,
                    "partition {key} may take {needed} bytes of a record, a value holds {most}"
                )
            }
            Self::Pieces { needed, most } => {
                write!(
                    f,
                    "an assignment would have {needed} pieces, at most {most} are possible"
                )
            }
        }
    }
}

/// An assignment as it is to be stored.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// What goes under the key of the assignment; `None`: the assignment itself.
    pub(crate) manifest: Option<Manifest>,
    /// Pieces to be written.
    pub(crate) write: Vec<(u32, AssignmentPiece)>,
    /// What is stored then; what is of no more use is still there.
    pub(crate) after: Assembly,
}

/// The most bytes that a partition may take in a record.
pub(crate) fn bound(key: &PartitionKey) -> usize {
    key.encoded().len() + PER_PARTITION
}

/// How many bytes of partitions, each counted by its [`bound`] and none larger than `largest`, an
/// assignment holds for certain.
pub(crate) fn capacity(info: &StoreInfo, largest: usize) -> usize {
    let whole = info.max_value.min(MAX_WHOLE).saturating_sub(OVERHEAD);
    // A piece may have a rest that is too small for the next partition.
    let piece = piece_room(info).saturating_sub(largest);
    whole.max(piece.saturating_mul(most_pieces(info)))
}

/// The most that one partition may take, by its [`bound`].
pub(crate) fn largest(info: &StoreInfo) -> usize {
    let whole = info.max_value.min(MAX_WHOLE).saturating_sub(OVERHEAD);
    if most_pieces(info) == 0 {
        whole
    } else {
        piece_room(info)
    }
}

/// How many bytes of partitions a piece holds.
fn piece_room(info: &StoreInfo) -> usize {
    info.max_value.min(MAX_PIECE).saturating_sub(OVERHEAD)
}

/// How many pieces an assignment may have.
fn most_pieces(info: &StoreInfo) -> usize {
    if info.max_batch < MIN_BATCH {
        return 0;
    }
    let named = info.max_value.saturating_sub(OVERHEAD) / PER_STAMP;
    named.min(MAX_PIECES)
}

/// Lays out an assignment over what is stored of it, in a format.
pub(crate) fn lay_out(
    record: &AssignmentRecord,
    before: &Assembly,
    format: u16,
    info: &StoreInfo,
) -> Result<Layout, TooLarge> {
    if fits_whole(record, before, format, info) {
        let mut after = before.clone();
        after.expect(None);
        return Ok(Layout {
            manifest: None,
            write: Vec::new(),
            after,
        });
    }
    let bins = Bins::fill(record, Some(before), info)?;
    if bins.is_sparse() {
        let again = Bins::fill(record, None, info)?;
        // More than a commit holds could never be written.
        if again.bins.len() + MIN_BATCH <= info.max_batch {
            return Ok(again.laid_out(record, before, format));
        }
    }
    Ok(bins.laid_out(record, before, format))
}

/// Whether an assignment is to be stored whole. One that is in pieces becomes whole again only when
/// it has shrunk for good.
fn fits_whole(record: &AssignmentRecord, before: &Assembly, format: u16, info: &StoreInfo) -> bool {
    let most = info.max_value.min(MAX_WHOLE);
    let granted = record.granted.iter();
    let names: BTreeSet<&WorkerId> = granted.clone().filter_map(|g| g.anchor.as_ref()).collect();
    let names: usize = names.iter().map(|name| name.as_str().len() + 1).sum();
    let keys = granted.map(|grant| &grant.partition);
    let keys = keys.chain(record.revoking.iter().map(|taken| &taken.partition));
    let keys = keys.chain(record.preparing.iter().map(|told| &told.partition));
    let size = keys.map(bound).sum::<usize>() + names + OVERHEAD;
    if before.manifest().is_some() && most_pieces(info) > 0 {
        return size <= most / 4 * 3;
    }
    // The bound is generous: what fits by its true size is stored whole.
    let may_fit = size <= most.saturating_mul(2);
    let encoded = || wire::encode_as(format, &Record::Assignment(record.clone())).len();
    size <= most || (may_fit && encoded() <= most)
}

/// Pieces while they are filled.
struct Bins {
    bins: BTreeMap<u32, Bin>,
    room: usize,
}

#[derive(Default)]
struct Bin {
    granted: Vec<RecordGrant>,
    revoking: Vec<Revoking>,
    preparing: Vec<Preparation>,
    anchors: BTreeSet<WorkerId>,
    used: usize,
}

/// A partition on its way into a piece.
#[derive(Clone, Copy)]
enum Item<'a> {
    Granted(&'a RecordGrant),
    Revoking(&'a Revoking),
    Preparing(&'a Preparation),
}

impl Bins {
    fn fill(
        record: &AssignmentRecord,
        before: Option<&Assembly>,
        info: &StoreInfo,
    ) -> Result<Self, TooLarge> {
        let room = piece_room(info);
        let homes = before.map(homes).unwrap_or_default();
        let bins = BTreeMap::new();
        let mut filled = Self { bins, room };
        let mut rest = Vec::new();
        let granted = record.granted.iter().map(Item::Granted);
        let items = granted.chain(record.revoking.iter().map(Item::Revoking));
        let items = items.chain(record.preparing.iter().map(Item::Preparing));
        for item in items {
            let home = homes.get(item.key()).copied();
            let stays = home.is_some_and(|home| filled.put(home, item));
            if !stays {
                rest.push(item);
            }
        }
        let mut number = 1;
        for item in rest {
            while !filled.put(number, item) {
                if filled.bins.get(&number).is_none_or(|bin| bin.used == 0) {
                    return Err(TooLarge::Partition {
                        key: item.key().clone(),
                        needed: item.size() + OVERHEAD,
                        most: info.max_value,
                    });
                }
                number += 1;
            }
        }
        let (needed, most) = (filled.bins.len(), most_pieces(info));
        if needed > most {
            return Err(TooLarge::Pieces { needed, most });
        }
        Ok(filled)
    }

    fn put(&mut self, number: u32, item: Item<'_>) -> bool {
        let bin = self.bins.entry(number).or_default();
        let anchor = item
            .anchor()
            .filter(|anchor| !bin.anchors.contains(*anchor));
        let size = item.size() + anchor.map_or(0, |anchor| anchor.as_str().len() + 1);
        if bin.used + size > self.room {
            return false;
        }
        bin.used += size;
        bin.anchors.extend(anchor.cloned());
        match item {
            Item::Granted(grant) => bin.granted.push(grant.clone()),
            Item::Revoking(taken) => bin.revoking.push(taken.clone()),
            Item::Preparing(told) => bin.preparing.push(told.clone()),
        }
        true
    }

    /// Whether half as many pieces would do.
    fn is_sparse(&self) -> bool {
        let used: usize = self.bins.values().map(|bin| bin.used).sum();
        self.bins.len() > 2 * used.div_ceil(self.room.max(1)) + 1
    }

    fn laid_out(self, record: &AssignmentRecord, before: &Assembly, format: u16) -> Layout {
        let mut after = before.clone();
        let (mut write, mut stamps) = (Vec::new(), Vec::new());
        for (number, bin) in self.bins {
            let piece = bin.piece(record);
            let digest = piece.digest();
            stamps.push(PieceStamp {
                number,
                digest,
                granted: u32::try_from(piece.granted.len()).unwrap_or(u32::MAX),
            });
            let stored = before.pieces.get(&number);
            let same = |stored: &Stored| {
                stored.piece.is_some() && stored.digest == digest && stored.format <= format
            };
            if stored.is_some_and(same) {
                continue;
            }
            let stored = Stored {
                format,
                digest,
                piece: Some(Arc::new(piece.clone())),
            };
            after.pieces.insert(number, stored);
            write.push((number, piece));
        }
        let manifest = Manifest {
            write: record.write,
            version: record.version,
            epoch: record.epoch,
            session: record.session,
            pieces: stamps,
        };
        after.expect(Some(manifest.clone()));
        Layout {
            manifest: Some(manifest),
            write,
            after,
        }
    }
}

impl Bin {
    /// In the order of the keys: the same partitions are the same piece, whichever leader writes it.
    fn piece(mut self, record: &AssignmentRecord) -> AssignmentPiece {
        self.granted.sort_by(|a, b| a.partition.cmp(&b.partition));
        self.revoking
            .sort_by(|a, b| (&a.partition, a.since).cmp(&(&b.partition, b.since)));
        self.preparing.sort();
        AssignmentPiece {
            write: record.write,
            granted: self.granted,
            revoking: self.revoking,
            preparing: self.preparing,
        }
    }
}

impl<'a> Item<'a> {
    const fn key(self) -> &'a PartitionKey {
        match self {
            Self::Granted(grant) => &grant.partition,
            Self::Revoking(taken) => &taken.partition,
            Self::Preparing(told) => &told.partition,
        }
    }

    const fn anchor(self) -> Option<&'a WorkerId> {
        match self {
            Self::Granted(grant) => grant.anchor.as_ref(),
            Self::Revoking(_) | Self::Preparing(_) => None,
        }
    }

    fn size(self) -> usize {
        bound(self.key())
    }
}

/// Which piece each partition is in.
fn homes(before: &Assembly) -> BTreeMap<&PartitionKey, u32> {
    let mut homes = BTreeMap::new();
    for (&number, stored) in &before.pieces {
        let Some(piece) = stored.piece.as_deref().filter(|_| before.names(number)) else {
            continue;
        };
        let granted = piece.granted.iter().map(|grant| &grant.partition);
        let keys = granted.chain(piece.revoking.iter().map(|taken| &taken.partition));
        let keys = keys.chain(piece.preparing.iter().map(|told| &told.partition));
        homes.extend(keys.map(|key| (key, number)));
    }
    homes
}
