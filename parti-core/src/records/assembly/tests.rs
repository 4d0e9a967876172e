//! Cutting, putting together, and everything that must not be put together.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use proptest::prelude::*;

use super::layout::Layout;
use super::*;
use crate::model::id::{Epoch, Nonce, Revision, Token, Version, WorkerId, WriteId};
use crate::model::partition::PartitionKey;
use crate::ports::store::StoreInfo;
use crate::records::record::{Record, RecordGrant, Revoking};
use crate::records::wire;

fn info(max_value: usize) -> StoreInfo {
    StoreInfo {
        created: 1,
        age: Duration::MAX,
        last_revision: Revision::ZERO,
        version: String::new(),
        max_batch: 1_000,
        max_value,
        faults: Vec::new(),
    }
}

fn key(number: u32) -> PartitionKey {
    PartitionKey::new([alloc::format!("partition-{number:06}")]).expect("valid")
}

fn grant(number: u32, token: u64) -> RecordGrant {
    RecordGrant {
        partition: key(number),
        token: Token::new(token),
        anchor: number
            .is_multiple_of(7)
            .then(|| WorkerId::numbered("gone", number % 3).expect("valid")),
    }
}

fn record(version: u64, granted: impl Iterator<Item = u32>) -> AssignmentRecord {
    AssignmentRecord {
        write: WriteId {
            nonce: Nonce::new(1),
            seq: version,
        },
        version: Version::new(version),
        epoch: Epoch::new(3),
        session: crate::model::id::Nonce::new(0),
        granted: granted.map(|number| grant(number, 1)).collect(),
        revoking: Vec::new(),
        preparing: Vec::new(),
    }
}

fn laid_out(record: &AssignmentRecord, before: &Assembly, max_value: usize) -> Layout {
    lay_out(record, before, wire::FORMAT, &info(max_value)).expect("fits")
}

/// The same, whatever the order of its partitions.
fn sorted(mut record: AssignmentRecord) -> AssignmentRecord {
    record.granted.sort_by(|a, b| a.partition.cmp(&b.partition));
    record
        .revoking
        .sort_by(|a, b| a.partition.cmp(&b.partition));
    record
}

/// What is small costs what it always did: one value, and nothing of the pieces of before.
#[test]
fn what_fits_one_value_is_one_record() {
    let small = record(5, 0..100);
    let layout = laid_out(&small, &Assembly::default(), 1 << 20);
    assert!(layout.manifest.is_none() && layout.write.is_empty() && layout.after.is_empty());
}

/// A record one byte over the limit is refused by the store for ever.
#[test]
fn every_record_of_a_large_assignment_fits_the_limit_and_they_come_together_in_any_order() {
    for (count, max_value) in [
        (300, 1_000),
        (5_000, 8_000),
        (60_000, 1 << 20),
        (60_000, 64 << 10),
    ] {
        let large = record(5, 0..count);
        let layout = laid_out(&large, &Assembly::default(), max_value);
        let manifest = layout.manifest.clone().expect("it does not fit one value");
        let size = |record| wire::encode(&record).len();
        assert!(size(Record::Manifest(manifest.clone())) <= max_value);
        for (_, piece) in &layout.write {
            assert!(size(Record::Piece(piece.clone())) <= max_value);
        }
        for manifest_at in [0, layout.write.len() / 2, layout.write.len()] {
            let mut seen = Assembly::default();
            for (at, (number, piece)) in layout.write.iter().rev().enumerate() {
                if at == manifest_at {
                    seen.expect(Some(manifest.clone()));
                }
                assert_eq!(seen.whole(), None, "it is not all there");
                seen.take(*number, wire::FORMAT, piece.clone());
            }
            seen.expect(Some(manifest.clone()));
            let whole = seen.whole().expect("all is there");
            assert_eq!(sorted(whole), sorted(large.clone()));
            assert_eq!((seen.missing().count(), seen.leftovers().count()), (0, 0));
        }
    }
}

/// A list put together from two generations grants what never was granted together.
#[test]
fn pieces_of_two_generations_are_no_record() {
    let old = laid_out(&record(5, 0..300), &Assembly::default(), 1_000);
    let mut changed = record(6, 0..300);
    changed.granted[150].token = Token::new(6);
    let new = laid_out(&changed, &old.after, 1_000);
    let [(number, piece)] = new.write.as_slice() else {
        panic!(
            "one changed partition changes one piece: {}",
            new.write.len()
        );
    };
    let mut seen = old.after.clone();
    seen.expect(new.manifest.clone());
    assert_eq!(seen.whole(), None, "one piece is of the generation before");
    assert_eq!(seen.missing().collect::<Vec<_>>(), [*number]);
    assert!(
        seen.unmatched().is_some(),
        "a reader that does not look would take it"
    );
    seen.take(*number, wire::FORMAT, piece.clone());
    assert_eq!(sorted(seen.whole().expect("complete")), sorted(changed));
    // The other way round: the piece came before its manifest.
    let mut seen = old.after.clone();
    seen.take(*number, wire::FORMAT, piece.clone());
    assert_eq!(seen.whole(), None);
    seen.expect(new.manifest);
    assert!(seen.whole().is_some());
    seen.spoil(*number);
    assert_eq!(seen.whole(), None, "something unreadable");
    seen.lose(*number);
    assert_eq!(seen.whole(), None, "nothing");
}

/// Ten thousand partitions written for one that changed would cost more than the change.
#[test]
fn a_small_change_of_a_large_assignment_writes_one_piece_and_moves_nothing() {
    let old = laid_out(&record(5, 0..60_000), &Assembly::default(), 1 << 20);
    assert!(old.write.len() > 10);
    let mut next = record(6, (0..60_000).filter(|&number| number != 30_000));
    next.revoking.push(Revoking {
        partition: key(30_000),
        since: Version::new(6),
        parked: None,
    });
    let new = laid_out(&next, &old.after, 1 << 20);
    assert_eq!(new.write.len(), 1);
    // Its order is not what makes a piece another.
    let mut turned = record(7, 0..60_000);
    turned.granted.reverse();
    assert_eq!(laid_out(&turned, &old.after, 1 << 20).write.len(), 0);
}

/// What nobody deletes is read, and paid for, for ever.
#[test]
fn a_shrunken_assignment_leaves_pieces_over_and_becomes_one_record_again() {
    let old = laid_out(&record(5, 0..300), &Assembly::default(), 1_000);
    let before = old.after.numbers().count();
    let half = laid_out(&record(6, 0..150), &old.after, 1_000);
    let after = half
        .manifest
        .as_ref()
        .expect("still in pieces")
        .pieces
        .len();
    assert!(after < before, "{after} of {before}");
    assert_eq!(half.after.leftovers().count(), before - after);
    // Every twentieth: half-empty pieces are filled up.
    let thin = laid_out(&record(7, (0..300).step_by(6)), &old.after, 1_000);
    assert!(thin.manifest.expect("still in pieces").pieces.len() <= 4);
    let few = laid_out(&record(8, 0..10), &old.after, 1_000);
    assert!(few.manifest.is_none());
    assert_eq!(few.after.leftovers().count(), before);
}

/// A shrunken assignment was to be written again at once, in more pieces than a commit holds: nothing could
/// be changed any more, and leaders resigned in turn.
#[test]
fn half_empty_pieces_are_filled_up_only_if_a_commit_holds_them_all() {
    let pieces = |max_batch| {
        let info = StoreInfo {
            max_batch,
            ..info(1_000)
        };
        let lay = |record: &AssignmentRecord, before: &Assembly| {
            lay_out(record, before, wire::FORMAT, &info).expect("fits")
        };
        let old = lay(&record(5, 0..600), &Assembly::default());
        let thinned = lay(&record(6, (0..600).step_by(5)), &old.after);
        thinned.manifest.expect("in pieces").pieces.len()
    };
    let (all, few) = (pieces(12), pieces(1_000));
    assert!(all > 20 && few < 8, "{all} and {few}");
}

/// What an external writer did to a piece is undone by writing that piece.
#[test]
fn a_doubtful_piece_is_written_again_as_it_was() {
    let large = record(5, 0..300);
    let mut stored = laid_out(&large, &Assembly::default(), 1_000).after;
    assert!(stored.doubt(2));
    assert!(!stored.doubt(99), "the manifest does not name it");
    assert!(stored.whole().is_some(), "what is known stays in force");
    let again = laid_out(&large, &stored, 1_000);
    let numbers: Vec<u32> = again.write.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [2]);
}

/// Nothing is cut that cannot be stored: the offending partition is named.
#[test]
fn what_no_value_holds_is_named() {
    let long = PartitionKey::new(["x".repeat(400)]).expect("valid");
    let mut large = record(5, 0..300);
    large.granted[7].partition = long.clone();
    let refused = |max_value, max_batch| {
        let mut info = info(max_value);
        info.max_batch = max_batch;
        lay_out(&large, &Assembly::default(), wire::FORMAT, &info).expect_err("too large")
    };
    let error = refused(450, 1_000);
    assert!(
        matches!(&error, TooLarge::Partition { key, .. } if *key == long),
        "{error}"
    );
    assert!(matches!(refused(600, 1_000), TooLarge::Pieces { most, .. } if most < 30));
    assert!(matches!(
        refused(1_000, 4),
        TooLarge::Pieces { most: 0, .. }
    ));
}

proptest! {
    /// Whatever happens to an assignment, what is stored is what it says, and fits.
    #[test]
    fn any_sequence_of_changes_is_stored_as_it_is(
        steps in prop::collection::vec((0..200_u32, 0..200_u32, any::<bool>()), 1..12),
    ) {
        let mut stored = Assembly::default();
        for (version, (from, count, takes)) in (1..).zip(steps) {
            let mut next = record(version, from..from + count);
            if takes {
                let taken = (from..from + count / 2).map(|number| Revoking {
                    partition: key(number),
                    since: Version::new(version),
                    parked: None,
                });
                next.revoking = taken.collect();
                next.granted.drain(..next.revoking.len());
            }
            let layout = laid_out(&next, &stored, 1_000);
            for (number, piece) in &layout.write {
                prop_assert!(wire::encode(&Record::Piece(piece.clone())).len() <= 1_000);
                stored.take(*number, wire::FORMAT, piece.clone());
            }
            let leftovers: Vec<u32> = layout.after.leftovers().collect();
            stored.expect(layout.manifest.clone());
            for number in leftovers {
                stored.lose(number);
            }
            if layout.manifest.is_some() {
                prop_assert_eq!(stored.whole().map(sorted), Some(sorted(next)));
            } else {
                prop_assert!(stored.is_empty());
                prop_assert!(wire::encode(&Record::Assignment(next)).len() <= 1_000);
            }
        }
    }
}
