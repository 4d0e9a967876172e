//! A partition list as records: cut into pieces that fit one value each, and put together again.
//!
//! It is separate from the sources that keep a list in the bucket because it knows how large a record gets.
//! What always holds: pieces of different changes are never put together, and a list that comes
//! back is the whole list that was cut.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::model::id::Nonce;
use crate::model::partition::{Partition, PartitionKey};
use crate::records::record::SourcePart;

/// How many earlier changes the first piece names.
pub const EARLIER_MAX: usize = 16;

/// The most bytes of a piece besides its partitions: format, kind, numbers, and changes of up to
/// 17 bytes each.
const OVERHEAD: usize = 64 + 17 * (EARLIER_MAX + 1);
/// The most bytes of a partition besides its key: a length and a weight.
const PER_PARTITION: usize = 3 + 9;

/// Why a list cannot be cut into pieces, or pieces cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PieceError {
    /// A value of the store is too small for the record of this one partition.
    TooSmall {
        /// The partition.
        key: PartitionKey,
        /// How many bytes its record may take.
        needed: usize,
        /// How many bytes a value may have.
        max_value: usize,
    },
    /// The first piece is another one.
    NotFirst {
        /// Its number.
        index: u32,
    },
    /// A piece is not there, or not yet.
    Missing {
        /// Its number.
        index: u32,
    },
    /// A piece was written by another change than the first: the list was changed while it was
    /// read.
    Mixed {
        /// Its number.
        index: u32,
    },
}

impl fmt::Display for PieceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall {
                key,
                needed,
                max_value,
            } => write!(
                f,
                "partition {key} may take {needed} bytes, a value of the store at most {max_value}"
            ),
            Self::NotFirst { index } => write!(f, "piece {index} stands where the first belongs"),
            Self::Missing { index } => write!(f, "piece {index} of the list is missing"),
            Self::Mixed { index } => write!(f, "piece {index} is of another change of the list"),
        }
    }
}

impl core::error::Error for PieceError {}

/// Cuts a list into pieces whose records have at most `max_value` bytes, at least one piece.
///
/// # Errors
/// [`PieceError::TooSmall`] when a partition alone does not fit.
pub fn pieces(
    list: &[Partition],
    change: Nonce,
    earlier: &[Nonce],
    max_value: usize,
) -> Result<Vec<SourcePart>, PieceError> {
    let mut cut = alloc::vec![Vec::new()];
    let mut used = OVERHEAD;
    for partition in list {
        let needed = partition.key.encoded().len() + PER_PARTITION;
        if OVERHEAD + needed > max_value {
            return Err(PieceError::TooSmall {
                key: partition.key.clone(),
                needed: OVERHEAD + needed,
                max_value,
            });
        }
        if used + needed > max_value {
            cut.push(Vec::new());
            used = OVERHEAD;
        }
        used += needed;
        if let Some(piece) = cut.last_mut() {
            piece.push(partition.clone());
        }
    }
    let parts = u32::try_from(cut.len()).unwrap_or(u32::MAX);
    let earlier: Vec<Nonce> = earlier.iter().copied().take(EARLIER_MAX).collect();
    let cut = (0..).zip(cut).map(|(index, partitions)| SourcePart {
        change,
        earlier: if index == 0 {
            earlier.clone()
        } else {
            Vec::new()
        },
        index,
        parts,
        partitions,
    });
    Ok(cut.collect())
}

/// The list of a first piece and further ones, in any order; superfluous ones are left out.
///
/// # Errors
/// [`PieceError`] when they are not all there or not of one change. Read again then.
pub fn joined(first: SourcePart, rest: Vec<SourcePart>) -> Result<Vec<Partition>, PieceError> {
    if first.index != 0 {
        return Err(PieceError::NotFirst { index: first.index });
    }
    let mut rest: BTreeMap<u32, SourcePart> =
        rest.into_iter().map(|part| (part.index, part)).collect();
    let mut list = first.partitions;
    for index in 1..first.parts {
        let part = rest.remove(&index).ok_or(PieceError::Missing { index })?;
        if part.change != first.change {
            return Err(PieceError::Mixed { index });
        }
        list.extend(part.partitions);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;
    use crate::records::record::Record;
    use crate::records::wire;

    fn list(count: u32, name: usize) -> Vec<Partition> {
        let name: String = core::iter::repeat_n('x', name).collect();
        let partition =
            |n: u32| Partition::new([format!("{name}{n}")]).map(|p| p.with_weight(u64::MAX));
        (0..count).map(|n| partition(n).expect("valid")).collect()
    }

    /// A record one byte over the limit is refused by the store for ever.
    #[test]
    fn pieces_fit_the_limit_and_come_together_again() {
        let earlier = [Nonce::new(u128::MAX); EARLIER_MAX + 3];
        for (count, name, max_value) in [
            (0, 0, 1000),
            (1, 1000, 2000),
            (999, 30, 1000),
            (50, 1000, 1500),
        ] {
            let whole = list(count, name);
            let cut = pieces(&whole, Nonce::new(u128::MAX), &earlier, max_value).expect("fits");
            for part in &cut {
                let bytes = wire::encode(&Record::Source(part.clone())).len();
                assert!(bytes <= max_value, "{bytes} of {max_value}");
            }
            let mut cut = cut.into_iter();
            let first = cut.next().expect("at least one");
            assert_eq!(joined(first, cut.rev().collect()), Ok(whole));
        }
    }

    /// A list put together from two changes has partitions that never were in one list.
    #[test]
    fn pieces_of_two_changes_or_too_few_are_refused() {
        let cut = |change| pieces(&list(100, 20), Nonce::new(change), &[], 1000).expect("fits");
        let (old, new) = (cut(1), cut(2));
        assert!(new.len() > 2);
        let mixed: Vec<_> = new[1..2].iter().chain(&old[2..]).cloned().collect();
        assert_eq!(
            joined(new[0].clone(), mixed),
            Err(PieceError::Mixed { index: 2 })
        );
        let few = new[2..].to_vec();
        assert_eq!(
            joined(new[0].clone(), few),
            Err(PieceError::Missing { index: 1 })
        );
        let error = joined(new[1].clone(), Vec::new());
        assert_eq!(error, Err(PieceError::NotFirst { index: 1 }));
    }

    /// A partition that fits nowhere must be named before anything is written.
    #[test]
    fn a_partition_larger_than_a_value_is_named() {
        let error = pieces(&list(1, 900), Nonce::new(1), &[], 900).expect_err("too small");
        assert!(matches!(error, PieceError::TooSmall { .. }), "{error}");
        assert!(format!("{error}").contains("xxx"), "{error}");
    }
}
