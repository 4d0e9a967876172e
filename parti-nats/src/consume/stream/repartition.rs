//! Another number of partitions for a stream that is in use, without losing the order of any key.
//!
//! It is separate because it is an operator's act, and done in steps that may each be the last: what was
//! begun is found in the record beside the cursors, and the same call goes on with it. What always holds: the
//! new numbering is written down before a message can be stored in it; where interest keeps messages,
//! durables wait for them before there is one.

use std::time::Duration;

use async_nats::jetstream::Context;
use serde_json::json;

use crate::consume::cursors::{bucket_name, gate, open_bucket_of};
use crate::consume::durable::Durables;
use crate::consume::layout::{Layout, next_destination};
use crate::consume::stream::numberings::{self, Numbering, Numberings};
use crate::consume::stream::{Retention, Source, info, mismatch, same, update};
use crate::consume::wire::{ConsumeError, Wire, fault};
use crate::wire::outcome::code;

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How often the record is tried to be written against others.
const TRIES: usize = 5;
/// More would be no list that a group can keep.
const MOST: u32 = 100_000;

/// What a re-partition is, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repartition {
    /// How many partitions there were.
    pub from: u32,
    /// How many there are to be.
    pub to: u32,
    /// What the stream's transform made of subjects.
    pub old_destination: String,
    /// What it is to make of them.
    pub new_destination: String,
    /// The groups that consume the stream.
    pub groups: Vec<String>,
    /// Nothing was left to do: the stream's transform was the new one already.
    pub was_done: bool,
}

/// What is left to do.
enum Stage {
    /// To write this down.
    Announce(Numberings),
    /// To change the transform.
    Apply(Numberings),
    Nothing,
}

/// Looks at what [`repartition`] would do. Nothing is written.
///
/// # Errors
/// As [`repartition`].
///
/// # Cancellation safety
/// Dropping the future changes nothing. Bounded by 5 s for each of three requests.
pub async fn plan_repartition(
    context: &Context,
    stream: &str,
    partitions: u32,
) -> Result<Repartition, ConsumeError> {
    let wire = Wire::new(context.clone(), LIMIT);
    let (_, _, plan) = look(&wire, stream, partitions).await?;
    Ok(plan)
}

/// Splits a stream into another number of partitions while it is in use. Publishers change nothing. New
/// messages are stored on subjects of their own, and a new partition gets an owner as soon as what was
/// stored before is handled in those old partitions that can have had its keys: those with the same
/// remainder by the greatest common divisor of both numbers. With twice as many this is one.
///
/// It returns when new messages go to the new partitions; the groups go on by themselves, see
/// [`repartition_progress`]. After a failure or a crash call it again with the same number: it goes on where
/// it was.
///
/// # Errors
/// [`ConsumeError`]; with both values where the stream has no transform with a `partition` part, or another
/// re-partition was begun and not ended.
///
/// # Cancellation safety
/// Dropping the future leaves it begun: call it again. Bounded by 5 s for each request; on a stream by
/// interest there is one for each new partition and group.
pub async fn repartition(
    context: &Context,
    stream: &str,
    partitions: u32,
) -> Result<Repartition, ConsumeError> {
    let wire = Wire::new(context.clone(), LIMIT);
    open_bucket_of(&wire, stream).await?;
    for _ in 0..TRIES {
        let (revision, stage, plan) = look(&wire, stream, partitions).await?;
        match stage {
            Stage::Nothing => return Ok(plan),
            Stage::Apply(numberings) => {
                apply(&wire, stream, numberings, &plan).await?;
                return Ok(plan);
            }
            // Whatever comes of it, the next look shows it.
            Stage::Announce(numberings) => {
                numberings::write(&wire, stream, &numberings, revision).await?;
            }
        }
    }
    Err(ConsumeError::Unavailable {
        what: format!("writing down the numbering of {stream}"),
        reason: format!("not stored after {TRIES} tries"),
    })
}

async fn look(
    wire: &Wire,
    stream: &str,
    partitions: u32,
) -> Result<(u64, Stage, Repartition), ConsumeError> {
    if partitions > MOST {
        let what = "the number of partitions";
        return Err(mismatch(
            what,
            &partitions.to_string(),
            &format!("{MOST} at most"),
        ));
    }
    let info = info(wire, stream).await?;
    let created = info["created"].as_str().unwrap_or_default();
    let there = info["config"]["subject_transform"]["dest"].as_str();
    let Some(there) = there.filter(|there| !there.is_empty()) else {
        let what = "the stream's subjects";
        let wanted = "a subject transform with a partition(n, ...) part";
        return Err(mismatch(what, "no transform", wanted));
    };
    let (revision, numberings) = numberings::read(wire, stream).await?;
    let mut numberings = match numberings {
        Some(numberings) => numberings.in_stream(created),
        None => Numberings::first(created, there)?,
    };
    let is_applied = numberings.is_applied(there)?;
    let to_apply = if is_applied {
        None
    } else {
        numberings.all.last().cloned()
    };
    let mut plan = Repartition {
        from: Layout::of_numberings([there])?.partitions(),
        to: partitions,
        old_destination: there.to_owned(),
        new_destination: next_destination(there, numberings.all.len(), partitions)?,
        groups: groups(wire, stream).await?,
        was_done: false,
    };
    if let Some(begun) = to_apply {
        if begun.partitions != partitions {
            let what = "partitions of the re-partition that was begun and not ended";
            return Err(mismatch(
                what,
                &begun.partitions.to_string(),
                &partitions.to_string(),
            ));
        }
        plan.new_destination = begun.destination;
        return Ok((revision, Stage::Apply(numberings), plan));
    }
    if plan.from == partitions {
        plan.was_done = true;
        there.clone_into(&mut plan.new_destination);
        return Ok((revision, Stage::Nothing, plan));
    }
    numberings.all.push(Numbering {
        partitions,
        destination: plan.new_destination.clone(),
        after: info["state"]["last_seq"].as_u64().unwrap_or_default(),
        begun: None,
    });
    Ok((revision, Stage::Announce(numberings), plan))
}

/// Has the stream store new messages in the new numbering.
async fn apply(
    wire: &Wire,
    stream: &str,
    numberings: Numberings,
    plan: &Repartition,
) -> Result<(), ConsumeError> {
    let info = info(wire, stream).await?;
    let source = Source::with_numberings(wire.clone(), stream, &info, numberings)?;
    if source.retention() == Retention::Interest {
        let all = source.layout().partitions();
        for group in &plan.groups {
            let after = source.after(all - plan.to);
            let durables = Durables::new(&source, group);
            durables.found(all - plan.to..all, after).await?;
        }
    }
    let mut config = info["config"].clone();
    config["subject_transform"]["dest"] = json!(plan.new_destination);
    update(wire, stream, &config).await?;
    let after = self::info(wire, stream).await?;
    let there = after["config"]["subject_transform"]["dest"].as_str();
    let what = "the stream's subject transform";
    same(what, there.unwrap_or("none"), &plan.new_destination)
}

/// Where a group is with the numberings of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepartitionProgress {
    /// The group.
    pub group: String,
    /// Whether it has left all numberings but the last.
    pub is_done: bool,
    /// How many partitions it shares at the moment; zero before its leader has said anything.
    pub partitions: u32,
    /// Old partitions that are not handled to their end, the first 16 of them.
    pub waits_for: Vec<u32>,
}

/// Where the groups of a stream are, as their leaders last wrote it down.
///
/// # Errors
/// [`ConsumeError`].
///
/// # Cancellation safety
/// Dropping the future changes nothing. Bounded by 5 s for each request: one for each group, and three.
pub async fn repartition_progress(
    context: &Context,
    stream: &str,
) -> Result<Vec<RepartitionProgress>, ConsumeError> {
    let wire = Wire::new(context.clone(), LIMIT);
    let (_, numberings) = numberings::read(&wire, stream).await?;
    let last = numberings.map_or(0, |numberings| numberings.all.len() - 1);
    let mut all = Vec::new();
    for group in groups(&wire, stream).await? {
        let reached = gate::reached(&wire, stream, &group).await?.1;
        all.push(RepartitionProgress {
            is_done: last == 0 || reached.numbering == last,
            partitions: reached.partitions,
            waits_for: reached.waits_for,
            group,
        });
    }
    Ok(all)
}

/// The groups with a plan.
async fn groups(wire: &Wire, stream: &str) -> Result<Vec<String>, ConsumeError> {
    let bucket = bucket_name(stream);
    let body = json!({ "subjects_filter": format!("$KV.{bucket}.*.plan") });
    let info = match wire.call(&format!("STREAM.INFO.KV_{bucket}"), &body).await {
        Ok(info) => info,
        Err(failure) if failure.is_code(code::STREAM_NOT_FOUND) => return Ok(Vec::new()),
        Err(failure) => return Err(fault("asking for the groups of", stream, &failure)),
    };
    let subjects = info["state"]["subjects"].as_object();
    let names = subjects.into_iter().flat_map(|subjects| subjects.keys());
    let names = names.filter_map(|subject| subject.split('.').nth(2));
    Ok(names.map(str::to_owned).collect())
}
