//! Records to bytes and back. The only place that knows serde.
//!
//! A value is an [`Envelope`], which every release can read, and a body in one of several formats:
//! bincode 2 and a list of tagged extensions, of which unknown ones are skipped. Wire types are not
//! domain types: the domain can change its shape while the bytes stay. What always holds: decoding
//! never panics, takes no more memory than a small multiple of what it reads, takes back exactly
//! what encoding gave out (and what a later release appended), and refuses everything else with a
//! reason.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::model::id::Formats;
use crate::records::record::Record;

mod body;
mod convert;
mod envelope;

pub use envelope::{ENVELOPE, Envelope, SessionClass, Summary};

/// The format of bodies this release writes; any change of a layout in `wire/body.rs` gets another
/// number.
pub const FORMAT: u16 = Formats::THIS_RELEASE.newest;

/// The formats of bodies this release reads.
pub const FORMATS: Formats = Formats::THIS_RELEASE;

/// The most bytes a record may have; larger ones are refused before they are read.
pub const MAX_RECORD_BYTES: usize = 64 << 20;

/// Why bytes are not a record of this release.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// There are no bytes.
    Empty,
    /// The first byte is not that of an envelope, which no release changes.
    NoEnvelope {
        /// The byte found.
        found: u8,
    },
    /// There are more bytes than a record may have.
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// The record is whole, but its body has a format this release does not read: it was written by
    /// another release. What its envelope says counts.
    OtherRelease(Box<Envelope>),
    /// The bytes are damaged or not a record; in words.
    Malformed(String),
    /// A value in the record is outside its domain; in words.
    Invalid(String),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the record is empty"),
            Self::NoEnvelope { found } => {
                write!(f, "the record begins with {found} instead of {ENVELOPE}")
            }
            Self::OtherRelease(envelope) => write!(
                f,
                "the record has format {}, this release reads {FORMATS}: another release wrote it",
                envelope.format
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

/// The bytes of a record in the format of this release.
#[must_use]
pub fn encode(record: &Record) -> Vec<u8> {
    encode_as(FORMAT, record)
}

/// The bytes of a record in a format that the whole group reads.
#[must_use]
pub fn encode_as(format: u16, record: &Record) -> Vec<u8> {
    let mut bytes = Envelope::of(format, record).begin();
    body::write(
        &convert::to_wire(record),
        &body::no_extensions(),
        &mut bytes,
    );
    envelope::seal(&mut bytes);
    bytes
}

/// The record in these bytes.
///
/// # Errors
/// [`WireError`]; the bytes are then not a record of this release.
pub fn decode(bytes: &[u8]) -> Result<Record, WireError> {
    decode_as(FORMATS, bytes)
}

/// The record in these bytes, as a release sees it that reads these formats.
///
/// # Errors
/// [`WireError`]; the bytes are then not a record that this release reads.
pub fn decode_as(formats: Formats, bytes: &[u8]) -> Result<Record, WireError> {
    let (envelope, rest) = open(bytes)?;
    decode_body(formats, &envelope, rest)
}

/// The envelope of a record, and the bytes of its body.
pub(crate) fn open(bytes: &[u8]) -> Result<(Envelope, &[u8]), WireError> {
    Envelope::open(bytes)
}

/// The record that consists of this envelope and this body.
pub(crate) fn decode_body(
    formats: Formats,
    envelope: &Envelope,
    rest: &[u8],
) -> Result<Record, WireError> {
    if !formats.contains(envelope.format) {
        return Err(WireError::OtherRelease(Box::new(envelope.clone())));
    }
    let (wire, extensions) = body::read(envelope.kind(), rest)?;
    let record = convert::from_wire(envelope, wire)?;
    // Whatever else would read as this record is damage, or an attempt at something.
    let canonical = Envelope::of(envelope.format, &record) == *envelope
        && body::is(&convert::to_wire(&record), &extensions, rest);
    if canonical {
        Ok(record)
    } else {
        let reason = "it is not written as a writer writes it";
        Err(WireError::Malformed(reason.to_string()))
    }
}

/// What the envelope of a record says, whichever release wrote the rest.
///
/// # Errors
/// [`WireError`]; the bytes are then not a record of any release.
pub fn envelope(bytes: &[u8]) -> Result<Envelope, WireError> {
    Envelope::open(bytes).map(|(envelope, _)| envelope)
}

#[cfg(test)]
mod tests;
