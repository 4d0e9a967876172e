//! How much memory reading a record may take: a small multiple of what is there, whatever it claims.

use parti_core::wire::{decode, encode};
use parti_core::{
    AssignmentRecord, Control, Epoch, Nonce, Partition, PartitionKey, Record, RecordGrant,
    Revoking, SourcePart, Token, Version, WriteId,
};

const WRITE: WriteId = WriteId {
    nonce: Nonce::new(7),
    seq: 3,
};

fn key(number: u64) -> PartitionKey {
    PartitionKey::new([number.to_string()]).expect("valid")
}

/// One of each kind that has lists or texts, large enough to tell a multiple from a constant.
fn records() -> Vec<Record> {
    let grant = |number: u64| RecordGrant {
        partition: key(number),
        token: Token::new(number),
        anchor: None,
    };
    let revoking = |number: u64| Revoking {
        partition: key(number),
        since: Version::new(number),
        parked: None,
    };
    let partition = |number: u64| Partition::from(key(number)).with_weight(number);
    vec![
        Record::Control(Control {
            lasts: None,
            write: WRITE,
            author: "a".repeat(9),
            reason: "r".repeat(500),
            pins: Vec::new(),
        }),
        Record::Assignment(AssignmentRecord {
            write: WRITE,
            version: Version::new(1),
            epoch: Epoch::new(1),
            session: parti_core::Nonce::new(0),
            granted: (0..200).map(grant).collect(),
            revoking: (0..100).map(revoking).collect(),
            preparing: Vec::new(),
        }),
        Record::Source(SourcePart {
            change: WRITE.nonce,
            earlier: (0..20).map(Nonce::new).collect(),
            index: 0,
            parts: 1,
            partitions: (0..300).map(partition).collect(),
        }),
    ]
}

/// The record with its checksum made to fit, so that what is behind it is read. It is asked for from
/// the outside: the bytes of a record say nothing about how a checksum is made.
fn resealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() > 5 {
        let hash = xxhash_rust::xxh3::xxh3_64(&bytes[5..]);
        bytes[1..5].copy_from_slice(&hash.to_le_bytes()[..4]);
    }
    bytes
}

/// The most memory in use while these bytes are read.
fn memory(bytes: &[u8]) -> u64 {
    allocation_counter::measure(|| {
        let _ = decode(bytes);
    })
    .bytes_max
}

/// Nine bytes once made a reader reserve 64 MiB: anyone who can write into a bucket could stop a group.
#[test]
fn reading_takes_no_more_memory_than_a_small_multiple_of_what_is_read() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for record in records() {
        let whole = encode(&record);
        assert_eq!(decode(&whole), Ok(record));
        for _ in 0..5_000 {
            let mut bytes = whole.clone();
            let from = if random(2) == 0 {
                5
            } else {
                bytes.len().min(34)
            };
            let at = from + random(bytes.len() - from);
            match random(3) {
                // A length that lies, in each of the sizes there are.
                0 => {
                    let size = random(4);
                    let mut length = vec![251 + size as u8];
                    length.extend(std::iter::repeat_n(0xff, [2, 4, 8, 16][size]));
                    if random(2) == 0 {
                        length.pop();
                        length.push(0x03);
                    }
                    bytes.splice(at..at + random(2), length);
                }
                1 => bytes[at] = random(256) as u8,
                _ => bytes.truncate(at),
            }
            let bytes = resealed(&bytes);
            let (used, most) = (memory(&bytes), 4_096 + 64 * bytes.len() as u64);
            assert!(
                used <= most,
                "{used} bytes for {} read: {bytes:02x?}",
                bytes.len()
            );
        }
    }
}
