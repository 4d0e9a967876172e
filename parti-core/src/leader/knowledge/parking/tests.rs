//! What is parked: bounded however much it is, and counted on from leader to leader.

use super::*;
use crate::model::id::{Version, WriteId};
use crate::model::partition::Partition;
use crate::ports::strategy::ParkReason;
use crate::records::record::ParkedRecord;
use alloc::format;
use alloc::vec;

fn keys(count: usize, length: usize) -> Vec<PartitionKey> {
    let name: String = core::iter::repeat_n('x', length).collect();
    let key = |n| PartitionKey::new([format!("{name}{n}")]).expect("valid");
    (0..count).map(key).collect()
}

fn group(need: u64, since_ms: u64, partitions: Vec<PartitionKey>) -> ParkedGroup {
    ParkedGroup {
        reason: ParkReason::AwaitsPreferred,
        need,
        needs: "a worker".into(),
        since_ms,
        again_after: Some(Duration::from_secs(60)),
        count: partitions.len() as u32,
        partitions,
    }
}

const SEEN: Instant = Instant::from_millis(10_000);

fn parking(groups: Vec<ParkedGroup>) -> Parking {
    let mut parking = Parking::default();
    parking.set(SEEN, groups);
    parking
}

/// A pool of thousands without a worker must not make the record too large to be stored, which would
/// stop repair for everybody in another way.
#[test]
fn a_record_fits_however_much_is_parked() {
    for (groups, count, length, max_value) in [
        (1, 20_000, 40, 1 << 20),
        (1, 20_000, 40, 1 << 16),
        (64, 100, 1_000, 1 << 16),
        (64, 10, 10, 1 << 14),
        (2, 3, 3, 1 << 20),
    ] {
        let list = |need| ParkedGroup {
            needs: core::iter::repeat_n('\u{e4}', 5_000).collect(),
            ..group(need, u64::MAX, keys(count, length))
        };
        let mut all: Vec<_> = (0..groups).map(list).collect();
        let sum = ParkedRecord::sum(&all);
        let was_cut = cut(&mut all, max_value);
        assert_eq!(was_cut, all.iter().any(|g| g.partitions.len() < count));
        assert_eq!(ParkedRecord::sum(&all), sum, "what is not named is counted");
        let write = WriteId {
            nonce: Nonce::new(u128::MAX),
            seq: u64::MAX,
        };
        let record = Record::Parked(ParkedRecord {
            write,
            version: Version::new(u64::MAX),
            groups: all,
        });
        let bytes = crate::records::wire::encode(&record).len();
        assert!(bytes <= max_value / 2 + 100, "{bytes} of {max_value}");
    }
}

/// The grace began again with every leader, so that a group whose leaders change often never spilled
/// over. A wall clock that is behind must not make it longer than what a leader saw itself.
#[test]
fn waiting_is_counted_by_the_stored_time_and_at_least_by_what_was_seen() {
    let parking = parking(vec![group(7, 500_000, keys(1, 1))]);
    let after = |ms: u64, wall_ms: u64| {
        let now = SEEN + Duration::from_millis(ms);
        let waited = parking.waited(now, wall_ms)[&7].as_millis();
        let due = parking
            .due(now, wall_ms)
            .map(|due| due.since(SEEN).as_millis());
        (waited, due)
    };
    assert_eq!(after(0, 500_000), (0, Some(60_000)));
    assert_eq!(
        after(0, 545_000),
        (45_000, Some(15_000)),
        "an earlier leader waited"
    );
    assert_eq!(
        after(20_000, 400_000),
        (20_000, Some(60_000)),
        "the clock is behind"
    );
    assert_eq!(after(1_000, 900_000), (400_000, Some(1_000)), "it is over");
}

/// A partition that joins a group that waits, or a plan that parks again, must not restart the count.
#[test]
fn the_count_goes_on_while_the_need_is_the_same() {
    let list = ["a", "b"].map(|name| Partition::new([name]).expect("valid"));
    let table = PartitionTable::new(list.to_vec()).expect("distinct");
    let unmet = |need, unplaced: &[u32]| Unmet {
        reason: ParkReason::NoEligibleWorker,
        need,
        needs: "more".into(),
        unplaced: unplaced.to_vec(),
        again_after: None,
    };
    let parking = parking(vec![group(7, 500, keys(1, 1))]);
    let after = parking.after(&[unmet(7, &[0, 1]), unmet(8, &[])], &table, 900);
    let counts: Vec<_> = after
        .iter()
        .map(|g| (g.need, g.since_ms, g.count))
        .collect();
    assert_eq!(counts, [(7, 500, 2), (8, 900, 0)]);
    assert_eq!(
        ParkedRecord::sum(&after),
        Parked {
            count: 2,
            since_ms: 500
        }
    );
    // A clock that is behind that of the leader before.
    assert_eq!(
        parking.after(&[unmet(7, &[0])], &table, 300)[0].since_ms,
        300
    );
}

/// A record that says something else than `head` says that somebody else wrote, or removed it.
#[test]
fn a_record_that_is_not_what_head_says_is_written_again() {
    let parking = parking(vec![group(7, 500, keys(3, 1))]);
    let said = |count, since_ms| Parked { count, since_ms };
    assert!(!parking.is_spoiled(said(3, 500)));
    for other in [said(2, 500), said(3, 501), Parked::default()] {
        assert!(parking.is_spoiled(other), "{other:?}");
    }
}
