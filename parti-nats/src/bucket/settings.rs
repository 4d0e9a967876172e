//! The settings of the stream under a bucket: what it is created with, what an existing one must have.
//!
//! It is separate because it is the one place that knows which settings carry correctness. Old
//! servers drop unknown settings without a word, so the configuration the server *echoes* is
//! checked, also right after creating it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, SystemTime};

use parti_core::GroupName;
use serde::{Deserialize, Serialize};

use crate::settings::options::{NatsOptions, Storage};
use crate::wire::key::Names;

/// A setting that makes the stream unfit: its name, what was found and what is needed.
pub(super) type Mismatch = (&'static str, String, String);

/// What the stream's metadata has of its creation: when it was, in nanoseconds since 1970, by the
/// clock of the process that asked for it. It is never read. It makes no two requests the same: of
/// several that are, the servers of a cluster take each for the same stream, with a time of its own,
/// and tell one or another time as they lead it one after another. Of several that differ only one
/// succeeds.
const CREATION: &str = "parti.creation";

/// What the stream's metadata has of the prefix that the bucket was made for. Names alone would join
/// ambiguously: `parti_` and `eu_orders` make the same bucket as `parti_eu_` and `orders`.
const PREFIX: &str = "parti.prefix";

/// The settings that are set or checked; a missing one is the server's "off".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StreamConfig {
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    subjects: Vec<String>,
    retention: String,
    pub(super) storage: String,
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
    allow_msg_ttl: bool,
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
            allow_msg_ttl: false,
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
    pub(super) fn wanted(names: &Names, options: &NatsOptions) -> Self {
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

    /// The version of the server that leads the stream, as it says in every answer about it.
    pub(super) fn leader_version(&self) -> Option<&str> {
        self.metadata.get("_nats.ver").map(String::as_str)
    }

    /// Whether it was made for another prefix, and so for another group. A stream that people made says
    /// nothing, and is nobody else's.
    fn other_group(&self, names: &Names, prefix: &str) -> Option<Mismatch> {
        let made_for = self.metadata.get(PREFIX)?;
        let (found, needed) = (
            group_of(&names.bucket, made_for),
            group_of(&names.bucket, prefix),
        );
        differs("metadata parti.prefix", found, needed)
    }

    /// The group whose bucket this is, if it is one with this prefix.
    pub(super) fn group(&self, prefix: &str) -> Option<GroupName> {
        let bucket = self.name.strip_prefix("KV_")?;
        let made_for = self.metadata.get(PREFIX);
        let is_ours = made_for.is_none_or(|made_for| made_for == prefix);
        let group = bucket.strip_prefix(prefix).filter(|_| is_ours)?;
        GroupName::new(group).ok()
    }

    /// The first setting that makes the stream unfit, with what was found and what is needed.
    pub(super) fn mismatch(&self, names: &Names, prefix: &str) -> Option<Mismatch> {
        self.mismatches(names, prefix).next()
    }

    /// Every such setting.
    pub(super) fn mismatches(
        &self,
        names: &Names,
        prefix: &str,
    ) -> impl Iterator<Item = Mismatch> + use<> {
        let off = "off, so that nothing expires by a clock";
        let checks = [
            self.other_group(names, prefix),
            differs("subjects", self.subjects.join(","), names.all()),
            differs("retention", &self.retention, "limits"),
            differs("discard", &self.discard, "new"),
            differs("max_msgs_per_subject", self.max_msgs_per_subject, 1),
            differs("allow_msg_ttl", self.allow_msg_ttl, false),
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
        checks.into_iter().flatten()
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

fn differs<F: Display, N: Display>(setting: &'static str, found: F, needed: N) -> Option<Mismatch> {
    let (found, needed) = (found.to_string(), needed.to_string());
    (found != needed).then_some((setting, found, needed))
}

fn nanos(value: i64) -> String {
    format!("{:?}", Duration::from_nanos(value.unsigned_abs()))
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
        let cases: [(&str, Change); 14] = [
            ("metadata parti.prefix", |c| {
                c.metadata.insert(PREFIX.to_owned(), String::new());
            }),
            ("subjects", |c| c.subjects.push("x".to_owned())),
            ("retention", |c| c.retention = "interest".to_owned()),
            ("discard", |c| c.discard = "old".to_owned()),
            ("max_msgs_per_subject", |c| c.max_msgs_per_subject = 5),
            ("allow_atomic", |c| c.allow_atomic = false),
            ("allow_direct", |c| c.allow_direct = false),
            ("allow_msg_ttl", |c| c.allow_msg_ttl = true),
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
