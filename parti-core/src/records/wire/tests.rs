//! Round trips of every record and rejection of everything else.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;
use proptest::collection::vec;
use proptest::prelude::*;

use super::body::{
    AgreedWire, AssignmentWire, AuditWire, CarriedWire, HeadWire, List, ManifestWire, ModeWire,
    ParkedGroupWire, ParkedWire, RecordWire,
};
use super::envelope::{CHECKED_FROM, seal};
use super::{ENVELOPE, Envelope, FORMAT, Summary, WireError, convert, decode, encode};
use crate::model::id::{Epoch, Formats, Nonce, Term, Token, Version, WorkerId, WriteId};
use crate::model::partition::PartitionKey;
use crate::model::state::Cause;
use crate::ports::strategy::ParkReason;
use crate::records::record::{
    AssignmentPiece, Control, LeaderName, Manifest, PieceStamp, Record, RecordGrant, Revoking,
};

mod any;
mod domain;

use any::record;

const WRITE: WriteId = WriteId {
    nonce: Nonce::new(1),
    seq: 1,
};

/// The bytes with a checksum that fits, so that what is behind it is looked at.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= CHECKED_FROM {
        seal(&mut bytes);
    }
    bytes
}

/// Where the body begins.
fn body_at(bytes: &[u8]) -> usize {
    7 + usize::from(u16::from_le_bytes([bytes[5], bytes[6]]))
}

/// A change of bytes: at a place, by something.
#[derive(Clone, Debug)]
enum Damage {
    Flip(u8),
    Set(u8),
    Insert(u8),
    Remove,
    /// A number in a longer form than its size needs, or a length that lies.
    Long(u8),
}

fn damage() -> impl Strategy<Value = (prop::sample::Index, Damage)> {
    let what = prop_oneof![
        (0..8_u8).prop_map(|bit| Damage::Flip(1 << bit)),
        any::<u8>().prop_map(Damage::Set),
        any::<u8>().prop_map(Damage::Insert),
        Just(Damage::Remove),
        (0..4_u8).prop_map(Damage::Long),
    ];
    (any::<prop::sample::Index>(), what)
}

fn damaged(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, Damage)]) -> Vec<u8> {
    for (at, what) in changes {
        if bytes.is_empty() {
            return bytes;
        }
        let at = at.index(bytes.len());
        match *what {
            Damage::Flip(bit) => bytes[at] ^= bit,
            Damage::Set(byte) => bytes[at] = byte,
            Damage::Insert(byte) => bytes.insert(at, byte),
            Damage::Remove => drop(bytes.remove(at)),
            Damage::Long(size) => {
                // The number of the next byte, written in 2, 4, 8 or 16 bytes.
                let zeros = [1, 3, 7, 15][usize::from(size)];
                bytes.insert(at, 251 + size);
                let behind = (at + 2).min(bytes.len());
                let zeros = core::iter::repeat_n(0, zeros);
                bytes.splice(behind..behind, zeros);
            }
        }
    }
    bytes
}

proptest! {
    /// A field that is lost on the way is lost for the whole group.
    #[test]
    fn every_record_comes_back_as_it_was_written(record in record()) {
        prop_assert_eq!(decode(&encode(&record)), Ok(record));
    }

    /// A torn or lengthened value must be noticed, not half understood.
    #[test]
    fn cut_or_lengthened_bytes_are_refused(record in record(), cut in any::<prop::sample::Index>()) {
        let mut bytes = encode(&record);
        let cut = bytes[..cut.index(bytes.len())].to_vec();
        prop_assert!(decode(&cut).is_err());
        prop_assert!(decode(&sealed(cut)).is_err());
        bytes.push(0);
        prop_assert!(matches!(decode(&bytes), Err(WireError::Malformed(_))));
        prop_assert!(matches!(decode(&sealed(bytes)), Err(WireError::Malformed(_))));
    }

    /// A record whose bytes changed on the way must not pass for one of another release, which counts
    /// without being understood.
    #[test]
    fn changed_bytes_are_refused(record in record(), change in damage()) {
        let whole = encode(&record);
        let bytes = damaged(whole.clone(), &[change]);
        prop_assume!(bytes != whole);
        let found = decode(&bytes);
        prop_assert!(found.is_err(), "{:?}", found);
        prop_assert!(!matches!(found, Err(WireError::OtherRelease(_))));
    }

    /// Two ways to write one record would let two processes disagree about what is stored.
    #[test]
    fn whatever_is_taken_is_what_a_writer_writes(record in record(), changes in vec(damage(), 1..4)) {
        let whole = encode(&record);
        let body = body_at(&whole);
        let mut bytes = whole[..body].to_vec();
        bytes.extend(damaged(whole[body..].to_vec(), &changes));
        let bytes = sealed(bytes);
        // What a later release says beside the body is taken, and written by none of this one.
        let read = super::body::read(bytes[9], &bytes[body..]);
        let more = read.is_ok_and(|(_, extensions)| !extensions.0.is_empty());
        if let Ok(record) = decode(&bytes) && !more {
            prop_assert_eq!(encode(&record), bytes);
        }
        let _ = decode(&sealed(damaged(whole, &changes)));
    }

    /// Whatever somebody writes into the bucket, reading it neither panics nor eats memory.
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = ENVELOPE;
        }
        if let Ok(record) = decode(&sealed(bytes)) {
            prop_assert_eq!(decode(&encode(&record)), Ok(record));
        }
    }

    /// An earlier release must learn from every record what it needs of it, whatever the body is, and
    /// what a later one appended to the envelope.
    #[test]
    fn the_envelope_of_another_release_is_read(
        record in record(),
        format in 2_u16..,
        more in vec(any::<u8>(), 0..40),
        body in vec(any::<u8>(), 0..40),
    ) {
        let envelope = Envelope::of(format, &record);
        let mut bytes = envelope.begin();
        bytes.extend(&more);
        let length = u16::try_from(bytes.len() - 7).expect("short");
        bytes[5..7].copy_from_slice(&length.to_le_bytes());
        bytes.extend(body);
        let bytes = sealed(bytes);
        prop_assert_eq!(super::envelope(&bytes), Ok(envelope.clone()));
        prop_assert_eq!(decode(&bytes), Err(WireError::OtherRelease(alloc::boxed::Box::new(envelope))));
    }
}

/// A record of a later release is named as such, so that an operator knows what to do.
#[test]
fn unknown_formats_are_named() {
    assert_eq!(decode(&[]), Err(WireError::Empty));
    let error = decode(&[9, 1, 2]).expect_err("no envelope");
    assert_eq!(error, WireError::NoEnvelope { found: 9 });
    let bytes = super::encode_as(9, &example());
    let error = decode(&bytes).expect_err("unknown format");
    assert!(error.to_string().contains("format 9"), "{error}");
    let reads = Formats {
        oldest: 1,
        newest: 9,
    };
    assert_eq!(super::decode_as(reads, &bytes), Ok(example()));
}

fn example() -> Record {
    Record::Control(Control {
        write: WriteId {
            nonce: Nonce::new(7),
            seq: 3,
        },
        author: "a".to_string(),
        reason: "b".to_string(),
        lasts: None,
        pins: Vec::new(),
    })
}

/// These bytes are read by every release to come: if this test fails, the layout was changed that
/// never may.
#[test]
fn the_layout_of_the_envelope_stays_as_it_is() {
    let bytes = encode(&example());
    let nonce = [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let seq = [3, 0, 0, 0, 0, 0, 0, 0];
    let checksum = bytes[1..5].to_vec();
    let parts: [&[u8]; 9] = [
        &[1],
        &checksum,
        &[27, 0],
        &[1, 0],
        &[4],
        &nonce,
        &seq,
        // The last two: it lasts until it is withdrawn, and pins nothing.
        &[1, b'a', 1, b'b', 0, 0],
        // No extensions.
        &[0],
    ];
    assert_eq!(bytes, parts.concat());
    assert_eq!(checksum, [150, 135, 84, 74]);
}

/// What is stored by one release is read by the next: the bytes of manifest and piece, and the digest
/// that binds them, stay as they are.
#[test]
fn a_manifest_and_its_piece_are_stored_as_before() {
    let partition = PartitionKey::new(["p"]).expect("valid");
    let anchor = WorkerId::new("w-1").expect("valid");
    let piece = AssignmentPiece {
        write: WRITE,
        granted: [RecordGrant {
            partition: partition.clone(),
            token: Token::new(300),
            anchor: Some(anchor),
        }]
        .into(),
        revoking: [Revoking {
            partition,
            since: Version::new(5),
            parked: Some(ParkReason::NoWorkers),
        }]
        .into(),
        preparing: Vec::new(),
    };
    let digest = piece.digest();
    assert_eq!(digest, 122_495_449_096_413_171_457_631_067_783_383_519_250);
    let bytes = encode(&Record::Piece(piece));
    let body = [
        &[0][..],
        &[1, 3],
        b"w-1",
        &[1, 3],
        b"1:p",
        &[251, 44, 1, 1],
        &[1, 3],
        b"1:p",
        &[5, 1, 0],
        &[0],
        &[0],
    ];
    assert_eq!(bytes[body_at(&bytes)..], body.concat());
    assert_eq!(bytes[9], 8, "the kind");
    let manifest = Manifest {
        write: WRITE,
        version: Version::new(6),
        epoch: Epoch::new(2),
        session: crate::model::id::Nonce::new(9),
        pieces: [PieceStamp {
            number: 1,
            digest: 7,
            granted: 1,
        }]
        .into(),
    };
    let bytes = encode(&Record::Manifest(manifest));
    assert_eq!(bytes[body_at(&bytes)..], [9, 1, 1, 7, 1, 0]);
    let (version, epoch) = (6_u64.to_le_bytes(), 2_u64.to_le_bytes());
    assert_eq!(bytes[34..50], [version, epoch].concat());
    assert_eq!(bytes[9], 7, "the kind");
}

/// A piece named twice, or one without a number, would be counted twice or never be found.
#[test]
fn a_manifest_names_its_pieces_in_rising_order() {
    let summary = || Summary::Manifest {
        version: Version::new(6),
        epoch: Epoch::new(2),
    };
    let read = |numbers: &[u32]| {
        let envelope = Envelope {
            format: FORMAT,
            write: WRITE,
            summary: summary(),
        };
        let stamps = numbers.iter().map(|&number| (number, 7, 1));
        let wire = RecordWire::Manifest(ManifestWire(0, stamps.collect()));
        convert::from_wire(&envelope, wire)
    };
    assert!(read(&[1, 2, 9]).is_ok());
    for numbers in [&[0][..], &[1, 1], &[2, 1]] {
        assert!(
            matches!(read(numbers), Err(WireError::Invalid(_))),
            "{numbers:?}"
        );
    }
}

/// A later release may say more about a record than this one knows; what this one knows still counts.
#[test]
fn unknown_extensions_are_skipped() {
    let mut bytes = encode(&example());
    bytes.pop();
    bytes.extend([2, 7, 3, 1, 2, 3, 9, 0]);
    assert_eq!(decode(&sealed(bytes.clone())), Ok(example()));
    // In another order than that of their tags they would be another way to write the same.
    let at = bytes.len() - 8;
    bytes.truncate(at);
    bytes.extend([2, 9, 0, 7, 3, 1, 2, 3]);
    assert!(matches!(
        decode(&sealed(bytes)),
        Err(WireError::Malformed(_))
    ));
}

/// A length that lies must not allocate what it claims.
#[test]
fn a_lying_length_is_refused_before_memory_is_taken() {
    let mut bytes = encode(&example());
    bytes.truncate(body_at(&bytes));
    bytes.extend([253, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(matches!(
        decode(&sealed(bytes)),
        Err(WireError::Malformed(_))
    ));
}

/// A name in an envelope is checked like any other.
#[test]
fn an_envelope_with_a_bad_name_is_refused() {
    let leader = LeaderName {
        worker: WorkerId::new("ab").expect("valid"),
        epoch: Epoch::new(1),
    };
    let summary = Summary::Head {
        term: Term::new(1),
        version: Version::new(1),
        format: FORMAT,
        lease: Duration::ZERO,
        leader: Some(leader),
    };
    let envelope = Envelope {
        format: FORMAT,
        write: WriteId {
            nonce: Nonce::new(1),
            seq: 1,
        },
        summary,
    };
    let mut bytes = envelope.begin();
    assert_eq!(super::envelope(&sealed(bytes.clone())), Ok(envelope));
    let last = bytes.len() - 1;
    bytes[last] = b' ';
    let refused = super::envelope(&sealed(bytes));
    assert!(matches!(&refused, Err(WireError::Invalid(reason)) if reason.contains("\"a \"")));
}

/// The limit is on the whole record: one byte more is refused with its size, before it is read.
#[test]
fn a_record_over_the_limit_is_refused_with_its_size() {
    use crate::records::wire::MAX_RECORD_BYTES;
    let mut bytes = alloc::vec![0_u8; MAX_RECORD_BYTES + 1];
    bytes[0] = ENVELOPE;
    let bytes_found = MAX_RECORD_BYTES + 1;
    assert_eq!(
        decode(&bytes),
        Err(WireError::TooLarge { bytes: bytes_found })
    );
    bytes.pop();
    assert!(
        matches!(decode(&bytes), Err(WireError::Malformed(_))),
        "it is looked at"
    );
}
