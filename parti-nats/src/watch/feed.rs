//! The consumer behind a watch: made with a name of our own, deleted when dropped.
//!
//! It is separate because the server keeps a consumer until told otherwise. What always holds: a
//! consumer that may exist is deleted when its feed is dropped, also when making it was given up
//! half-way; what the deletion misses, the server drops after a few idle seconds.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt;
use parti_core::Revision;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::requests::api::{Api, connection};
use crate::watch::frame::{Frame, read};
use crate::wire::outcome::Failure;
use crate::wire::random::random;

/// How long the server keeps a consumer nobody listens to.
const INACTIVE: Duration = Duration::from_secs(5);

/// The pause between two tries to delete a consumer; each is longer by this than the one before.
const DELETION_PAUSE: Duration = Duration::from_millis(100);
/// How often one that was never confirmed is deleted although the server does not know it.
const ANSWERS_MAX: u32 = 4;

/// A running consumer.
pub(crate) struct Feed {
    api: Arc<Api>,
    name: String,
    messages: Subscriber,
    /// The connection it was made on; on another one messages may have been missed.
    connection: u64,
    /// The last revision before what it delivers, if the server said.
    pub(crate) behind: Option<Revision>,
    /// Whether the server confirmed the consumer. It handles requests side by side, so the deletion
    /// of one that was given up half-way may overtake its making.
    confirmed: bool,
}

/// From where a consumer delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The present entries, then what is written.
    Present,
    /// What is written from now on.
    Now,
    /// What was written at this revision and later.
    At(Revision),
}

/// The part of the answer that is used.
#[derive(Deserialize)]
struct Made {
    delivered: Option<Delivered>,
}

#[derive(Deserialize)]
struct Delivered {
    stream_seq: u64,
}

#[derive(Serialize)]
struct Request<'a> {
    stream_name: &'a str,
    action: &'static str,
    config: Config<'a>,
}

#[derive(Serialize)]
struct Config<'a> {
    name: &'a str,
    deliver_subject: &'a str,
    deliver_policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    opt_start_seq: Option<u64>,
    filter_subjects: &'a [String],
    ack_policy: &'static str,
    replay_policy: &'static str,
    max_deliver: i64,
    flow_control: bool,
    idle_heartbeat: u64,
    inactive_threshold: u64,
    num_replicas: u32,
    mem_storage: bool,
}

impl Feed {
    /// Makes a consumer for the filters.
    pub(crate) async fn open(
        api: &Arc<Api>,
        filters: &[String],
        begin: Begin,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        api.connected()?;
        let connection = connection(api);
        let inbox = api.client.new_inbox();
        let messages = api.client.subscribe(inbox.clone()).await;
        let messages = messages.map_err(|error| Failure::Broken(error.to_string()))?;
        let mut feed = Self {
            api: Arc::clone(api),
            name: format!("parti-{:016x}", random()),
            messages,
            connection,
            behind: None,
            confirmed: false,
        };
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (deliver_policy, opt_start_seq) = match begin {
            Begin::Present => ("last_per_subject", None),
            Begin::Now => ("new", None),
            Begin::At(from) => ("by_start_sequence", Some(from.get())),
        };
        let request = Request {
            stream_name: &api.names.stream,
            action: "create",
            config: Config {
                name: &feed.name,
                deliver_subject: &inbox,
                deliver_policy,
                opt_start_seq,
                filter_subjects: filters,
                ack_policy: "none",
                replay_policy: "instant",
                max_deliver: 1,
                flow_control: true,
                idle_heartbeat: nanos(api.options.watch_heartbeat),
                inactive_threshold: nanos(INACTIVE),
                num_replicas: 1,
                mem_storage: true,
            },
        };
        let method = format!("CONSUMER.CREATE.{}.{}", api.names.stream, feed.name);
        let made: Made = api.call(&method, &request, deadline).await?;
        feed.behind = made.delivered.map(|at| Revision::new(at.stream_seq));
        feed.confirmed = true;
        Ok(feed)
    }

    /// The next message; `None` when the client was closed. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let message = self.messages.next().await?;
        Some(read(&message, &self.api.names))
    }

    /// Lets a consumer that waits go on. Sent without waiting: if it is lost, the watch stalls and
    /// is made again.
    pub(crate) async fn answer(&self, reply: String) {
        if let Err(error) = self.api.client.publish(reply, "".into()).await {
            tracing::debug!(%error, "a flow control answer was not sent");
        }
    }

    /// Whether the client has reconnected since the consumer was made.
    pub(crate) fn is_of_old_connection(&self) -> bool {
        connection(&self.api) != self.connection
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let api = Arc::clone(&self.api);
        let method = format!("CONSUMER.DELETE.{}.{}", api.names.stream, self.name);
        let confirmed = self.confirmed;
        runtime.spawn(async move { delete(&api, &method, confirmed).await });
    }
}

/// Deletes a consumer; again when a broken connection swallows the request, until the server has dropped
/// it by itself.
async fn delete(api: &Api, method: &str, confirmed: bool) {
    #[derive(Serialize, Deserialize)]
    struct Nothing {}
    let (begun, mut answers) = (Instant::now(), 0);
    let mut pause = DELETION_PAUSE;
    while begun.elapsed() < INACTIVE {
        match api.call(method, &Nothing {}, api.deadline()).await {
            Ok(Nothing {}) => return,
            // It is gone, or the right is missing; one that was never confirmed may come yet.
            Err(Failure::Server { .. } | Failure::Denied { .. }) => {
                answers += 1;
                if confirmed || answers == ANSWERS_MAX {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, method, "a consumer is not deleted yet"),
        }
        sleep(pause).await;
        pause += DELETION_PAUSE;
    }
    tracing::debug!(method, "left to the idle limit");
}
