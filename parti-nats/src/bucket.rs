//! The stream under the bucket: creating it, and asking its leader about it.
//!
//! It is separate because what the leader says is checked whenever it is heard: its version, since it
//! is the one that checks the conditions of a batch, and the settings, which anybody can change while
//! workers run.

mod replicas;
mod settings;
pub(crate) mod twin;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parti_core::{GroupName, StoreError, StoreErrorKind, StoreFault};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

pub(crate) use crate::bucket::settings::StreamConfig;
use crate::requests::api::{Api, connection};
use crate::requests::leader::History;
use crate::settings::error::{OpenError, ensure_version};
use crate::settings::options::Access;
use crate::wire::key::Names;
use crate::wire::outcome::{Failure, code};
use crate::wire::timestamp::parse_nanos;
use crate::wire::version::{MINIMUM_SERVER, is_good_enough};

/// What the server says about the stream.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamConfig,
    created: String,
    /// The JetStream domain it is in.
    pub(crate) domain: Option<String>,
    pub(crate) state: StreamState,
    cluster: Option<replicas::Replicas>,
}

/// How long between two questions about a bucket that is being created, or is not found.
const PAUSE: Duration = Duration::from_millis(50);
/// For how long at most a bucket that is not found is asked for again. Servers that were just started, or
/// whose JetStream was, answer before they have read their streams.
const RECOVERY: Duration = Duration::from_millis(250);

impl StreamInfo {
    /// The version of the server that leads the stream. Servers too old to say so are too old.
    pub(crate) fn leader_version(&self) -> Option<&str> {
        self.config.leader_version()
    }

    /// What makes the stream unfit: settings, and a leader that is too old.
    pub(crate) fn faults(&self, names: &Names, prefix: &str) -> Vec<StoreFault> {
        let version = self.leader_version();
        let too_old = version.is_none_or(|found| !is_good_enough(found));
        let too_old = too_old.then(|| StoreFault {
            setting: "the version of the stream's leader".to_owned(),
            found: version.unwrap_or("older than 2.11").to_owned(),
            needed: format!("at least {MINIMUM_SERVER}"),
        });
        let settings = self.config.mismatches(names, prefix);
        let settings = settings.map(|(setting, found, needed)| StoreFault {
            setting: setting.to_owned(),
            found,
            needed,
        });
        too_old.into_iter().chain(settings).collect()
    }

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

/// Opens the bucket: creates it if there is none, and checks it in any case.
pub(crate) async fn open(api: &Api) -> Result<StreamInfo, OpenError> {
    let names = &api.names;
    let wanted = StreamConfig::wanted(names, &api.options);
    let failed = |purpose: &'static str| {
        move |failure: Failure| OpenError::from_failure(failure, purpose, &api.options.api)
    };
    let deadline = || Instant::now() + api.options.connect_timeout;
    let found = match look_up(api, deadline()).await {
        Err(failure)
            if failure.is_code(code::STREAM_NOT_FOUND) && api.options.access != Access::Member =>
        {
            let bucket = names.bucket.clone();
            return Err(OpenError::NoBucket { bucket });
        }
        Err(failure) if failure.is_code(code::STREAM_NOT_FOUND) => {
            let method = format!("STREAM.CREATE.{}", names.stream);
            match api.call::<IgnoredAny>(&method, &wanted, deadline()).await {
                // The answer of a creation does not say the domain.
                Ok(_) => look_up_taken(api, deadline()).await,
                // Another process created it in between, with other settings.
                Err(failure) if failure.is_code(code::NAME_IN_USE) => {
                    look_up_taken(api, deadline()).await
                }
                Err(failure) => Err(failure),
            }
            .map_err(failed("create the bucket"))?
        }
        found => found.map_err(failed("look up the bucket"))?,
    };
    let version = found.leader_version().unwrap_or("older than 2.11");
    if api.options.access == Access::Reader {
        return Ok(found);
    }
    ensure_version(version)?;
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
        match ask(api, attempt).await {
            Err(Failure::TimedOut { .. }) if attempt < deadline => {}
            Err(Failure::TimedOut { hint, .. }) => {
                let after = begun.elapsed();
                return Err(Failure::TimedOut { after, hint });
            }
            Err(Failure::Alone { .. }) if Instant::now() + PAUSE < deadline => sleep(PAUSE).await,
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
    if api.options.access != Access::Member {
        let message = format!(
            "bucket {} is not created by who only visits it",
            names.bucket
        );
        return Err(StoreError::new(StoreErrorKind::Rejected, message));
    }
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

/// Asks the stream's leader about a stream that has been there: it counts as missing only if it is not
/// found for a moment.
pub(crate) async fn info(api: &Api, deadline: Instant) -> Result<StreamInfo, Failure> {
    let patience = Instant::now() + RECOVERY.min(api.options.request_timeout / 4);
    loop {
        match ask(api, deadline).await {
            Err(failure)
                if failure.is_code(code::STREAM_NOT_FOUND)
                    && Instant::now() + PAUSE < patience.min(deadline) =>
            {
                sleep(PAUSE).await;
            }
            answered => return answered,
        }
    }
}

async fn ask(api: &Api, deadline: Instant) -> Result<StreamInfo, Failure> {
    #[derive(Serialize)]
    struct Nothing {}
    let method = format!("STREAM.INFO.{}", api.names.stream);
    let info: StreamInfo = api.call(&method, &Nothing {}, deadline).await?;
    if let Some(since) = info.cluster.as_ref().and_then(replicas::Replicas::alone) {
        return Err(Failure::Alone { since });
    }
    let history = info.created().ok().map(|created| History {
        created,
        replicas: info.config.num_replicas,
    });
    api.leader
        .saw(info.leader_version(), history, connection(api));
    Ok(info)
}

/// The groups whose buckets are in this JetStream.
pub(crate) async fn groups(api: &Api, deadline: Instant) -> Result<Vec<GroupName>, Failure> {
    #[derive(Serialize)]
    struct Query {
        offset: usize,
    }
    #[derive(Deserialize)]
    struct Page {
        total: usize,
        // Without any stream it is null.
        streams: Option<Vec<StreamInfo>>,
    }
    let (mut groups, mut offset) = (Vec::new(), 0);
    loop {
        let page: Page = api.call("STREAM.LIST", &Query { offset }, deadline).await?;
        let streams = page.streams.unwrap_or_default();
        offset += streams.len();
        let last = streams.is_empty() || offset >= page.total;
        let prefix = &api.options.bucket_prefix;
        groups.extend(
            streams
                .iter()
                .filter_map(|stream| stream.config.group(prefix)),
        );
        if last {
            groups.sort_unstable();
            return Ok(groups);
        }
    }
}

/// Refuses a stream leader that is too old; asks for its version unless it has just said it.
pub(crate) async fn check_leader(api: &Api, deadline: Instant) -> Result<(), Failure> {
    if api.leader.is_known_good(connection(api)) {
        return Ok(());
    }
    let info = info(api, deadline).await.map_err(unsent)?;
    match info.leader_version() {
        Some(version) if is_good_enough(version) => Ok(()),
        version => Err(Failure::TooOld {
            found: version.unwrap_or("older than 2.11").to_owned(),
        }),
    }
}

/// A question before a commit failed: nothing of the commit was sent.
pub(crate) fn unsent(failure: Failure) -> Failure {
    match failure {
        Failure::TimedOut { .. } | Failure::Broken(_) | Failure::Malformed(_) => {
            Failure::NotAsked(failure.to_string())
        }
        other @ (Failure::NotConnected { .. }
        | Failure::NotCommitted
        | Failure::TooOld { .. }
        | Failure::NotAsked(_)
        | Failure::Alone { .. }
        | Failure::NoResponders
        | Failure::TooLarge(_)
        | Failure::BadSubject(_)
        | Failure::Denied { .. }
        | Failure::Server { .. }) => other,
    }
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
