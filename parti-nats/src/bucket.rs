//! The stream under the bucket: how it is created and what an existing one must be like.
//!
//! It is separate because it is the one place that knows which settings carry correctness. Old
//! servers drop unknown settings without a word, so the configuration the server *echoes* is
//! checked, also right after creating it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::{Duration, SystemTime};

use parti_core::{StoreError, StoreErrorKind};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::api::Api;
use crate::error::OpenError;
use crate::key::Names;
use crate::options::{NatsOptions, Storage};
use crate::outcome::{Failure, code};
use crate::timestamp::parse_nanos;

/// What the server says about the stream.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamConfig,
    created: String,
    pub(crate) state: StreamState,
}

/// How long between two questions about a bucket that is being created.
const PAUSE: Duration = Duration::from_millis(50);

/// What the stream's metadata has of its creation: when it was, in nanoseconds since 1970, by the
/// clock of the process that asked for it. It is never read. It makes no two requests the same: of
/// several that are, the servers of a cluster take each for the same stream, with a time of its own,
/// and tell one or another time as they lead it one after another. Of several that differ only one
/// succeeds.
const CREATION: &str = "parti.creation";

/// What the stream's metadata has of the prefix that the bucket was made for. Names alone would join
/// ambiguously: `parti_` and `eu_orders` make the same bucket as `parti_eu_` and `orders`.
const PREFIX: &str = "parti.prefix";

impl StreamInfo {
    /// When it was created, in nanoseconds: what names its history.
    pub(crate) fn created(&self) -> Result<u64, Failure> {
        let created = &self.created;
        parse_nanos(created)
            .ok_or_else(|| Failure::Malformed(format!("{created:?} is not a creation time")))
    }
}

/// The part of the stream's state that is used.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct StreamState {
    pub(crate) last_seq: u64,
}

/// The settings that are set or checked; a missing one is the server's "off".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StreamConfig {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    subjects: Vec<String>,
    retention: String,
    storage: String,
    discard: String,
    pub(crate) num_replicas: usize,
    max_msgs_per_subject: i64,
    max_msgs: i64,
    max_bytes: i64,
    pub(crate) max_msg_size: i64,
    max_age: i64,
    max_consumers: i64,
    allow_atomic: bool,
    allow_direct: bool,
    allow_rollup_hdrs: bool,
    deny_delete: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing)]
    no_ack: bool,
    #[serde(skip_serializing)]
    sealed: bool,
    #[serde(skip_serializing)]
    mirror: Option<serde::de::IgnoredAny>,
    #[serde(skip_serializing)]
    sources: Option<serde::de::IgnoredAny>,
    #[serde(skip_serializing)]
    subject_transform: Option<serde::de::IgnoredAny>,
    #[serde(skip_serializing)]
    subject_delete_marker_ttl: i64,
    #[serde(skip_serializing)]
    persist_mode: String,
}

impl Default for StreamConfig {
    /// Everything off.
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            subjects: Vec::new(),
            retention: String::new(),
            storage: String::new(),
            discard: String::new(),
            num_replicas: 1,
            max_msgs_per_subject: -1,
            max_msgs: -1,
            max_bytes: -1,
            max_msg_size: -1,
            max_age: 0,
            max_consumers: -1,
            allow_atomic: false,
            allow_direct: false,
            allow_rollup_hdrs: false,
            deny_delete: false,
            metadata: BTreeMap::new(),
            no_ack: false,
            sealed: false,
            mirror: None,
            sources: None,
            subject_transform: None,
            subject_delete_marker_ttl: 0,
            persist_mode: String::new(),
        }
    }
}

impl StreamConfig {
    fn wanted(names: &Names, options: &NatsOptions) -> Self {
        let storage = match options.storage {
            Storage::File => "file",
            Storage::Memory => "memory",
        };
        Self {
            name: names.stream.clone(),
            description: "parti: sessions, assignments and audit of one group".to_owned(),
            subjects: vec![names.all()],
            retention: "limits".to_owned(),
            storage: storage.to_owned(),
            discard: "new".to_owned(),
            num_replicas: options.replicas,
            max_msgs_per_subject: 1,
            allow_atomic: true,
            allow_direct: true,
            allow_rollup_hdrs: true,
            deny_delete: true,
            metadata: BTreeMap::from([
                (CREATION.to_owned(), now_nanos().to_string()),
                (PREFIX.to_owned(), options.bucket_prefix.clone()),
            ]),
            ..Self::default()
        }
    }

    /// Whether it was made for another prefix, and so for another group. A stream that people made says
    /// nothing, and is nobody else's.
    fn other_group(&self, names: &Names, prefix: &str) -> Option<(&'static str, String, String)> {
        let made_for = self.metadata.get(PREFIX)?;
        let (found, needed) = (
            group_of(&names.bucket, made_for),
            group_of(&names.bucket, prefix),
        );
        differs("metadata parti.prefix", found, needed)
    }

    /// The first setting that makes the stream unfit, with what was found and what is needed.
    fn mismatch(&self, names: &Names, prefix: &str) -> Option<(&'static str, String, String)> {
        let off = "off, so that nothing expires by a clock";
        let checks = [
            self.other_group(names, prefix),
            differs("subjects", self.subjects.join(","), names.all()),
            differs("retention", &self.retention, "limits"),
            differs("discard", &self.discard, "new"),
            differs("max_msgs_per_subject", self.max_msgs_per_subject, 1),
            differs("allow_atomic", self.allow_atomic, true),
            differs("allow_direct", self.allow_direct, true),
            differs("no_ack", self.no_ack, false),
            differs("sealed", self.sealed, false),
            (self.max_age != 0).then(|| ("max_age", nanos(self.max_age), off.to_owned())),
            (self.subject_delete_marker_ttl != 0).then(|| {
                let found = nanos(self.subject_delete_marker_ttl);
                ("subject_delete_marker_ttl", found, off.to_owned())
            }),
            differs("mirror", self.mirror.is_some(), false),
            differs("sources", self.sources.is_some(), false),
            differs("subject_transform", self.subject_transform.is_some(), false),
            differs("persist_mode async", self.persist_mode == "async", false),
        ];
        checks.into_iter().flatten().next()
    }
}

/// Whose bucket it is, in words.
fn group_of(bucket: &str, prefix: &str) -> String {
    let group = bucket.strip_prefix(prefix).unwrap_or(bucket);
    format!("bucket_prefix {prefix:?} and group {group:?}")
}

fn now_nanos() -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos())
}

fn differs<F: Display, N: Display>(
    setting: &'static str,
    found: F,
    needed: N,
) -> Option<(&'static str, String, String)> {
    let (found, needed) = (found.to_string(), needed.to_string());
    (found != needed).then_some((setting, found, needed))
}

fn nanos(value: i64) -> String {
    format!("{:?}", Duration::from_nanos(value.unsigned_abs()))
}

/// Opens the bucket: creates it if there is none, and checks it in any case.
pub(crate) async fn open(api: &Api) -> Result<StreamInfo, OpenError> {
    let names = &api.names;
    let wanted = StreamConfig::wanted(names, &api.options);
    let failed = |purpose: &'static str| {
        move |failure: Failure| OpenError::from_failure(failure, purpose, &api.options.api)
    };
    let deadline = || Instant::now() + api.options.connect_timeout;
    let found = match look_up(api, deadline()).await {
        Err(failure) if failure.is_code(code::STREAM_NOT_FOUND) => {
            let method = format!("STREAM.CREATE.{}", names.stream);
            match api.call(&method, &wanted, deadline()).await {
                // Another process created it in between, with other settings.
                Err(failure) if failure.is_code(code::NAME_IN_USE) => {
                    look_up_taken(api, deadline()).await
                }
                created => created,
            }
            .map_err(failed("create the bucket"))?
        }
        found => found.map_err(failed("look up the bucket"))?,
    };
    if let Some((setting, found, needed)) = found.config.mismatch(names, &api.options.bucket_prefix)
    {
        return Err(OpenError::BucketMismatch {
            bucket: names.bucket.clone(),
            setting,
            found,
            needed,
        });
    }
    warn_of_weaker(&found.config, &wanted);
    Ok(found)
}

/// Asks about the bucket again and again: a stream whose leader is just being elected, such as one
/// that another process creates at this moment, leaves a question unanswered for ever.
async fn look_up(api: &Api, deadline: Instant) -> Result<StreamInfo, Failure> {
    let begun = Instant::now();
    loop {
        let attempt = api.deadline().min(deadline);
        match info(api, attempt).await {
            Err(Failure::TimedOut { .. }) if attempt < deadline => {}
            Err(Failure::TimedOut { hint, .. }) => {
                let after = begun.elapsed();
                return Err(Failure::TimedOut { after, hint });
            }
            answered => return answered,
        }
    }
}

/// Asks about a bucket whose name is taken: the servers of a cluster say so from the moment they
/// begin to create it, and do not find it until they are done.
async fn look_up_taken(api: &Api, deadline: Instant) -> Result<StreamInfo, Failure> {
    loop {
        match look_up(api, deadline).await {
            Err(failure)
                if failure.is_code(code::STREAM_NOT_FOUND) && Instant::now() + PAUSE < deadline =>
            {
                sleep(PAUSE).await;
            }
            answered => return answered,
        }
    }
}

/// Creates the bucket if there is none, as [`open`] would, within one request's time.
pub(crate) async fn create(api: &Api) -> Result<StreamInfo, StoreError> {
    let names = &api.names;
    let wanted = StreamConfig::wanted(names, &api.options);
    let deadline = api.deadline();
    let method = format!("STREAM.CREATE.{}", names.stream);
    let found = match api.call(&method, &wanted, deadline).await {
        // It exists, with other settings.
        Err(failure) if failure.is_code(code::NAME_IN_USE) => look_up_taken(api, deadline).await,
        created => created,
    };
    let found: StreamInfo = found.map_err(|failure| failure.during("creation of the bucket"))?;
    match found.config.mismatch(names, &api.options.bucket_prefix) {
        None => Ok(found),
        Some((setting, found, needed)) => {
            let bucket = &names.bucket;
            let message = format!("bucket {bucket}: {setting} is {found}, needed is {needed}");
            Err(StoreError::new(StoreErrorKind::Rejected, message))
        }
    }
}

/// Asks the stream's leader about the stream.
pub(crate) async fn info(api: &Api, deadline: Instant) -> Result<StreamInfo, Failure> {
    #[derive(Serialize)]
    struct Nothing {}
    let method = format!("STREAM.INFO.{}", api.names.stream);
    api.call(&method, &Nothing {}, deadline).await
}

/// The subjects that match a filter and have a message, according to the stream's leader.
pub(crate) async fn subjects(
    api: &Api,
    filter: &str,
    deadline: Instant,
) -> Result<BTreeSet<String>, Failure> {
    #[derive(Serialize)]
    struct Query<'a> {
        subjects_filter: &'a str,
        offset: usize,
    }
    #[derive(Deserialize)]
    struct Page {
        total: usize,
        state: Subjects,
    }
    #[derive(Deserialize)]
    struct Subjects {
        #[serde(default)]
        subjects: BTreeMap<String, u64>,
    }
    let method = format!("STREAM.INFO.{}", api.names.stream);
    let mut found = BTreeSet::new();
    loop {
        let query = Query {
            subjects_filter: filter,
            offset: found.len(),
        };
        let page: Page = api.call(&method, &query, deadline).await?;
        let last = page.state.subjects.is_empty();
        found.extend(page.state.subjects.into_keys());
        if last || found.len() >= page.total {
            return Ok(found);
        }
    }
}

/// Settings that change durability, not correctness, are the operator's: they are only mentioned.
fn warn_of_weaker(found: &StreamConfig, wanted: &StreamConfig) {
    if found.num_replicas != wanted.num_replicas || found.storage != wanted.storage {
        tracing::warn!(
            stream = found.name,
            found.replicas = found.num_replicas,
            found.storage = found.storage,
            wanted.replicas = wanted.num_replicas,
            wanted.storage = wanted.storage,
            "the existing bucket is kept otherwise than the options say"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new("b".to_owned())
    }

    /// A bucket that expires keys, keeps history or ignores batches breaks every promise.
    #[test]
    fn each_unfit_setting_is_found_and_named() {
        type Change = fn(&mut StreamConfig);
        let cases: [(&str, Change); 13] = [
            ("metadata parti.prefix", |c| {
                c.metadata.insert(PREFIX.to_owned(), String::new());
            }),
            ("subjects", |c| c.subjects.push("x".to_owned())),
            ("retention", |c| c.retention = "interest".to_owned()),
            ("discard", |c| c.discard = "old".to_owned()),
            ("max_msgs_per_subject", |c| c.max_msgs_per_subject = 5),
            ("allow_atomic", |c| c.allow_atomic = false),
            ("allow_direct", |c| c.allow_direct = false),
            ("no_ack", |c| c.no_ack = true),
            ("sealed", |c| c.sealed = true),
            ("sources", |c| c.sources = Some(serde::de::IgnoredAny)),
            ("persist_mode async", |c| {
                c.persist_mode = "async".to_owned();
            }),
            ("max_age", |c| c.max_age = 1_000_000_000),
            ("subject_delete_marker_ttl", |c| {
                c.subject_delete_marker_ttl = 1
            }),
        ];
        let wanted = StreamConfig::wanted(&names(), &NatsOptions::default());
        assert_eq!(wanted.mismatch(&names(), "parti_"), None);
        for (setting, change) in cases {
            let mut config = wanted.clone();
            change(&mut config);
            let (named, found, needed) = config.mismatch(&names(), "parti_").expect(setting);
            assert_eq!(named, setting);
            assert_ne!(found, needed);
        }
    }

    /// A server that drops settings it does not know would leave a bucket without batches.
    #[test]
    fn a_configuration_without_the_setting_counts_as_off() {
        let echoed = r#"{"name":"KV_b","subjects":["$KV.b.>"],"retention":"limits",
            "discard":"new","max_msgs_per_subject":1,"allow_direct":true}"#;
        let config: StreamConfig = serde_json::from_str(echoed).expect("reads");
        let mismatch = config.mismatch(&names(), "parti_").expect("a mismatch");
        assert_eq!(mismatch.0, "allow_atomic");
    }

    /// Of requests that are the same a cluster makes one stream with several creation times, and a
    /// fail-over then looks like another bucket.
    #[test]
    fn no_two_creations_are_the_same() {
        let (names, options) = (names(), NatsOptions::default());
        let wanted = [(); 2].map(|()| StreamConfig::wanted(&names, &options).metadata);
        assert_ne!(wanted[0], wanted[1]);
    }
}
