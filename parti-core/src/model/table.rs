//! The partition list in canonical order: ascending by XXH3-64 of the keys, then by the keys.
//!
//! A partition's rank is its position. The order is a function of the set alone, so that workers
//! with the same list agree on ranks, and hash-ordered so that ring placement is a linear merge.

mod align;
mod order;

use alloc::vec::Vec;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128, xxh3_128_with_seed};

use crate::model::partition::{Partition, PartitionError, PartitionKey};

pub use align::{NO_OWNER, NO_RANK, align, carry_over};

/// The shared list of partitions, each once, in canonical order.
#[derive(Clone, Debug, Default)]
pub struct PartitionTable {
    partitions: Vec<Partition>,
    hashes: Vec<u64>,
    weights: Vec<u64>,
    weight_range: Option<(u64, u64)>,
    total_weight: u64,
    digest: u128,
    weights_digest: u128,
}

impl PartitionTable {
    /// Builds the table from a list in any order. A weight of 0 counts as
    /// [`Partition::DEFAULT_WEIGHT`].
    ///
    /// # Errors
    /// [`PartitionError`] for duplicates, an overflowing sum of weights, or too many partitions.
    pub fn new(list: Vec<Partition>) -> Result<Self, PartitionError> {
        if list.len() >= u32::MAX as usize {
            return Err(PartitionError::TooMany { len: list.len() });
        }
        let (mut hashes, mut digest) = (Vec::with_capacity(list.len()), 0_u128);
        for partition in &list {
            hashes.push(hash_key(&partition.key));
            digest = digest.wrapping_add(digest_of_key(&partition.key));
        }
        let order = order::canonical(&hashes, &list);
        let is_twice = |pair: &&[(u64, u32)]| {
            let key = |entry: (u64, u32)| &list[entry.1 as usize].key;
            pair[0].0 == pair[1].0 && key(pair[0]) == key(pair[1])
        };
        if let Some(pair) = order.windows(2).find(is_twice) {
            let key = list[pair[0].1 as usize].key.clone();
            return Err(PartitionError::Duplicate { key });
        }
        let mut table = Self::with_capacity(list.len());
        table.digest = digest;
        let mut list: Vec<Option<Partition>> = list.into_iter().map(Some).collect();
        for (hash, position) in order {
            // Each position occurs once, so each partition is there to be taken.
            let Some(mut partition) = list[position as usize].take() else {
                continue;
            };
            if partition.weight == 0 {
                partition.weight = Partition::DEFAULT_WEIGHT;
            }
            let total = table.total_weight.checked_add(partition.weight);
            table.total_weight = total.ok_or_else(|| PartitionError::WeightOverflow {
                key: partition.key.clone(),
            })?;
            table.push(hash, partition);
        }
        Ok(table)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self {
            partitions: Vec::with_capacity(capacity),
            hashes: Vec::with_capacity(capacity),
            weights: Vec::with_capacity(capacity),
            ..Self::default()
        }
    }

    /// Appends the next partition in canonical order; the sum of weights and the digest of the keys
    /// are the caller's.
    fn push(&mut self, hash: u64, partition: Partition) {
        let (least, most) = self.weight_range.unwrap_or((partition.weight, 0));
        self.weight_range = Some((least.min(partition.weight), most.max(partition.weight)));
        let weight = xxh3_128_with_seed(&partition.weight.to_le_bytes(), hash);
        self.weights_digest = self.weights_digest.wrapping_add(weight);
        self.hashes.push(hash);
        self.weights.push(partition.weight);
        self.partitions.push(partition);
    }

    /// The table of some of the partitions, by ascending rank: they keep their order. Ranks that do
    /// not exist or do not ascend are left out.
    #[must_use]
    pub fn subset(&self, ranks: &[u32]) -> Self {
        let mut table = Self::with_capacity(ranks.len());
        let mut least = 0;
        for &rank in ranks {
            let Some(partition) = self.partitions.get(rank as usize).filter(|_| rank >= least)
            else {
                continue;
            };
            least = rank + 1;
            table.total_weight += partition.weight;
            table.digest = table.digest.wrapping_add(digest_of_key(&partition.key));
            table.push(self.hashes[rank as usize], partition.clone());
        }
        table
    }

    /// How many partitions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// All partitions by rank. No weight is zero.
    #[must_use]
    pub fn as_slice(&self) -> &[Partition] {
        &self.partitions
    }

    /// The XXH3-64 hash of each partition's keys by rank, ascending.
    #[must_use]
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The weight of each partition by rank; none is zero.
    #[must_use]
    pub fn weights(&self) -> &[u64] {
        &self.weights
    }

    /// The weight of every partition when all are equally heavy; 1 when there are none.
    #[must_use]
    pub fn uniform_weight(&self) -> Option<u64> {
        match self.weight_range {
            None => Some(Partition::DEFAULT_WEIGHT),
            Some((least, most)) => (least == most).then_some(most),
        }
    }

    /// The weight of the heaviest partition; 0 when there are none.
    #[must_use]
    pub fn max_weight(&self) -> u64 {
        self.weight_range.map_or(0, |(_, most)| most)
    }

    /// The sum of all weights.
    #[must_use]
    pub const fn total_weight(&self) -> u64 {
        self.total_weight
    }

    /// A digest of the keys: two tables with the same one have the same ranks.
    #[must_use]
    pub const fn digest(&self) -> u128 {
        self.digest
    }

    /// A digest of the weights by partition.
    #[must_use]
    pub const fn weights_digest(&self) -> u128 {
        self.weights_digest
    }

    /// The rank of a key.
    #[must_use]
    pub fn rank_of(&self, key: &PartitionKey) -> Option<u32> {
        let hash = hash_key(key);
        let first = self.hashes.partition_point(|&h| h < hash);
        // A hash is an ordering aid, never an identity: equality is decided on keys.
        (first..self.hashes.len())
            .take_while(|&rank| self.hashes[rank] == hash)
            .find(|&rank| self.partitions[rank].key == *key)
            .and_then(|rank| u32::try_from(rank).ok())
    }
}

impl PartialEq for PartitionTable {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.weights_digest == other.weights_digest
            && self.partitions == other.partitions
    }
}

impl Eq for PartitionTable {}

/// The seed-chained XXH3-64 of a key's parts: each part is hashed with the hash so far as its seed.
///
/// This is the hash of the Go library of the same name, so that placements agree with it.
#[must_use]
pub fn hash_key(key: &PartitionKey) -> u64 {
    let (mut rest, mut hash) = (key.encoded().as_bytes(), None);
    while let Some((part, tail)) = split_part(rest) {
        hash = Some(match hash {
            None => xxh3_64(part),
            Some(seed) => xxh3_64_with_seed(part, seed),
        });
        rest = tail;
    }
    hash.unwrap_or(0)
}

/// Splits `3:abc...` into `abc` and what follows, without looking at the text as characters.
fn split_part(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut len = 0;
    for (index, &byte) in text.iter().enumerate() {
        if byte == b':' {
            return text[index + 1..].split_at_checked(len);
        }
        len = len * 10 + usize::from(byte.wrapping_sub(b'0'));
    }
    None
}

/// The share of one key in the digest of a list. Shares are added up, so that the digest is that of
/// the set and can be computed in any order.
fn digest_of_key(key: &PartitionKey) -> u128 {
    xxh3_128(key.encoded().as_bytes())
}

#[cfg(test)]
mod tests;
