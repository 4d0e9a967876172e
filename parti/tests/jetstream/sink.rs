//! A sink that refuses older owners and what it has already, as a database with a fencing column would.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parti::jetstream::{PartitionMessage, Partitioned, PartitionedBuilder};

#[derive(Clone, Debug, Default)]
pub(crate) struct Sink(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// Token and sequence, by partition.
    partitions: BTreeMap<u32, (u64, u64)>,
    /// The committed numbers, by key.
    keys: BTreeMap<String, Vec<u64>>,
    fenced: usize,
    repeats: usize,
    unannounced: usize,
}

impl Sink {
    pub(crate) fn take(&self, message: &PartitionMessage) {
        let mut table = self.table();
        let (token, sequence) = (message.token().get(), message.sequence());
        let place = table.partitions.entry(message.partition()).or_default();
        if token < place.0 {
            table.fenced += 1;
            return;
        }
        let is_repeat = sequence <= place.1;
        *place = (token, sequence.max(place.1));
        if is_repeat {
            table.repeats += 1;
            table.unannounced += usize::from(!message.may_repeat());
            return;
        }
        let key = message.subject().rsplit('.').next().unwrap_or_default();
        let number = std::str::from_utf8(message.payload()).expect("text");
        let numbers = table.keys.entry(key.to_owned()).or_default();
        numbers.push(number.parse().expect("a number"));
    }

    /// How many were committed.
    pub(crate) fn count(&self) -> usize {
        self.table().keys.values().map(Vec::len).sum()
    }

    /// How many calls of older owners were refused.
    pub(crate) fn fenced(&self) -> usize {
        self.table().fenced
    }

    /// Every key's numbers are there once and in order; how many calls repeated something.
    pub(crate) fn check(&self, keys: usize, numbers: u64) -> usize {
        let table = self.table();
        assert_eq!(table.keys.len(), keys);
        for (key, found) in &table.keys {
            let all: Vec<u64> = (0..numbers).collect();
            assert_eq!(*found, all, "{key}");
        }
        assert_eq!(table.unannounced, 0, "repeats say that they are");
        table.repeats
    }

    /// The numbers that are missing, by key.
    pub(crate) fn gaps(&self, numbers: u64) -> Vec<(String, Vec<u64>)> {
        let table = self.table();
        let gaps = table.keys.iter().map(|(key, found)| {
            let missing = (0..numbers).filter(|number| !found.contains(number));
            (key.clone(), missing.collect())
        });
        gaps.collect()
    }

    /// Every key's numbers rise; how many are missing.
    pub(crate) fn missing(&self, keys: usize, numbers: u64) -> u64 {
        let table = self.table();
        for (key, found) in &table.keys {
            assert!(
                found.is_sorted_by(|one, next| one < next),
                "{key}: {found:?}"
            );
        }
        let found: usize = table.keys.values().map(Vec::len).sum();
        keys as u64 * numbers - found as u64
    }

    /// A consumption that writes into it.
    pub(crate) async fn fill(&self, builder: PartitionedBuilder) -> Partitioned {
        let sink = self.clone();
        let orders = builder.on_message(move |message| {
            sink.take(&message);
            std::future::ready(Ok(()))
        });
        let built = orders.build().await;
        built.unwrap_or_else(|error| panic!("{error}"))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
