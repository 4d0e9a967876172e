//! The last message of every subject, asked of one replica in pages that fit the client.
//!
//! It is separate because a client drops what does not fit its buffer for a subscription, and says
//! so to nobody who waits for the answer. What always holds: a list is whole only when each message
//! names the one before it, from the first to the end; a page that came short is asked for again in
//! smaller pieces, and never taken for a list from which keys were deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use parti_core::{Entry, Revision};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::requests::api::{Api, denial};
use crate::requests::page_size::{PAGE_MIN, Short};
use crate::wire::message::{number, value};
use crate::wire::outcome::Failure;
use crate::wire::timestamp::millis;

/// How a list ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// Everything, tombstones included, up to the revision.
    All(Vec<Entry>, Revision),
    /// This replica has nothing.
    Nothing,
    /// There are too many subjects, or they change too fast, or the replicas differ.
    NotThisWay,
}

/// Asks one replica for the last message of each subject that matches a filter.
pub(crate) async fn list(
    api: &Api,
    filters: &[String],
    deadline: Instant,
) -> Result<Listing, Failure> {
    let mut found = BTreeMap::new();
    let (mut from, mut up_to) = (0, 0);
    let mut size = api.page_size.get();
    loop {
        let page = match page(api, filters, from, size, deadline).await? {
            Answer::Page(page) => page,
            Answer::Short(short) => {
                api.page_size.shrink(size, short);
                size = (size / 2).max(PAGE_MIN);
                continue;
            }
            Answer::NoMessage if found.is_empty() && from == 0 => return Ok(Listing::Nothing),
            Answer::NoMessage | Answer::TooMany => return Ok(Listing::NotThisWay),
        };
        // What was rewritten meanwhile comes again in a later page, unless that is of a replica
        // that lags behind the one before.
        let goes_on = page.up_to >= up_to && (page.pending == 0 || page.last >= from);
        if !goes_on {
            return Ok(Listing::NotThisWay);
        }
        for entry in page.entries {
            found.insert(entry.key.clone(), entry);
        }
        (from, up_to) = (page.last.saturating_add(1), page.up_to);
        if page.pending == 0 {
            let entries = found.into_values().collect();
            return Ok(Listing::All(entries, Revision::new(up_to)));
        }
    }
}

/// How a page can be answered.
enum Answer {
    Page(Page),
    Short(Short),
    /// Nothing matches, or what did was rewritten while the server read it.
    NoMessage,
    TooMany,
}

/// A whole page.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    entries: Vec<Entry>,
    /// The sequence of the last of them.
    last: u64,
    /// How many follow.
    pending: u64,
    /// The last sequence the replica knew.
    up_to: u64,
}

async fn page(
    api: &Api,
    filters: &[String],
    from: u64,
    size: usize,
    deadline: Instant,
) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Query<'a> {
        multi_last: &'a [String],
        batch: usize,
        seq: u64,
    }
    api.connected()?;
    let (started, silence_max) = (Instant::now(), api.options.request_timeout / 4);
    let inbox = api.client.new_inbox();
    let subject = api.subject(&format!("DIRECT.GET.{}", api.names.stream));
    let mut denials = api.violations.listen();
    let query = Query {
        multi_last: filters,
        batch: size,
        seq: from,
    };
    let query = serde_json::to_vec(&query).map_err(|e| Failure::Malformed(e.to_string()))?;
    let asked = async {
        let broken = |error: &dyn std::error::Error| Failure::Broken(error.to_string());
        let messages = api.client.subscribe(inbox.clone()).await;
        let messages = messages.map_err(|error| broken(&error))?;
        api.client
            .publish_with_reply(subject.clone(), inbox, query.into())
            .await
            .map_err(|error| broken(&error))?;
        read(api, messages, silence_max).await
    };
    tokio::select! {
        denied = denial(&mut denials, |denied| *denied == *subject) => Err(denied),
        asked = timeout_at(deadline, asked) => {
            asked.unwrap_or_else(|_| Err(api.timed_out(started)))
        }
    }
}

async fn read(
    api: &Api,
    mut messages: Subscriber,
    silence_max: Duration,
) -> Result<Answer, Failure> {
    let (mut entries, mut last) = (Vec::new(), 0);
    loop {
        let next = if entries.is_empty() {
            Ok(messages.next().await)
        } else {
            timeout_at(Instant::now() + silence_max, messages.next()).await
        };
        let Ok(message) = next else {
            return Ok(Answer::Short(Short::Silent));
        };
        let message = message.ok_or_else(|| Failure::Broken("no more messages".to_owned()))?;
        let status = message.status.map(|status| status.as_u16());
        let before = || header(&message, "Nats-Last-Sequence");
        match status {
            None | Some(204) if before()? != last => return Ok(Answer::Short(Short::Dropped)),
            None => {
                last = header(&message, "Nats-Sequence")?;
                entries.push(entry(api, &message)?);
            }
            Some(204) => {
                return Ok(Answer::Page(Page {
                    entries,
                    last,
                    pending: header(&message, "Nats-Num-Pending")?,
                    up_to: header(&message, "Nats-UpTo-Sequence")?,
                }));
            }
            Some(404) => return Ok(Answer::NoMessage),
            Some(413) => return Ok(Answer::TooMany),
            Some(503) => return Err(Failure::NoResponders),
            Some(other) => {
                let words = message.description.unwrap_or_default();
                return Err(Failure::Malformed(format!("status {other} {words}")));
            }
        }
    }
}

fn entry(api: &Api, message: &Message) -> Result<Entry, Failure> {
    let missing = |name: &str| Failure::Malformed(format!("an entry without {name}"));
    let headers = message.headers.as_ref().ok_or_else(|| missing("headers"))?;
    let subject = headers
        .get("Nats-Subject")
        .ok_or_else(|| missing("subject"))?;
    Ok(Entry {
        key: api.key_of(subject.as_str())?,
        revision: Revision::new(header(message, "Nats-Sequence")?),
        value: value(Some(headers), &message.payload),
        at_ms: headers
            .get("Nats-Time-Stamp")
            .map_or(0, |at| millis(at.as_str())),
    })
}

fn header(message: &Message, name: &'static str) -> Result<u64, Failure> {
    let headers = message.headers.as_ref();
    let found = headers.and_then(|headers| number(headers, name));
    found.ok_or_else(|| Failure::Malformed(format!("a message of a list without {name}")))
}
