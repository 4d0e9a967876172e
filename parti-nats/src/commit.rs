//! Commits: a single write is one conditional publish, several are one atomic batch.
//!
//! It is separate because here the store's only authority is made. What always holds: a commit is
//! sent with all its conditions in every attempt, and it is sent again only after the server said
//! that nothing was written.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::client::PublishErrorKind;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use parti_core::{Entry, Expect, Revision, StoreError, Write};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::bucket;
use crate::bucket::{check_leader, unsent};
use crate::read;
use crate::requests::api::{Api, Outgoing, denial, parse};
use crate::wire::key::key_fault;
use crate::wire::outcome::rejected;
use crate::wire::outcome::{Failure, code};
use crate::wire::random::random;

/// The most messages the server takes in one atomic batch.
pub(crate) const MAX_BATCH: usize = 1000;
/// How often a commit is tried again over newer tombstones before the refusal is passed on.
const TOMBSTONE_RETRIES: usize = 2;
/// How many keys are read at the same time when looking for tombstones.
const READS_AT_ONCE: usize = 32;

/// How long after an incomplete batch the reason may come.
const DENIAL_GRACE: Duration = Duration::from_millis(50);

/// Does all writes or none; one revision per write, in their order.
pub(crate) async fn commit(
    api: &Api,
    writes: &[Write],
    max_value: usize,
) -> Result<Vec<Revision>, StoreError> {
    if let Some(fault) = fault(writes, max_value) {
        return Err(rejected(fault));
    }
    let deadline = api.deadline();
    let subjects = writes.iter().map(|write| api.write_subject(&write.key));
    let subjects: Vec<String> = subjects.collect();
    await_denials(api, &subjects, deadline)
        .await
        .map_err(|failure| failure.during(&title(writes)))?;
    let sent = api.violations.sending(subjects);
    let mut conditions: Vec<_> = writes.iter().map(condition).collect();
    let mut retries = 0;
    loop {
        let failure = match send(api, writes, &conditions, deadline).await {
            Ok(revisions) => {
                sent.answered();
                return Ok(revisions);
            }
            Err(failure) => failure,
        };
        let again = failure.is_code(code::WRONG_SEQUENCE)
            && retries < TOMBSTONE_RETRIES
            && adopt_tombstones(api, writes, &mut conditions, deadline).await;
        if !again {
            if failure.ends_the_matter(writes.len()) {
                sent.answered();
            }
            return Err(failure.during(&title(writes)));
        }
        retries += 1;
    }
}

/// A write that was given up without an answer may still be denied, which would look like a denial of
/// the next one of the same key, and "denied" means "never written". So whatever the server has to say of
/// it is waited for before the next is sent.
async fn await_denials(api: &Api, subjects: &[String], deadline: Instant) -> Result<(), Failure> {
    if !api.violations.may_come_late(subjects) {
        return Ok(());
    }
    // The server reads one message after another: what it has to say of earlier ones comes first.
    bucket::info(api, deadline).await.map_err(unsent)?;
    // The client passes denials on by itself, a little later than answers.
    sleep(DENIAL_GRACE).await;
    api.violations.came(subjects);
    Ok(())
}

/// What makes the writes impossible, if anything.
fn fault(writes: &[Write], max_value: usize) -> Option<String> {
    if writes.is_empty() || writes.len() > MAX_BATCH {
        let len = writes.len();
        return Some(format!(
            "a commit of {len} writes; 1 to {MAX_BATCH} are allowed"
        ));
    }
    let mut keys: Vec<&str> = writes.iter().map(|write| write.key.as_str()).collect();
    keys.sort_unstable();
    if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
        return Some(format!("a commit writes {:?} twice", pair[0]));
    }
    writes.iter().find_map(|write| {
        let bytes = write.value.as_ref().map_or(0, Vec::len);
        let too_large = || {
            let key = &write.key;
            format!("a value of {bytes} bytes for {key}; at most {max_value} are allowed")
        };
        key_fault(&write.key).or_else(|| (bytes > max_value).then(too_large))
    })
}

/// The last sequence the subject must have: zero means that it was never written.
fn condition(write: &Write) -> Option<u64> {
    match write.expect {
        Expect::Absent => Some(0),
        Expect::Revision(revision) => Some(revision.get()),
        Expect::Any => None,
    }
}

/// The server knows "never written" but not "deleted". Looks up the keys that must be absent and
/// makes the revision of each tombstone its condition. Says whether another attempt makes sense.
async fn adopt_tombstones(
    api: &Api,
    writes: &[Write],
    conditions: &mut [Option<u64>],
    deadline: Instant,
) -> bool {
    let absent: Vec<(usize, &str)> = (0..)
        .zip(writes)
        .filter(|(_, write)| write.expect == Expect::Absent)
        .map(|(index, write)| (index, write.key.as_str()))
        .collect();
    let reads = absent
        .iter()
        .map(|&(index, key)| async move { (index, read::last(api, key, deadline).await) });
    let found: Vec<_> = stream::iter(reads.collect::<Vec<_>>())
        .buffer_unordered(READS_AT_ONCE)
        .collect()
        .await;
    let mut changed = false;
    for (index, entry) in found {
        // A key that lives, or one that cannot be read, leaves the refusal standing.
        let revision = match entry {
            Ok(None) => 0,
            Ok(Some(Entry {
                revision,
                value: None,
                ..
            })) => revision.get(),
            Ok(Some(_)) | Err(_) => return false,
        };
        if conditions[index] != Some(revision) {
            conditions[index] = Some(revision);
            changed = true;
        }
    }
    changed
}

async fn send(
    api: &Api,
    writes: &[Write],
    conditions: &[Option<u64>],
    deadline: Instant,
) -> Result<Vec<Revision>, Failure> {
    let ack = match (writes, conditions) {
        ([write], [condition]) => {
            let outgoing = outgoing(api, write, *condition);
            api.send(outgoing, deadline).await?
        }
        _ => {
            check_leader(api, deadline).await?;
            send_batch(api, writes, conditions, deadline).await?
        }
    };
    revisions(&ack.payload, &api.names.stream, writes.len())
}

/// Hands over all messages, then waits for the answer to the last, which commits them.
async fn send_batch(
    api: &Api,
    writes: &[Write],
    conditions: &[Option<u64>],
    deadline: Instant,
) -> Result<async_nats::Message, Failure> {
    api.connected()?;
    let mut denials = api.violations.listen();
    let batch = format!("{:016x}{:016x}", random(), random());
    let mut messages =
        (1_usize..)
            .zip(writes.iter().zip(conditions))
            .map(|(number, (write, condition))| {
                let mut message = outgoing(api, write, *condition);
                let number = number.to_string();
                message.headers.insert("Nats-Batch-Id", batch.as_str());
                message.headers.insert("Nats-Batch-Sequence", number);
                message
            });
    let staged = async {
        for message in messages.by_ref().take(writes.len() - 1) {
            api.client
                .publish_with_headers(message.subject, message.headers, message.payload)
                .await
                .map_err(|error| not_taken(error.kind(), error.to_string()))?;
        }
        Ok(())
    };
    // Without the last message the server drops the batch, so nothing can be written yet.
    let staged = timeout_at(deadline, staged).await;
    staged.map_err(|_| Failure::NotCommitted)??;
    let mut message = messages.next().ok_or(Failure::NotCommitted)?;
    message.headers.insert("Nats-Batch-Commit", "1");
    let concerns = |subject: &str| {
        writes
            .iter()
            .any(|write| api.write_subject(&write.key) == subject)
    };
    let ack = tokio::select! {
        denied = denial(&mut denials, concerns) => return Err(denied),
        ack = api.send(message, deadline) => ack,
    }?;
    let incomplete = parse::<IgnoredAny>(&ack.payload);
    if incomplete.is_err_and(|failure| failure.is_code(code::INCOMPLETE_BATCH)) {
        // A message may be missing because it was denied; the client passes that on by itself and
        // a little later than the answer.
        if let Ok(denied) = timeout(DENIAL_GRACE, denial(&mut denials, concerns)).await {
            return Err(denied);
        }
    }
    Ok(ack)
}

/// A message of a batch that the client did not take.
fn not_taken(kind: PublishErrorKind, text: String) -> Failure {
    match kind {
        PublishErrorKind::MaxPayloadExceeded => Failure::TooLarge(text),
        PublishErrorKind::InvalidSubject => Failure::BadSubject(text),
        PublishErrorKind::Send => Failure::NotCommitted,
    }
}

fn outgoing(api: &Api, write: &Write, condition: Option<u64>) -> Outgoing {
    let mut headers = HeaderMap::new();
    if let Some(sequence) = condition {
        headers.insert("Nats-Expected-Last-Subject-Sequence", sequence.to_string());
    }
    if write.value.is_none() {
        headers.insert("KV-Operation", "DEL");
    }
    Outgoing {
        subject: api.write_subject(&write.key),
        headers,
        payload: write.value.clone().map_or_else(Bytes::new, Bytes::from),
    }
}

/// The revisions in an acknowledgement: a batch is stored without gaps, the last sequence is told.
fn revisions(ack: &[u8], stream: &str, count: usize) -> Result<Vec<Revision>, Failure> {
    #[derive(Deserialize)]
    struct Ack {
        stream: String,
        seq: u64,
        #[serde(default = "one")]
        count: u64,
    }
    const fn one() -> u64 {
        1
    }
    let ack: Ack = parse(ack)?;
    let stored = usize::try_from(ack.count).ok() == Some(count);
    if ack.stream != stream || !stored || ack.seq < ack.count {
        let Ack { stream, seq, count } = ack;
        return Err(Failure::Malformed(format!(
            "{count} messages stored in {stream} up to {seq}"
        )));
    }
    let first = ack.seq - ack.count + 1;
    Ok((first..=ack.seq).map(Revision::new).collect())
}

fn title(writes: &[Write]) -> String {
    let key = writes.first().map_or("", |write| write.key.as_str());
    match writes.len() {
        0 | 1 => format!("commit of {key}"),
        count => format!("commit of {count} keys from {key} on"),
    }
}

#[cfg(test)]
mod tests;
