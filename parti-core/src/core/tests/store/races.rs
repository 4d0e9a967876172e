//! Races between an answer of the store and an event, each scripted by hand.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::tests::secs;
use crate::core::tests::solo::{
    FOREIGN, Solo, assignment, entry, error, facts, head, said, session, status, written,
};
use crate::io::effect::Effect;
use crate::io::event::{Event, RequestId, StopMode};
use crate::io::notice::{FailedStep, Notice};
use crate::model::id::Revision;
use crate::model::partition::Partition;
use crate::model::state::State;
use crate::ports::store::{Entry, Expect, StoreErrorKind, StoreOp};
use crate::records::record::{Readiness, Record, SessionRecord, SessionStatus};

const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// A released slot is given away at once: a worker that has said that it holds nothing must not begin to.
#[test]
fn a_worker_that_is_releasing_its_session_takes_nothing_on() {
    let mut solo = Solo::member();
    solo.caught_up(1);
    solo.show(entry("head", 3, &head("worker-1", 2, 10)));
    let mode = StopMode::Handoff;
    solo.tell(Event::Stop { mode });
    let (op, _) = solo.commit("w.worker-0");
    // The leader decided before it could know.
    solo.caught_up(3);
    solo.show(entry("a.worker-0", 5, &assignment(1, 11, &[0])));
    solo.won(op, 6);
    let (_, writes) = solo.commit("w.worker-0");
    let released = SessionStatus::Released {
        hold: Duration::ZERO,
    };
    assert_eq!(status(&writes[0]), released);
    assert_eq!(solo.assigned, [], "it is giving up its session");
}

/// A claim sent before a suspension of unknown length may be long over when its answer is read.
#[test]
fn a_claim_sent_before_a_clock_jump_gives_no_validity() {
    let mut solo = Solo::start(|builder| builder);
    solo.look_around();
    let (op, _) = solo.commit("w.worker-0");
    solo.pass(millis(1));
    solo.tell(Event::ClockJumped { by: None });
    solo.pass(millis(1));
    solo.won(op, 1);
    assert_eq!(solo.core.deadline(), None);
    let (op, _) = solo.commit("w.worker-0");
    solo.won(op, 2);
    solo.look_is_fine(2);
    assert!(solo.core.deadline().is_some_and(|at| at > solo.now));
}

/// A renewal that is sent again is no fresher for it: rivals count from when the first could apply.
#[test]
fn the_deadline_counts_from_the_first_sending_across_retries() {
    let mut solo = Solo::member();
    solo.pass(secs(2));
    let (op, first) = solo.commit("w.worker-0");
    let (sent, hold) = (solo.now, solo.core.config().hold());
    solo.pass(millis(900));
    solo.answer(op, Err(error(StoreErrorKind::Unknown)));
    // The read is answered before the first sending is applied.
    let get = solo.get("w.worker-0");
    solo.read(
        get,
        Some(written(&first[0], 1)).map(|old| Entry { value: None, ..old }),
    );
    solo.pass(millis(900));
    let (op, second) = solo.commit("w.worker-0");
    assert_eq!(first, second, "the very same write");
    solo.answer(op, Err(error(StoreErrorKind::Refused)));
    let get = solo.get("w.worker-0");
    solo.read(get, Some(written(&first[0], 2)));
    assert_eq!(solo.core.deadline(), Some(sent + hold));
}

/// A lagging replica once looked like a lost identity: everything was dropped for nothing.
#[test]
fn reads_that_lag_for_seconds_do_not_cost_the_identity() {
    let mut solo = Solo::member();
    solo.pass(secs(2));
    let (op, writes) = solo.commit("w.worker-0");
    solo.answer(op, Err(error(StoreErrorKind::Unknown)));
    for _ in 0..200 {
        if let Some((get, _)) = solo.find(|op| matches!(op, StoreOp::Get { .. })) {
            solo.read(get, None);
        }
        solo.pass(millis(10));
    }
    solo.pass(millis(1_000));
    let get = solo.get("w.worker-0");
    solo.read(get, Some(written(&writes[0], 2)));
    let lost = |notice: &Notice| matches!(notice, Notice::IdentityLost { .. });
    assert_eq!(
        said(&solo.notices, lost),
        Vec::<alloc::string::String>::new()
    );
}

/// A stale list that shows a taken slot as free must not make a busy loop of the claim.
#[test]
fn a_slot_lost_to_another_is_not_tried_again_because_of_a_stale_list() {
    let mut solo = Solo::start(|builder| builder);
    solo.look_around();
    // Another is tried of the same list, until so many were lost that it must be old.
    let mut lost = BTreeSet::new();
    for revision in 7..17 {
        let (op, request) = solo.take(|op| matches!(op, StoreOp::Commit { .. }));
        let StoreOp::Commit { writes } = request else {
            continue;
        };
        let key = writes[0].key.clone();
        assert_eq!(writes[0].expect, Expect::Absent);
        solo.answer(op, Err(error(StoreErrorKind::Refused)));
        let get = solo.get(&key);
        let winner = Record::Session(SessionRecord {
            write: FOREIGN,
            ..session(&writes[0])
        });
        solo.read(get, Some(entry(&key, revision, &winner)));
        assert!(lost.insert(key), "lost before");
    }
    solo.pass(millis(100));
    let list = solo.take(|op| matches!(op, StoreOp::List { .. })).0;
    solo.listed(list, Vec::new(), 0);
    let (_, request) = solo.take(|op| matches!(op, StoreOp::Commit { .. }));
    let StoreOp::Commit { writes } = request else {
        return;
    };
    assert_eq!(writes[0].expect, Expect::Absent);
    assert!(!lost.contains(&writes[0].key), "{}", writes[0].key);
}

/// A slot whose key was deleted is free: expecting its old revision would fail for ever.
#[test]
fn a_slot_deleted_by_hand_can_be_claimed_again() {
    let mut solo = Solo::start(|b| b.worker_id_hint("worker-0").worker_id_range(0, 0));
    solo.look_around();
    let (op, writes) = solo.commit("w.worker-0");
    solo.answer(op, Err(error(StoreErrorKind::Refused)));
    let get = solo.get("w.worker-0");
    let winner = Record::Session(SessionRecord {
        write: FOREIGN,
        ..session(&writes[0])
    });
    solo.read(get, Some(entry("w.worker-0", 7, &winner)));
    // From now on every list is complete and shows that the key is gone.
    for _ in 0..40 {
        solo.pass(millis(500));
        if let Some((list, _)) = solo.find(|op| matches!(op, StoreOp::List { .. })) {
            solo.listed(list, Vec::new(), 9);
        }
        if solo.has_commit("w.worker-0") {
            break;
        }
    }
    let (_, writes) = solo.commit("w.worker-0");
    assert_eq!(writes[0].expect, Expect::Absent);
}

/// Becomes the leader of an empty store: `head` at revision 2.
pub(crate) fn leading() -> Solo {
    let mut solo = Solo::member();
    solo.caught_up(1);
    solo.pass(millis(200));
    let (op, writes) = solo.commit("head");
    solo.won(op, 2);
    solo.show(written(&writes[0], 2));
    solo.caught_up(2);
    solo
}

/// A snapshot that broke off and an older one together are not a whole one.
#[test]
fn a_leader_decides_only_on_a_snapshot_that_contains_its_takeover() {
    let mut solo = Solo::member();
    solo.caught_up(1);
    solo.pass(millis(200));
    let (op, writes) = solo.commit("head");
    solo.won(op, 2);
    solo.show(written(&writes[0], 2));
    let (id, _) = solo.watch.clone().expect("there is a watch");
    let event = crate::ports::store::WatchEvent::Lost {
        reason: "cut".into(),
    };
    solo.tell(Event::Watch { id, event });
    solo.pass(millis(100));
    solo.caught_up(1);
    let lists = |solo: &Solo| {
        let list = |effect: &&Effect| matches!(effect, Effect::ListPartitions { .. });
        solo.other.iter().filter(list).count()
    };
    assert_eq!(lists(&solo), 0, "the view ends before the take-over");
    solo.show(written(&writes[0], 2));
    assert_eq!(lists(&solo), 1);
}

/// A store that refuses the resignation for good must not be asked in a busy loop.
#[test]
fn a_rejected_resignation_is_tried_again_with_backoff() {
    let mut solo = leading();
    let mode = StopMode::Handoff;
    solo.tell(Event::Stop { mode });
    let mut tries = 0;
    for _ in 0..100 {
        while solo.has_commit("head") {
            let (op, _) = solo.commit("head");
            tries += 1;
            assert!(tries < 50, "a busy loop");
            solo.answer(op, Err(error(StoreErrorKind::Rejected)));
        }
        solo.pass(millis(10));
    }
    assert!(tries > 1, "it is tried again");
}

/// A leader that knows these partitions and was asked for a generation, at revision 3.
pub(crate) fn triggered(partitions: Vec<Partition>) -> Solo {
    let mut solo = leading();
    let listing = |effect: &Effect| matches!(effect, Effect::ListPartitions { .. });
    let list = solo.other.iter().position(listing).expect("it lists");
    let Effect::ListPartitions { op } = solo.other.remove(list) else {
        unreachable!("just found")
    };
    let result = Ok(partitions);
    solo.tell(Event::Partitions { op, result });
    let request = RequestId(1);
    solo.tell(Event::Trigger { request });
    let (op, writes) = solo.commit("ctl.trigger.worker-0");
    solo.won(op, 3);
    solo.show(written(&writes[0], 3));
    solo
}

/// A commit that never settles once held a leader for ever, in silence.
#[test]
fn a_leader_whose_commits_never_settle_gives_up_and_says_so() {
    let mut solo = triggered(Vec::new());
    let mut revision = 3;
    for _ in 0..1_200 {
        solo.pass(millis(100));
        while let Some((op, request)) = solo.find(|_| true) {
            match request {
                StoreOp::Commit { writes } if writes[0].key.starts_with("w.") => {
                    revision += 1;
                    solo.won(op, revision);
                    solo.show(written(&writes[0], revision));
                }
                StoreOp::Commit { .. } => {
                    solo.answer(op, Err(error(StoreErrorKind::Unavailable)));
                }
                StoreOp::Get { .. } | StoreOp::List { .. } | StoreOp::Info | StoreOp::Create => {
                    solo.answer(op, Err(error(StoreErrorKind::Unknown)));
                }
            }
        }
        while let Some(position) = solo
            .other
            .iter()
            .position(|effect| matches!(effect, Effect::Plan { .. }))
        {
            let Effect::Plan { op, input } = solo.other.remove(position) else {
                unreachable!("just found")
            };
            let plan = crate::ports::strategy::Plan {
                owners: alloc::vec![0; input.partitions.len()],
                ..Default::default()
            };
            solo.tell(Event::Planned {
                op,
                result: Ok(plan),
            });
        }
    }
    let failed = |n: &Notice| {
        matches!(
            n,
            Notice::StepFailed {
                step: FailedStep::Commit,
                ..
            }
        )
    };
    assert!(said(&solo.notices, failed).len() >= 5);
}

/// A watch may skip the request and show only its removal: the caller must hear of it all the same.
#[test]
fn a_request_whose_removal_comes_before_its_own_answer_is_done() {
    let mut solo = Solo::member();
    solo.caught_up(1);
    solo.show(entry("head", 3, &head("worker-1", 2, 10)));
    solo.caught_up(3);
    let request = RequestId(5);
    solo.tell(Event::Trigger { request });
    let (op, _) = solo.commit("ctl.trigger.worker-0");
    solo.show(Entry {
        at_ms: 0,
        key: "ctl.trigger.worker-0".into(),
        revision: Revision::new(6),
        value: None,
    });
    solo.won(op, 4);
    let done = |n: &Notice| matches!(n, Notice::RequestDone { request: r, .. } if *r == request);
    assert_eq!(said(&solo.notices, done).len(), 1);
}

/// A read from a replica that has not seen the request yet is no proof that it was carried out.
#[test]
fn a_request_is_not_done_because_a_stale_read_does_not_show_it() {
    let mut solo = Solo::member();
    solo.caught_up(1);
    let request = RequestId(5);
    solo.tell(Event::Trigger { request });
    let (op, _) = solo.commit("ctl.trigger.worker-0");
    solo.won(op, 4);
    solo.caught_up(3);
    for (op, request) in core::mem::take(&mut solo.asked) {
        match request {
            StoreOp::Get { .. } => solo.read(op, None),
            StoreOp::List { .. } => solo.listed(op, Vec::new(), 3),
            StoreOp::Commit { .. } | StoreOp::Info | StoreOp::Create => {}
        }
    }
    let done = |n: &Notice| matches!(n, Notice::RequestDone { .. });
    assert_eq!(said(&solo.notices, done).len(), 0);
}

/// Terms and versions must not begin again because a hand deleted `head`.
#[test]
fn a_deleted_head_is_written_again_with_what_was_known() {
    let mut solo = Solo::member();
    let far = 9_000_000_000_000;
    solo.show(entry("head", 3, &head("worker-1", 2, far)));
    solo.caught_up(3);
    solo.show(Entry {
        at_ms: 0,
        key: "head".into(),
        revision: Revision::new(4),
        value: None,
    });
    solo.caught_up(4);
    solo.pass(millis(500));
    let (_, writes) = solo.commit("head");
    let Some(Ok(Record::Head(next))) = writes[0].value.as_deref().map(crate::records::wire::decode)
    else {
        panic!("not a head")
    };
    assert_eq!(next.version.get(), far + 1);
    assert_eq!(next.term.get(), 2);
}

/// A stop that overtakes an election must not leave the group with a leader that does not lead.
#[test]
fn a_worker_elected_while_handing_over_leads_until_it_is_done() {
    let mut solo = Solo::member();
    solo.caught_up(1);
    solo.show(entry("a.worker-0", 2, &assignment(1, 10, &[0])));
    solo.pass(millis(200));
    let (op, _) = solo.commit("head");
    let mode = StopMode::Handoff;
    solo.tell(Event::Stop { mode });
    solo.won(op, 3);
    assert!(solo.core.status().is_leader);
    assert_eq!(solo.core.status().state, State::Shutdown);
}

/// An alarm that is called off must be called off aloud, and only if there was one.
#[test]
fn a_worker_that_renews_overdue_but_not_lost_is_no_longer_suspected() {
    for (silence, cancelled) in [(2_000, 0), (3_500, 1), (5_900, 1), (6_500, 0)] {
        let mut solo = leading();
        let other = |seq| {
            let record = SessionRecord {
                write: crate::model::id::WriteId { seq, ..FOREIGN },
                epoch: crate::model::id::Epoch::new(3),
                status: SessionStatus::Active,
                applied: crate::model::id::Version::ZERO,
                known: crate::model::id::Version::ZERO,
                age: Duration::ZERO,
                reads: crate::records::wire::FORMATS,
                draining: Vec::new(),
                capacity: 1,
                labels: alloc::collections::BTreeMap::new(),
                heartbeat_interval: secs(2),
                lease: secs(6),
                software: "test".into(),
                endpoint: None,
                settings: crate::records::agreement::GroupSettings::default(),
                honours: crate::config::Mode::Exclusive,
                rejections: Vec::new(),
                predecessors: Vec::new(),
                bulletin: None,
                readiness: Readiness::default(),
            };
            Record::Session(record)
        };
        solo.show(entry("w.worker-1", 3, &other(1)));
        let mut revision = 4;
        for _ in 0..silence / 100 {
            solo.pass(millis(100));
            while solo.has_commit("w.worker-0") {
                let (op, writes) = solo.commit("w.worker-0");
                revision += 1;
                solo.won(op, revision);
                solo.show(written(&writes[0], revision));
            }
        }
        solo.show(entry("w.worker-1", revision + 1, &other(2)));
        let notices = said(&solo.notices, |n| {
            matches!(n, Notice::SuspicionCancelled { .. })
        });
        assert_eq!(notices.len(), cancelled, "after {silence} ms");
    }
}

/// A later epoch counts as proof that the slot's holder has ended. It is one, because a process that takes
/// the slot of a worker that was evicted alive has waited for longer than that worker may go on.
#[test]
fn the_slot_of_a_worker_evicted_alive_is_taken_only_after_its_validity() {
    let holder = Solo::member();
    let valid_until = holder.core.deadline().expect("it holds a session");
    let mut rival = Solo::start(|builder| builder.worker_id_range(0, 0));
    let list = |op: &StoreOp| matches!(op, StoreOp::List { .. });
    let (op, _) = rival.take(|op| matches!(op, StoreOp::Info));
    let facts = crate::ports::store::StoreReply::Info(facts(Revision::new(2)));
    rival.answer(op, Ok(facts));
    let head = rival.get("head");
    rival.read(head, None);
    let evicted = Record::Session(SessionRecord {
        write: FOREIGN,
        epoch: crate::model::id::Epoch::new(1),
        status: SessionStatus::Evicted { silent: false },
        applied: crate::model::id::Version::ZERO,
        known: crate::model::id::Version::ZERO,
        age: Duration::ZERO,
        reads: crate::records::wire::FORMATS,
        draining: Vec::new(),
        capacity: 1,
        labels: alloc::collections::BTreeMap::new(),
        heartbeat_interval: secs(2),
        lease: secs(6),
        software: "test".into(),
        endpoint: None,
        settings: crate::records::agreement::GroupSettings::default(),
        honours: crate::config::Mode::Exclusive,
        rejections: Vec::new(),
        predecessors: Vec::new(),
        bulletin: None,
        readiness: Readiness::default(),
    });
    for _ in 0..100 {
        while let Some((op, _)) = rival.find(list) {
            rival.listed(op, Vec::from([entry("w.worker-0", 2, &evicted)]), 2);
        }
        if rival.has_commit("w.worker-0") {
            break;
        }
        rival.pass(millis(100));
    }
    let (_, writes) = rival.commit("w.worker-0");
    assert_eq!(writes[0].expect, Expect::Revision(Revision::new(2)));
    assert!(rival.now > valid_until, "{} is too early", rival.now);
}
