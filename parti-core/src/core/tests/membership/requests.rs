//! Requests of callers: each gets exactly one answer, whatever becomes of the worker that asks.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::secs;
use crate::core::tests::solo::{FOREIGN, Solo, entry, error, head, session, status, written};
use crate::io::event::{Event, RequestId, StopMode};
use crate::io::notice::Notice;
use crate::model::id::Epoch;
use crate::ports::store::{StoreErrorKind, StoreOp};
use crate::records::record::{Record, SessionRecord, SessionStatus};

/// A follower that has caught up, with a foreign leader.
fn follower() -> Solo {
    let mut solo = Solo::member();
    solo.caught_up(1);
    // The second watch is the one that has the leader's session in it.
    for _ in 0..2 {
        solo.show(entry("head", 3, &head("worker-1", 2, 10)));
    }
    solo.caught_up(3);
    solo
}

fn ask(solo: &mut Solo, number: u64) {
    let request = RequestId(number);
    solo.tell(Event::Trigger { request });
}

/// The requests that failed, each with its reason.
fn failed(solo: &Solo) -> Vec<(u64, &str)> {
    let failed = solo.notices.iter().filter_map(|notice| {
        let Notice::RequestFailed { request, reason } = notice else {
            return None;
        };
        Some((request.0, reason.as_str()))
    });
    failed.collect()
}

fn done(solo: &Solo) -> Vec<u64> {
    let done = solo.notices.iter().filter_map(|notice| {
        let Notice::RequestDone { request, .. } = notice else {
            return None;
        };
        Some(request.0)
    });
    done.collect()
}

/// A caller in a loop must not fill the memory of a worker that cannot reach its store.
#[test]
fn only_so_many_requests_wait_and_the_next_is_told_why() {
    let mut solo = follower();
    // The first is being written, a thousand wait.
    for number in 0..=1_000 {
        ask(&mut solo, number);
    }
    assert_eq!(failed(&solo), []);
    ask(&mut solo, 1_001);
    let [(1_001, reason)] = failed(&solo)[..] else {
        panic!("{:?}", failed(&solo))
    };
    assert!(reason.contains("1000 requests are waiting"), "{reason}");
    // The first key stands for the first request only; the next carries all that waited.
    let (op, _) = solo.commit("ctl.trigger.worker-0");
    solo.won(op, 4);
    assert!(
        !solo.has_commit("ctl.trigger.worker-0"),
        "one key at a time"
    );
    remove(&mut solo, 5);
    assert_eq!(done(&solo), [0]);
    let (op, _) = solo.commit("ctl.trigger.worker-0");
    solo.won(op, 6);
    remove(&mut solo, 7);
    assert_eq!(done(&solo).len(), 1_001);
}

fn remove(solo: &mut Solo, revision: u64) {
    let key = String::from("ctl.trigger.worker-0");
    let revision = crate::model::id::Revision::new(revision);
    solo.show(crate::ports::store::Entry {
        at_ms: 0,
        key,
        revision,
        value: None,
    });
}

/// A request that the store will never take must not leave its caller waiting.
#[test]
fn a_rejected_request_fails_with_the_reason_of_the_store() {
    let mut solo = follower();
    ask(&mut solo, 7);
    let (op, _) = solo.commit("ctl.trigger.worker-0");
    solo.answer(op, Err(error(StoreErrorKind::Rejected)));
    let [(7, reason)] = failed(&solo)[..] else {
        panic!("{:?}", failed(&solo))
    };
    assert!(reason.contains("scripted"), "{reason}");
    ask(&mut solo, 8);
    assert!(solo.has_commit("ctl.trigger.worker-0"), "the next is tried");
}

/// A request outlives the session it was asked in: the new one asks it again, under its own name.
#[test]
fn what_was_asked_under_a_lost_session_is_asked_again_under_the_next() {
    let mut solo = follower();
    ask(&mut solo, 7);
    let (op, writes) = solo.commit("ctl.trigger.worker-0");
    solo.won(op, 4);
    ask(&mut solo, 8);
    lose_identity(&mut solo);
    assert_eq!((failed(&solo), done(&solo)), (Vec::new(), Vec::new()));
    let (_, again) = solo.commit("ctl.trigger.worker-1");
    assert_ne!(
        again[0].value, writes[0].value,
        "another session, another write"
    );
}

/// Another session takes the slot, and `worker-1` is claimed instead.
fn lose_identity(solo: &mut Solo) {
    solo.pass(secs(2));
    let (_, writes) = solo.commit("w.worker-0");
    assert_eq!(status(&writes[0]), SessionStatus::Active);
    let write = FOREIGN;
    let rival = Record::Session(SessionRecord {
        write,
        epoch: Epoch::new(9),
        ..session(&writes[0])
    });
    solo.show(entry("w.worker-0", 9, &rival));
    solo.pass(Duration::from_millis(50));
    let info = solo.find(|op| matches!(op, StoreOp::Info));
    assert!(info.is_some(), "it claims again");
    let facts = crate::ports::store::StoreInfo {
        created: 1,
        age: Duration::MAX,
        last_revision: crate::model::id::Revision::new(9),
        version: String::new(),
        max_batch: 1_000,
        max_value: 1 << 20,
        faults: alloc::vec::Vec::new(),
    };
    let (op, _) = info.expect("just seen");
    solo.answer(op, Ok(crate::ports::store::StoreReply::Info(facts)));
    let (list, _) = solo.take(|op| matches!(op, StoreOp::List { prefix } if prefix == "w."));
    solo.listed(list, Vec::from([entry("w.worker-0", 9, &rival)]), 9);
    let (op, writes) = solo.commit("w.worker-1");
    solo.won(op, 10);
    solo.caught_up(10);
    solo.show(written(&writes[0], 10));
}

/// A program that stops its worker must not wait for answers that nobody will give.
#[test]
fn what_is_still_asked_when_the_worker_stops_fails_and_later_requests_too() {
    let mut solo = follower();
    ask(&mut solo, 7);
    let (op, _) = solo.commit("ctl.trigger.worker-0");
    solo.won(op, 4);
    ask(&mut solo, 8);
    solo.tell(Event::Stop {
        mode: StopMode::Now,
    });
    let (op, writes) = solo.commit("w.worker-0");
    assert!(matches!(status(&writes[0]), SessionStatus::Released { .. }));
    solo.won(op, 11);
    let reasons = failed(&solo);
    let numbers: Vec<u64> = reasons.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [8, 7]);
    assert!(
        reasons
            .iter()
            .all(|(_, reason)| reason.contains("has stopped"))
    );
    ask(&mut solo, 9);
    let last = failed(&solo).pop();
    assert_eq!(last, Some((9, "the worker is not running")));
}
