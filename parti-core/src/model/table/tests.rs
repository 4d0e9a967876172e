//! The order of a list, what is refused of one, and what it says of itself.

use super::*;
use alloc::vec;

fn partition(parts: &[&str]) -> Partition {
    Partition::new(parts).expect("valid key")
}

/// Placement must agree with deployed Go groups and between releases.
#[test]
fn hashes_are_the_golden_ones() {
    let cases: [(&[&str], u64); 4] = [
        (&["topic-0", "p-0"], 0x999f_5acb_8067_ba25),
        (&["topic-12", "p-1234"], 0x13f3_85c3_e353_2efc),
        (&["a"], 0xe6c6_32b6_1e96_4e1f),
        (
            &[
                "some-very-long-partition-key-name",
                "with",
                "three",
                "levels",
            ],
            0x0099_342d_762d_0ed6,
        ),
    ];
    for (parts, hash) in cases {
        assert_eq!(hash_key(&partition(parts).key), hash, "{parts:?}");
    }
}

/// A plan must not depend on the order in which a source happens to list.
#[test]
fn ranks_depend_on_the_set_and_not_on_its_order() {
    let list: Vec<_> = (0..50)
        .map(|i| partition(&["t", &alloc::format!("p-{i}")]))
        .collect();
    let mut reversed = list.clone();
    reversed.reverse();
    let (one, other) = (
        PartitionTable::new(list).expect("ok"),
        PartitionTable::new(reversed).expect("ok"),
    );
    assert_eq!(one, other);
    for (rank, partition) in one.as_slice().iter().enumerate() {
        assert_eq!(one.rank_of(&partition.key), u32::try_from(rank).ok());
    }
    assert_eq!(one.rank_of(&partition(&["t", "p-50"]).key), None);
}

/// Zones are planned on parts of the list, whose ranks must not be shuffled by that.
#[test]
fn a_subset_is_the_table_of_its_partitions() {
    let list: Vec<_> = (0..40)
        .map(|i| partition(&["t", &alloc::format!("p-{i}")]).with_weight(1 + i))
        .collect();
    let whole = PartitionTable::new(list).expect("ok");
    let ranks: Vec<u32> = (0..40).filter(|rank| rank % 3 != 1).collect();
    let some = ranks
        .iter()
        .map(|&rank| whole.as_slice()[rank as usize].clone())
        .collect();
    let expected = PartitionTable::new(some).expect("ok");
    assert_eq!(whole.subset(&ranks), expected);
    assert_eq!(whole.subset(&ranks).digest(), expected.digest());
    assert_eq!(whole.subset(&ranks).total_weight(), expected.total_weight());
    assert_eq!(whole.subset(&[3, 3, 1, 99]).len(), 1);
    assert_ne!(whole.digest(), expected.digest());
}

/// A list that cannot be used is refused whole, with the offender.
#[test]
fn duplicates_and_overflowing_weights_are_refused_by_name() {
    let twice = vec![partition(&["a"]), partition(&["b"]), partition(&["a"])];
    let error = PartitionTable::new(twice).expect_err("duplicate");
    assert_eq!(
        error,
        PartitionError::Duplicate {
            key: partition(&["a"]).key
        }
    );
    let heavy = vec![partition(&["a"]).with_weight(u64::MAX), partition(&["b"])];
    let error = PartitionTable::new(heavy).expect_err("overflow");
    assert!(matches!(error, PartitionError::WeightOverflow { .. }));
}

/// Strategies plan on these numbers; one that is off plans for another list.
#[test]
fn a_table_says_how_heavy_its_partitions_are() {
    let of = |weights: &[u64]| {
        let list = weights.iter().enumerate();
        let list = list.map(|(i, &w)| partition(&[&alloc::format!("p-{i}")]).with_weight(w));
        PartitionTable::new(list.collect()).expect("ok")
    };
    let mixed = of(&[5, 0, 9]);
    assert_eq!(
        (mixed.len(), mixed.total_weight(), mixed.max_weight()),
        (3, 15, 9)
    );
    assert_eq!(mixed.uniform_weight(), None);
    for (rank, partition) in mixed.as_slice().iter().enumerate() {
        assert_eq!(mixed.weights()[rank], partition.weight, "0 counts as 1");
        assert_eq!(mixed.hashes()[rank], hash_key(&partition.key));
    }
    assert!(mixed.hashes().is_sorted());
    let even = of(&[4, 4]);
    assert_eq!((even.uniform_weight(), even.max_weight()), (Some(4), 4));
    let empty = of(&[]);
    assert!(empty.is_empty() && !even.is_empty());
    let nothing = (
        empty.uniform_weight(),
        empty.max_weight(),
        empty.total_weight(),
    );
    assert_eq!(nothing, (Some(1), 0, 0));
    assert_eq!((empty.digest(), empty.weights_digest()), (0, 0));
}

/// A leader compares digests, not lists: two lists that differ must not look the same.
#[test]
fn digests_tell_keys_and_weights_apart_and_do_not_depend_on_the_order() {
    let of = |list: &[(&str, u64)]| {
        let list = list
            .iter()
            .map(|(name, weight)| partition(&[name]).with_weight(*weight));
        PartitionTable::new(list.collect()).expect("ok")
    };
    let base = of(&[("a", 1), ("b", 2)]);
    let turned = of(&[("b", 2), ("a", 1)]);
    assert_eq!(
        (base.digest(), base.weights_digest()),
        (turned.digest(), turned.weights_digest())
    );
    let swapped = of(&[("a", 2), ("b", 1)]);
    assert_eq!(base.digest(), swapped.digest(), "the same keys");
    assert_ne!(
        base.weights_digest(),
        swapped.weights_digest(),
        "the same sum, other weights"
    );
    assert_ne!(base, swapped);
    let renamed = of(&[("a", 1), ("c", 2)]);
    assert_ne!(base.digest(), renamed.digest());
    assert_ne!(base, renamed);
    let less = of(&[("a", 1)]);
    assert_ne!(base.digest(), less.digest());
    // Part boundaries are part of the name.
    assert_ne!(
        hash_key(&partition(&["ab", "c"]).key),
        hash_key(&partition(&["a", "bc"]).key)
    );
    let long = "x".repeat(123);
    assert_eq!(hash_key(&partition(&[&long]).key), xxh3_64(long.as_bytes()));
}
