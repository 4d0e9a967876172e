//! The first part of every record: what a release must know of records it cannot read.
//!
//! Its layout is fixed for ever and written by hand, in little-endian numbers of fixed width:
//!
//! ```text
//! 1 byte   the number of the envelope, always 1
//! 4 bytes  checksum of everything after it: the low half of its XXH3-64
//! 2 bytes  length of what follows up to the body
//!   2 bytes   format of the body
//!   1 byte    kind: 0 head, 1 session, 2 assignment, 3 audit entry, 4 request, 5 piece of a list,
//!             6 parked partitions, 7 manifest of an assignment, 8 piece of an assignment
//!   24 bytes  write ID: nonce and number
//!   head:       term 8, version 8, format of the group 2, lease in ms 8, epoch of the leader 8,
//!               length 1 and name of the leader (0: nobody)
//!   session:    epoch 8, class 1 (0 living, 1 ended, 2 ends after its lease), lease in ms 8,
//!               version known 8, formats it reads 2 + 2, longest lease of an earlier session of
//!               the slot that may not have ended, in ms 8
//!   assignment and manifest: version 8, epoch 8
//! then the body
//! ```
//!
//! A later release may append fields at the end of the envelope; an earlier one skips them by the
//! length. What always holds: a record whose envelope can be opened was written whole by a writer of
//! some release, since the checksum covers all of it.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

use super::{MAX_RECORD_BYTES, WireError};
use crate::model::id::{Epoch, Formats, Nonce, Term, Version, WorkerId, WriteId};
use crate::records::record::{LeaderName, Record, SessionStatus};

/// The first byte of every record of every release.
pub const ENVELOPE: u8 = 1;

/// Where the checksum ends, and the length of the fields.
pub(super) const CHECKED_FROM: usize = 5;
const FIELDS_FROM: usize = 7;

/// What every release can read of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The format of the body.
    pub format: u16,
    /// The write.
    pub write: WriteId,
    /// What is said of a record of this kind.
    pub summary: Summary,
}

/// The part of an envelope that depends on the kind of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Summary {
    /// Of `head`.
    Head {
        /// The number of the leadership.
        term: Term,
        /// The version of this write.
        version: Version,
        /// The format in which the group writes.
        format: u16,
        /// The lease of the leader that wrote it.
        lease: Duration,
        /// The leader, or none after a resignation.
        leader: Option<LeaderName>,
    },
    /// Of a session.
    Session {
        /// The revision of the write that created it; zero in that write itself.
        epoch: Epoch,
        /// Whether it counts.
        class: SessionClass,
        /// Its lease.
        lease: Duration,
        /// The highest version its process has seen.
        known: Version,
        /// The formats its process reads.
        reads: Formats,
        /// The longest lease of an earlier session of the slot that may not have ended; zero: none.
        unproven: Duration,
    },
    /// Of an assignment.
    Assignment {
        /// The generation in which it was written.
        version: Version,
        /// The incarnation of the worker it is for.
        epoch: Epoch,
    },
    /// Of an audit entry.
    Audit,
    /// Of a request to the leader.
    Control,
    /// Of a piece of a partition list.
    Source,
    /// Of the parked partitions.
    Parked,
    /// Of an assignment that is stored in pieces.
    Manifest {
        /// The generation in which it was written.
        version: Version,
        /// The incarnation of the worker it is for.
        epoch: Epoch,
    },
    /// Of a piece of an assignment.
    Piece,
    /// Of a suspicion.
    Suspicion,
    /// Of a kind that this release does not know.
    Other(u8),
}

/// What a release must know of the status of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionClass {
    /// It may hold partitions.
    Living,
    /// It has ended and holds nothing.
    Ended,
    /// It was ended although it was alive: it may hold partitions for one lease more.
    EndsAfterLease,
}

impl SessionClass {
    /// The class of a status.
    #[must_use]
    pub const fn of(status: SessionStatus) -> Self {
        match status {
            SessionStatus::Active | SessionStatus::Draining => Self::Living,
            SessionStatus::Released { .. } | SessionStatus::Evicted { silent: true } => Self::Ended,
            SessionStatus::Evicted { silent: false } | SessionStatus::Suspected => {
                Self::EndsAfterLease
            }
        }
    }

    /// A status that means the same to others.
    pub(crate) const fn status(self) -> SessionStatus {
        match self {
            Self::Living => SessionStatus::Active,
            Self::Ended => SessionStatus::Evicted { silent: true },
            Self::EndsAfterLease => SessionStatus::Evicted { silent: false },
        }
    }
}

impl Envelope {
    /// The envelope of a record whose body is written in a format.
    pub(super) fn of(format: u16, record: &Record) -> Self {
        let summary = match record {
            Record::Head(head) => Summary::Head {
                term: head.term,
                version: head.version,
                format: head.format,
                lease: head.lease,
                leader: head.leader.clone(),
            },
            Record::Session(session) => Summary::Session {
                epoch: session.epoch,
                class: SessionClass::of(session.status),
                lease: session.lease,
                known: session.known,
                reads: session.reads,
                unproven: session
                    .predecessors
                    .iter()
                    .map(|before| before.lease)
                    .max()
                    .unwrap_or_default(),
            },
            Record::Assignment(assignment) => Summary::Assignment {
                version: assignment.version,
                epoch: assignment.epoch,
            },
            Record::Manifest(manifest) => Summary::Manifest {
                version: manifest.version,
                epoch: manifest.epoch,
            },
            Record::Piece(_) => Summary::Piece,
            Record::Audit(_) => Summary::Audit,
            Record::Control(_) => Summary::Control,
            Record::Source(_) => Summary::Source,
            Record::Parked(_) => Summary::Parked,
            Record::Suspicion(_) => Summary::Suspicion,
        };
        let write = record.write();
        Self {
            format,
            write,
            summary,
        }
    }

    pub(super) const fn kind(&self) -> u8 {
        match self.summary {
            Summary::Head { .. } => 0,
            Summary::Session { .. } => 1,
            Summary::Assignment { .. } => 2,
            Summary::Audit => 3,
            Summary::Control => 4,
            Summary::Source => 5,
            Summary::Parked => 6,
            Summary::Manifest { .. } => 7,
            Summary::Piece => 8,
            Summary::Suspicion => 9,
            Summary::Other(kind) => kind,
        }
    }

    /// The bytes up to the body; [`seal`] completes them when the body has been added.
    pub(super) fn begin(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend([ENVELOPE, 0, 0, 0, 0, 0, 0]);
        bytes.extend(self.format.to_le_bytes());
        bytes.push(self.kind());
        bytes.extend(self.write.nonce.get().to_le_bytes());
        bytes.extend(self.write.seq.to_le_bytes());
        let number = |bytes: &mut Vec<u8>, number: u64| bytes.extend(number.to_le_bytes());
        match &self.summary {
            Summary::Head {
                term,
                version,
                format,
                lease,
                leader,
            } => {
                number(&mut bytes, term.get());
                number(&mut bytes, version.get());
                bytes.extend(format.to_le_bytes());
                number(&mut bytes, millis(*lease));
                let name = leader.as_ref().map_or("", |leader| leader.worker.as_str());
                let epoch = leader.as_ref().map(|leader| leader.epoch.get());
                number(&mut bytes, epoch.unwrap_or_default());
                // Worker IDs are shorter than this by far.
                bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
                bytes.extend(name.bytes().take(usize::from(u8::MAX)));
            }
            Summary::Session {
                epoch,
                class,
                lease,
                known,
                reads,
                unproven,
            } => {
                number(&mut bytes, epoch.get());
                bytes.push(match class {
                    SessionClass::Living => 0,
                    SessionClass::Ended => 1,
                    SessionClass::EndsAfterLease => 2,
                });
                number(&mut bytes, millis(*lease));
                number(&mut bytes, known.get());
                bytes.extend(reads.oldest.to_le_bytes());
                bytes.extend(reads.newest.to_le_bytes());
                number(&mut bytes, millis(*unproven));
            }
            Summary::Assignment { version, epoch } | Summary::Manifest { version, epoch } => {
                number(&mut bytes, version.get());
                number(&mut bytes, epoch.get());
            }
            Summary::Audit
            | Summary::Control
            | Summary::Source
            | Summary::Parked
            | Summary::Piece
            | Summary::Suspicion
            | Summary::Other(_) => {}
        }
        let length = u16::try_from(bytes.len() - FIELDS_FROM).unwrap_or(u16::MAX);
        bytes[CHECKED_FROM..FIELDS_FROM].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    /// The envelope and the bytes of the body.
    pub(super) fn open(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let &first = bytes.first().ok_or(WireError::Empty)?;
        if first != ENVELOPE {
            return Err(WireError::NoEnvelope { found: first });
        }
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(WireError::TooLarge { bytes: bytes.len() });
        }
        let mut outer = Fields { left: &bytes[1..] };
        let checksum = u32::from_le_bytes(outer.take()?);
        if checksum != check(outer.left) {
            let reason = "its checksum is another";
            return Err(WireError::Malformed(reason.to_string()));
        }
        let length = usize::from(outer.short()?);
        let split = outer.left.split_at_checked(length);
        let (fields, body) = split.ok_or_else(Fields::cut)?;
        Fields { left: fields }
            .envelope()
            .map(|fields| (fields, body))
    }
}

/// Completes a record with its checksum.
pub(super) fn seal(bytes: &mut [u8]) {
    let checksum = check(&bytes[CHECKED_FROM..]);
    bytes[1..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
}

fn check(bytes: &[u8]) -> u32 {
    (xxh3_64(bytes) & u64::from(u32::MAX)) as u32
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Fields that are still to be read.
struct Fields<'a> {
    left: &'a [u8],
}

impl Fields<'_> {
    fn envelope(&mut self) -> Result<Envelope, WireError> {
        let format = self.short()?;
        let [kind] = self.take()?;
        let nonce = Nonce::new(u128::from_le_bytes(self.take()?));
        let seq = self.long()?;
        let summary = match kind {
            0 => self.head()?,
            1 => self.session()?,
            2 => Summary::Assignment {
                version: Version::new(self.long()?),
                epoch: Epoch::new(self.long()?),
            },
            3 => Summary::Audit,
            4 => Summary::Control,
            5 => Summary::Source,
            6 => Summary::Parked,
            7 => Summary::Manifest {
                version: Version::new(self.long()?),
                epoch: Epoch::new(self.long()?),
            },
            8 => Summary::Piece,
            9 => Summary::Suspicion,
            other => Summary::Other(other),
        };
        // What is left was appended by a later release.
        Ok(Envelope {
            format,
            write: WriteId { nonce, seq },
            summary,
        })
    }

    fn head(&mut self) -> Result<Summary, WireError> {
        let term = Term::new(self.long()?);
        let version = Version::new(self.long()?);
        let format = self.short()?;
        let lease = Duration::from_millis(self.long()?);
        let epoch = Epoch::new(self.long()?);
        let [length] = self.take()?;
        let split = self.left.split_at_checked(usize::from(length));
        let (name, left) = split.ok_or_else(Self::cut)?;
        self.left = left;
        let leader = if name.is_empty() {
            None
        } else {
            let name = core::str::from_utf8(name).map_err(|e| invalid(&e))?;
            let worker = WorkerId::new(name).map_err(|e| invalid(&e))?;
            Some(LeaderName { worker, epoch })
        };
        Ok(Summary::Head {
            term,
            version,
            format,
            lease,
            leader,
        })
    }

    fn session(&mut self) -> Result<Summary, WireError> {
        let epoch = Epoch::new(self.long()?);
        let class = match self.take()? {
            [1] => SessionClass::Ended,
            [2] => SessionClass::EndsAfterLease,
            // Of a class that is not known yet, the worst is assumed.
            [_] => SessionClass::Living,
        };
        Ok(Summary::Session {
            epoch,
            class,
            lease: Duration::from_millis(self.long()?),
            known: Version::new(self.long()?),
            reads: Formats {
                oldest: self.short()?,
                newest: self.short()?,
            },
            unproven: Duration::from_millis(self.long()?),
        })
    }

    fn long(&mut self) -> Result<u64, WireError> {
        self.take().map(u64::from_le_bytes)
    }

    fn short(&mut self) -> Result<u16, WireError> {
        self.take().map(u16::from_le_bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let split = self.left.split_first_chunk();
        let (field, left) = split.ok_or_else(Self::cut)?;
        self.left = left;
        Ok(*field)
    }

    fn cut() -> WireError {
        WireError::Malformed("its envelope is cut off".to_string())
    }
}

fn invalid(error: &dyn core::fmt::Display) -> WireError {
    WireError::Invalid(format!("the leader's name: {error}"))
}
