//! How a group differs from its basis: every fate of one worker, a line each.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::Difference;
use crate::config::Config;
use crate::leader::knowledge::view::{SessionView, View};
use crate::model::id::{Epoch, Nonce, Revision, Version, WorkerId, WriteId};
use crate::model::time::Instant;
use crate::ports::store::Expect;
use crate::records::record::{Readiness, SessionRecord, SessionStatus};

/// The difference for `w`, planned for with epoch 10, whose session says this since 1 s; at `now`.
fn find(session: Option<(u64, SessionStatus)>, planned: bool, now: u64) -> String {
    let config = Config::builder("g").build().expect("coherent");
    let worker = WorkerId::new("w").expect("valid");
    let mut view = View::default();
    if let Some((epoch, status)) = session {
        let record = SessionRecord {
            write: WriteId {
                nonce: Nonce::new(1),
                seq: 1,
            },
            epoch: Epoch::new(epoch),
            status,
            applied: Version::ZERO,
            known: Version::ZERO,
            age: Duration::ZERO,
            reads: crate::records::wire::FORMATS,
            draining: Vec::new(),
            capacity: 1,
            labels: BTreeMap::new(),
            heartbeat_interval: Duration::from_secs(2),
            lease: Duration::from_secs(6),
            software: String::new(),
            endpoint: None,
            settings: crate::records::agreement::GroupSettings::default(),
            honours: crate::config::Mode::Exclusive,
            rejections: Vec::new(),
            predecessors: Vec::new(),
            bulletin: None,
            readiness: Readiness::default(),
        };
        let session = SessionView {
            revision: Revision::new(epoch + 5),
            since: Instant::from_millis(1_000),
            began: Instant::ORIGIN,
            heard: Instant::from_millis(1_000),
            said: Instant::from_millis(1_000),
            record: Some(record),
            unread: None,
            expect: Expect::Any,
            ends: BTreeMap::new(),
        };
        view.sessions.insert(worker.clone(), session);
    }
    let basis = planned.then(|| (worker, Epoch::new(10)));
    let basis = basis.into_iter().collect();
    let found = Difference::find(
        &config,
        Instant::from_millis(now),
        &view,
        &basis,
        &BTreeSet::new(),
    );
    let lists = [
        ("cut off", found.cut_off.len()),
        ("left", found.left.len()),
        ("replaced", found.replaced.len()),
        ("joined", found.joined.len()),
    ];
    let named = lists.iter().filter(|(_, len)| *len > 0);
    let named: Vec<&str> = named.map(|(name, _)| *name).collect();
    match found.next_end {
        Some(at) => format!("{} until {}", named.join(","), at.as_nanos() / 1_000_000),
        None => named.join(","),
    }
}

/// Each worker must be in exactly one list, or a change is overlooked or answered twice.
#[test]
fn every_fate_of_a_worker_is_one_kind_of_change() {
    let (active, draining) = (SessionStatus::Active, SessionStatus::Draining);
    let released = |secs| SessionStatus::Released {
        hold: Duration::from_secs(secs),
    };
    let evicted = |silent| SessionStatus::Evicted { silent };
    assert_eq!(find(Some((10, active)), true, 2_000), "");
    assert_eq!(find(Some((10, draining)), true, 2_000), "left");
    assert_eq!(find(Some((10, released(0))), true, 2_000), "left");
    assert_eq!(find(Some((10, released(9))), true, 2_000), " until 10000");
    assert_eq!(find(Some((10, released(9))), true, 10_000), "left");
    assert_eq!(find(Some((10, evicted(true))), true, 2_000), "cut off");
    assert_eq!(find(Some((10, evicted(false))), true, 2_000), "cut off");
    assert_eq!(find(Some((20, active)), true, 2_000), "replaced");
    assert_eq!(find(Some((20, draining)), true, 2_000), "left");
    // Older than what was planned for, or absent: no evidence of anything.
    assert_eq!(find(Some((5, evicted(true))), true, 2_000), "");
    assert_eq!(find(None, true, 2_000), "");
    assert_eq!(find(Some((10, active)), false, 2_000), "joined");
    assert_eq!(find(Some((10, draining)), false, 2_000), "");
}
