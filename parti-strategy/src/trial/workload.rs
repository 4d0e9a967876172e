//! Synthetic groups for measuring and testing a strategy.
//!
//! Workers are `worker-0`, `worker-1`, ...; partition i has the keys `topic-<i/100>`, `p-<i>`. The
//! golden files, the benchmarks and the examples use them; so can your own strategy's. What always
//! holds: the same arguments give the same group, on every machine and in every release.

use std::sync::Arc;

use parti_core::{Partition, PartitionTable, WorkerId, WorkerInfo, WorkerTable};

/// How heavy the partitions of a workload are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Each 100.
    Equal,
    /// Uniform in 1..=200, from SplitMix64 with state 42.
    Uniform,
    /// A few giants: the r-th heaviest has `max(1, 10^6 / r)`, shuffled.
    Zipf,
}

impl Weights {
    /// A short name for tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Uniform => "u200",
            Self::Zipf => "zipf",
        }
    }

    /// The weights of `count` partitions in list order.
    #[must_use]
    pub fn list(self, count: u32) -> Vec<u64> {
        let mut random = SplitMix64(42);
        match self {
            Self::Equal => vec![100; count as usize],
            Self::Uniform => (0..count).map(|_| 1 + random.next() % 200).collect(),
            Self::Zipf => {
                let mut list: Vec<u64> = (1..=u64::from(count))
                    .map(|rank| (1_000_000 / rank).max(1))
                    .collect();
                for last in (1..list.len()).rev() {
                    let other = random.next() % (last as u64 + 1);
                    list.swap(last, other as usize);
                }
                list
            }
        }
    }
}

/// The published SplitMix64 generator.
#[derive(Clone, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A group of workers and a list of partitions.
#[derive(Clone, Debug)]
pub struct Workload {
    list: Vec<Partition>,
    partitions: Arc<PartitionTable>,
    workers: Arc<WorkerTable>,
}

impl Workload {
    /// `workers` workers of capacity 1 and `partitions` partitions.
    ///
    /// # Panics
    /// Never in practice: the names are valid and distinct, and the weights fit.
    #[must_use]
    pub fn new(workers: u32, partitions: u32, weights: Weights) -> Self {
        let weights = weights.list(partitions);
        let list: Vec<_> = (0..partitions)
            .zip(weights)
            .map(|(i, weight)| {
                let keys = [format!("topic-{}", i / 100), format!("p-{i}")];
                Partition::new(keys)
                    .expect("short, non-empty parts")
                    .with_weight(weight)
            })
            .collect();
        let table = PartitionTable::new(list.clone()).expect("distinct partitions");
        Self {
            list,
            partitions: Arc::new(table),
            workers: worker_table(0..workers),
        }
    }

    /// The partitions in the order of their numbers.
    #[must_use]
    pub fn list(&self) -> &[Partition] {
        &self.list
    }

    /// The partitions in canonical order.
    #[must_use]
    pub fn partitions(&self) -> Arc<PartitionTable> {
        Arc::clone(&self.partitions)
    }

    /// The workers.
    #[must_use]
    pub fn workers(&self) -> Arc<WorkerTable> {
        Arc::clone(&self.workers)
    }

    /// The rank of each partition, in the order of their numbers.
    #[must_use]
    pub fn ranks(&self) -> Vec<u32> {
        let rank = |partition: &Partition| self.partitions.rank_of(&partition.key);
        self.list.iter().filter_map(rank).collect()
    }
}

/// The table of the workers with these numbers, each of capacity 1.
///
/// # Panics
/// When a number occurs twice.
#[must_use]
pub fn worker_table(numbers: impl IntoIterator<Item = u32>) -> Arc<WorkerTable> {
    let info =
        |number| WorkerInfo::new(WorkerId::numbered("worker", number).expect("a short name"));
    let workers = numbers.into_iter().map(info).collect();
    Arc::new(WorkerTable::new(workers).expect("distinct numbers"))
}
