//! The hub of a worker: which readers there are, over which partitions, from where.
//!
//! It is separate because lanes come and go while readers are made and lost. What always holds: a feed is
//! filled by one reader at a time, readers are made only after a look at the stream says that positions
//! still mean the same in it, and a reader's name has a number that is never used again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parti_nats::consume::{
    Condition, ConsumeError, OnOvertaken, Reader, ReaderEnd, ReaderSpec, Source, StreamFacts,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::jetstream::feed::{Budget, Feed};
use crate::jetstream::grouping::{Grouping, View, group};
use crate::jetstream::owned::moved;
use crate::jetstream::reading::Reading;
use crate::jetstream::settings::{Bounds, Settings};

/// Partitions that come within this time are read together at once.
const GATHER: Duration = Duration::from_millis(2);
/// How often those that read alone are looked at, and readers that failed are tried again.
const LOOK: Duration = Duration::from_millis(100);
/// The longest pause before readers are tried again.
const LONGEST: Duration = Duration::from_secs(5);

/// What lanes ask of the hub.
pub(super) enum Ask {
    /// Fill this feed.
    Attach(Arc<Feed>),
    /// Fill it no more.
    Detach(u32, oneshot::Sender<()>),
}

/// Tells what goes wrong with a partition, or that what passes has passed.
pub(super) type Report = Arc<dyn Fn(u32, Option<&Condition>) + Send + Sync>;

pub(super) struct Hub {
    source: Source,
    overtaken: OnOvertaken,
    bounds: Bounds,
    /// What readers' names begin with.
    name: String,
    budget: Arc<Budget>,
    full: Arc<Notify>,
    ended: Arc<Notify>,
    report: Report,
    feeds: BTreeMap<u32, Arc<Feed>>,
    together: Option<Running>,
    alone: BTreeMap<u32, Running>,
    /// Readers that are deleted meanwhile: nobody waits for that.
    deletions: JoinSet<()>,
    made: u64,
    failures: u32,
    /// When to look at the grouping again.
    due: Option<Instant>,
}

/// A reader at work.
struct Running {
    members: BTreeSet<u32>,
    /// One of them has left, and may be back with another feed.
    is_stale: bool,
    stop: Arc<Notify>,
    task: JoinHandle<(Option<ReaderEnd>, Reader)>,
}

impl Hub {
    /// Begins a hub; it ends when the sender of its questions is dropped.
    pub(super) fn spawn(
        source: Source,
        settings: &Settings,
        nonce: u64,
        budget: Arc<Budget>,
        report: Report,
        asks: mpsc::UnboundedReceiver<Ask>,
    ) -> JoinSet<()> {
        let hub = Self {
            overtaken: settings.overtaken,
            bounds: settings.bounds,
            name: format!("parti-{}-{nonce:016x}", settings.group),
            source,
            budget,
            full: Arc::default(),
            ended: Arc::default(),
            report,
            feeds: BTreeMap::new(),
            together: None,
            alone: BTreeMap::new(),
            deletions: JoinSet::new(),
            made: 0,
            failures: 0,
            due: None,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(hub.run(asks));
        tasks
    }

    async fn run(mut self, mut asks: mpsc::UnboundedReceiver<Ask>) {
        let (full, ended) = (Arc::clone(&self.full), Arc::clone(&self.ended));
        loop {
            let due = self.due;
            tokio::select! {
                biased;
                ask = asks.recv() => match ask {
                    Some(ask) => self.asked(ask).await,
                    None => break,
                },
                () = full.notified() => self.look_within(LOOK),
                () = ended.notified() => self.look_within(Duration::ZERO),
                () = wait(due) => self.regroup().await,
            }
        }
        self.stop_all().await;
    }

    async fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Attach(feed) => {
                self.feeds.insert(feed.partition, feed);
                self.look_within(GATHER);
            }
            Ask::Detach(partition, done) => {
                self.feeds.remove(&partition);
                // The next feed of the partition is another.
                if let Some(running) = &mut self.together {
                    running.is_stale |= running.members.contains(&partition);
                }
                if let Some(running) = self.alone.remove(&partition) {
                    self.end(running).await;
                }
                self.look_within(GATHER);
                // The lane is gone either way.
                let _ = done.send(());
            }
        }
    }

    fn look_within(&mut self, limit: Duration) {
        let at = Instant::now() + limit;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    async fn stop_all(&mut self) {
        let alone = std::mem::take(&mut self.alone);
        for running in self.together.take().into_iter().chain(alone.into_values()) {
            self.end(running).await;
        }
        while self.deletions.join_next().await.is_some() {}
    }

    /// Makes the readers what they should be.
    async fn regroup(&mut self) {
        self.due = None;
        self.clear_ended().await;
        let wanted = self.grouping();
        if self.is_so(&wanted) {
            self.look_again();
            return;
        }
        // Those that change end first: a feed has one reader.
        let is_other = self
            .together
            .as_ref()
            .is_some_and(|running| !running.is_for(&wanted.together));
        if is_other && let Some(running) = self.together.take() {
            self.end(running).await;
        }
        let gone: Vec<u32> = self.alone.keys().copied().collect();
        for partition in gone.into_iter().filter(|p| !wanted.alone.contains(p)) {
            if let Some(running) = self.alone.remove(&partition) {
                self.end(running).await;
            }
        }
        match self.make(wanted).await {
            Ok(()) => {
                if std::mem::take(&mut self.failures) > 0 {
                    self.feeds.keys().for_each(|p| (self.report)(*p, None));
                }
                self.look_again();
            }
            Err(error) => self.failed(&error),
        }
    }

    fn look_again(&mut self) {
        let is_waiting = self.feeds.values().any(|feed| feed.overflowed());
        if is_waiting || !self.alone.is_empty() {
            self.look_within(LOOK);
        }
    }

    fn failed(&mut self, error: &ConsumeError) {
        self.failures = self.failures.saturating_add(1);
        if let ConsumeError::Condition(condition) = error {
            for partition in self.feeds.keys() {
                (self.report)(*partition, Some(condition));
            }
        }
        tracing::warn!(%error, failures = self.failures, "no reader; it is tried again");
        let pause = LOOK.saturating_mul(1 << self.failures.min(6));
        self.look_within(pause.min(LONGEST));
    }

    /// Ends a reader: its feeds can have another one.
    async fn end(&mut self, running: Running) {
        running.stop.notify_one();
        self.told(running).await;
    }

    /// Waits for a reader that has ended or was told to.
    async fn told(&mut self, mut running: Running) {
        while self.deletions.try_join_next().is_some() {}
        match (&mut running.task).await {
            Ok((end, reader)) => {
                if let Some(end) = end {
                    tracing::info!(%end, "a reader ended; another goes on from where it was");
                }
                self.deletions.spawn(reader.delete());
            }
            Err(error) => tracing::error!(%error, "a reader's task ended"),
        }
    }

    async fn clear_ended(&mut self) {
        if let Some(running) = self.together.take_if(|running| running.task.is_finished()) {
            self.told(running).await;
        }
        let ended = self
            .alone
            .iter()
            .filter(|(_, running)| running.task.is_finished());
        for partition in ended.map(|(partition, _)| *partition).collect::<Vec<_>>() {
            if let Some(running) = self.alone.remove(&partition) {
                self.told(running).await;
            }
        }
    }

    fn grouping(&self) -> Grouping {
        let half = (self.bounds.partition / 2, self.bounds.partition_bytes / 2);
        let views = self.feeds.values().map(|feed| View {
            partition: feed.partition,
            delivered: feed.delivered(),
            overflowed: feed.overflowed(),
            has_room: feed.waiting() <= half.0 && feed.bytes() <= half.1,
            alone: self.alone.contains_key(&feed.partition),
        });
        let front = self.together.as_ref().and_then(|running| {
            let delivered = running.members.iter().filter_map(|partition| {
                let feed = self.feeds.get(partition)?;
                (!feed.overflowed()).then(|| feed.delivered())
            });
            delivered.max()
        });
        group(&views.collect::<Vec<_>>(), front)
    }

    fn is_so(&self, wanted: &Grouping) -> bool {
        let is_so = match &self.together {
            Some(running) => running.is_for(&wanted.together),
            None => wanted.together.is_empty(),
        };
        is_so && self.alone.keys().eq(wanted.alone.iter())
    }

    async fn make(&mut self, wanted: Grouping) -> Result<(), ConsumeError> {
        // Before the stream is looked at: readers that go on may deliver what it does not tell of.
        let delivered = self.feeds.iter();
        let delivered = delivered.map(|(partition, feed)| (*partition, feed.delivered()));
        let delivered: BTreeMap<u32, u64> = delivered.collect();
        // Beside each other: what a reader delivers is looked at only after the check.
        let together = &wanted.together;
        let is_missing = self.together.is_none() && !together.is_empty();
        let first = is_missing.then(|| self.spec(together));
        let first = async {
            match first {
                Some(spec) => Reader::create(self.source.wire(), spec).await.map(Some),
                None => Ok(None),
            }
        };
        let (facts, first) = tokio::join!(self.source.facts(), first);
        // What was created is deleted, or ends by itself.
        let (facts, first) = (facts?, first?);
        self.check(&facts, &delivered);
        let is_there = |partition: &u32| self.feeds.contains_key(partition);
        let together: BTreeSet<u32> = wanted.together.into_iter().filter(is_there).collect();
        let alone: Vec<u32> = wanted.alone.into_iter().filter(is_there).collect();
        if let Some(reader) = first {
            if together.is_empty() {
                self.deletions.spawn(reader.delete());
            } else {
                self.together = Some(self.start(together, reader));
            }
        }
        for partition in alone {
            if !self.alone.contains_key(&partition) {
                let members = BTreeSet::from([partition]);
                let spec = self.spec(&members);
                let reader = Reader::create(self.source.wire(), spec).await?;
                let running = self.start(members, reader);
                self.alone.insert(partition, running);
            }
        }
        Ok(())
    }

    /// Whether positions still mean what they did. A partition for which they do not is stopped.
    fn check(&mut self, facts: &StreamFacts, before: &BTreeMap<u32, u64>) {
        let mut stopped = Vec::new();
        for (partition, feed) in &self.feeds {
            let position = feed.delivered();
            let before = before.get(partition).copied().unwrap_or_default();
            let mut condition = moved(&feed.created, before, facts);
            if condition.is_none() && facts.first > position + 1 {
                let first = facts.first;
                let overtaken = Condition::Overtaken { position, first };
                (self.report)(*partition, Some(&overtaken));
                feed.pass(first - 1);
                condition = (self.overtaken == OnOvertaken::Stop).then_some(overtaken);
            }
            if let Some(condition) = condition {
                feed.stop(condition);
                stopped.push(*partition);
            }
        }
        for partition in stopped {
            self.feeds.remove(&partition);
        }
    }

    /// A reader for these, from the smallest position on.
    fn spec(&mut self, members: &BTreeSet<u32>) -> ReaderSpec {
        let feeds = members
            .iter()
            .filter_map(|partition| self.feeds.get(partition));
        let from = feeds.map(|feed| feed.delivered()).min();
        self.made += 1;
        let layout = self.source.layout();
        // Lists of filters make the server many times slower than all messages do: what is not ours is left
        // out here.
        let filters = match members.first() {
            Some(partition) if members.len() == 1 && layout.partitions() > 1 => {
                vec![layout.wide_filter(*partition)]
            }
            _ => vec![layout.wide()],
        };
        ReaderSpec {
            stream: self.source.name().to_owned(),
            name: format!("{}-{}", self.name, self.made),
            filters,
            from: from.unwrap_or_default() + 1,
        }
    }

    fn start(&self, members: BTreeSet<u32>, reader: Reader) -> Running {
        let feeds = members.iter().filter_map(|partition| {
            let feed = self.feeds.get(partition)?;
            Some((*partition, Arc::clone(feed)))
        });
        let feeds: BTreeMap<u32, Arc<Feed>> = feeds.collect();
        if feeds.len() > 1 {
            feeds.values().for_each(|feed| feed.set_overflowed(false));
        }
        let layout = self.source.layout();
        let (stop, ended) = (Arc::new(Notify::new()), Arc::clone(&self.ended));
        let reading = Reading {
            reader,
            layout,
            feeds,
            budget: Arc::clone(&self.budget),
            bounds: self.bounds,
            stop: Arc::clone(&stop),
            full: Arc::clone(&self.full),
        };
        Running {
            members,
            is_stale: false,
            stop,
            task: tokio::spawn(async move {
                let end = reading.run().await;
                ended.notify_one();
                end
            }),
        }
    }
}

impl Running {
    fn is_for(&self, wanted: &BTreeSet<u32>) -> bool {
        !self.is_stale && self.members == *wanted && !wanted.is_empty()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn wait(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
