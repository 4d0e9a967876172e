//! The promises of a watch as a table of deliveries and what comes of them.

use super::*;

fn entry(revision: u64, value: Option<&[u8]>) -> Entry {
    Entry {
        key: "k".to_owned(),
        revision: Revision::new(revision),
        value: value.map(<[u8]>::to_vec),
    }
}

fn put(revision: u64) -> Entry {
    entry(revision, Some(b"v"))
}

fn caught_up(revision: u64) -> Option<WatchEvent> {
    let revision = Revision::new(revision);
    Some(WatchEvent::CaughtUp { revision })
}

/// Without its end an empty bucket would leave a new worker waiting for ever.
#[test]
fn an_empty_scope_is_caught_up_at_once_when_the_consumer_sees_everything() {
    let mut progress = Progress::new(Revision::new(9), true);
    assert_eq!(progress.on_consumer(0), caught_up(9));
    assert_eq!(progress.on_consumer(0), None, "only once");
    assert_eq!(progress.on_heartbeat(0, Revision::new(9)), Ok(None));
}

/// A replica that lags must not make the watch claim what it has not seen.
#[test]
fn an_empty_scope_of_a_replica_waits_for_its_heartbeat() {
    let mut progress = Progress::new(Revision::new(9), false);
    assert_eq!(progress.on_consumer(0), None);
    assert_eq!(progress.on_heartbeat(0, Revision::new(7)), Ok(caught_up(7)));
    assert_eq!(
        progress.on_entry(put(8), 1, 0),
        Ok([Some(WatchEvent::Entry(put(8))), None])
    );
}

/// A leader that decides before it has seen all sessions would take living ones for absent.
#[test]
fn the_end_of_the_present_entries_comes_once_and_after_the_last() {
    let mut progress = Progress::new(Revision::new(5), true);
    assert_eq!(progress.on_consumer(2), None);
    let first = progress.on_entry(put(3), 1, 1);
    assert_eq!(first, Ok([Some(WatchEvent::Entry(put(3))), None]));
    let last = progress.on_entry(put(5), 2, 0);
    assert_eq!(last, Ok([Some(WatchEvent::Entry(put(5))), caught_up(5)]));
    let change = progress.on_entry(entry(6, None), 3, 0);
    assert_eq!(change, Ok([Some(WatchEvent::Entry(entry(6, None))), None]));
}

/// Steady writes keep some message pending for ever; the end must come all the same.
#[test]
fn the_horizon_ends_the_present_entries_under_steady_writes() {
    let mut progress = Progress::new(Revision::new(5), false);
    assert_eq!(progress.on_consumer(4), None);
    let events = progress.on_entry(put(7), 1, 3);
    assert_eq!(events, Ok([Some(WatchEvent::Entry(put(7))), caught_up(7)]));
}

/// A tombstone of the past is not present, but a deletion during the snapshot is a change of an
/// entry that may have been delivered.
#[test]
fn old_tombstones_are_not_present_and_new_ones_are_delivered() {
    let mut progress = Progress::new(Revision::new(5), true);
    assert_eq!(progress.on_consumer(2), None);
    assert_eq!(progress.on_entry(entry(4, None), 1, 1), Ok([None, None]));
    let events = progress.on_entry(entry(6, None), 2, 0);
    assert_eq!(
        events,
        Ok([Some(WatchEvent::Entry(entry(6, None))), caught_up(6)])
    );
}

/// A lost message that goes unnoticed is a worker that never learns its assignment.
#[test]
fn a_skipped_number_is_a_gap_and_the_watch_goes_on_after_the_last_delivered() {
    let mut progress = Progress::new(Revision::new(5), true);
    assert_eq!(progress.on_consumer(9), None);
    assert!(progress.on_entry(put(3), 1, 9).is_ok());
    let gap = Gap {
        expected: 2,
        found: 3,
    };
    assert_eq!(progress.on_entry(put(9), 3, 1), Err(gap));
    assert_eq!(progress.resume_at(), Revision::new(4));
    assert_eq!(progress.on_consumer(1), None);
    let events = progress.on_entry(put(9), 1, 0);
    assert_eq!(events, Ok([Some(WatchEvent::Entry(put(9))), caught_up(9)]));
    let missed = Gap {
        expected: 1,
        found: 2,
    };
    assert_eq!(progress.on_heartbeat(2, Revision::new(10)), Err(missed));
    assert_eq!(progress.resume_at(), Revision::new(10));
}

/// A consumer that repeats must not send the watch back in time.
#[test]
fn revisions_only_rise() {
    let mut progress = Progress::new(Revision::new(5), true);
    assert_eq!(progress.on_consumer(1), None);
    assert!(progress.on_entry(put(5), 1, 0).is_ok());
    assert_eq!(progress.on_entry(put(5), 2, 0), Ok([None, None]));
    assert_eq!(progress.resume_at(), Revision::new(6));
}
