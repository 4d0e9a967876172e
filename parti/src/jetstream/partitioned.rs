//! A group's consumption of a stream: partition source and partition handler in one.
//!
//! It is separate from the lanes because it is what the manager holds. What always holds: a partition has
//! one lane at most, and `on_revoked` returns after its lane has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use parti_core::{PartitionKey, RevokeCause};
use parti_nats::async_nats::jetstream::Context;
use parti_nats::consume::{
    Condition, ConsumeError, Cursors, Durables, OnOvertaken, Retention, Source,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::handler::guard::Guard;
use crate::handler::{HandlerError, PartitionHandler};
use crate::jetstream::builder::PartitionedBuilder;
use crate::jetstream::feed::{Budget, Feed};
use crate::jetstream::hub::{Ask, Hub};
use crate::jetstream::lane::Lane;
use crate::jetstream::lane::pauses::Pauses;
use crate::jetstream::settings::Settings;

mod listing;
mod measure;

pub use listing::StreamPartitions;

/// Handles the messages of the partitions that its worker owns. Cheap to clone; give it to
/// [`Manager::builder`](crate::Manager::builder), as source and as handler.
#[derive(Clone)]
pub struct Partitioned(Arc<Owned>);

struct Owned {
    shared: Arc<Shared>,
    list: StreamPartitions,
    lanes: Mutex<BTreeMap<u32, JoinSet<()>>>,
    /// The hub and the measuring: they end with this.
    _tasks: JoinSet<()>,
}

/// What lanes use.
pub(super) struct Shared {
    pub(super) source: Source,
    pub(super) cursors: Cursors,
    /// Where acknowledgements remove messages; elsewhere the hub reads.
    pub(super) durables: Option<Durables>,
    pub(super) settings: Settings,
    pub(super) budget: Arc<Budget>,
    pub(super) pauses: Pauses,
    /// As it was last measured.
    lag: Mutex<BTreeMap<u32, u64>>,
    hub: mpsc::UnboundedSender<Ask>,
    troubles: Arc<Troubles>,
    working: Mutex<BTreeMap<u32, Arc<Feed>>>,
    counts: Counts,
}

/// What is wrong, by partition.
#[derive(Default)]
struct Troubles {
    conditions: Mutex<BTreeMap<u32, Condition>>,
    lost: AtomicU64,
}

#[derive(Default)]
struct Counts {
    handled: AtomicU64,
    skipped: AtomicU64,
    dead_lettered: AtomicU64,
}

/// Where a worker stands with its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionStatus {
    /// How many messages were handled, those that poison policies settled included.
    pub handled: u64,
    /// How many were left out by [`OnPoison::Skip`](super::OnPoison::Skip).
    pub skipped: u64,
    /// How many were published as dead letters.
    pub dead_lettered: u64,
    /// How many messages retention or a purge removed unhandled, at most.
    pub lost_at_most: u64,
    /// The partitions with a lane, and how many of their messages wait in memory.
    pub waiting: BTreeMap<u32, u64>,
    /// How many messages of each partition were not handled when it was last measured; empty without
    /// [`PartitionedBuilder::measure_lag`].
    pub lag: BTreeMap<u32, u64>,
    /// The partitions that are paused on this worker, whether it owns them or not.
    pub paused: BTreeSet<u32>,
    /// What is wrong, by partition; it stays until the partition is taken over again.
    pub conditions: BTreeMap<u32, Condition>,
}

impl Partitioned {
    /// Begins the consumption of a stream: over which connection, and which stream. Use a context of a
    /// connection of its own where the work is much: the coordination must not wait behind messages.
    pub fn builder(context: Context, stream: &str) -> PartitionedBuilder {
        PartitionedBuilder::new(context, stream)
    }

    pub(super) fn new(source: Source, cursors: Cursors, settings: Settings) -> Self {
        let list = StreamPartitions::new(&source, &cursors);
        let (hub, asks) = mpsc::unbounded_channel();
        let budget = Arc::<Budget>::default();
        let troubles = Arc::<Troubles>::default();
        let report = {
            let troubles = Arc::clone(&troubles);
            Arc::new(
                move |partition: u32, condition: Option<&Condition>| match condition {
                    Some(condition) => troubles.report(partition, condition),
                    None => troubles.passed(partition),
                },
            )
        };
        let mut tasks = Hub::spawn(
            source.clone(),
            &settings,
            nonce(),
            Arc::clone(&budget),
            report,
            asks,
        );
        let shared = Shared {
            durables: match source.retention() {
                Retention::Limits => None,
                Retention::WorkQueue | Retention::Interest => {
                    Some(Durables::new(&source, &settings.group))
                }
            },
            source,
            cursors,
            settings,
            budget,
            pauses: Pauses::default(),
            lag: Mutex::default(),
            hub,
            troubles,
            working: Mutex::default(),
            counts: Counts::default(),
        };
        let shared = Arc::new(shared);
        if let Some(every) = shared.settings.measure {
            tasks.spawn(measure::measure(Arc::clone(&shared), every));
        }
        Self(Arc::new(Owned {
            shared,
            list,
            lanes: Mutex::default(),
            _tasks: tasks,
        }))
    }

    /// The partitions: `[stream, "0"]`, `[stream, "1"]`, and so on; those of a
    /// [re-partition](super::repartition) follow.
    #[must_use]
    pub fn source(&self) -> StreamPartitions {
        self.0.list.clone()
    }

    /// Where this worker stands. It never waits.
    #[must_use]
    pub fn status(&self) -> PartitionStatus {
        let Shared {
            counts,
            troubles,
            working,
            ..
        } = &*self.0.shared;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let working = locked(working);
        let waiting = working.iter().map(|(p, feed)| (*p, feed.waiting()));
        PartitionStatus {
            handled: load(&counts.handled),
            skipped: load(&counts.skipped),
            dead_lettered: load(&counts.dead_lettered),
            lost_at_most: load(&troubles.lost),
            waiting: waiting.collect(),
            lag: locked(&self.0.shared.lag).clone(),
            paused: self.0.shared.pauses.all(),
            conditions: locked(&troubles.conditions).clone(),
        }
    }

    /// How many messages of each partition that this worker works on are not handled. It asks the server,
    /// with one or two requests for each partition: call it every few seconds at most.
    ///
    /// # Errors
    /// [`ConsumeError`] when the server does not answer.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave a consumer that ends by itself. Bounded by the request time-out for
    /// each request; at most 16 partitions are asked for at a time.
    pub async fn lag(&self) -> Result<BTreeMap<u32, u64>, ConsumeError> {
        self.0.shared.ask_lag().await
    }

    /// Begins no further message of a partition while this worker owns it; what was begun is ended and its
    /// position stored. The worker keeps the partition, and another owner is not paused.
    pub fn pause(&self, partition: u32) {
        self.0.shared.pauses.pause(partition);
    }

    /// Goes on with a paused partition.
    pub fn resume(&self, partition: u32) {
        self.0.shared.pauses.resume(partition);
    }

    fn number(&self, key: &PartitionKey) -> Result<u32, HandlerError> {
        let stream = self.0.shared.source.name();
        let mut parts = key.parts();
        let is_ours = parts.next() == Some(stream);
        let number = parts.next().and_then(|part| part.parse::<u32>().ok());
        let limit = self.0.shared.source.layout().partitions();
        number
            .filter(|number| is_ours && *number < limit)
            .ok_or_else(|| {
                let reason = format!("{key} is not one of the {limit} partitions of {stream}");
                HandlerError::new(reason)
            })
    }

    fn lanes(&self) -> MutexGuard<'_, BTreeMap<u32, JoinSet<()>>> {
        locked(&self.0.lanes)
    }
}

#[async_trait]
impl PartitionHandler for Partitioned {
    async fn on_assigned(&self, key: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        let partition = match self.number(key) {
            Ok(partition) => partition,
            // The leader may have heard of a re-partition before this worker.
            Err(_) => {
                self.0.shared.source.look_again().await?;
                self.number(key)?
            }
        };
        let shared = Arc::clone(&self.0.shared);
        let lane = Lane {
            shared,
            partition,
            guard,
        };
        let taken = lane.take_over().await.inspect_err(|error| {
            if let ConsumeError::Condition(condition) = error {
                lane.shared.report(partition, condition);
            }
        })?;
        let mut tasks = JoinSet::new();
        tasks.spawn(lane.run(taken));
        // One of an earlier ownership has ended: its `on_revoked` returned.
        self.lanes().insert(partition, tasks);
        Ok(())
    }

    async fn on_revoked(&self, key: &PartitionKey, _guard: Guard, _cause: RevokeCause) {
        let Ok(partition) = self.number(key) else {
            return;
        };
        let lane = self.lanes().remove(&partition);
        let Some(mut lane) = lane else { return };
        // The guard tells it.
        while let Some(ended) = lane.join_next().await {
            if let Err(error) = ended {
                tracing::error!(partition, %error, "a lane ended by itself");
            }
        }
        self.0.shared.clear(partition);
    }

    fn trouble(&self) -> Option<String> {
        let shared = &self.0.shared;
        let conditions = locked(&shared.troubles.conditions);
        // After a loss the partition goes on, unless it was to stop; the loss is in the status.
        let stops = shared.settings.overtaken == OnOvertaken::Stop;
        let standing = conditions.iter();
        let mut standing = standing.filter(|(_, c)| stops || c.lost_at_most() == 0);
        let (partition, first) = standing.next()?;
        let count = 1 + standing.count();
        let name = first.name();
        Some(format!(
            "{count} partitions stand still; {partition}: {name}: {first}"
        ))
    }
}

impl Shared {
    pub(super) fn attach(&self, feed: &Arc<Feed>) {
        locked(&self.working).insert(feed.partition, Arc::clone(feed));
        if self.durables.is_none() {
            // Without a hub the program ends.
            let _ = self.hub.send(Ask::Attach(Arc::clone(feed)));
        }
    }

    pub(super) async fn detach(&self, partition: u32) {
        locked(&self.working).remove(&partition);
        let (done, detached) = oneshot::channel();
        if self.durables.is_none() && self.hub.send(Ask::Detach(partition, done)).is_ok() {
            let _ = detached.await;
        }
    }

    /// How many lanes share what may be held in memory.
    pub(super) fn lanes(&self) -> u64 {
        locked(&self.working).len() as u64
    }

    pub(super) fn report(&self, partition: u32, condition: &Condition) {
        self.troubles.report(partition, condition);
    }

    pub(super) fn passed(&self, partition: u32) {
        self.troubles.passed(partition);
    }

    pub(super) fn clear(&self, partition: u32) {
        let mut conditions = locked(&self.troubles.conditions);
        // A loss stays to be seen while the partition goes on.
        conditions.retain(|p, condition| *p != partition || condition.lost_at_most() > 0);
    }

    pub(super) fn count_handled(&self, messages: usize) {
        let messages = messages as u64;
        self.counts.handled.fetch_add(messages, Ordering::Relaxed);
    }

    pub(super) fn count_skipped(&self) {
        self.counts.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_dead_lettered(&self) {
        self.counts.dead_lettered.fetch_add(1, Ordering::Relaxed);
    }
}

impl Troubles {
    /// The server does what is asked for again.
    fn passed(&self, partition: u32) {
        let mut conditions = locked(&self.conditions);
        conditions.retain(|p, condition| *p != partition || !condition.passes());
    }

    /// Keeps a condition and logs it when it is another than before.
    fn report(&self, partition: u32, condition: &Condition) {
        let before = locked(&self.conditions).insert(partition, condition.clone());
        if before.as_ref() == Some(condition) {
            return;
        }
        let lost = condition.lost_at_most();
        self.lost.fetch_add(lost, Ordering::Relaxed);
        let name = condition.name();
        tracing::error!(partition, condition = name, "{condition}");
    }
}

/// A number that no other reader has.
pub(super) fn nonce() -> u64 {
    // Half of it is random enough.
    (crate::system::random::random() >> 64) as u64
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves the maps whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Partitioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partitioned")
            .field("stream", &self.0.shared.source.name())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
