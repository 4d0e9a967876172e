//! Candidates and sessions whose writes the store will not take: what is told, and when they try again.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::secs;
use crate::core::tests::solo::{FOREIGN, Solo, entry, error, head, said, session, status, written};
use crate::io::event::{Event, StopMode};
use crate::io::notice::{FailedStep, Notice};
use crate::model::id::Epoch;
use crate::model::state::State;
use crate::ports::store::{Expect, StoreErrorKind, StoreOp};
use crate::records::record::{Record, SessionRecord, SessionStatus};

const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// A member that has caught up with an empty store and stands for election.
fn candidate() -> Solo {
    let mut solo = Solo::member();
    solo.caught_up(1);
    solo.pass(millis(200));
    solo
}

/// The failures of a step.
fn failures(solo: &Solo, wanted: FailedStep) -> Vec<String> {
    said(
        &solo.notices,
        |n| matches!(n, Notice::StepFailed { step, .. } if *step == wanted),
    )
}

/// A worker without the right to write `head` once asked for it in a loop, from every process.
#[test]
fn a_rejected_candidate_says_so_and_stands_again_an_interval_later() {
    let mut solo = candidate();
    let (op, writes) = solo.commit("head");
    assert_eq!(writes[0].expect, Expect::Absent);
    solo.answer(op, Err(error(StoreErrorKind::Rejected)));
    let [told] = &failures(&solo, FailedStep::TakeOver)[..] else {
        panic!("{:?}", solo.notices)
    };
    assert!(told.contains("scripted"), "{told}");
    assert_eq!(solo.core.status().state, State::Election);
    let interval = solo.core.config().heartbeat_interval();
    let rejected = solo.now;
    while !solo.has_commit("head") {
        let renewal = solo.find(|op| matches!(op, StoreOp::Commit { .. }));
        if let Some((op, StoreOp::Commit { writes })) = renewal {
            solo.won(op, 5);
            solo.show(written(&writes[0], 5));
        }
        solo.pass(millis(10));
        assert!(solo.now.since(rejected) < interval * 2, "it stands again");
    }
    assert!(solo.now.since(rejected) >= interval, "not at once");
}

/// Two candidates at once: the loser learns from its own read who won, before its watch tells it.
#[test]
fn a_candidate_that_lost_follows_the_winner_at_once() {
    let mut solo = candidate();
    let (op, _) = solo.commit("head");
    solo.answer(op, Err(error(StoreErrorKind::Refused)));
    let get = solo.get("head");
    solo.read(get, Some(entry("head", 3, &head("worker-1", 2, 10))));
    let status = solo.core.status();
    assert_eq!((status.is_leader, status.term.get()), (false, 1));
    assert_eq!(
        status.leader.map(|leader| leader.as_str().into()),
        Some(String::from("worker-1"))
    );
    solo.pass(secs(1));
    assert!(!solo.has_commit("head"), "the winner is not challenged");
    assert_eq!(failures(&solo, FailedStep::TakeOver), Vec::<String>::new());
}

/// An election won after the lease was lost makes somebody a leader who may hold nothing.
#[test]
fn an_election_that_is_won_too_late_is_not_taken_up() {
    let mut solo = candidate();
    let (op, _) = solo.commit("head");
    solo.pass(secs(8));
    assert_eq!(solo.core.deadline(), None, "the lease is over");
    solo.won(op, 3);
    let status = solo.core.status();
    assert_eq!(
        (status.is_leader, status.term.get()),
        (false, 1),
        "it knows what it wrote"
    );
    let gained = |notice: &Notice| matches!(notice, Notice::LeadershipGained { .. });
    assert!(!solo.notices.iter().any(gained));
}

/// A renewal that is refused for good must be told while there is a lease left to act in, and tried
/// again: permissions are given back, too.
#[test]
fn a_rejected_renewal_is_told_and_tried_again_until_the_lease_is_over() {
    let mut solo = Solo::member();
    solo.caught_up(1);
    solo.show(entry("head", 3, &head("worker-1", 2, 10)));
    let mut tries = 0;
    for _ in 0..70 {
        solo.pass(millis(100));
        while solo.has_commit("w.worker-0") {
            let (op, _) = solo.commit("w.worker-0");
            tries += 1;
            solo.answer(op, Err(error(StoreErrorKind::Rejected)));
        }
    }
    assert_eq!(tries, 3, "once in an interval");
    assert_eq!(failures(&solo, FailedStep::RenewSession).len(), 3);
    let lost = |notice: &Notice| matches!(notice, Notice::LeaseLost { .. });
    assert_eq!(said(&solo.notices, lost).len(), 1);
    // The permission is back: the same session goes on,
    solo.pass(secs(2));
    let (op, writes) = solo.commit("w.worker-0");
    assert_eq!(session(&writes[0]).epoch, Epoch::new(1));
    solo.won(op, 9);
    let info = solo.find(|op| matches!(op, StoreOp::Info));
    assert!(
        info.is_some(),
        "as soon as the history is known to be the same"
    );
    let lost = |notice: &Notice| matches!(notice, Notice::IdentityLost { .. });
    assert_eq!(said(&solo.notices, lost).len(), 0);
}

/// A release that the store refuses must be among the errors of the stop, or the slot is missed.
#[test]
fn a_rejected_release_is_told_with_the_stop() {
    let mut solo = Solo::member();
    solo.caught_up(1);
    solo.show(entry("head", 3, &head("worker-1", 2, 10)));
    solo.tell(Event::Stop {
        mode: StopMode::Now,
    });
    for _ in 0..200 {
        while solo.has_commit("w.worker-0") {
            let (op, writes) = solo.commit("w.worker-0");
            assert!(matches!(status(&writes[0]), SessionStatus::Released { .. }));
            solo.answer(op, Err(error(StoreErrorKind::Rejected)));
        }
        solo.pass(millis(100));
    }
    let Some(Notice::Stopped { errors }) = solo.notices.last() else {
        panic!("it must have stopped: {:?}", solo.notices.last())
    };
    assert!(
        errors
            .iter()
            .any(|e| e.starts_with("renew_session: scripted")),
        "{errors:?}"
    );
    let ends = errors
        .iter()
        .any(|e| e.contains("ends by itself after its lease"));
    assert!(ends, "{errors:?}");
}

/// Somebody takes the slot of a worker that is leaving: it must end, not claim a new one.
#[test]
fn a_worker_that_loses_its_slot_while_leaving_ends_without_claiming_again() {
    let mut solo = Solo::member();
    solo.caught_up(1);
    solo.show(entry("head", 3, &head("worker-1", 2, 10)));
    solo.tell(Event::Stop {
        mode: StopMode::Handoff,
    });
    let (_, writes) = solo.commit("w.worker-0");
    let (write, epoch) = (FOREIGN, Epoch::new(9));
    let rival = SessionRecord {
        write,
        epoch,
        ..session(&writes[0])
    };
    solo.show(entry("w.worker-0", 9, &Record::Session(rival)));
    let lost = |notice: &Notice| matches!(notice, Notice::IdentityLost { .. });
    assert_eq!(said(&solo.notices, lost).len(), 1);
    assert_eq!(solo.core.status().state, State::Shutdown);
    assert!(matches!(
        solo.notices.last(),
        Some(Notice::StateChanged { .. } | Notice::Stopped { .. })
    ));
    assert_eq!(solo.core.poll_timeout(), None, "nothing more to do");
}
