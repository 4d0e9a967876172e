//! The partitions of a consumption, for the group's leader: all of the stream, and while it is re-partitioned
//! those that may be worked on.
//!
//! It is separate because it is a source, asked by the manager. What always holds: a list is whole, and says
//! what the gate says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parti_core::{Partition, PartitionSource, SourceError};
use parti_nats::consume::{ConsumeError, Cursors, Gate, Source};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// How often to look whether the stream was re-partitioned.
const LOOKS: Duration = Duration::from_secs(2);
/// How often to look whether old partitions are handled to their end, at most.
const WAITING: Duration = Duration::from_millis(100);

/// Lists the partitions `[stream, "0"]`, `[stream, "1"]` and so on; from
/// [`Partitioned::source`](super::Partitioned::source).
#[derive(Clone)]
pub struct StreamPartitions(Arc<Listing>);

struct Listing {
    stream: String,
    gate: Mutex<Asked>,
}

struct Asked {
    gate: Gate,
    /// What was listed last, and whether old partitions were waited for.
    last: Option<(Vec<u32>, bool)>,
}

impl StreamPartitions {
    pub(super) fn new(source: &Source, cursors: &Cursors) -> Self {
        let gate = Gate::new(source, cursors);
        Self(Arc::new(Listing {
            stream: source.name().to_owned(),
            gate: Mutex::new(Asked { gate, last: None }),
        }))
    }

    /// Whether the list is another than it was.
    async fn look(&self) -> Result<bool, ConsumeError> {
        let mut asked = self.0.gate.lock().await;
        let now = asked.gate.listed().await?;
        let is_other = asked.last.as_ref().is_some_and(|last| last.0 != now.0);
        asked.last = Some(now);
        Ok(is_other)
    }

    async fn pause(&self, took: Duration) -> Duration {
        let is_waiting = self
            .0
            .gate
            .lock()
            .await
            .last
            .as_ref()
            .is_some_and(|last| last.1);
        if is_waiting {
            // A tenth of the time is spent on looking.
            took.saturating_mul(10).clamp(WAITING, LOOKS)
        } else {
            LOOKS
        }
    }
}

#[async_trait]
impl PartitionSource for StreamPartitions {
    async fn list(&self) -> Result<Vec<Partition>, SourceError> {
        let mut asked = self.0.gate.lock().await;
        let listed = asked.gate.listed().await;
        let listed = listed.map_err(|error| SourceError::Unavailable(error.to_string()))?;
        let stream = &self.0.stream;
        let partitions = listed.0.iter();
        let partitions = partitions.map(|number| Partition::new([stream, &number.to_string()]));
        let partitions = partitions.collect::<Result<_, _>>()?;
        asked.last = Some(listed);
        Ok(partitions)
    }

    async fn changed(&self) {
        let mut took = Duration::ZERO;
        loop {
            sleep(self.pause(took).await).await;
            let begun = Instant::now();
            match self.look().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "the partitions are not known"),
            }
            took = begun.elapsed();
        }
    }
}

impl fmt::Debug for StreamPartitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamPartitions")
            .field("stream", &self.0.stream)
            .finish_non_exhaustive()
    }
}
