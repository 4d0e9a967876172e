//! The doctor: looks at a group for a while, says what is wrong with it, and what to do.
//!
//! It is separate from the other commands because it judges. What always holds: a finding says what was
//! found, on whom, and what to do; on a group that is well there is none.

mod findings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parti::directory::View;
use parti::store::StoreInfo;
use parti_core::{History, Key};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::Answer;
use crate::args::Arguments;
use crate::connect;
use crate::failure::{Exit, Failure};
use crate::look::Look;
use crate::show::printed;
use findings::{Finding, Severity};

/// The shortest look: what is only passing is not found then.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest look that is taken without being asked for.
const LONGEST: Duration = Duration::from_secs(10);

/// What is known of a group after a look.
struct Facts {
    /// As it was at first.
    first: View,
    /// As it was at last.
    last: View,
    history: History,
    info: StoreInfo,
    /// How long the store took to answer.
    answered: Duration,
    /// For how long the group was watched.
    watched: Duration,
    /// This machine's wall clock, in milliseconds since 1970.
    wall_ms: u64,
    /// The size of each value in bytes.
    sizes: BTreeMap<String, usize>,
    /// Digest of the partition list in the bucket, if the group keeps one there.
    stored_list: Option<u128>,
}

impl Facts {
    async fn gather(look: &mut Look, seconds: Option<u64>) -> Result<Self, Failure> {
        let first = look.view();
        let begun = look.now();
        let heartbeats = first
            .workers
            .iter()
            .filter_map(|worker| worker.session.as_ref());
        let heartbeat = heartbeats.map(|session| session.heartbeat_interval).max();
        let unasked = heartbeat.unwrap_or_default().mul_f64(2.5);
        let limit = seconds.map_or(unasked.clamp(SHORTEST, LONGEST), Duration::from_secs);
        let until = Instant::now() + limit;
        while let Ok(event) = timeout_at(until, look.next()).await {
            event?;
        }
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let sizes = look.entries.iter();
        Ok(Self {
            first,
            last: look.view(),
            history: look.directory.history().clone(),
            info: look.info.clone(),
            answered: look.answered,
            watched: look.now().since(begun),
            wall_ms: wall.map_or(0, |wall| {
                u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
            }),
            sizes: sizes
                .map(|(key, value)| (key.clone(), value.len()))
                .collect(),
            stored_list: look.stored_list().map(|list| list.digest()),
        })
    }

    /// Keys that mean nothing to any release.
    fn foreign(&self) -> Vec<&str> {
        let keys = self.sizes.keys().map(String::as_str);
        keys.filter(|key| !key.starts_with("ctl.") && Key::parse(key) == Key::Foreign)
            .collect()
    }
}

pub(crate) async fn run(arguments: &Arguments, seconds: Option<u64>) -> Result<Answer, Failure> {
    let limit = arguments.connection.timeout();
    let facts = async {
        let store = connect::group(arguments).await?;
        let mut look = Look::at(&store, limit).await?;
        Facts::gather(&mut look, seconds).await
    };
    let (found, exit) = match facts.await {
        Ok(facts) => {
            let found = facts.findings();
            let is_bad = found.iter().any(|it| it.severity != Severity::Note);
            (found, if is_bad { Exit::No } else { Exit::Done })
        }
        Err(failure) if failure.exit == Exit::Usage => return Err(failure),
        Err(failure) => {
            let exit = failure.exit;
            (vec![Finding::of_failure(failure)], exit)
        }
    };
    let text = if arguments.json {
        let found = found.iter().map(|it| {
            json!({
                "code": it.code, "severity": it.severity.as_str(),
                "finding": it.what, "advice": it.advice,
            })
        });
        printed(&found.collect())
    } else {
        text(&found)
    };
    Ok(Answer { text, exit })
}

fn text(found: &[Finding]) -> String {
    let mut text = String::new();
    for it in found {
        let (severity, code) = (it.severity.as_str(), it.code);
        let _ = writeln!(text, "{severity} {code}: {}\n    {}", it.what, it.advice);
    }
    if found.is_empty() {
        text.push_str("nothing is wrong\n");
    }
    text
}
