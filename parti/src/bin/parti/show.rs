//! What is shown: for people as text, for programs as JSON.
//!
//! It is separate from the looking because the words are a promise of their own. What always holds: text
//! and JSON are made from the same view.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parti_core::{Record, Store as _, StoreOp, StoreReply, head_key, wire};
use serde_json::{Value, json};

use crate::args::Connection;
use crate::connect;
use crate::failure::Failure;

pub(crate) mod fields;
pub(crate) mod lists;
pub(crate) mod status;

/// JSON as it is printed.
pub(crate) fn printed(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A wall-clock time in UTC, to the second.
pub(crate) fn date(ms: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    time.map_or_else(String::new, |time| {
        humantime::format_rfc3339_seconds(time).to_string()
    })
}

/// How long ago that was by this machine's wall clock, to the second.
pub(crate) fn ago(ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    let seconds = now.saturating_sub(ms / 1000);
    match seconds {
        0 => "just now".to_owned(),
        seconds => format!(
            "{} ago",
            humantime::format_duration(Duration::from_secs(seconds))
        ),
    }
}

/// The groups on the server, with what `head` says of each.
pub(crate) async fn groups(connection: &Connection, json: bool) -> Result<String, Failure> {
    let server = connect::server(connection).await?;
    let (mut rows, mut text) = (Vec::new(), String::new());
    for group in server.groups().await? {
        // One that has gone since is not told.
        let Some((store, bucket)) = server.group(&group).await? else {
            continue;
        };
        let reply = store.execute(StoreOp::Get { key: head_key() }).await?;
        let value = match reply {
            StoreReply::Entry(entry) => entry.and_then(|entry| entry.value),
            StoreReply::Entries { .. } | StoreReply::Committed { .. } | StoreReply::Info(_) => None,
        };
        let head = value.and_then(|value| match wire::decode(&value) {
            Ok(Record::Head(head)) => Some(head),
            Ok(_) | Err(_) => None,
        });
        let leader = head.as_ref().and_then(|head| head.leader.as_ref());
        let leader = leader.map(|leader| leader.worker.to_string());
        let (workers, partitions) = head
            .as_ref()
            .map_or((0, 0), |head| (head.workers, head.partitions));
        let _ = writeln!(
            text,
            "{group}: {partitions} partitions, {workers} workers in the last plan, led by {}",
            leader.as_deref().unwrap_or("nobody")
        );
        rows.push(json!({
            "group": group.as_str(),
            "bucket": bucket,
            "leader": leader,
            "term": head.as_ref().map(|head| head.term.get()),
            "version": head.as_ref().map(|head| head.version.get()),
            "partitions": partitions,
            "planned_workers": workers,
            "parked": head.as_ref().map(|head| head.parked.count),
        }));
    }
    if text.is_empty() {
        text = format!("{}\n", connect::NO_GROUP);
    }
    Ok(if json {
        printed(&Value::from(rows))
    } else {
        text
    })
}
