//! The numberings that a stream's partitions had, one after another: the record beside its cursors.
//!
//! It is separate because a re-partition writes it, and every group reads it. What always holds: it is
//! changed by conditional writes only, numberings are added at its end, and those before are never changed
//! but for the mark that the next one has begun.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::consume::condition::Condition;
use crate::consume::cursors::bucket_name;
use crate::consume::layout::{Layout, LayoutError};
use crate::consume::stream::mismatch;
use crate::consume::wire::{ConsumeError, Wire, Wrote, fault};
use crate::wire::outcome::code;

/// The format this release writes.
const FORMAT: u32 = 1;

/// One numbering.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Era {
    /// How many partitions it has.
    pub(crate) partitions: u32,
    /// The destination of the stream's transform.
    pub(crate) destination: String,
    /// Everything up to this sequence is of numberings before.
    pub(crate) after: u64,
    /// The sequence of a message of it: nothing that follows is of a numbering before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begun: Option<u64>,
}

/// All of them, the first one first; at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Eras {
    format: u32,
    /// When the stream of the sequences was created.
    stream_created: String,
    pub(crate) eras: Vec<Era>,
}

impl Eras {
    /// Of a stream that was not re-partitioned.
    pub(crate) fn first(stream_created: &str, destination: &str) -> Result<Self, LayoutError> {
        let layout = Layout::of_eras([destination])?;
        let era = Era {
            partitions: layout.partitions(),
            destination: destination.to_owned(),
            after: 0,
            begun: Some(0),
        };
        Ok(Self {
            format: FORMAT,
            stream_created: stream_created.to_owned(),
            eras: vec![era],
        })
    }

    pub(crate) fn layout(&self) -> Result<Layout, LayoutError> {
        Layout::of_eras(self.eras.iter().map(|era| era.destination.as_str()))
    }

    /// In a stream that was created again nothing is of a numbering before the last.
    pub(crate) fn in_stream(mut self, created: &str) -> Self {
        if self.stream_created != created {
            created.clone_into(&mut self.stream_created);
            for era in &mut self.eras {
                (era.after, era.begun) = (0, Some(0));
            }
        }
        self
    }

    /// Whether the stream's transform is that of the last numbering, or not yet.
    ///
    /// # Errors
    /// With both values, when it is another.
    pub(crate) fn is_applied(&self, destination: &str) -> Result<bool, ConsumeError> {
        let mut newest = self.eras.iter().rev();
        let last = newest.next().map(|era| era.destination.as_str());
        let before = newest.next().map(|era| era.destination.as_str());
        if last == Some(destination) {
            return Ok(true);
        }
        if before == Some(destination) {
            return Ok(false);
        }
        let what = "the destination of the stream's subject transform";
        Err(mismatch(what, destination, last.unwrap_or_default()))
    }
}

/// What a process knows of them.
#[derive(Clone, Debug)]
pub(crate) struct Known(Arc<Mutex<Kept>>);

#[derive(Clone, Debug)]
struct Kept {
    layout: Arc<Layout>,
    /// None when the stream was never re-partitioned.
    eras: Option<Arc<Eras>>,
}

impl Known {
    pub(crate) fn new(layout: Layout, eras: Option<Eras>) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            layout: Arc::new(layout),
            eras: eras.map(Arc::new),
        })))
    }

    pub(crate) fn layout(&self) -> Arc<Layout> {
        self.kept().layout
    }

    pub(crate) fn eras(&self) -> Option<Arc<Eras>> {
        self.kept().eras
    }

    pub(crate) fn set(&self, eras: Eras) -> Result<(), LayoutError> {
        let kept = Kept {
            layout: Arc::new(eras.layout()?),
            eras: Some(Arc::new(eras)),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(())
    }

    fn kept(&self) -> Kept {
        // A panic leaves it whole.
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }
}

fn subject(stream: &str) -> String {
    format!("$KV.{}.eras", bucket_name(stream))
}

/// Reads the record from the leader of its bucket: its revision, zero when there is none.
/// Its sequences are those of [`Eras::in_stream`] only.
pub(crate) async fn read(wire: &Wire, stream: &str) -> Result<(u64, Option<Eras>), ConsumeError> {
    let bucket = format!("KV_{}", bucket_name(stream));
    let subject = subject(stream);
    let found = match wire.last(&bucket, &subject).await {
        Ok(found) => found,
        Err(failure) if failure.is_code(code::STREAM_NOT_FOUND) => None,
        Err(failure) => return Err(fault("reading", &subject, &failure)),
    };
    let Some((revision, message)) = found else {
        return Ok((0, None));
    };
    let unreadable = |reason: String| Condition::CursorUnreadable {
        reason: format!("{subject}: {reason}"),
    };
    let bytes = STANDARD.decode(message["data"].as_str().unwrap_or_default());
    let bytes = bytes.map_err(|error| unreadable(error.to_string()))?;
    let eras: Eras =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    if eras.format != FORMAT {
        let reason = format!("format {}; this release reads {FORMAT}", eras.format);
        return Err(unreadable(reason).into());
    }
    Ok((revision, Some(eras)))
}

/// Writes the record if it still has that revision.
pub(crate) async fn write(
    wire: &Wire,
    stream: &str,
    eras: &Eras,
    expected: u64,
) -> Result<Wrote, ConsumeError> {
    let bytes = serde_json::to_vec(eras).unwrap_or_default();
    wire.write(&subject(stream), bytes, expected).await
}
