//! The bucket beside the stream that keeps the cursors, and the plan of each group.
//!
//! It is separate from the coordination's bucket, which may be created again: a cursor that is lost
//! with it would have its partition begin again. What always holds: nothing in the bucket expires, is
//! evicted or can be purged; a deleted cursor leaves a mark, and a deleted bucket is missed by the
//! stream, whose metadata says when it was created.

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::consume::condition::Condition;
use crate::consume::cursor::{Cursor, Found};
use crate::consume::durable::Durables;
use crate::consume::outputs::{Output, OutputStream};
use crate::consume::stream::{Retention, Source, mark, mismatch, set_mark};
use crate::consume::take_over::StartAt;
use crate::consume::wire::{ConsumeError, NOTHING, Wire, Wrote, fault};
use crate::wire::message::marks_deletion;
use crate::wire::outcome::code;

pub(crate) mod gate;

/// The entry of the stream's metadata that says when its bucket of cursors was created.
const WITNESS: &str = "parti.cursors";
/// How often a plan is tried to be written against others that do the same.
const TRIES: usize = 5;

/// The cursors of one group on one stream.
#[derive(Clone, Debug)]
pub struct Cursors {
    wire: Wire,
    bucket: String,
    group: String,
    start: u64,
    /// The numbering of the stream's partitions with which the group began.
    base: usize,
    outputs: Option<OutputStream>,
}

/// What all workers of a group must agree on, written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Plan {
    format: u32,
    /// The filter of all partitions, which is the layout's identity.
    subjects: String,
    partitions: u32,
    /// The position at which partitions without a cursor begin.
    start: u64,
    /// The stream that keeps the cursors beside outputs, and when it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outputs: Option<(String, String)>,
}

impl Cursors {
    /// Opens the bucket, creating it for the first group of the stream, and agrees with the group's
    /// other workers where partitions begin.
    ///
    /// # Errors
    /// [`ConsumeError`]: [`Condition::CursorMissing`] when the stream had cursors that are not there.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave an empty bucket; opening again is safe. Bounded by the wire's limit
    /// for each request; a group that begins needs nine at most.
    pub async fn open(
        source: &Source,
        group: &str,
        start: StartAt,
        outputs: Option<OutputStream>,
    ) -> Result<Self, ConsumeError> {
        if group.is_empty() || !group.bytes().all(is_name_byte) {
            let wanted = "letters, digits, '-' and '_'";
            return Err(mismatch("the group's name", group, wanted));
        }
        let wire = source.wire().clone();
        let bucket = bucket_name(source.name());
        open_bucket_of(&wire, source.name()).await?;
        let mut cursors = Self {
            wire,
            bucket,
            group: group.to_owned(),
            start: 0,
            base: 0,
            outputs,
        };
        (cursors.start, cursors.base) = cursors.agree(source, start).await?;
        Ok(cursors)
    }

    /// The position at which partitions without a cursor begin.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{}.{key}", self.bucket, self.group)
    }

    fn stream(&self) -> String {
        format!("KV_{}", self.bucket)
    }

    async fn agree(&self, source: &Source, start: StartAt) -> Result<(u64, usize), ConsumeError> {
        let layout = source.layout();
        let counts = layout.counts();
        let subject = self.subject("plan");
        for _ in 0..TRIES {
            if let Some((_, bytes)) = self.read("plan").await? {
                let there: Plan = serde_json::from_slice(&bytes.unwrap_or_default())
                    .map_err(|error| unreadable(&subject, &error.to_string()))?;
                let base = (0..counts.len()).find(|numbering| {
                    (there.partitions, &there.subjects)
                        == (counts[*numbering], &layout.all(*numbering))
                });
                let Some(base) = base else {
                    return Err(other_plan(&there, counts[0], &layout.all(0)));
                };
                let (found, wanted) = (place(&there.outputs), place(&self.outputs_plan()));
                if found != wanted {
                    let what = "the stream of the group's cursors";
                    return Err(mismatch(what, &found, &wanted));
                }
                return Ok((there.start, base));
            }
            let start = source.position_of(start).await?;
            let base = source.first_numbering_after(start).await?;
            let plan = Plan {
                format: 1,
                subjects: layout.all(base),
                partitions: counts[base],
                start,
                outputs: self.outputs_plan(),
            };
            let bytes = serde_json::to_vec(&plan).unwrap_or_default();
            let durables = Durables::new(source, &self.group);
            // Before there is a plan: with one, each partition has a durable.
            let founded = match source.retention() {
                Retention::Interest => {
                    let first = counts[..base].iter().sum();
                    durables.found(first..layout.partitions(), start).await?
                }
                Retention::Limits | Retention::WorkQueue => Vec::new(),
            };
            // Read again whatever came of it: another worker may have been first, and has its own.
            if self.wire.write(&subject, bytes, 0).await? == Wrote::Refused {
                for name in founded {
                    durables.delete(&name.encode()).await;
                }
            }
        }
        Err(ConsumeError::Unavailable {
            what: format!("agreeing on {subject}"),
            reason: format!("not stored after {TRIES} tries"),
        })
    }

    fn outputs_plan(&self) -> Option<(String, String)> {
        let outputs = self.outputs.as_ref()?;
        Some((outputs.name.clone(), outputs.created.clone()))
    }

    /// Where the cursor of a partition is: the stream and the subject.
    fn home(&self, partition: u32) -> (String, String) {
        let Some(outputs) = &self.outputs else {
            return (self.stream(), self.subject(&partition.to_string()));
        };
        let subject = format!("{}.{}.{partition}", outputs.fence, self.group);
        (outputs.name.clone(), subject)
    }

    /// Reads the cursor of a partition from the leader of its stream.
    ///
    /// # Errors
    /// [`ConsumeError`] when there is no answer.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing. Bounded by the wire's limit, twice.
    pub async fn load(&self, partition: u32) -> Result<Found, ConsumeError> {
        let (stream, subject) = self.home(partition);
        let found = match self.read_from(&stream, &subject).await? {
            None => self.never(partition).await?,
            Some((revision, None)) => Found::Deleted { revision },
            Some((revision, Some(bytes))) => match Cursor::decode(&bytes) {
                Ok(cursor) => Found::Cursor { revision, cursor },
                Err(reason) => Found::Unreadable { reason },
            },
        };
        Ok(found)
    }

    /// An output stream can be purged: the bucket knows which partitions had a cursor in it.
    async fn never(&self, partition: u32) -> Result<Found, ConsumeError> {
        if self.outputs.is_none() {
            return Ok(Found::Never);
        }
        let witness = self.read(&partition.to_string()).await?;
        Ok(witness.map_or(Found::Never, |(revision, _)| Found::Deleted { revision }))
    }

    /// Writes the cursor of a partition if it still has that revision, zero if it never had one, and
    /// with it the outputs: all or nothing.
    ///
    /// # Errors
    /// [`ConsumeError`] when the write can never succeed as it is.
    ///
    /// # Cancellation safety
    /// When the future is dropped the outcome is unknown. Bounded by the wire's limit, twice.
    pub async fn store(
        &self,
        partition: u32,
        cursor: &Cursor,
        expected: u64,
        outputs: Vec<Output>,
    ) -> Result<Wrote, ConsumeError> {
        let (stream, subject) = self.home(partition);
        let wrote = if outputs.is_empty() {
            self.wire.write(&subject, cursor.encode(), expected).await?
        } else {
            let first = (subject, HeaderMap::new(), cursor.encode().into());
            let rest = outputs.into_iter();
            let rest = rest.map(|output| (output.subject, output.headers, output.payload));
            let all = std::iter::once(first).chain(rest).collect();
            self.wire.write_batch(&stream, all, expected).await?
        };
        if self.outputs.is_some() && expected == 0 && matches!(wrote, Wrote::Stored { .. }) {
            let witness = self.subject(&partition.to_string());
            // Refused when it is there.
            self.wire.write(&witness, cursor.encode(), 0).await?;
        }
        Ok(wrote)
    }

    /// The revision and bytes of a key; no bytes when it was deleted.
    async fn read(&self, key: &str) -> Result<Option<(u64, Option<Vec<u8>>)>, ConsumeError> {
        self.read_from(&self.stream(), &self.subject(key)).await
    }

    async fn read_from(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<(u64, Option<Vec<u8>>)>, ConsumeError> {
        let last = self.wire.last(stream, subject).await;
        let last = last.map_err(|failure| {
            if failure.is_code(code::STREAM_NOT_FOUND) {
                let evidence = format!("the stream {stream} is gone");
                return Condition::CursorMissing { evidence }.into();
            }
            fault("reading", subject, &failure)
        })?;
        let Some((revision, message)) = last else {
            return Ok(None);
        };
        if is_deletion(&message) {
            return Ok(Some((revision, None)));
        }
        let text = message["data"].as_str().unwrap_or_default();
        let bytes = STANDARD.decode(text);
        let bytes = bytes.map_err(|error| unreadable(subject, &error.to_string()))?;
        Ok(Some((revision, Some(bytes))))
    }
}

fn other_plan(there: &Plan, partitions: u32, subjects: &str) -> ConsumeError {
    if there.partitions != partitions {
        let (found, wanted) = (there.partitions.to_string(), partitions.to_string());
        return mismatch("the group's number of partitions", &found, &wanted);
    }
    mismatch("the group's subjects", &there.subjects, subjects)
}

fn place(outputs: &Option<(String, String)>) -> String {
    match outputs {
        Some((name, created)) => format!("the output stream {name} created at {created}"),
        None => "the bucket".to_owned(),
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn unreadable(subject: &str, reason: &str) -> ConsumeError {
    let reason = format!("{subject}: {reason}");
    Condition::CursorUnreadable { reason }.into()
}

/// Whether the stored headers say that the key is gone.
fn is_deletion(message: &Value) -> bool {
    let headers = message["hdrs"].as_str().unwrap_or_default();
    let headers = STANDARD.decode(headers).unwrap_or_default();
    let headers = String::from_utf8_lossy(&headers);
    headers.lines().any(|line| {
        let pair = line.split_once(':');
        pair.is_some_and(|(name, value)| marks_deletion(name.trim(), value.trim()))
    })
}

/// The bucket that has the cursors of a stream.
pub(crate) fn bucket_name(stream: &str) -> String {
    format!("parti_cursors_{stream}")
}

/// Opens the bucket of a stream's cursors, or creates it if the stream never had one.
pub(crate) async fn open_bucket_of(wire: &Wire, stream: &str) -> Result<(), ConsumeError> {
    // The witness first: it is written after the bucket is there.
    let witness = mark(wire, stream, WITNESS).await?;
    let created = open_bucket(wire, &bucket_name(stream), witness.as_deref(), stream).await?;
    if witness.is_none() {
        set_mark(wire, stream, WITNESS, &created).await?;
    }
    Ok(())
}

/// The bucket's creation time, after it was created or found fit.
async fn open_bucket(
    wire: &Wire,
    bucket: &str,
    witness: Option<&str>,
    stream: &str,
) -> Result<String, ConsumeError> {
    let name = format!("KV_{bucket}");
    let there = wire.call(&format!("STREAM.INFO.{name}"), &NOTHING).await;
    let info = match there {
        Ok(info) => info,
        Err(failure) if !failure.is_code(code::STREAM_NOT_FOUND) => {
            return Err(fault("asking for the bucket", bucket, &failure));
        }
        Err(_) => {
            if let Some(created) = witness {
                return Err(missing(bucket, created, "it is not there"));
            }
            let replicas = replicas(wire, stream).await?;
            let made = wire
                .call(
                    &format!("STREAM.CREATE.{name}"),
                    &settings(bucket, replicas),
                )
                .await;
            made.map_err(|failure| fault("creating the bucket", bucket, &failure))?
        }
    };
    let created = info["created"].as_str().unwrap_or_default();
    if let Some(witness) = witness.filter(|witness| *witness != created) {
        let reason = format!("this one was created at {created}");
        return Err(missing(bucket, witness, &reason));
    }
    check(&info["config"])?;
    Ok(created.to_owned())
}

fn missing(bucket: &str, created: &str, reason: &str) -> ConsumeError {
    let evidence = format!(
        "the stream's metadata says that {bucket} was created at {created}, and {reason}; restore \
         it, or remove {WITNESS} from the metadata to begin again"
    );
    Condition::CursorMissing { evidence }.into()
}

async fn replicas(wire: &Wire, stream: &str) -> Result<u64, ConsumeError> {
    let info = wire.call(&format!("STREAM.INFO.{stream}"), &NOTHING).await;
    let info = info.map_err(|failure| fault("asking for the stream", stream, &failure))?;
    Ok(info["config"]["num_replicas"].as_u64().unwrap_or(1))
}

/// As a bucket of the usual kind, so that the usual tools show it.
fn settings(bucket: &str, replicas: u64) -> Value {
    json!({
        "name": format!("KV_{bucket}"),
        "subjects": [format!("$KV.{bucket}.>")],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "max_msgs_per_subject": 1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msg_size": -1,
        "max_consumers": -1,
        "allow_direct": true,
        "deny_delete": true,
        "deny_purge": true,
    })
}

/// A bucket in which a cursor can vanish without a mark is refused.
fn check(config: &Value) -> Result<(), ConsumeError> {
    let needed = [
        ("deny_delete", json!(true)),
        ("deny_purge", json!(true)),
        ("discard", json!("new")),
        ("max_msgs_per_subject", json!(1)),
    ];
    let unlimited = ["max_msgs", "max_bytes", "max_age"].map(|name| (name, json!("unlimited")));
    for (name, wanted) in needed.into_iter().chain(unlimited) {
        let found = &config[name];
        let is_unlimited = found.as_i64().unwrap_or_default() <= 0;
        if *found != wanted && !(wanted == "unlimited" && is_unlimited) {
            let what = format!("{name} of the bucket of cursors");
            return Err(mismatch(&what, &found.to_string(), &wanted.to_string()));
        }
    }
    Ok(())
}
