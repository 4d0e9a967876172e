//! Reads: one key from the stream's leader, or all keys with a prefix in one request.
//!
//! It is separate because reads prove nothing: they may be stale and only say what to try. A list
//! asks one replica for the last message of every subject, which makes no consumer; beyond the
//! server's limit of 1024 keys it takes the snapshot that begins a watch.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parti_core::{Entry, Revision, StoreError};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::bucket;
use crate::requests::api::Api;
use crate::requests::listing::{self, Listing};
use crate::watch;
use crate::wire::key::{key_fault, prefix_fault};
use crate::wire::message::marks_deletion;
use crate::wire::outcome::{Failure, code, rejected};
use crate::wire::timestamp::millis;

/// One key.
pub(crate) async fn get(api: &Api, key: &str) -> Result<Option<Entry>, StoreError> {
    if let Some(fault) = key_fault(key) {
        return Err(rejected(fault));
    }
    last(api, key, api.deadline())
        .await
        .map_err(|failure| failure.during(&format!("read of {key}")))
}

/// All living keys with a prefix, and the revision up to which none is missing.
pub(crate) async fn list(api: &Api, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
    if let Some(fault) = prefix_fault(prefix) {
        return Err(rejected(fault));
    }
    let deadline = api.deadline();
    let filter = api.names.filter(prefix);
    let listed = list_filter(api, &filter, deadline).await;
    let (mut entries, revision) =
        listed.map_err(|failure| failure.during(&format!("list of {prefix:?}")))?;
    entries.retain(|entry| entry.value.is_some() && entry.key.starts_with(prefix));
    Ok((entries, revision))
}

/// The last write of a key according to the stream's leader.
pub(crate) async fn last(
    api: &Api,
    key: &str,
    deadline: Instant,
) -> Result<Option<Entry>, Failure> {
    #[derive(Serialize)]
    struct Query {
        last_by_subj: String,
    }
    let last_by_subj = api.names.subject(key);
    stored(api, &Query { last_by_subj }, deadline).await
}

async fn list_filter(
    api: &Api,
    filter: &str,
    deadline: Instant,
) -> Result<(Vec<Entry>, Revision), Failure> {
    match listing::list(api, &[filter.to_owned()], deadline).await? {
        Listing::All(entries, revision) => Ok((entries, revision)),
        Listing::NotThisWay => watch::snapshot(api, filter, deadline).await,
        Listing::Nothing => {
            let empty_at = empty_at(api, filter, deadline).await?;
            match empty_at {
                Some(revision) => Ok((Vec::new(), revision)),
                None => watch::snapshot(api, filter, deadline).await,
            }
        }
    }
}

/// A replica that has nothing does not say up to where, and may lag. The leader says that nothing
/// matches, and before that up to which revision this holds.
async fn empty_at(api: &Api, filter: &str, deadline: Instant) -> Result<Option<Revision>, Failure> {
    #[derive(Serialize)]
    struct Query<'a> {
        seq: u64,
        next_by_subj: &'a str,
    }
    let info = bucket::info(api, deadline).await?;
    let query = Query {
        seq: 1,
        next_by_subj: filter,
    };
    let first = stored(api, &query, deadline).await?;
    Ok(first.is_none().then(|| Revision::new(info.state.last_seq)))
}

/// A message as the stream's leader has it.
async fn stored(
    api: &Api,
    query: &impl Serialize,
    deadline: Instant,
) -> Result<Option<Entry>, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        message: Stored,
    }
    #[derive(Deserialize)]
    struct Stored {
        subject: String,
        seq: u64,
        #[serde(default)]
        hdrs: String,
        #[serde(default)]
        data: String,
        #[serde(default)]
        time: String,
    }
    let method = format!("STREAM.MSG.GET.{}", api.names.stream);
    let Stored {
        subject,
        seq,
        hdrs,
        data,
        time,
    } = match api.call::<Answer>(&method, query, deadline).await {
        Ok(answer) => answer.message,
        Err(failure) if failure.is_code(code::NO_MESSAGE) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let decode = |text: &str| {
        let decoded = STANDARD.decode(text);
        decoded.map_err(|error| Failure::Malformed(error.to_string()))
    };
    let headers = String::from_utf8_lossy(&decode(&hdrs)?).into_owned();
    let deleted = headers.lines().any(|line| {
        line.split_once(':')
            .is_some_and(|(name, value)| marks_deletion(name, value.trim()))
    });
    let key = api.key_of(&subject)?;
    Ok(Some(Entry {
        key,
        revision: Revision::new(seq),
        value: if deleted { None } else { Some(decode(&data)?) },
        at_ms: millis(&time),
    }))
}
