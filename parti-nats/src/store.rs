//! The store itself: which request of the port goes where.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parti_core::{
    Liveness, Revision, Store, StoreError, StoreErrorKind, StoreInfo, StoreOp, StoreReply, Watch,
    WatchScope,
};

use crate::bucket::twin::Twins;
use crate::bucket::{self, StreamInfo};
use crate::commit::{self, MAX_BATCH};
use crate::liveness::NatsLiveness;
use crate::requests::api::Api;
use crate::settings::options::Access;
use crate::wire::outcome::Failure;
use crate::{read, watch};

/// Room for the headers of a write: the server counts them into the size of a message.
const HEADER_ROOM: usize = 512;

/// The store of one group: a JetStream KV bucket.
///
/// Clones share the connection. Dropping the last one closes the connection, unless the client was
/// given; running watches keep it open.
#[derive(Clone)]
pub struct NatsStore {
    pub(crate) api: Arc<Api>,
    /// The search for another group of this name.
    pub(crate) twins: Arc<Twins>,
    /// The most bytes the stream takes in one message, -1 when it has no limit of its own.
    pub(crate) message_limit: i64,
    /// What was found when it was opened, and when.
    pub(crate) opened: Arc<Mutex<Option<(StreamInfo, Instant)>>>,
}

/// For how long what was found when the store was opened answers the first question of a worker.
const OPENED_FOR: Duration = Duration::from_secs(10);

impl NatsStore {
    /// The bucket's name, such as `parti_orders`.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.api.names.bucket
    }

    /// The connection, for callers that want to use it for more.
    #[must_use]
    pub fn client(&self) -> &async_nats::Client {
        &self.api.client
    }

    fn describe(&self, info: &StreamInfo) -> Result<StoreInfo, Failure> {
        let api = &self.api;
        let version = info.leader_version().unwrap_or("older than 2.11");
        Ok(StoreInfo {
            created: info.created()?,
            // By the wall clocks of two servers, one of which may have been set since.
            age: Duration::ZERO,
            last_revision: Revision::new(info.state.last_seq),
            version: format!("nats-server {version}"),
            max_batch: MAX_BATCH,
            max_value: max_value(api, info.config.max_msg_size),
            faults: {
                let mut faults = info.faults(&api.names, &api.options.bucket_prefix);
                faults.extend(self.twins.fault(api));
                faults
            },
        })
    }
}

impl fmt::Debug for NatsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsStore")
            .field("bucket", &self.bucket())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for NatsStore {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        let api = &self.api;
        match op {
            StoreOp::Get { key } => read::get(api, &key).await.map(StoreReply::Entry),
            StoreOp::List { prefix } => {
                let (entries, last_revision) = read::list(api, &prefix).await?;
                Ok(StoreReply::Entries {
                    entries,
                    last_revision,
                })
            }
            StoreOp::Commit { .. } if api.options.access == Access::Reader => {
                let message = format!("bucket {} was opened to be read", self.bucket());
                Err(StoreError::new(StoreErrorKind::Rejected, message))
            }
            StoreOp::Commit { writes } => {
                let max_value = max_value(api, self.message_limit);
                let revisions = commit::commit(api, &writes, max_value).await?;
                Ok(StoreReply::Committed { revisions })
            }
            StoreOp::Create => {
                let info = bucket::create(api).await?;
                self.describe(&info)
                    .map(StoreReply::Info)
                    .map_err(|failure| failure.during("bucket information"))
            }
            StoreOp::Info => {
                let info = bucket::info(api, api.deadline()).await;
                info.inspect(|info| self.twins.look(api, info))
                    .and_then(|info| self.describe(&info))
                    .map(StoreReply::Info)
                    .map_err(|failure| failure.during("bucket information"))
            }
        }
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        watch::start(Arc::clone(&self.api), scope).await
    }

    fn take_opened(&self) -> Option<StoreInfo> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let (info, at) = opened.take()?;
        let is_new = at.elapsed() < OPENED_FOR && self.api.is_connected();
        self.describe(&info).ok().filter(|_| is_new)
    }

    fn liveness(&self) -> Option<Arc<dyn Liveness>> {
        let api = Arc::clone(&self.api);
        Some(Arc::new(NatsLiveness { api }))
    }
}

/// The largest value: what the server takes in one message, and the stream's own limit if it has
/// one (-1 if not), less the headers.
fn max_value(api: &Api, stream_limit: i64) -> usize {
    let most = api.client.max_payload();
    let most = usize::try_from(stream_limit).map_or(most, |limit| most.min(limit));
    most.saturating_sub(HEADER_ROOM)
}
