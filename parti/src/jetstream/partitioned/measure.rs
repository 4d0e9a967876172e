//! How far a worker is behind: asked of the server, kept for the status, told to the recorder of metrics.
//!
//! It is separate because it is the only thing here that asks without being asked. What always holds: no
//! label is a partition, since series of partitions that went elsewhere would look alive.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use parti_nats::consume::ConsumeError;
use tokio::time::sleep;

use crate::jetstream::partitioned::{Shared, locked};

/// How many partitions are asked for at a time.
const AT_ONCE: usize = 16;

impl Shared {
    /// How many messages of each partition are not handled.
    pub(super) async fn ask_lag(&self) -> Result<BTreeMap<u32, u64>, ConsumeError> {
        let feeds: Vec<_> = locked(&self.working).values().cloned().collect();
        let asked = feeds.into_iter().map(|feed| async move {
            let waiting = feed.waiting();
            let durable = feed.acks.as_ref().map(|acks| acks.durable());
            let pending = match (&self.durables, durable) {
                (Some(durables), Some(Some(name))) => durables.pending(&name).await?,
                // It is being made; what waits is known.
                (_, Some(_)) => 0,
                (_, None) => {
                    let delivered = feed.delivered();
                    self.source.pending(feed.partition, delivered).await?
                }
            };
            Ok((feed.partition, waiting + pending))
        });
        let asked = stream::iter(asked).buffer_unordered(AT_ONCE);
        asked.try_collect().await
    }
}

/// Measures again and again.
pub(super) async fn measure(shared: Arc<Shared>, every: Duration) {
    loop {
        match shared.ask_lag().await {
            Ok(lag) => {
                tell(&shared, &lag);
                *shared.lag.lock().unwrap_or_else(PoisonError::into_inner) = lag;
            }
            Err(error) => tracing::debug!(%error, "the lag is not known"),
        }
        sleep(every).await;
    }
}

#[cfg(feature = "metrics")]
fn tell(shared: &Shared, lag: &BTreeMap<u32, u64>) {
    let group = shared.settings.group.clone();
    let gauge = |name: &'static str, value: u64| {
        // Beyond 2^53 nobody counts one by one.
        #[expect(clippy::cast_precision_loss)]
        metrics::gauge!(name, "group" => group.clone()).set(value as f64);
    };
    gauge("parti_consume_lag_messages", lag.values().sum());
    let largest = lag.values().max().copied().unwrap_or_default();
    gauge("parti_consume_lag_messages_largest", largest);
    gauge("parti_consume_partitions", lag.len() as u64);
    gauge(
        "parti_consume_partitions_paused",
        shared.pauses.all().len() as u64,
    );
    let conditions = locked(&shared.troubles.conditions).len() as u64;
    gauge("parti_consume_conditions", conditions);
}

#[cfg(not(feature = "metrics"))]
const fn tell(_: &Shared, _: &BTreeMap<u32, u64>) {}
