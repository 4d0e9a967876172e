//! Records to bytes and back: one format byte, then bincode 2. The only place that knows serde.
//!
//! Wire types are not domain types: the domain can change its shape while the bytes stay. What
//! always holds: decoding is bounded by [`MAX_RECORD_BYTES`], never panics, takes back exactly what
//! encoding gave out, and refuses everything else with a reason.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

use crate::id::Version;
use crate::record::{Record, SessionRecord};

mod convert;

/// The format most records are written in; any change of the layout below gets another number.
pub const FORMAT: u8 = 1;

/// The format of sessions since they carry the highest version known. Those of format 1 are read
/// as if they knew what they had applied.
pub const SESSION_FORMAT: u8 = 2;

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
                "the record has format {found}, this version understands {FORMAT} and \
                 {SESSION_FORMAT}; was it written by another release?"
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
    let (format, wire) = match record {
        Record::Session(session) => {
            let (before, known) = (convert::to_wire(record), session.known.get());
            (SESSION_FORMAT, body(&SessionWire2(before, known)))
        }
        Record::Head(_)
        | Record::Assignment(_)
        | Record::Audit(_)
        | Record::Control(_)
        | Record::Source(_) => (FORMAT, body(&convert::to_wire(record))),
    };
    let mut bytes = Vec::with_capacity(1 + wire.len());
    bytes.push(format);
    bytes.extend_from_slice(&wire);
    bytes
}

/// The bytes after the format.
fn body(wire: &impl Serialize) -> Vec<u8> {
    // Encoding plain data into memory cannot fail; an empty record would be refused by every reader.
    let encoded = bincode::serde::encode_to_vec(wire, bincode::config::standard());
    debug_assert!(encoded.is_ok(), "encoding failed: {encoded:?}");
    encoded.unwrap_or_default()
}

/// The record in these bytes.
///
/// # Errors
/// [`WireError`]; the bytes are then not a record of this version.
pub fn decode(bytes: &[u8]) -> Result<Record, WireError> {
    let (&format, body) = bytes.split_first().ok_or(WireError::Empty)?;
    if ![FORMAT, SESSION_FORMAT].contains(&format) {
        return Err(WireError::UnknownFormat { found: format });
    }
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(WireError::TooLarge { bytes: bytes.len() });
    }
    if format == FORMAT {
        return convert::from_wire(parse(body)?);
    }
    let SessionWire2(before, known) = parse(body)?;
    match convert::from_wire(before)? {
        Record::Session(session) => {
            let known = Version::new(known);
            Ok(Record::Session(SessionRecord { known, ..session }))
        }
        Record::Head(_)
        | Record::Assignment(_)
        | Record::Audit(_)
        | Record::Control(_)
        | Record::Source(_) => {
            let reason = alloc::format!("format {SESSION_FORMAT} is for sessions");
            Err(WireError::Invalid(reason))
        }
    }
}

/// What the bytes after the format say; all of them must be used.
fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, WireError> {
    let config = bincode::config::standard().with_limit::<MAX_RECORD_BYTES>();
    let (wire, used): (T, usize) = bincode::serde::decode_from_slice(body, config)
        .map_err(|error| WireError::Malformed(error.to_string()))?;
    if used != body.len() {
        let reason = alloc::format!("{} bytes after its end", body.len() - used);
        return Err(WireError::Malformed(reason));
    }
    Ok(wire)
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

/// A session of the first format and the highest version known to it.
#[derive(Serialize, Deserialize)]
struct SessionWire2(RecordWire, u64);

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
    predecessors: Vec<PredecessorWire>,
}

#[derive(Serialize, Deserialize)]
enum RemainsWire {
    Everything,
    Draining,
}

#[derive(Serialize, Deserialize)]
struct PredecessorWire {
    epoch: u64,
    revision: u64,
    lease_ms: u64,
    applied: u64,
    remains: RemainsWire,
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
