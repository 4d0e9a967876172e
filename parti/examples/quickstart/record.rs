//! What really happened: who owned what when, judged by the guards themselves.
//!
//! What always holds: an overlap is counted when an ownership begins while the guard of an earlier
//! one still says that it is valid, which is the moment in which two workers could act at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use parti::events::{ManagerNotice, Notice, Subscription};
use parti::{Guard, PartitionKey, WorkerId};

/// The history of one run.
pub(crate) struct Record {
    begun: Instant,
    partitions: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The present or last owner of each partition that was ever owned.
    owners: BTreeMap<PartitionKey, Ownership>,
    generations: u64,
    overlaps: u64,
    unowned_max: Duration,
    /// The same since it was last asked for.
    gap: Duration,
}

struct Ownership {
    worker: String,
    guard: Guard,
    ended: Option<Instant>,
}

/// The run in numbers.
pub(crate) struct Summary {
    pub(crate) generations: u64,
    pub(crate) overlaps: u64,
    /// The longest time a partition had no owner once it had had one.
    pub(crate) unowned_max: Duration,
}

impl Record {
    pub(crate) fn new(partitions: u32) -> Self {
        Self {
            begun: Instant::now(),
            partitions: partitions as usize,
            inner: Mutex::default(),
        }
    }

    /// Tells the reader something, with the time since the beginning.
    pub(crate) fn say(&self, text: &str) {
        if text.is_empty() {
            println!();
        } else {
            println!("{:6.2} s  {text}", self.begun.elapsed().as_secs_f64());
        }
    }

    pub(crate) fn assigned(&self, worker: &str, guard: Guard) {
        let mut inner = self.inner();
        let (key, now) = (guard.partition().clone(), Instant::now());
        let ownership = Ownership {
            worker: worker.to_owned(),
            guard,
            ended: None,
        };
        if let Some(last) = inner.owners.insert(key, ownership) {
            let gap = last.ended.map(|ended| now.saturating_duration_since(ended));
            inner.overlaps += u64::from(last.guard.is_valid());
            let gap = gap.unwrap_or_default();
            inner.unowned_max = inner.unowned_max.max(gap);
            inner.gap = inner.gap.max(gap);
        }
    }

    /// The longest time a partition had no owner since the last call.
    pub(crate) fn take_gap(&self) -> Duration {
        std::mem::take(&mut self.inner().gap)
    }

    pub(crate) fn revoked(&self, worker: &str, partition: &PartitionKey) {
        let mut inner = self.inner();
        let owner = inner.owners.get_mut(partition);
        if let Some(owner) = owner.filter(|owner| owner.worker == worker) {
            owner.ended = Some(Instant::now());
        }
    }

    pub(crate) fn crashed(&self, worker: &WorkerId) {
        let now = Instant::now();
        for owner in self.inner().owners.values_mut() {
            if owner.worker == worker.as_str() {
                owner.ended.get_or_insert(now);
            }
        }
    }

    /// How many partitions nobody owns.
    pub(crate) fn unowned(&self) -> usize {
        self.partitions - self.owners().values().sum::<usize>()
    }

    /// How many partitions each worker owns.
    pub(crate) fn owners(&self) -> BTreeMap<String, usize> {
        let mut owners = BTreeMap::new();
        for owner in self.inner().owners.values() {
            if owner.ended.is_none() {
                *owners.entry(owner.worker.clone()).or_default() += 1;
            }
        }
        owners
    }

    pub(crate) fn summary(&self) -> Summary {
        let inner = self.inner();
        Summary {
            generations: inner.generations,
            overlaps: inner.overlaps,
            unowned_max: inner.unowned_max,
        }
    }

    /// One character for each partition: the number of its owner, or a dot.
    fn map(&self) -> String {
        let inner = self.inner();
        let digit = |owner: &Ownership| match owner.ended {
            None => owner.worker.chars().last().unwrap_or('?'),
            Some(_) => '.',
        };
        let known: String = inner.owners.values().map(digit).collect();
        format!("{known:.<width$}", width = self.partitions)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows who owns what whenever it has changed.
pub(crate) async fn show_owners(record: Arc<Record>) {
    let mut shown = String::new();
    loop {
        let map = record.map();
        if map != shown {
            record.say(&format!("owners [{map}]"));
            shown = map;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Counts the generations that one worker commits as a leader.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is for the log")]
pub(crate) async fn count_generations(mut notices: Subscription, record: Arc<Record>) {
    while let Some(notice) = notices.next().await {
        match &*notice {
            ManagerNotice::Core(Notice::Committed { .. }) => record.inner().generations += 1,
            ManagerNotice::Core(Notice::LeadershipGained { term }) => {
                record.say(&format!("a worker leads, term {term}"));
            }
            _ => {}
        }
    }
}
