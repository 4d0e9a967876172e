//! Records to bytes and back: one format byte, then bincode 2. The only place that knows serde.
//!
//! Wire types are not domain types: the domain can change its shape while the bytes stay. What
//! always holds: decoding is bounded by [`MAX_RECORD_BYTES`], never panics, takes back exactly what
//! encoding gave out, and refuses everything else with a reason.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

use crate::record::Record;

mod convert;

/// The format this version writes; any change of the layout below gets another number.
pub const FORMAT: u8 = 1;

/// The most bytes a record may have; larger ones are refused before they are read.
pub const MAX_RECORD_BYTES: usize = 64 << 20;

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// There are no bytes.
    Empty,
    /// The format byte is not one this version understands.
    UnknownFormat {
        /// The byte found.
        found: u8,
    },
    /// There are more bytes than a record may have.
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// The bytes are damaged or not a record; in words.
    Malformed(String),
    /// A value in the record is outside its domain; in words.
    Invalid(String),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the record is empty"),
            Self::UnknownFormat { found } => write!(
                f,
                "the record has format {found}, this version understands {FORMAT}; \
                 was it written by another release?"
            ),
            Self::TooLarge { bytes } => {
                write!(
                    f,
                    "the record has {bytes} bytes; at most {MAX_RECORD_BYTES} are read"
                )
            }
            Self::Malformed(reason) => write!(f, "the record is damaged: {reason}"),
            Self::Invalid(reason) => write!(f, "the record holds a bad value: {reason}"),
        }
    }
}

impl core::error::Error for WireError {}

/// The bytes of a record.
#[must_use]
pub fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(FORMAT);
    let wire = convert::to_wire(record);
    let config = bincode::config::standard();
    // Encoding plain data into memory cannot fail; an empty record would be refused by every reader.
    match bincode::serde::encode_to_vec(&wire, config) {
        Ok(body) => bytes.extend_from_slice(&body),
        Err(error) => debug_assert!(false, "encoding failed: {error}"),
    }
    bytes
}

/// The record in these bytes.
///
/// # Errors
/// [`WireError`]; the bytes are then not a record of this version.
pub fn decode(bytes: &[u8]) -> Result<Record, WireError> {
    let (&format, body) = bytes.split_first().ok_or(WireError::Empty)?;
    if format != FORMAT {
        return Err(WireError::UnknownFormat { found: format });
    }
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(WireError::TooLarge { bytes: bytes.len() });
    }
    let config = bincode::config::standard().with_limit::<MAX_RECORD_BYTES>();
    let (wire, used): (RecordWire, usize) = bincode::serde::decode_from_slice(body, config)
        .map_err(|error| WireError::Malformed(error.to_string()))?;
    if used != body.len() {
        let reason = alloc::format!("{} bytes after its end", body.len() - used);
        return Err(WireError::Malformed(reason));
    }
    convert::from_wire(wire)
}

#[derive(Serialize, Deserialize)]
enum RecordWire {
    Head(HeadWire),
    Session(SessionWire),
    Assignment(AssignmentWire),
    Audit(AuditWire),
    Control(ControlWire),
    Source(SourceWire),
}

#[derive(Serialize, Deserialize)]
struct WriteWire(u128, u64);

#[derive(Serialize, Deserialize)]
struct HeadWire {
    write: WriteWire,
    term: u64,
    leader: Option<(String, u64)>,
    version: u64,
    cause: u8,
    planned: u64,
    strategy: String,
    workers: u32,
    partitions: u32,
    digest: u128,
    weights_digest: u128,
    unfinished: u32,
}

#[derive(Serialize, Deserialize)]
enum StatusWire {
    Active,
    Draining,
    Released { hold_ms: u64 },
    Evicted { silent: bool },
}

#[derive(Serialize, Deserialize)]
struct SessionWire {
    write: WriteWire,
    epoch: u64,
    status: StatusWire,
    applied: u64,
    draining: Vec<String>,
    capacity: u32,
    labels: Vec<(String, String)>,
    heartbeat_ms: u64,
    lease_ms: u64,
    software: String,
}

#[derive(Serialize, Deserialize)]
struct AssignmentWire {
    write: WriteWire,
    version: u64,
    epoch: u64,
    /// Workers that partitions were displaced from; grants name them by position, from 1.
    departed: Vec<String>,
    granted: Vec<(String, u64, u32)>,
    revoking: Vec<(String, u64)>,
}

#[derive(Serialize, Deserialize)]
struct ChangeWire {
    worker: String,
    gained: Vec<(String, Option<String>)>,
    lost: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct AuditWire {
    write: WriteWire,
    version: u64,
    term: u64,
    leader: String,
    cause: u8,
    triggers: Vec<String>,
    at_ms: u64,
    moved: u32,
    lower_bound: u32,
    changes: Vec<ChangeWire>,
    truncated: bool,
}

#[derive(Serialize, Deserialize)]
struct ControlWire {
    write: WriteWire,
    author: String,
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct SourceWire {
    change: u128,
    earlier: Vec<u128>,
    index: u32,
    parts: u32,
    partitions: Vec<(String, u64)>,
}

#[cfg(test)]
mod tests;
