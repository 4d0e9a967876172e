//! The bodies of this release's format: bincode of these types, then the extensions.
//!
//! What the envelope says is not repeated. What always holds: a type here owns no text and no list
//! but [`List`], so that reading takes memory only for what is there.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{MAX_RECORD_BYTES, WireError};

/// The body of any record.
pub(super) enum RecordWire<'a> {
    Head(HeadWire<'a>),
    Session(SessionWire<'a>),
    Assignment(AssignmentWire<'a>),
    Audit(AuditWire<'a>),
    Control(ControlWire<'a>),
    Source(SourceWire<'a>),
    Parked(ParkedWire<'a>),
    Manifest(ManifestWire),
    Piece(AssignmentWire<'a>),
    Suspicion(SuspicionWire),
}

#[derive(Serialize, Deserialize)]
pub(super) struct HeadWire<'a> {
    pub(super) cause: u8,
    pub(super) planned: u64,
    pub(super) strategy: &'a str,
    pub(super) workers: u32,
    pub(super) partitions: u32,
    pub(super) digest: u128,
    pub(super) weights_digest: u128,
    pub(super) unfinished: u32,
    pub(super) granted: u32,
    /// How many are parked, and since when.
    pub(super) parked: (u32, u64),
    pub(super) agreed: AgreedWire,
    #[serde(borrow)]
    pub(super) carried: CarriedWire<'a>,
}

/// The mode asked for, the one that holds, and the longest lease in milliseconds.
#[derive(Serialize, Deserialize)]
pub(super) struct AgreedWire(pub(super) ModeWire, pub(super) ModeWire, pub(super) u64);

#[derive(Serialize, Deserialize)]
pub(super) enum ModeWire {
    Exclusive,
    Overlap,
    Fenced,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SettingsWire<'a> {
    pub(super) mode: ModeWire,
    pub(super) rolling_from: Option<ModeWire>,
    pub(super) max_lease_ms: u64,
    pub(super) clock_drift_ppm: u32,
    pub(super) halts: bool,
    pub(super) strategy: &'a str,
    pub(super) application: &'a str,
    pub(super) list: Option<u128>,
    pub(super) leading: u64,
}

/// The worker, then for how much longer, how long as a whole, and when it is forgotten.
pub(super) type QuarantinedWire<'a> = (&'a str, u64, u64, u64);

#[derive(Serialize, Deserialize)]
pub(super) struct CarriedWire<'a> {
    pub(super) futile: u32,
    pub(super) unassigned_ms: Option<u64>,
    pub(super) rebalanced_ms: Option<u64>,
    #[serde(borrow)]
    pub(super) quarantined: List<QuarantinedWire<'a>>,
    pub(super) suspected: List<QuarantinedWire<'a>>,
    pub(super) leases_decide_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) enum StatusWire {
    Active,
    Draining,
    Released { hold_ms: u64 },
    Evicted { silent: bool },
    Suspected,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SessionWire<'a> {
    pub(super) status: StatusWire,
    pub(super) applied: u64,
    pub(super) age_ms: u64,
    #[serde(borrow)]
    pub(super) draining: List<&'a str>,
    pub(super) capacity: u32,
    pub(super) labels: List<(&'a str, &'a str)>,
    pub(super) heartbeat_ms: u64,
    pub(super) software: &'a str,
    /// Empty: none.
    pub(super) endpoint: &'a str,
    pub(super) settings: SettingsWire<'a>,
    pub(super) honours: ModeWire,
    /// The partition, whether it failed while getting ready, and why.
    pub(super) rejections: List<(&'a str, bool, &'a str)>,
    pub(super) prepares: bool,
    /// The partition, the version of the preparation, and whether it failed.
    pub(super) prepared: List<(&'a str, u64, bool)>,
    pub(super) bulletin: Option<BulletinWire<'a>>,
    pub(super) predecessors: List<PredecessorWire>,
    pub(super) answers: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) enum RemainsWire {
    Everything,
    Draining,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PredecessorWire {
    pub(super) epoch: u64,
    pub(super) revision: u64,
    pub(super) lease_ms: u64,
    pub(super) applied: u64,
    pub(super) remains: RemainsWire,
}

/// The term, and for each problem its kind, for how many milliseconds it has lasted, its count and
/// its particulars.
#[derive(Serialize, Deserialize)]
pub(super) struct BulletinWire<'a>(
    pub(super) u64,
    #[serde(borrow)] pub(super) List<(u8, u64, u32, &'a str)>,
);

#[derive(Serialize, Deserialize)]
pub(super) struct AssignmentWire<'a> {
    /// Zero in a piece: its manifest says it.
    pub(super) session: u128,
    /// Workers that partitions were displaced from; grants name them by position, from 1.
    #[serde(borrow)]
    pub(super) departed: List<&'a str>,
    pub(super) granted: List<(&'a str, u64, u32)>,
    pub(super) revoking: List<(&'a str, u64, Option<u8>)>,
    pub(super) preparing: List<(&'a str, u64)>,
}

/// The term of the leader that is suspected.
#[derive(Serialize, Deserialize)]
pub(super) struct SuspicionWire(pub(super) u64);

/// The session it is for; of each piece its number, its digest, and how many partitions it grants.
#[derive(Serialize, Deserialize)]
pub(super) struct ManifestWire(pub(super) u128, pub(super) List<(u32, u128, u32)>);

#[derive(Serialize, Deserialize)]
pub(super) struct ChangeWire<'a> {
    pub(super) worker: &'a str,
    #[serde(borrow)]
    pub(super) gained: List<(&'a str, Option<&'a str>)>,
    pub(super) lost: List<&'a str>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct AuditWire<'a> {
    pub(super) version: u64,
    pub(super) term: u64,
    pub(super) leader: &'a str,
    pub(super) cause: u8,
    #[serde(borrow)]
    pub(super) triggers: List<&'a str>,
    pub(super) at_ms: u64,
    pub(super) moved: u32,
    pub(super) lower_bound: u32,
    pub(super) changes: List<ChangeWire<'a>>,
    pub(super) parked: List<ParkedGroupWire<'a>>,
    pub(super) truncated: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ParkedWire<'a> {
    pub(super) version: u64,
    #[serde(borrow)]
    pub(super) groups: List<ParkedGroupWire<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ParkedGroupWire<'a> {
    pub(super) reason: u8,
    pub(super) need: u64,
    pub(super) needs: &'a str,
    pub(super) since_ms: u64,
    pub(super) again_ms: Option<u64>,
    pub(super) count: u32,
    #[serde(borrow)]
    pub(super) partitions: List<&'a str>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ControlWire<'a> {
    pub(super) author: &'a str,
    pub(super) reason: &'a str,
    pub(super) lasts_ms: Option<u64>,
    #[serde(borrow)]
    pub(super) pins: List<PinWire<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PinWire<'a> {
    pub(super) partition: &'a str,
    pub(super) worker: &'a str,
    pub(super) once: bool,
    pub(super) author: &'a str,
    pub(super) reason: &'a str,
    pub(super) since_ms: Option<u64>,
    pub(super) lasts_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SourceWire<'a> {
    pub(super) earlier: List<u128>,
    pub(super) index: u32,
    pub(super) parts: u32,
    #[serde(borrow)]
    pub(super) partitions: List<(&'a str, u64)>,
}

/// What a later release says beside the body, by tags in rising order. None is known yet.
pub(super) type Extensions<'a> = List<(u16, &'a [u8])>;

pub(super) const fn no_extensions<'a>() -> Extensions<'a> {
    List(Vec::new())
}

/// A list that grows with what is read, not with the length that is claimed.
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Items(PhantomData)).map(Self)
    }
}

struct Items<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(list)
    }
}

/// Appends a body to the bytes of its envelope.
pub(super) fn write(record: &RecordWire<'_>, extensions: &Extensions<'_>, bytes: &mut Vec<u8>) {
    let written = put(record, extensions, Appended(bytes));
    // Encoding plain data into memory cannot fail; a cut record would be refused by every reader.
    debug_assert!(written.is_ok(), "encoding failed: {written:?}");
}

/// Whether these bytes are what a body is written as.
pub(super) fn is(record: &RecordWire<'_>, extensions: &Extensions<'_>, bytes: &[u8]) -> bool {
    let rising = extensions.0.windows(2).all(|pair| pair[0].0 < pair[1].0);
    rising && put(record, extensions, Compared(bytes)).is_ok()
}

/// The body of a record of a kind, and what was said beside it.
pub(super) fn read(kind: u8, body: &[u8]) -> Result<(RecordWire<'_>, Extensions<'_>), WireError> {
    Ok(match kind {
        0 => with(RecordWire::Head, parse(body)?),
        1 => with(RecordWire::Session, parse(body)?),
        2 => with(RecordWire::Assignment, parse(body)?),
        3 => with(RecordWire::Audit, parse(body)?),
        4 => with(RecordWire::Control, parse(body)?),
        5 => with(RecordWire::Source, parse(body)?),
        6 => with(RecordWire::Parked, parse(body)?),
        7 => with(RecordWire::Manifest, parse(body)?),
        8 => with(RecordWire::Piece, parse(body)?),
        9 => with(RecordWire::Suspicion, parse(body)?),
        other => {
            return Err(WireError::Invalid(alloc::format!(
                "a record of kind {other}"
            )));
        }
    })
}

fn with<'a, T>(
    kind: impl FnOnce(T) -> RecordWire<'a>,
    (record, extensions): (T, Extensions<'a>),
) -> (RecordWire<'a>, Extensions<'a>) {
    (kind(record), extensions)
}

/// What the bytes say; all of them must be used.
fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<(T, Extensions<'a>), WireError> {
    let config = bincode::config::standard().with_limit::<MAX_RECORD_BYTES>();
    let (read, used) = bincode::serde::borrow_decode_from_slice(body, config)
        .map_err(|error| WireError::Malformed(error.to_string()))?;
    if used != body.len() {
        let reason = alloc::format!("{} bytes after its end", body.len() - used);
        return Err(WireError::Malformed(reason));
    }
    Ok(read)
}

fn put(
    record: &RecordWire<'_>,
    extensions: &Extensions<'_>,
    writer: impl bincode::enc::write::Writer,
) -> Result<(), bincode::error::EncodeError> {
    fn one(
        body: impl Serialize,
        writer: impl bincode::enc::write::Writer,
    ) -> Result<(), bincode::error::EncodeError> {
        bincode::serde::encode_into_writer(body, writer, bincode::config::standard())
    }
    match record {
        RecordWire::Head(head) => one((head, extensions), writer),
        RecordWire::Session(session) => one((session, extensions), writer),
        RecordWire::Assignment(assignment) => one((assignment, extensions), writer),
        RecordWire::Audit(entry) => one((entry, extensions), writer),
        RecordWire::Control(control) => one((control, extensions), writer),
        RecordWire::Source(part) => one((part, extensions), writer),
        RecordWire::Parked(parked) => one((parked, extensions), writer),
        RecordWire::Manifest(manifest) => one((manifest, extensions), writer),
        RecordWire::Piece(piece) => one((piece, extensions), writer),
        RecordWire::Suspicion(suspicion) => one((suspicion, extensions), writer),
    }
}

/// Writes behind what is there.
struct Appended<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for Appended<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Takes only what is there already.
struct Compared<'a>(&'a [u8]);

impl bincode::enc::write::Writer for Compared<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        let left = self.0.strip_prefix(bytes);
        self.0 = left.ok_or(bincode::error::EncodeError::Other("other bytes"))?;
        Ok(())
    }
}
