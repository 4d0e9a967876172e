//! Aligning two partition lists: which rank of one is which rank of the other.
//!
//! Both tables are in canonical order, so a merge does it without looking anything up. What always
//! holds: equality is decided on keys, a hash only says where to look.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::model::table::PartitionTable;

/// The owner index that means "nobody".
pub const NO_OWNER: u32 = u32::MAX;

/// The rank that means "not in the other table".
pub const NO_RANK: u32 = u32::MAX;

/// The rank in `old` of each partition of `new`, or [`NO_RANK`].
///
/// ```
/// use parti_core::{NO_RANK, Partition, PartitionTable, align};
/// let old = PartitionTable::new(vec![Partition::new(["a"])?, Partition::new(["b"])?])?;
/// let new = PartitionTable::new(vec![Partition::new(["b"])?, Partition::new(["c"])?])?;
/// let ranks = align(&old, &new);
/// for (partition, rank) in new.as_slice().iter().zip(ranks) {
///     assert_eq!(old.rank_of(&partition.key).unwrap_or(NO_RANK), rank);
/// }
/// # Ok::<(), parti_core::PartitionError>(())
/// ```
#[must_use]
pub fn align(old: &PartitionTable, new: &PartitionTable) -> Vec<u32> {
    if old.digest() == new.digest() {
        return (0..new.len() as u32).collect();
    }
    let (old_hashes, old_list) = (old.hashes(), old.as_slice());
    let mut at = 0;
    let rank_in_old = |(&hash, partition): (&u64, &crate::model::partition::Partition)| {
        while at < old_hashes.len() {
            let order = old_hashes[at]
                .cmp(&hash)
                .then_with(|| old_list[at].key.cmp(&partition.key));
            match order {
                Ordering::Less => at += 1,
                Ordering::Equal => return at as u32,
                Ordering::Greater => break,
            }
        }
        NO_RANK
    };
    new.hashes()
        .iter()
        .zip(new.as_slice())
        .map(rank_in_old)
        .collect()
}

/// Owners by rank of `old`, carried over to the ranks of `new`: partitions that are new there have
/// [`NO_OWNER`], those that vanished are dropped. `owners` shorter than `old` counts as nobody.
#[must_use]
pub fn carry_over(old: &PartitionTable, new: &PartitionTable, owners: &[u32]) -> Vec<u32> {
    let owner_of = |rank: u32| owners.get(rank as usize).copied().unwrap_or(NO_OWNER);
    align(old, new).into_iter().map(owner_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    use crate::model::partition::Partition;

    fn table(numbers: &[u32]) -> PartitionTable {
        let partition = |n: &u32| Partition::new([format!("p-{n}")]).expect("valid key");
        PartitionTable::new(numbers.iter().map(partition).collect()).expect("distinct")
    }

    /// Owners carried to the wrong partition would be moves that nobody asked for.
    #[test]
    fn every_rank_finds_its_own_key_or_nothing() {
        let lists: [&[u32]; 6] = [
            &[],
            &[1],
            &[1, 2, 3],
            &[2, 3, 4],
            &[9, 8, 7, 6, 5],
            &[1, 2, 3, 4, 5, 6, 7, 8, 9],
        ];
        for (old, new) in lists
            .iter()
            .flat_map(|a| lists.iter().map(move |b| (table(a), table(b))))
        {
            let ranks = align(&old, &new);
            assert_eq!(ranks.len(), new.len());
            for (partition, rank) in new.as_slice().iter().zip(ranks) {
                assert_eq!(old.rank_of(&partition.key).unwrap_or(NO_RANK), rank);
            }
        }
    }

    /// New partitions have no owner to be kept, and a short list of owners must not panic.
    #[test]
    fn owners_follow_their_partitions() {
        let (old, new) = (table(&[1, 2, 3]), table(&[3, 4]));
        let owners: Vec<u32> = (0..3).collect();
        let carried = carry_over(&old, &new, &owners);
        for (partition, owner) in new.as_slice().iter().zip(carried) {
            assert_eq!(owner, old.rank_of(&partition.key).unwrap_or(NO_OWNER));
        }
        assert_eq!(carry_over(&old, &old, &[]), vec![NO_OWNER; 3]);
    }
}
