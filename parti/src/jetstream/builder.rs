//! How a group's consumption is put together.

use std::future::Future;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parti_core::PartitionKey;
use parti_nats::async_nats::jetstream::Context;
use parti_nats::consume::stream::Subjects;
use parti_nats::consume::{
    CommitRules, ConsumeError, Cursors, OnOvertaken, OnRecreated, Output, OutputStream, Retention,
    Source, StartAt, Wire,
};

use crate::handler::HandlerError;
use crate::jetstream::message::PartitionMessage;
use crate::jetstream::partitioned::Partitioned;
use crate::jetstream::settings::{
    Handled, OnMessages, OnPoison, Settings, default_bounds, default_commit, default_retries,
};

/// How long a request to the server may take unless set.
const REQUEST: Duration = Duration::from_secs(2);

/// Collects what a [`Partitioned`] needs; begun by [`Partitioned::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct PartitionedBuilder {
    context: Context,
    stream: String,
    partitions: u32,
    subjects: Subjects,
    start: StartAt,
    request_timeout: Duration,
    outputs: Option<(String, String)>,
    unproven_replicas: bool,
    settings: Settings,
}

impl PartitionedBuilder {
    pub(super) fn new(context: Context, stream: &str) -> Self {
        let nothing: OnMessages = Arc::new(|_| {
            std::future::ready(Err(HandlerError::new("on_message was not set"))).boxed()
        });
        let settings = Settings {
            group: stream.to_owned(),
            commit: default_commit(),
            retries: default_retries(),
            bounds: default_bounds(),
            recreated: OnRecreated::default(),
            overtaken: OnOvertaken::default(),
            on_messages: nothing,
            batch: NonZeroUsize::MIN,
            measure: None,
        };
        Self {
            context,
            stream: stream.to_owned(),
            partitions: 0,
            subjects: Subjects::Transformed,
            start: StartAt::All,
            request_timeout: REQUEST,
            outputs: None,
            unproven_replicas: false,
            settings,
        }
    }

    /// Whose cursors these are, as a rule the name of the coordinated group: two groups of different names
    /// each get every message. The name of the stream if not set.
    pub fn group(mut self, name: &str) -> Self {
        name.clone_into(&mut self.settings.group);
        self
    }

    /// How many partitions there are. It must be what the stream's transform has, or had before a
    /// [re-partition](super::repartition), which is the only way to change it.
    pub const fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Gives the stream a subject transform of this source, such as `orders.*`, if it has none: its first
    /// wildcard is the key, and [`destination`](super::destination) says how messages are stored. One that
    /// is there and does not match is refused.
    pub fn transform(mut self, source: &str) -> Self {
        let source = source.to_owned();
        self.subjects = Subjects::Transform { source };
        self
    }

    /// Takes subjects that publishers make: `<prefix>.<partition>.<anything>`, see
    /// [`Layout`](super::Layout).
    pub fn numbered(mut self, prefix: &str) -> Self {
        let prefix = prefix.to_owned();
        self.subjects = Subjects::Numbered { prefix };
        self
    }

    /// What is done with each message. It is handled when this answers `Ok`; an error, or a panic, is tried
    /// again. The messages of a partition come one after another, partitions beside each other.
    pub fn on_message<H, F>(self, handler: H) -> Self
    where
        H: Fn(PartitionMessage) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.each(move |message| {
            let handled = handler(message);
            async move { handled.await.map(|()| Vec::new()) }.boxed()
        })
    }

    /// What is done with messages of one partition, as many as wait, at most `most` (at least one), in order.
    /// All are handled when this answers `Ok`; else all are tried again, and when they failed as often as
    /// [`PartitionedBuilder::attempts`] says, each by itself, so that the policy for poison meets only what
    /// is poison. A position is stored after a whole batch, never within one.
    pub fn on_batch<H, F>(mut self, most: usize, handler: H) -> Self
    where
        H: Fn(Vec<PartitionMessage>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.settings.batch = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
        self.settings.on_messages = Arc::new(move |messages| {
            let handled = handler(messages);
            async move { handled.await.map(|()| Vec::new()) }.boxed()
        });
        self
    }

    fn each(
        mut self,
        handler: impl Fn(PartitionMessage) -> BoxFuture<'static, Handled> + Send + Sync + 'static,
    ) -> Self {
        self.settings.batch = NonZeroUsize::MIN;
        self.settings.on_messages = Arc::new(move |mut messages| match messages.pop() {
            Some(message) => handler(message),
            // There is always one.
            None => std::future::ready(Ok(Vec::new())).boxed(),
        });
        self
    }

    /// What is done with each message, and what is put out for it: outputs are stored in `stream` together
    /// with the position, in one atomic batch, so that each input is put out exactly once. The cursors of
    /// the group live in that stream, on subjects that begin with `fence`, such as `results.fence`.
    ///
    /// The stream must have `allow_atomic` and evict nothing. One message has at most 900 outputs, all on
    /// subjects of the stream. What the handler does beside is repeated after a crash, as ever.
    pub fn on_message_into<H, F>(mut self, stream: &str, fence: &str, handler: H) -> Self
    where
        H: Fn(PartitionMessage) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<Output>, HandlerError>> + Send + 'static,
    {
        self.outputs = Some((stream.to_owned(), fence.to_owned()));
        self.each(move |message| handler(message).boxed())
    }

    /// Where the group begins in a stream that it has never consumed; default
    /// [`StartAt::All`](super::StartAt::All). It is turned into a sequence once, by the first worker.
    pub const fn start_at(mut self, start: StartAt) -> Self {
        self.start = start;
        self
    }

    /// How often a message is tried before it counts as poison, at least once; default 10.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.settings.retries.attempts = attempts.max(1);
        self
    }

    /// The pause after a first failure, which doubles, and the longest; default 100 ms and 30 s.
    pub const fn retry_pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.settings.retries.first_pause = first;
        self.settings.retries.longest_pause = longest;
        self
    }

    /// What becomes of a message that failed as often as it may; default [`OnPoison::Stop`].
    pub fn on_poison(mut self, policy: OnPoison) -> Self {
        self.settings.retries.then = policy;
        self
    }

    /// How often positions are written: after so many messages of a partition (at least one), or when the
    /// oldest that is not written is as old as this; default 1000 and 200 ms. So much is handled again after
    /// a crash.
    pub fn commit(mut self, every: u64, within: Duration) -> Self {
        let every = NonZeroU64::new(every).unwrap_or(NonZeroU64::MIN);
        self.settings.commit = CommitRules { every, within };
        self
    }

    /// How many messages of one partition, and of all, may wait in memory; default 4096 and 16 384.
    pub fn max_waiting(mut self, partition: u64, all: u64) -> Self {
        self.settings.bounds.partition = partition.max(1);
        self.settings.bounds.messages = all.max(1);
        self
    }

    /// How many bytes of one partition, and of all, may wait in memory; default 16 MB and 64 MB. What was
    /// asked for before still comes: at most 500 messages for a partition that is read by itself, and one
    /// that is larger than the bound of its partition where nothing waits.
    pub fn max_waiting_bytes(mut self, partition: u64, all: u64) -> Self {
        self.settings.bounds.partition_bytes = partition.max(1);
        self.settings.bounds.bytes = all.max(1);
        self
    }

    /// What to do when the stream was deleted and created again; default
    /// [`OnRecreated::Stop`](super::OnRecreated::Stop).
    pub const fn on_recreated(mut self, policy: OnRecreated) -> Self {
        self.settings.recreated = policy;
        self
    }

    /// What to do when retention or a purge removed messages that were not handled; default
    /// [`OnOvertaken::GoOn`](super::OnOvertaken::GoOn).
    pub const fn on_overtaken(mut self, policy: OnOvertaken) -> Self {
        self.settings.overtaken = policy;
        self
    }

    /// Takes a work queue or a stream by interest that has several replicas, which is refused otherwise: in
    /// tests messages were lost there when leaders changed, see `docs/CONSUMING.md`.
    pub const fn unproven_replicas(mut self) -> Self {
        self.unproven_replicas = true;
        self
    }

    /// Measures every so often (a second at least) how far each partition is behind, for
    /// [`PartitionStatus::lag`](super::PartitionStatus::lag) and the metrics; not measured unless set. It
    /// costs one or two requests for each partition.
    pub fn measure_lag(mut self, every: Duration) -> Self {
        self.settings.measure = Some(every.max(Duration::from_secs(1)));
        self
    }

    /// How long a request to the server may take; default 2 s.
    pub const fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// Looks at the stream, and opens the cursors, which are created with the first group.
    ///
    /// # Errors
    /// [`ConsumeError`]; with both values where the stream, or the group's earlier plan, is other than
    /// asked for.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave the bucket of the cursors; building again is safe. Bounded by the
    /// request time-out for each of at most fourteen requests.
    pub async fn build(self) -> Result<Partitioned, ConsumeError> {
        let wire = Wire::new(self.context, self.request_timeout);
        let source = Source::open(wire, &self.stream, self.partitions, &self.subjects).await?;
        // What a start policy leaves out would stay in the queue for ever.
        if source.retention() == Retention::WorkQueue && self.start != StartAt::All {
            return Err(ConsumeError::Mismatch {
                what: "where the group begins in a work queue".to_owned(),
                found: format!("{:?}", self.start),
                wanted: format!("{:?}", StartAt::All),
            });
        }
        let is_unproven = source.retention() != Retention::Limits && source.replicas() > 1;
        if is_unproven && !self.unproven_replicas {
            return Err(ConsumeError::Mismatch {
                what: format!(
                    "replicas of a stream with {:?} retention",
                    source.retention()
                ),
                found: source.replicas().to_string(),
                wanted: "1, or `unproven_replicas`".to_owned(),
            });
        }
        let outputs = match &self.outputs {
            None => None,
            Some((name, fence)) => Some(OutputStream::open(source.wire(), name, fence).await?),
        };
        let cursors = Cursors::open(&source, &self.settings.group, self.start, outputs).await?;
        PartitionKey::new([self.stream.as_str(), "0"]).map_err(|error| ConsumeError::Mismatch {
            what: "the stream's name".to_owned(),
            found: error.to_string(),
            wanted: "a name for partitions".to_owned(),
        })?;
        Ok(Partitioned::new(source, cursors, self.settings))
    }
}
