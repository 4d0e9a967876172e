//! What proves that a history was lost, and what does not.

use super::*;
use crate::io::event::OpOwner;
use crate::ports::store::Write;
use alloc::vec;

const LEASE: Duration = Duration::from_secs(6);
const INTERVAL: Duration = Duration::from_secs(2);

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn op(seq: u64) -> OpId {
    let owner = OpOwner::Reconcile;
    OpId { owner, seq }
}

fn info(created: u64, last: u64) -> Result<StoreReply, StoreError> {
    Ok(StoreReply::Info(StoreInfo {
        created,
        age: Duration::MAX,
        last_revision: Revision::new(last),
        version: String::new(),
        max_batch: 1,
        max_value: 1,
        faults: alloc::vec::Vec::new(),
    }))
}

fn list(entries: &[(&str, u64)], upto: u64) -> Result<StoreReply, StoreError> {
    let entries = entries.iter().map(|&(key, revision)| Entry {
        at_ms: 0,
        key: key.into(),
        revision: Revision::new(revision),
        value: Some(Vec::new()),
    });
    Ok(StoreReply::Entries {
        entries: entries.collect(),
        last_revision: Revision::new(upto),
    })
}

fn committed(revision: u64) -> Result<StoreReply, StoreError> {
    let revisions = vec![Revision::new(revision)];
    Ok(StoreReply::Committed { revisions })
}

fn commit() -> StoreOp {
    StoreOp::Commit {
        writes: Vec::<Write>::new(),
    }
}

/// A history known up to revision 100, created at 7.
fn known() -> Continuity {
    let mut continuity = Continuity::default();
    continuity.on_request(op(1), &StoreOp::Info);
    let loss = continuity.on_reply(at(0), LEASE, op(1), &info(7, 100));
    assert_eq!(loss, None);
    continuity
}

/// A look whose questions are answered like this.
fn look(
    continuity: &mut Continuity,
    seq: u64,
    facts: Result<StoreReply, StoreError>,
    key: Option<(KnownKey, Result<StoreReply, StoreError>)>,
) -> Option<HistoryLoss> {
    let mut ops = vec![(op(seq), None)];
    ops.extend(
        key.iter()
            .map(|(known, _)| (op(seq + 1), Some(known.clone()))),
    );
    continuity.looking(at(seq * 1_000), ops);
    let mut loss = continuity.on_reply(at(seq * 1_000), LEASE, op(seq), &facts);
    if let Some((_, answer)) = key {
        loss = loss.or(continuity.on_reply(at(seq * 1_000), LEASE, op(seq + 1), &answer));
    }
    loss
}

/// A write that is acknowledged at a revision seen before is of another history, whatever else is old.
#[test]
fn a_write_at_a_revision_that_was_passed_proves_a_rollback() {
    for (revision, lost) in [(101, false), (100, true), (3, true)] {
        let mut continuity = known();
        continuity.on_request(op(2), &commit());
        let loss = continuity.on_reply(at(0), LEASE, op(2), &committed(revision));
        assert_eq!(loss.is_some(), lost, "{revision}");
    }
    // What is seen while the write is on its way may well be later.
    let mut continuity = known();
    continuity.on_request(op(2), &commit());
    continuity.on_watch(
        WatchId(1),
        &WatchEvent::CaughtUp {
            revision: Revision::new(200),
        },
    );
    assert_eq!(
        continuity.on_reply(at(0), LEASE, op(2), &committed(150)),
        None
    );
}

/// Copies lag by a minute; a group that begins again for each such read would never come to rest.
#[test]
fn an_old_read_is_no_rollback() {
    let mut continuity = known();
    for seq in 2..50 {
        continuity.on_request(
            op(seq),
            &StoreOp::List {
                prefix: String::new(),
            },
        );
        let old = list(&[("w.a", 1)], 5);
        assert_eq!(continuity.on_reply(at(seq), LEASE, op(seq), &old), None);
        let old = Ok(StoreReply::Entry(None));
        assert_eq!(continuity.on_reply(at(seq), LEASE, op(seq), &old), None);
    }
    let key_of = |own| KnownKey {
        key: "w.a".into(),
        revision: Revision::new(90),
        own,
    };
    // A list that does not reach the revision says nothing about it, however often it is read.
    for seq in [100, 110, 120] {
        let old = (key_of(true), list(&[], 89));
        assert_eq!(look(&mut continuity, seq, info(7, 100), Some(old)), None);
    }
    // One that does, twice in a row, does.
    type Case = (bool, &'static [(&'static str, u64)], bool);
    let cases: [Case; 5] = [
        (true, &[("w.a", 90)], false),
        (true, &[("w.a", 95), ("w.ab", 1)], false),
        (true, &[("w.a", 89)], true),
        (true, &[], true),
        (false, &[], false),
    ];
    for (own, entries, lost) in cases {
        let mut continuity = known();
        let gone = (key_of(own), list(entries, 100));
        assert_eq!(
            look(&mut continuity, 10, info(7, 100), Some(gone.clone())),
            None
        );
        let second = look(&mut continuity, 20, info(7, 100), Some(gone));
        assert_eq!(second.is_some(), lost, "{own} {entries:?}");
    }
}

/// A store that changes hands may answer once from behind; twice in a row it has lost something.
#[test]
fn facts_count_when_they_are_repeated_and_another_creation_time_at_once() {
    let mut continuity = known();
    assert_eq!(look(&mut continuity, 10, info(7, 99), None), None);
    assert!(continuity.look_at().is_some(), "it is asked again soon");
    assert_eq!(look(&mut continuity, 20, info(7, 100), None), None);
    assert_eq!(look(&mut continuity, 30, info(7, 99), None), None);
    let before = Revision::new(100);
    let found = Revision::new(99);
    let expected = HistoryLoss::RolledBack { before, found };
    assert_eq!(look(&mut continuity, 40, info(7, 99), None), Some(expected));

    let (before, found) = (7, 8);
    let expected = HistoryLoss::Recreated { before, found };
    assert_eq!(look(&mut known(), 10, info(8, 100), None), Some(expected));

    let missing = || Err(StoreError::new(StoreErrorKind::Missing, ""));
    let mut continuity = known();
    assert_eq!(look(&mut continuity, 10, missing(), None), None);
    let second = look(&mut continuity, 20, missing(), None);
    assert_eq!(second, Some(HistoryLoss::Missing));
    // An outage in between proves nothing and forgets nothing.
    let mut continuity = known();
    let down = Err(StoreError::new(StoreErrorKind::Unavailable, ""));
    assert_eq!(look(&mut continuity, 10, missing(), None), None);
    assert_eq!(look(&mut continuity, 20, down, None), None);
    assert!(continuity.look_at().is_some());
    assert!(look(&mut continuity, 30, missing(), None).is_some());
}

/// What is still on its way from the history before must not end the next one.
#[test]
fn answers_of_an_earlier_history_count_no_more() {
    let mut continuity = known();
    continuity.learn(Version::new(500));
    continuity.on_request(op(9), &commit());
    continuity.forget(9, 4);
    assert_eq!(
        continuity.on_reply(at(0), LEASE, op(9), &committed(90)),
        None
    );
    continuity.on_watch(
        WatchId(4),
        &WatchEvent::CaughtUp {
            revision: Revision::new(900),
        },
    );
    continuity.on_request(op(10), &commit());
    assert_eq!(
        continuity.on_reply(at(0), LEASE, op(10), &committed(1)),
        None
    );
    assert_eq!(
        continuity.known(),
        Version::new(500),
        "versions must not repeat"
    );
}

/// A bucket that is younger than a lease may have had a predecessor that somebody relies on, unless
/// everybody is there. What is known to be lost counts in any case.
#[test]
fn a_young_bucket_holds_grants_back_until_it_is_a_lease_old() {
    for (age, from) in [(0, 7_000), (2_000, 5_000), (6_000, 1_000), (60_000, 1_000)] {
        let mut continuity = Continuity::default();
        continuity.on_request(op(1), &StoreOp::Info);
        let Ok(StoreReply::Info(facts)) = info(1, 0) else {
            panic!("facts")
        };
        let age = Duration::from_millis(age);
        let young = Ok(StoreReply::Info(StoreInfo { age, ..facts }));
        continuity.on_reply(at(1_000), LEASE, op(1), &young);
        assert_eq!(continuity.grants_from(|| false), at(from), "{age:?}");
        assert_eq!(continuity.grants_from(|| true), at(0), "{age:?}");
        continuity.hold_back(at(9_000));
        assert_eq!(continuity.grants_from(|| true), at(9_000), "{age:?}");
    }
}

/// Every old read asks for a look; a store in trouble must not be asked over and over for it.
#[test]
fn looks_keep_their_distance() {
    let mut continuity = known();
    continuity.suspect(at(10_000), INTERVAL);
    assert_eq!(continuity.look_at(), Some(at(10_000)));
    continuity.looking(at(10_000), vec![(op(5), None)]);
    continuity.suspect(at(10_001), INTERVAL);
    assert_eq!(continuity.look_at(), None, "one is under way");
    continuity.on_reply(at(10_002), LEASE, op(5), &info(7, 100));
    continuity.suspect(at(10_003), INTERVAL);
    assert_eq!(continuity.look_at(), Some(at(10_500)));
}

/// Tokens below one that was handed out are refused by whatever they fence: a lost version has to be
/// noticed, and kept a quarantine for once, not for ever.
#[test]
fn a_version_above_the_found_one_is_missed_until_a_quarantine_was_kept_for_it() {
    let version = Version::new;
    let mut continuity = Continuity::default();
    assert!(!continuity.misses(version(0)));
    continuity.learn(version(7));
    continuity.learn(version(5));
    let misses = [6, 7, 8].map(|found| continuity.misses(version(found)));
    assert_eq!(misses, [true, false, false]);
    continuity.forget(1, 1);
    assert_eq!(
        continuity.known(),
        version(7),
        "what must never be repeated"
    );
    assert!(!continuity.misses(version(0)), "it was quarantined for");
    continuity.learn(version(9));
    assert!(continuity.misses(version(8)));
    // Nothing has been looked at in the new history.
    assert!(!continuity.is_intact_since(Instant::ORIGIN));
}

/// A list that is complete up to the very write that is missing proves its loss; a shorter one nothing.
#[test]
fn a_list_that_ends_where_a_key_was_written_has_to_show_it() {
    let (key, revision, own) = ("w.a".into(), Revision::new(5), true);
    let known = KnownKey { key, revision, own };
    assert_eq!(contradiction(&known, &[], Revision::new(4)), None);
    let lost = contradiction(&known, &[], Revision::new(5));
    assert!(
        matches!(lost, Some(HistoryLoss::Vanished { .. })),
        "{lost:?}"
    );
}
