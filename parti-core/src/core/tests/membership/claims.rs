//! Claims that meet a bad store: what is tried again, what ends the start, and with which words.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::secs;
use crate::core::tests::solo::{Solo, entry, error, facts, head, session};
use crate::io::event::{Event, OpId, StopMode};
use crate::io::notice::{Notice, StartError};
use crate::model::id::{Revision, Version};
use crate::model::state::State;
use crate::ports::store::{StoreError, StoreErrorKind, StoreOp, StoreReply};
use crate::records::record::{Head, Record};

fn start_error(solo: &Solo) -> Option<StartError> {
    solo.notices.iter().find_map(|notice| {
        let Notice::StartFailed(error) = notice else {
            return None;
        };
        Some(error.clone())
    })
}

/// Answers whatever is asked like this until the start fails or a minute has passed.
fn answer_all(solo: &mut Solo, mut answer: impl FnMut(&StoreOp) -> Result<StoreReply, StoreError>) {
    for _ in 0..600 {
        while let Some((op, request)) = solo.find(|_| true) {
            let result = answer(&request);
            solo.answer(op, result);
        }
        if start_error(solo).is_some() {
            return;
        }
        solo.pass(Duration::from_millis(100));
    }
}

/// A claim whose credentials are wrong would otherwise be tried for the whole time of the start.
#[test]
fn a_store_that_refuses_for_good_ends_the_start_at_once_at_every_step() {
    let rejected = || Err(error(StoreErrorKind::Rejected));
    let expected = StartError::Rejected(error(StoreErrorKind::Rejected));
    let informing = |solo: &mut Solo| solo.take(|op| matches!(op, StoreOp::Info)).0;
    let writing = |solo: &mut Solo| {
        solo.look_around();
        solo.commit("w.worker-0").0
    };
    let steps: [fn(&mut Solo) -> OpId; 2] = [informing, writing];
    for step in steps {
        let mut solo = Solo::start(|builder| builder);
        let op = step(&mut solo);
        solo.answer(op, rejected());
        assert_eq!(start_error(&solo), Some(expected.clone()));
        assert_eq!(solo.core.status().state, State::Shutdown);
        let stopped = |notice: &Notice| matches!(notice, Notice::Stopped { .. });
        assert!(solo.notices.iter().any(stopped));
    }
}

/// A thousand workers that started at once listed each other, again and again, and never had a session.
#[test]
fn a_group_that_has_not_planned_is_joined_without_a_list_and_one_that_has_is_listed() {
    let mut leader = Solo::start(|builder| builder);
    leader.look_around();
    let leader = Record::Session(session(&leader.commit("w.worker-0").1[0]));
    for planned in [0, 5] {
        let mut solo = Solo::start(|builder| builder);
        let (op, _) = solo.take(|op| matches!(op, StoreOp::Info));
        solo.answer(op, Ok(StoreReply::Info(facts(Revision::new(7)))));
        let Record::Head(head) = head("worker-0", 2, 5) else {
            panic!("a head");
        };
        let planned = Version::new(planned);
        let head = Record::Head(Head { planned, ..head });
        let get = solo.get("head");
        solo.read(get, Some(entry("head", 6, &head)));
        let lists = solo.find(|op| matches!(op, StoreOp::List { .. })).is_some();
        assert_eq!(lists, planned > Version::ZERO, "what is held is inherited");
        if !lists {
            let get = solo.get("w.worker-0");
            solo.read(get, Some(entry("w.worker-0", 7, &leader)));
            assert!(solo.has_commit("w.worker-1"));
        }
    }
}

/// "Timed out" without the last error sends people to the wrong machine.
#[test]
fn a_store_out_of_reach_fails_the_start_after_its_time_with_the_last_error() {
    let mut solo = Solo::start(|builder| builder.startup_timeout(secs(5)));
    let begun = solo.now;
    let mut asked = 0;
    answer_all(&mut solo, |_| {
        asked += 1;
        Err(error(StoreErrorKind::Unavailable))
    });
    let after = secs(5);
    let last = Some(error(StoreErrorKind::Unavailable));
    assert_eq!(
        start_error(&solo),
        Some(StartError::StoreUnavailable { after, last })
    );
    assert!((3..60).contains(&asked), "{asked} requests");
    assert!(solo.now.since(begun) < secs(6));
}

/// A backend that mixes up its answers must look like one that is out of order, not like an empty
/// store: slots that are not listed would be claimed.
#[test]
fn answers_to_another_question_are_no_answers() {
    let wrong = || Ok(StoreReply::Entry(None));
    let mut solo = Solo::start(|builder| builder.startup_timeout(secs(3)));
    answer_all(&mut solo, |request| {
        assert!(
            !matches!(request, StoreOp::Commit { .. }),
            "it knows of no slot yet"
        );
        wrong()
    });
    let error = start_error(&solo).expect("it fails").to_string();
    assert!(error.contains("not facts"), "{error}");

    let mut solo = Solo::start(|builder| builder.startup_timeout(secs(3)));
    let facts = crate::ports::store::StoreInfo {
        created: 1,
        age: Duration::MAX,
        last_revision: Revision::new(1),
        version: "test".to_string(),
        max_batch: 1_000,
        max_value: 1 << 20,
        faults: alloc::vec::Vec::new(),
    };
    answer_all(&mut solo, |request| match request {
        StoreOp::Info => Ok(StoreReply::Info(facts.clone())),
        StoreOp::Get { key } if key == "head" => Ok(StoreReply::Entry(None)),
        StoreOp::List { .. } => wrong(),
        StoreOp::Get { .. } | StoreOp::Commit { .. } | StoreOp::Create => {
            panic!("it knows of no slot yet")
        }
    });
    let error = start_error(&solo).expect("it fails").to_string();
    assert!(error.contains("not a list"), "{error}");
}

/// The answer to an earlier question must not be taken for that to the present one.
#[test]
fn a_late_answer_to_a_claim_changes_nothing() {
    let mut solo = Solo::start(|builder| builder);
    let (info, _) = solo.take(|op| matches!(op, StoreOp::Info));
    solo.answer(info, Err(error(StoreErrorKind::Unknown)));
    solo.pass(secs(1));
    let (again, _) = solo.take(|op| matches!(op, StoreOp::Info));
    assert_ne!(info, again);
    solo.answer(info, Err(error(StoreErrorKind::Rejected)));
    assert_eq!(
        (start_error(&solo), solo.core.status().state),
        (None, State::ClaimingId)
    );
}

/// A process that is stopped while it claims must end, not go on to hold a slot for a lease.
#[test]
fn a_stop_while_claiming_ends_at_once_and_takes_no_slot() {
    let mut solo = Solo::start(|builder| builder);
    solo.look_around();
    let (op, _) = solo.commit("w.worker-0");
    solo.tell(Event::Stop {
        mode: StopMode::Handoff,
    });
    let errors = Vec::new();
    assert!(solo.notices.contains(&Notice::Stopped { errors }));
    solo.won(op, 1);
    assert_eq!(
        (solo.core.deadline(), solo.core.poll_timeout()),
        (None, None)
    );
    assert_eq!(solo.core.status().worker, None);
}
