//! Who is late, by what its session says.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::Confirmations;
use crate::config::Config;
use crate::leader::knowledge::view::{SessionView, View};
use crate::model::id::{Epoch, Nonce, Revision, Version, WorkerId, WriteId};
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;
use crate::ports::store::Expect;
use crate::records::record::{AssignmentRecord, Readiness, Revoking, SessionRecord, SessionStatus};

fn worker() -> WorkerId {
    WorkerId::new("w").expect("valid")
}

fn key(name: &str) -> PartitionKey {
    PartitionKey::new([name]).expect("valid")
}

/// A view in which the worker was told `version`, with revocations since some versions, and says
/// that it has applied some version and still drains some partitions.
fn view(version: u64, revoking: &[(&str, u64)], applied: u64, draining: &[&str]) -> View {
    let write = WriteId {
        nonce: Nonce::new(1),
        seq: 1,
    };
    let mut view = View::default();
    let revoking = revoking.iter().map(|&(name, since)| Revoking {
        partition: key(name),
        since: Version::new(since),
        parked: None,
    });
    let record = AssignmentRecord {
        write,
        version: Version::new(version),
        epoch: Epoch::new(10),
        session: crate::model::id::Nonce::new(0),
        granted: vec![],
        revoking: revoking.collect(),
        preparing: Vec::new(),
    };
    view.records.insert(worker(), record);
    let session = SessionRecord {
        write,
        epoch: Epoch::new(10),
        status: SessionStatus::Active,
        applied: Version::new(applied),
        known: Version::ZERO,
        age: core::time::Duration::ZERO,
        reads: crate::records::wire::FORMATS,
        draining: draining.iter().map(|name| key(name)).collect(),
        capacity: 1,
        labels: Default::default(),
        heartbeat_interval: core::time::Duration::from_secs(2),
        lease: core::time::Duration::from_secs(6),
        software: String::new(),
        endpoint: None,
        settings: crate::records::agreement::GroupSettings::default(),
        honours: crate::config::Mode::Exclusive,
        rejections: alloc::vec::Vec::new(),
        predecessors: Vec::new(),
        bulletin: None,
        readiness: Readiness::default(),
    };
    let session = SessionView {
        revision: Revision::new(11),
        since: Instant::ORIGIN,
        began: Instant::ORIGIN,
        heard: Instant::ORIGIN,
        said: Instant::ORIGIN,
        record: Some(session),
        unread: None,
        expect: Expect::Any,
        ends: BTreeMap::new(),
    };
    view.sessions.insert(worker(), session);
    view
}

fn at(secs: u64) -> Instant {
    Instant::from_millis(secs * 1_000)
}

/// Whether the worker is late just before and exactly at a second, with `apply_timeout` 12 s and
/// `handoff_timeout` 11 s.
fn late(confirmations: &Confirmations, view: &View, secs: u64) -> (bool, bool) {
    let config = Config::builder("g").build().expect("coherent");
    let before = Instant::from_millis(secs * 1_000 - 1);
    let is = |now| !confirmations.late(&config, now, view).is_empty();
    if is(at(secs)) && !is(before) {
        assert_eq!(confirmations.next(&config, before), Some(at(secs)));
    }
    (is(before), is(at(secs)))
}

/// A worker that never takes in what it is told escaped as long as new records kept coming.
#[test]
fn a_further_record_does_not_restart_the_clock() {
    let mut confirmations = Confirmations::default();
    for second in 0..12 {
        confirmations.expect(at(second), &worker(), Version::new(100 + second));
        confirmations.note(at(second), &view(100 + second, &[], 99, &[]));
    }
    let view = view(111, &[], 99, &[]);
    assert_eq!(late(&confirmations, &view, 12), (false, true));
}

/// A worker that lags in a busy group but gets on is slow, not stuck.
#[test]
fn progress_restarts_the_clock() {
    let mut confirmations = Confirmations::default();
    confirmations.expect(at(0), &worker(), Version::new(100));
    confirmations.expect(at(5), &worker(), Version::new(105));
    let behind = view(105, &[], 100, &[]);
    confirmations.note(at(6), &behind);
    assert_eq!(late(&confirmations, &behind, 12), (false, false));
    assert_eq!(late(&confirmations, &behind, 17), (false, true));
    confirmations.note(at(7), &view(105, &[], 105, &[]));
    assert_eq!(late(&confirmations, &behind, 17), (false, false));
}

/// Giving up takes longer than taking in: draining has its own clock, from the acknowledgement on,
/// and further records do not restart it.
#[test]
fn draining_has_its_own_patience_and_further_records_do_not_extend_it() {
    let mut confirmations = Confirmations::default();
    confirmations.expect(at(0), &worker(), Version::new(100));
    let drains = view(100, &[("a", 100), ("b", 100)], 100, &["a", "b"]);
    confirmations.note(at(4), &drains);
    confirmations.expect(at(10), &worker(), Version::new(110));
    let further = view(110, &[("a", 100), ("c", 110)], 110, &["a", "c"]);
    confirmations.note(at(11), &further);
    assert_eq!(late(&confirmations, &further, 15), (false, true));
    let done = view(110, &[("c", 110)], 110, &["c"]);
    confirmations.note(at(14), &done);
    assert_eq!(late(&confirmations, &done, 15), (false, false));
    assert_eq!(late(&confirmations, &done, 25), (false, true));
}

/// A session that has ended owes nothing.
#[test]
fn a_new_incarnation_is_not_late_for_the_old_one() {
    let mut confirmations = Confirmations::default();
    confirmations.expect(at(0), &worker(), Version::new(100));
    let mut view = view(100, &[], 99, &[]);
    let session = view.sessions.get_mut(&worker()).expect("there is one");
    session.record.as_mut().expect("readable").epoch = Epoch::new(20);
    assert_eq!(late(&confirmations, &view, 12), (false, false));
    confirmations.note(at(1), &view);
    assert!(confirmations.awaited.is_empty());
}

/// A wake-up for a moment that is over would make the core spin, and who is gone is not waited for.
#[test]
fn nothing_is_waited_for_that_is_over_or_gone() {
    let config = Config::builder("g").build().expect("coherent");
    let mut confirmations = Confirmations::default();
    confirmations.expect(at(0), &worker(), Version::new(100));
    let behind = view(100, &[], 99, &[]);
    assert_eq!(confirmations.next(&config, at(11)), Some(at(12)));
    assert_eq!(confirmations.next(&config, at(12)), None);
    assert_eq!(late(&confirmations, &behind, 12), (false, true));
    confirmations.forget(&worker());
    assert_eq!(late(&confirmations, &behind, 12), (false, false));
    assert_eq!(confirmations.next(&config, at(11)), None);
}
