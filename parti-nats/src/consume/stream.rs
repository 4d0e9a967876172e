//! The stream that is consumed: whether its subjects tell partitions, what it holds at the moment, and
//! where a group that is new to it begins.
//!
//! It is separate because everything asked of the stream itself stands here. What always holds: nothing
//! is changed in a stream but a transform that was asked for, and one entry of its metadata.

use std::sync::Arc;

use async_nats::jetstream::Context;
use serde_json::{Value, json};

use crate::consume::layout::{Layout, destination};
use crate::consume::stream::numberings::{Known, Numberings};
use crate::consume::take_over::{StartAt, StreamFacts};
use crate::consume::wire::{ConsumeError, NOTHING, Wire, fault};
use crate::wire::random::random;

pub(crate) mod numberings;
mod repartition;

pub use repartition::{
    Repartition, RepartitionProgress, plan_repartition, repartition, repartition_progress,
};

/// How partitions show in the stream's subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subjects {
    /// By the stream's own subject transform, which must be there and have the right number.
    Transformed,
    /// By a transform of this source, such as `orders.*`, which is created if there is none. Its first
    /// wildcard is the key.
    Transform {
        /// The source.
        source: String,
    },
    /// As `<prefix>.<partition>.<anything>`, made by the publishers.
    Numbered {
        /// The prefix.
        prefix: String,
    },
}

/// When messages leave the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// By its limits alone.
    Limits,
    /// When they were acknowledged.
    WorkQueue,
    /// When all who are interested have acknowledged them.
    Interest,
}

/// A stream whose subjects tell partitions.
#[derive(Clone, Debug)]
pub struct Source {
    wire: Wire,
    name: String,
    known: Known,
    retention: Retention,
    replicas: u64,
}

impl Source {
    /// Looks at a stream, and gives it its transform if that was asked for.
    ///
    /// # Errors
    /// [`ConsumeError`]; with both values where the stream is other than wanted.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves the stream with or without the transform; opening again is safe. Bounded
    /// by the wire's limit for each of three requests.
    pub async fn open(
        wire: Wire,
        name: &str,
        partitions: u32,
        subjects: &Subjects,
    ) -> Result<Self, ConsumeError> {
        let info = info(&wire, name).await?;
        let transform = &info["config"]["subject_transform"];
        let found = transform["dest"].as_str().filter(|dest| !dest.is_empty());
        let created = info["created"].as_str().unwrap_or_default();
        if let (_, Some(numberings)) = numberings::read(&wire, name).await? {
            let numberings = numberings.in_stream(created);
            fits(&numberings, partitions, subjects, transform)?;
            return Self::with_numberings(wire, name, &info, numberings);
        }
        let layout = match (subjects, found) {
            (Subjects::Numbered { prefix }, _) => Layout::numbered(prefix, partitions)?,
            (Subjects::Transformed | Subjects::Transform { .. }, Some(found)) => {
                let layout = Layout::from_transform(found, partitions)?;
                same_source(subjects, transform)?;
                layout
            }
            (Subjects::Transformed, None) => {
                let wanted = format!("a subject transform with partition({partitions}, ...)");
                return Err(mismatch("the stream's subjects", "no transform", &wanted));
            }
            (Subjects::Transform { source }, None) => {
                let made = destination(source, partitions)?;
                let layout = Layout::from_transform(&made, partitions)?;
                transform_stream(&wire, name, &info, source, &made).await?;
                layout
            }
        };
        Self::of(wire, name, &info, Known::new(layout, None))
    }

    /// A stream that was re-partitioned.
    pub(crate) fn with_numberings(
        wire: Wire,
        name: &str,
        info: &Value,
        numberings: Numberings,
    ) -> Result<Self, ConsumeError> {
        let known = Known::new(numberings.layout()?, Some(numberings));
        Self::of(wire, name, info, known)
    }

    fn of(wire: Wire, name: &str, info: &Value, known: Known) -> Result<Self, ConsumeError> {
        Ok(Self {
            retention: retention(info)?,
            replicas: info["config"]["num_replicas"].as_u64().unwrap_or(1),
            name: name.to_owned(),
            known,
            wire,
        })
    }

    /// Looks whether the stream was re-partitioned meanwhile.
    ///
    /// # Errors
    /// [`ConsumeError`] when there is no answer.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing. Bounded by the wire's limit, twice.
    pub async fn look_again(&self) -> Result<(), ConsumeError> {
        if let (_, Some(numberings)) = numberings::read(&self.wire, &self.name).await? {
            let created = self.facts().await?.created;
            self.known.set(numberings.in_stream(&created))?;
        }
        Ok(())
    }

    /// Everything up to this position is of other numberings than that of the partition.
    #[must_use]
    pub fn after(&self, partition: u32) -> u64 {
        let numbering = self.layout().numbering_of(partition);
        let numberings = self.known.numberings();
        let numbering = numberings
            .as_ref()
            .and_then(|numberings| numberings.all.get(numbering));
        numbering.map_or(0, |numbering| numbering.after)
    }

    pub(crate) const fn known(&self) -> &Known {
        &self.known
    }

    /// The connection.
    #[must_use]
    pub const fn wire(&self) -> &Wire {
        &self.wire
    }

    /// The user's context.
    #[must_use]
    pub const fn context(&self) -> &Context {
        self.wire.context()
    }

    /// The stream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which subjects belong to which partition, as far as this process knows.
    #[must_use]
    pub fn layout(&self) -> Arc<Layout> {
        self.known.layout()
    }

    /// When messages leave the stream.
    #[must_use]
    pub const fn retention(&self) -> Retention {
        self.retention
    }

    /// How many servers keep the stream.
    #[must_use]
    pub const fn replicas(&self) -> u64 {
        self.replicas
    }

    /// What the stream holds now.
    ///
    /// # Errors
    /// [`ConsumeError`], with [`Condition::StreamMissing`](crate::consume::Condition::StreamMissing) where
    /// it is gone.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing. Bounded by the wire's limit.
    pub async fn facts(&self) -> Result<StreamFacts, ConsumeError> {
        let info = info(&self.wire, &self.name).await?;
        let state = &info["state"];
        Ok(StreamFacts {
            created: info["created"].as_str().unwrap_or_default().to_owned(),
            first: match self.retention {
                Retention::Limits => state["first_seq"].as_u64().unwrap_or_default(),
                Retention::WorkQueue | Retention::Interest => 0,
            },
            last: state["last_seq"].as_u64().unwrap_or_default(),
        })
    }

    /// The position from which a start policy goes on, now.
    ///
    /// # Errors
    /// [`ConsumeError`] when the stream does not answer.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave a consumer that ends by itself. Bounded by the wire's limit for each
    /// of two requests.
    pub async fn position_of(&self, start: StartAt) -> Result<u64, ConsumeError> {
        match start {
            StartAt::All => Ok(0),
            StartAt::New => Ok(self.facts().await?.last),
            StartAt::Sequence(sequence) => Ok(sequence.saturating_sub(1)),
            StartAt::Time(nanos) => self.position_before(nanos).await,
        }
    }

    /// How many messages of a partition follow a position, on a stream with retention by limits.
    ///
    /// # Errors
    /// [`ConsumeError`] when the stream does not answer.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave a consumer that ends by itself. Bounded by the wire's limit for each
    /// of two requests.
    pub async fn pending(&self, partition: u32, position: u64) -> Result<u64, ConsumeError> {
        let made = self.probe(json!({
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": position + 1,
            "filter_subject": self.layout().filter(partition),
        }));
        Ok(made.await?["num_pending"].as_u64().unwrap_or_default())
    }

    /// The server says where a consumer that starts at a time begins.
    async fn position_before(&self, nanos: u64) -> Result<u64, ConsumeError> {
        let made = self.probe(json!({
            "deliver_policy": "by_start_time",
            "opt_start_time": rfc3339(nanos),
        }));
        let position = made.await?["delivered"]["stream_seq"].as_u64();
        Ok(position.unwrap_or_default())
    }

    /// What the server says of a consumer that nobody reads with.
    async fn probe(&self, mut config: Value) -> Result<Value, ConsumeError> {
        let name = format!("parti-probe-{:016x}", random());
        for (key, value) in [
            ("name", json!(name)),
            ("ack_policy", json!("none")),
            ("replay_policy", json!("instant")),
            ("mem_storage", json!(true)),
            ("num_replicas", json!(1)),
            ("inactive_threshold", json!(5_000_000_000_u64)),
        ] {
            config[key] = value;
        }
        let body = json!({ "stream_name": self.name, "action": "create", "config": config });
        let method = format!("CONSUMER.CREATE.{}.{name}", self.name);
        let made = self.wire.call(&method, &body).await;
        let made = made.map_err(|failure| fault("probing", &self.name, &failure))?;
        let method = format!("CONSUMER.DELETE.{}.{name}", self.name);
        // It ends by itself, too.
        let _ = self.wire.call(&method, &NOTHING).await;
        Ok(made)
    }

    /// The first numbering of which a group that begins after this position has something to handle.
    pub(crate) async fn first_numbering_after(&self, position: u64) -> Result<usize, ConsumeError> {
        let Some(numberings) = self.known.numberings() else {
            return Ok(0);
        };
        let layout = self.layout();
        for (index, next) in numberings.all.iter().skip(1).enumerate() {
            let last = self.wire.last(&self.name, &layout.all(index)).await;
            let last = last.map_err(|failure| fault("reading", &self.name, &failure))?;
            let is_over = last.is_none_or(|(sequence, _)| sequence <= position);
            if !is_over || next.begun.is_none() {
                return Ok(index);
            }
        }
        Ok(numberings.all.len() - 1)
    }
}

/// An entry of a stream's metadata.
pub(crate) async fn mark(
    wire: &Wire,
    stream: &str,
    key: &str,
) -> Result<Option<String>, ConsumeError> {
    let info = info(wire, stream).await?;
    Ok(info["config"]["metadata"][key].as_str().map(str::to_owned))
}

/// Writes an entry of a stream's metadata.
pub(crate) async fn set_mark(
    wire: &Wire,
    stream: &str,
    key: &str,
    value: &str,
) -> Result<(), ConsumeError> {
    let info = info(wire, stream).await?;
    let mut config = info["config"].clone();
    config["metadata"][key] = Value::from(value);
    update(wire, stream, &config).await
}

pub(crate) async fn info(wire: &Wire, stream: &str) -> Result<Value, ConsumeError> {
    let answer = wire.call(&format!("STREAM.INFO.{stream}"), &NOTHING).await;
    answer.map_err(|failure| fault("asking for the stream", stream, &failure))
}

async fn update(wire: &Wire, stream: &str, config: &Value) -> Result<(), ConsumeError> {
    let answer = wire.call(&format!("STREAM.UPDATE.{stream}"), config).await;
    let answer = answer.map_err(|failure| fault("changing the stream", stream, &failure));
    answer.map(|_| ())
}

/// Messages that were stored before would belong to no partition and never be read.
async fn transform_stream(
    wire: &Wire,
    name: &str,
    info: &Value,
    source: &str,
    destination: &str,
) -> Result<(), ConsumeError> {
    let messages = info["state"]["messages"].as_u64().unwrap_or_default();
    if messages > 0 {
        let what =
            "messages in the stream, stored without a transform, that no partition would have";
        return Err(mismatch(what, &messages.to_string(), "0"));
    }
    let mut config = info["config"].clone();
    config["subject_transform"] = json!({ "src": source, "dest": destination });
    update(wire, name, &config).await?;
    // Old servers drop options that they do not know.
    let after = self::info(wire, name).await?;
    let there = after["config"]["subject_transform"]["dest"].as_str();
    same(
        "the stream's subject transform",
        there.unwrap_or("none"),
        destination,
    )
}

fn retention(info: &Value) -> Result<Retention, ConsumeError> {
    match info["config"]["retention"].as_str().unwrap_or_default() {
        "limits" => Ok(Retention::Limits),
        "workqueue" => Ok(Retention::WorkQueue),
        "interest" => Ok(Retention::Interest),
        other => Err(mismatch("the stream's retention", other, "limits")),
    }
}

fn same_source(subjects: &Subjects, transform: &Value) -> Result<(), ConsumeError> {
    let Subjects::Transform { source } = subjects else {
        return Ok(());
    };
    let there = transform["src"].as_str().unwrap_or_default();
    let what = "the source of the stream's subject transform";
    same(what, there, source)
}

/// Whether a program that was written for one of the numberings may consume the stream.
fn fits(
    numberings: &Numberings,
    partitions: u32,
    subjects: &Subjects,
    transform: &Value,
) -> Result<(), ConsumeError> {
    let counts: Vec<u32> = numberings
        .all
        .iter()
        .map(|numbering| numbering.partitions)
        .collect();
    if let Subjects::Numbered { prefix } = subjects {
        let what = "the partitions of a stream that was re-partitioned";
        return Err(mismatch(
            what,
            &format!("numbered by {prefix}"),
            "its transform",
        ));
    }
    numberings.is_applied(transform["dest"].as_str().unwrap_or("none"))?;
    same_source(subjects, transform)?;
    if counts.contains(&partitions) {
        return Ok(());
    }
    let what = "the stream's partitions, after re-partitions";
    Err(mismatch(
        what,
        &format!("{counts:?}"),
        &partitions.to_string(),
    ))
}

fn same(what: &str, found: &str, wanted: &str) -> Result<(), ConsumeError> {
    let is_same = found == wanted;
    is_same
        .then_some(())
        .ok_or_else(|| mismatch(what, found, wanted))
}

pub(crate) fn mismatch(what: &str, found: &str, wanted: &str) -> ConsumeError {
    ConsumeError::Mismatch {
        what: what.to_owned(),
        found: found.to_owned(),
        wanted: wanted.to_owned(),
    }
}

/// A time as the server reads it, by the usual civil-calendar arithmetic.
fn rfc3339(nanos: u64) -> String {
    let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 {
        (month + 3, era * 400 + year)
    } else {
        (month - 9, era * 400 + year + 1)
    };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::timestamp::parse_nanos;

    /// A start time that is off by a day skips or repeats a day of messages.
    #[test]
    fn times_are_written_as_they_are_read() {
        let day = 86_400_000_000_000;
        for nanos in [0, 1, 951_782_400_000_000_000, 1_795_511_636_545_139_068] {
            for nanos in [nanos, nanos + day, nanos + 59 * day, nanos + 365 * day] {
                assert_eq!(
                    parse_nanos(&rfc3339(nanos)),
                    Some(nanos),
                    "{}",
                    rfc3339(nanos)
                );
            }
        }
    }
}
