//! The promises of a watch as a table of deliveries and what comes of them.

use super::*;

fn entry(key: &str, revision: u64, value: Option<&[u8]>) -> Entry {
    Entry {
        at_ms: 0,
        key: key.to_owned(),
        revision: Revision::new(revision),
        value: value.map(<[u8]>::to_vec),
    }
}

fn put(key: &str, revision: u64) -> Entry {
    entry(key, revision, Some(b"v"))
}

fn event(entry: Entry) -> Option<WatchEvent> {
    Some(WatchEvent::Entry(entry))
}

fn caught_up(revision: u64) -> Option<WatchEvent> {
    let revision = Revision::new(revision);
    Some(WatchEvent::CaughtUp { revision })
}

fn progress(horizon: u64, complete: bool, expected: &[&str]) -> Progress {
    let expected = expected.iter().map(|key| (*key).to_owned()).collect();
    Progress::new(Revision::new(horizon), complete, expected)
}

/// Without its end an empty bucket would leave a new worker waiting for ever.
#[test]
fn an_empty_scope_is_caught_up_at_once_and_only_once() {
    for complete in [true, false] {
        let mut progress = progress(9, complete, &[]);
        assert_eq!(progress.on_consumer(), caught_up(9));
        assert_eq!(progress.on_consumer(), None);
        assert_eq!(progress.on_heartbeat(0, Revision::new(9)), Ok(None));
        assert_eq!(progress.resume_at(), Begin::At(Revision::new(10)));
    }
}

/// A leader that decides before it has seen all sessions would take living ones for absent.
#[test]
fn the_end_of_the_present_entries_comes_once_and_after_the_last() {
    let mut progress = progress(5, true, &["a", "b"]);
    assert_eq!(progress.on_consumer(), None);
    assert_eq!(
        progress.on_entry(put("a", 3), 1),
        Ok([event(put("a", 3)), None])
    );
    let last = progress.on_entry(put("b", 4), 2);
    assert_eq!(last, Ok([event(put("b", 4)), caught_up(5)]));
    let change = progress.on_entry(entry("a", 6, None), 3);
    assert_eq!(change, Ok([event(entry("a", 6, None)), None]));
}

/// A replica that lags must not make the watch claim what it has not seen.
#[test]
fn a_replica_claims_no_more_than_it_delivered() {
    let mut progress = progress(9, false, &["a"]);
    assert_eq!(progress.on_consumer(), None);
    let events = progress.on_entry(put("a", 3), 1);
    assert_eq!(events, Ok([event(put("a", 3)), caught_up(3)]));
}

/// A present entry that is rewritten during the snapshot moves behind newer ones; a worker whose
/// session is missing at the end would look dead.
#[test]
fn an_entry_that_moved_to_the_back_comes_before_the_end() {
    let mut progress = progress(5, true, &["a", "b"]);
    assert_eq!(progress.on_consumer(), None);
    assert_eq!(
        progress.on_entry(put("a", 7), 1),
        Ok([event(put("a", 7)), None])
    );
    assert_eq!(
        progress.on_entry(put("new", 8), 2),
        Ok([event(put("new", 8)), None])
    );
    assert_eq!(
        progress.on_entry(put("b", 9), 3),
        Ok([event(put("b", 9)), caught_up(9)])
    );
}

/// A key that was removed without a trace never comes; the end must come all the same.
#[test]
fn a_heartbeat_ends_the_present_entries() {
    let mut progress = progress(5, true, &["a", "removed"]);
    assert_eq!(progress.on_consumer(), None);
    assert!(progress.on_entry(put("a", 4), 1).is_ok());
    assert_eq!(progress.on_heartbeat(1, Revision::new(4)), Ok(caught_up(5)));
}

/// A tombstone of the past is not present, but the deletion of an entry that was delivered is a
/// change; without it a released session would be seen for ever.
#[test]
fn only_deletions_of_delivered_entries_come_before_the_end() {
    let mut progress = progress(5, true, &["a", "b", "c"]);
    assert_eq!(progress.on_consumer(), None);
    assert_eq!(progress.on_entry(entry("a", 2, None), 1), Ok([None, None]));
    assert_eq!(
        progress.on_entry(put("b", 3), 2),
        Ok([event(put("b", 3)), None])
    );
    let deletion = entry("b", 4, None);
    assert_eq!(
        progress.on_entry(deletion.clone(), 3),
        Ok([event(deletion), None])
    );
    assert_eq!(
        progress.on_entry(entry("c", 6, None), 4),
        Ok([None, caught_up(6)])
    );
}

/// A lost message that goes unnoticed is a worker that never learns its assignment.
#[test]
fn a_skipped_number_is_a_gap_and_the_watch_goes_on_after_the_last_delivered() {
    let mut progress = progress(5, true, &["a", "b"]);
    assert_eq!(progress.on_consumer(), None);
    assert!(progress.on_entry(put("a", 3), 1).is_ok());
    let gap = Gap {
        expected: 2,
        found: 3,
    };
    assert_eq!(progress.on_entry(put("b", 9), 3), Err(gap));
    assert_eq!(progress.resume_at(), Begin::At(Revision::new(4)));
    assert_eq!(progress.on_consumer(), None);
    assert_eq!(
        progress.on_entry(put("b", 9), 1),
        Ok([event(put("b", 9)), caught_up(9)])
    );
    let missed = Gap {
        expected: 1,
        found: 2,
    };
    assert_eq!(progress.on_heartbeat(2, Revision::new(10)), Err(missed));
    assert_eq!(progress.resume_at(), Begin::At(Revision::new(10)));
}

/// A consumer that repeats must not send the watch back in time.
#[test]
fn revisions_only_rise() {
    let mut progress = progress(5, true, &["a"]);
    assert_eq!(progress.on_consumer(), None);
    assert!(progress.on_entry(put("a", 5), 1).is_ok());
    assert_eq!(progress.on_entry(put("a", 5), 2), Ok([None, None]));
    assert_eq!(progress.resume_at(), Begin::At(Revision::new(6)));
}

/// A watch that begins with a list would show it again, or go blind, when its consumer is made again.
#[test]
fn what_was_listed_is_not_shown_again_and_the_watch_goes_on_behind_it() {
    let mut progress = Progress::after(Revision::new(7));
    assert_eq!(progress.on_consumer(), None);
    assert_eq!(progress.resume_at(), Begin::At(Revision::new(8)));
    assert_eq!(progress.on_entry(put("a", 7), 1), Ok([None, None]));
    let change = progress.on_entry(put("a", 8), 2);
    assert_eq!(change, Ok([event(put("a", 8)), None]));
    assert_eq!(progress.resume_at(), Begin::At(Revision::new(9)));
}
