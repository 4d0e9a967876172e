//! Assignments: the whole of one, its manifest and its pieces, and the digest that binds these.
//!
//! Separate because the digest belongs to what is stored: it is counted from what a piece says, not
//! from its bytes, so that it stays the same in every format. What always holds: two pieces with one
//! digest say the same.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use xxhash_rust::xxh3::Xxh3;

use super::super::WireError;
use super::super::body::{AssignmentWire, List, ManifestWire};
use super::super::envelope::{Envelope, Summary};
use super::{key, other_kind, reason_from_wire, reason_to_wire, worker};
use crate::model::id::{Nonce, Token, Version, WorkerId};
use crate::model::preparation::Preparation;
use crate::records::record::{
    AssignmentPiece, AssignmentRecord, Manifest, PieceStamp, Prepared, RecordGrant, Revoking,
};

pub(super) fn to_wire<'a>(
    session: u128,
    granted: &'a [RecordGrant],
    revoking: &'a [Revoking],
    preparing: &'a [Preparation],
) -> AssignmentWire<'a> {
    let mut departed: Vec<&str> = Vec::new();
    let mut positions: BTreeMap<&WorkerId, u32> = BTreeMap::new();
    let granted = granted.iter().map(|grant| {
        let anchor = grant.anchor.as_ref().map_or(0, |worker| {
            *positions.entry(worker).or_insert_with(|| {
                departed.push(worker.as_str());
                u32::try_from(departed.len()).unwrap_or(0)
            })
        });
        (grant.partition.encoded(), grant.token.get(), anchor)
    });
    let granted = granted.collect();
    AssignmentWire {
        session,
        departed: List(departed),
        granted,
        revoking: revoking
            .iter()
            .map(|r| {
                let reason = r.parked.map(reason_to_wire);
                (r.partition.encoded(), r.since.get(), reason)
            })
            .collect(),
        preparing: preparing
            .iter()
            .map(|told| (told.partition.encoded(), told.version.get()))
            .collect(),
    }
}

pub(super) fn from_wire(
    envelope: &Envelope,
    wire: &AssignmentWire<'_>,
) -> Result<AssignmentRecord, WireError> {
    let Summary::Assignment { version, epoch } = envelope.summary else {
        return Err(other_kind());
    };
    let (granted, revoking, preparing) = lists(wire)?;
    Ok(AssignmentRecord {
        write: envelope.write,
        version,
        epoch,
        session: Nonce::new(wire.session),
        granted,
        revoking,
        preparing,
    })
}

pub(super) fn piece_from_wire(
    envelope: &Envelope,
    wire: &AssignmentWire<'_>,
) -> Result<AssignmentPiece, WireError> {
    let (granted, revoking, preparing) = lists(wire)?;
    Ok(AssignmentPiece {
        write: envelope.write,
        granted,
        revoking,
        preparing,
    })
}

/// What is granted, what is taken away, and what is to be prepared.
type Lists = (Vec<RecordGrant>, Vec<Revoking>, Vec<Preparation>);

fn lists(wire: &AssignmentWire<'_>) -> Result<Lists, WireError> {
    let departed = wire.departed.0.iter().map(|name| worker(name));
    let departed: Vec<WorkerId> = departed.collect::<Result<_, _>>()?;
    let granted = wire.granted.0.iter().map(|(partition, token, anchor)| {
        let anchor = match anchor.checked_sub(1) {
            None => None,
            Some(index) => Some(departed.get(index as usize).cloned().ok_or_else(|| {
                WireError::Invalid(format!("anchor {anchor} of {} departed", departed.len()))
            })?),
        };
        Ok(RecordGrant {
            partition: key(partition)?,
            token: Token::new(*token),
            anchor,
        })
    });
    let granted = granted.collect::<Result<_, WireError>>()?;
    let revoking = wire.revoking.0.iter().map(|(partition, since, parked)| {
        Ok(Revoking {
            partition: key(partition)?,
            since: Version::new(*since),
            parked: parked.map(reason_from_wire).transpose()?,
        })
    });
    let preparing = wire.preparing.0.iter();
    let preparing = preparing.map(|(partition, version)| preparation(partition, *version));
    let (revoking, preparing) = (
        revoking.collect::<Result<_, WireError>>()?,
        preparing.collect::<Result<_, WireError>>()?,
    );
    Ok((granted, revoking, preparing))
}

pub(super) fn preparation(partition: &str, version: u64) -> Result<Preparation, WireError> {
    Ok(Preparation {
        partition: key(partition)?,
        version: Version::new(version),
    })
}

pub(super) fn prepared_to_wire(prepared: &[Prepared]) -> List<(&str, u64, bool)> {
    let prepared = prepared.iter().map(|ended| {
        let Preparation { partition, version } = &ended.preparation;
        (partition.encoded(), version.get(), ended.failed)
    });
    prepared.collect()
}

pub(super) fn prepared_from_wire(
    wire: &List<(&str, u64, bool)>,
) -> Result<Vec<Prepared>, WireError> {
    let prepared = wire.0.iter().map(|&(partition, version, failed)| {
        Ok(Prepared {
            preparation: preparation(partition, version)?,
            failed,
        })
    });
    prepared.collect()
}

pub(super) fn manifest_to_wire(manifest: &Manifest) -> ManifestWire {
    let stamps = manifest.pieces.iter();
    ManifestWire(
        manifest.session.get(),
        stamps
            .map(|stamp| (stamp.number, stamp.digest, stamp.granted))
            .collect(),
    )
}

pub(super) fn manifest_from_wire(
    envelope: &Envelope,
    wire: ManifestWire,
) -> Result<Manifest, WireError> {
    let Summary::Manifest { version, epoch } = envelope.summary else {
        return Err(other_kind());
    };
    let mut before = 0;
    let pieces = wire.1.0.into_iter().map(|(number, digest, granted)| {
        if number <= before {
            let reason = format!("piece {number} after piece {before}");
            return Err(WireError::Invalid(reason));
        }
        before = number;
        Ok(PieceStamp {
            number,
            digest,
            granted,
        })
    });
    Ok(Manifest {
        write: envelope.write,
        version,
        epoch,
        session: Nonce::new(wire.0),
        pieces: pieces.collect::<Result<_, _>>()?,
    })
}

impl AssignmentPiece {
    /// The digest by which a manifest names it: XXH3-128 of everything but its write ID.
    #[must_use]
    pub fn digest(&self) -> u128 {
        let mut hash = Xxh3::new();
        let number = |hash: &mut Xxh3, number: usize| hash.update(&(number as u64).to_le_bytes());
        let text = |hash: &mut Xxh3, text: &str| {
            number(hash, text.len());
            hash.update(text.as_bytes());
        };
        number(&mut hash, self.granted.len());
        for grant in &self.granted {
            text(&mut hash, grant.partition.encoded());
            hash.update(&grant.token.get().to_le_bytes());
            text(
                &mut hash,
                grant.anchor.as_ref().map_or("", WorkerId::as_str),
            );
        }
        number(&mut hash, self.revoking.len());
        for taken in &self.revoking {
            text(&mut hash, taken.partition.encoded());
            hash.update(&taken.since.get().to_le_bytes());
            // No reason and the first one must differ.
            let reason = taken
                .parked
                .map_or(0, |reason| 1 + u16::from(reason_to_wire(reason)));
            hash.update(&reason.to_le_bytes());
        }
        if !self.preparing.is_empty() {
            number(&mut hash, self.preparing.len());
        }
        for told in &self.preparing {
            text(&mut hash, told.partition.encoded());
            hash.update(&told.version.get().to_le_bytes());
        }
        hash.digest128()
    }
}
