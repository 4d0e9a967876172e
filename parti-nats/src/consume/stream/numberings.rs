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
pub(crate) struct Numbering {
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
pub(crate) struct Numberings {
    format: u32,
    /// When the stream of the sequences was created.
    stream_created: String,
    pub(crate) all: Vec<Numbering>,
}

impl Numberings {
    /// Of a stream that was not re-partitioned.
    pub(crate) fn first(stream_created: &str, destination: &str) -> Result<Self, LayoutError> {
        let layout = Layout::of_numberings([destination])?;
        let numbering = Numbering {
            partitions: layout.partitions(),
            destination: destination.to_owned(),
            after: 0,
            begun: Some(0),
        };
        Ok(Self {
            format: FORMAT,
            stream_created: stream_created.to_owned(),
            all: vec![numbering],
        })
    }

    pub(crate) fn layout(&self) -> Result<Layout, LayoutError> {
        Layout::of_numberings(
            self.all
                .iter()
                .map(|numbering| numbering.destination.as_str()),
        )
    }

    /// In a stream that was created again nothing is of a numbering before the last.
    pub(crate) fn in_stream(mut self, created: &str) -> Self {
        if self.stream_created != created {
            created.clone_into(&mut self.stream_created);
            for numbering in &mut self.all {
                (numbering.after, numbering.begun) = (0, Some(0));
            }
        }
        self
    }

    /// Whether the stream's transform is that of the last numbering, or not yet.
    ///
    /// # Errors
    /// With both values, when it is another.
    pub(crate) fn is_applied(&self, destination: &str) -> Result<bool, ConsumeError> {
        let mut newest = self.all.iter().rev();
        let last = newest
            .next()
            .map(|numbering| numbering.destination.as_str());
        let before = newest
            .next()
            .map(|numbering| numbering.destination.as_str());
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
    numberings: Option<Arc<Numberings>>,
}

impl Known {
    pub(crate) fn new(layout: Layout, numberings: Option<Numberings>) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            layout: Arc::new(layout),
            numberings: numberings.map(Arc::new),
        })))
    }

    pub(crate) fn layout(&self) -> Arc<Layout> {
        self.kept().layout
    }

    pub(crate) fn numberings(&self) -> Option<Arc<Numberings>> {
        self.kept().numberings
    }

    pub(crate) fn set(&self, numberings: Numberings) -> Result<(), LayoutError> {
        let kept = Kept {
            layout: Arc::new(numberings.layout()?),
            numberings: Some(Arc::new(numberings)),
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
    format!("$KV.{}.numberings", bucket_name(stream))
}

/// Reads the record from the leader of its bucket: its revision, zero when there is none.
/// Its sequences are those of [`Numberings::in_stream`] only.
pub(crate) async fn read(
    wire: &Wire,
    stream: &str,
) -> Result<(u64, Option<Numberings>), ConsumeError> {
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
    let numberings = decode(&bytes).map_err(unreadable)?;
    Ok((revision, Some(numberings)))
}

/// Reads a record; why it cannot be read, in words.
fn decode(bytes: &[u8]) -> Result<Numberings, String> {
    let numberings: Numberings =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if numberings.format != FORMAT {
        let format = numberings.format;
        return Err(format!("format {format}; this release reads {FORMAT}"));
    }
    if numberings.all.is_empty() {
        return Err("it names no numbering".to_owned());
    }
    Ok(numberings)
}

/// Writes the record if it still has that revision.
pub(crate) async fn write(
    wire: &Wire,
    stream: &str,
    numberings: &Numberings,
    expected: u64,
) -> Result<Wrote, ConsumeError> {
    let bytes = serde_json::to_vec(numberings).unwrap_or_default();
    wire.write(&subject(stream), bytes, expected).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record that something else wrote must be named, and must not end the process that reads it.
    #[test]
    fn a_record_of_another_format_or_of_nothing_is_refused() {
        let refused = |text: &str| decode(text.as_bytes()).expect_err("refused");
        let of = |format: u32| format!(r#"{{"format":{format},"stream_created":"x","all":[]}}"#);
        assert!(refused(&of(1)).contains("names no numbering"));
        assert!(refused(&of(2)).contains("format 2; this release reads 1"));
        assert!(!refused("{").is_empty());
        let first = Numberings::first("x", "orders.{{partition(8,1)}}").expect("a layout");
        let bytes = serde_json::to_vec(&first).expect("encoded");
        assert_eq!(decode(&bytes), Ok(first));
    }
}
