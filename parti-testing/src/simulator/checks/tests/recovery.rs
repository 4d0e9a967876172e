//! Bad and good groups at each step of the recovery.

use super::*;
use parti_core::{Epoch, ParkReason, Parked, ParkedGroup, ParkedRecord, RequestId, Version};

/// A group that is whole: A leads and holds the only partition, B is there.
pub(super) fn whole() -> Coverage {
    let mut coverage = coverage(&[A]);
    coverage.now = seconds(1000);
    for process in [A, B] {
        let (worker, epoch) = (worker(process), Epoch::new(u64::from(process.node) + 1));
        let granted = (process == A).then_some(5);
        let record = assignment(process, 5, granted, 4);
        if let Some(Record::Assignment(record)) = record.record() {
            let record = (seconds(1), record.clone());
            coverage.stored.assignments.insert(worker.clone(), record);
        }
        let renewed = active(process, 9, 1, 5);
        if let Some(Record::Session(record)) = renewed.record() {
            let session = (seconds(999), epoch, record.clone());
            coverage.stored.sessions.insert(worker, session);
        }
    }
    let head = head(A, 1, 5, 3, 0);
    if let Some(Record::Head(head)) = head.record() {
        coverage.stored.head = Some(head.clone());
    }
    for worker in &mut coverage.workers {
        worker.version = Version::new(5);
    }
    coverage
}

/// Each change of a whole group must be found by the step that it delays, and by no other.
#[track_caller]
fn late(id: &'static str, change: impl Fn(&mut Coverage)) {
    use Stage::*;
    let stages = [
        Claimed, Elected, Seen, Detected, Decided, Applied, HandedOver, Confirmed, Recovered,
    ];
    let at = |coverage: &Coverage| {
        let milestones = stages.map(|stage| Fact::Milestone(stage, Box::new(coverage.clone())));
        violated(Mode::Exclusive, &milestones)
    };
    assert_eq!(at(&whole()), BTreeSet::new());
    let mut changed = whole();
    change(&mut changed);
    assert!(at(&changed).contains(id), "{:?}", at(&changed));
    changed.settled = true;
    assert_eq!(at(&changed), BTreeSet::new(), "it settled before");
}

/// A group that does not settle must say at which step it stopped.
#[test]
fn each_step_of_the_recovery_has_its_own_name() {
    late("L1", |c| c.workers[1].id = None);
    late("L2", |c| c.workers[0].leads = false);
    late("L2", |c| c.workers[1].leads = true);
    late("L3", |c| c.workers[0].version = Version::new(4));
    late("L4", |c| {
        c.workers.pop();
        if let Some(session) = c.stored.sessions.get_mut(&worker(B)) {
            session.0 = seconds(900);
        }
    });
    late("L5", |c| drop(c.stored.assignments.remove(&worker(B))));
    late("L5", |c| c.partitions.clear());
    late("L6", |c| {
        if let Some(session) = c.stored.sessions.get_mut(&worker(B)) {
            session.2.applied = Version::new(4);
        }
    });
    late("L7", |c| {
        if let Some(head) = &mut c.stored.head {
            head.unfinished = 1;
        }
    });
    late("L8", |c| {
        c.workers[0].standing = Standing::Reaching;
        if let Some(session) = c.stored.sessions.get_mut(&worker(A)) {
            session.2.applied = Version::new(4);
        }
    });
    late("L12", |c| c.workers[1].state = State::Degraded);
}

/// A half-connected worker need not be served and must not be counted as dead while it renews.
#[test]
fn those_outside_the_core_are_not_waited_for() {
    let mut coverage = whole();
    coverage.workers[1].standing = Standing::Reaching;
    coverage.workers[1].state = State::Degraded;
    assert_eq!(coverage.pending(), Vec::<String>::new());
    coverage.workers[1].held.extend([partition()]);
    assert_eq!(
        coverage.pending(),
        Vec::<String>::new(),
        "nobody granted it that"
    );
    coverage.restless = true;
    coverage.workers[0].held.clear();
    let due = Fact::Due(coverage.clone());
    fails("L9", core::slice::from_ref(&due));
    coverage.settled = true;
    passes("L9", &[Fact::Due(coverage)]);
}

/// A caller must not wait for ever.
#[test]
fn whatever_is_asked_is_answered() {
    let request = RequestId(7);
    let asked = Fact::Asked {
        process: A,
        request,
    };
    let begun = [
        Fact::Began { process: A },
        notice(
            A,
            Notice::Claimed {
                worker: worker(A),
                epoch: Epoch::new(1),
                nonce: nonce(A),
            },
        ),
        asked,
    ];
    let done = notice(
        A,
        Notice::RequestDone {
            request,
            version: Version::new(1),
        },
    );
    let due = Fact::Due(coverage(&[A]));
    fails("L10", &[&begun[..], core::slice::from_ref(&due)].concat());
    passes("L10", &[&begun[..], &[done.clone(), due.clone()]].concat());
    fails("L10", &[&begun[..], &[done.clone(), done]].concat());
    fails("L10", &[Fact::Began { process: A }, due]);
}

/// Partitions that move for ever are worse than a group that stands still.
#[test]
fn generations_after_the_faults_are_counted() {
    let generations = |count: u64| {
        let commits = (0..count).map(|n| commit(A, vec![head(A, 1, 5 + n, 3 + n, 2 + n)]));
        let due = Fact::Due(coverage(&[A]));
        let facts = core::iter::once(Fact::Healed).chain(commits).chain([due]);
        facts.collect::<Vec<_>>()
    };
    passes("L11", &generations(35));
    fails("L11", &generations(36));
}

/// Five hundred partitions that are released one by one are no reason for an alarm; steps that lead
/// nowhere are.
#[test]
fn steps_of_a_handoff_count_only_if_they_bring_it_no_nearer_to_its_end() {
    let steps = |left: &dyn Fn(u64) -> u32| {
        let step = |n| {
            changed(&head(A, 1, 5 + n, 3 + n, 2 + n), |head| {
                (head.cause, head.planned) = (Cause::Resume, Version::new(4));
                head.unfinished = left(n);
            })
        };
        let commits = (0..100).map(|n| commit(A, vec![step(n)]));
        let due = Fact::Due(coverage(&[A]));
        let facts = core::iter::once(Fact::Healed).chain(commits).chain([due]);
        facts.collect::<Vec<_>>()
    };
    passes("L11", &steps(&|n| 100 - n as u32));
    fails("L11", &steps(&|_| 100));
}

/// A partition that its owner cannot process must not stay where nobody processes it.
#[test]
fn what_one_cannot_process_is_with_another_that_can() {
    let judged = |failing: Process, able: Option<Process>| {
        let mut coverage = coverage(&[A]);
        let unfit = Unfit {
            failing: BTreeSet::from([failing]),
            able: able.into_iter().collect(),
        };
        coverage.unfit.insert(partition(), unfit);
        [Fact::Due(coverage)]
    };
    fails("S31", &judged(A, Some(B)));
    passes("S31", &judged(A, None));
    passes("S31", &judged(B, Some(A)));
}

/// A damaged partition must not go from worker to worker for ever.
#[test]
fn what_a_worker_failed_with_does_not_come_back_soon() {
    let told = active(A, 9, 1, 5).saying(|said| {
        said.rejections = vec![parti_core::Rejection {
            at: parti_core::RejectedAt::Processing,
            partition: partition(),
            reason: "damaged".to_owned(),
        }];
    });
    let first = [
        assign(A, 1),
        commit(A, vec![told]),
        revoke(A, 1),
        released(A, 1),
    ];
    let again = |token| [assign(A, token), revoke(A, token), released(A, token)].to_vec();
    let calm = |seconds| vec![notice(B, Notice::Recovered); seconds];
    let given = |times: u64, wait: usize| {
        let rounds = (0..times).flat_map(|n| [calm(wait), again(2 + n)].concat());
        [first.to_vec(), rounds.collect()].concat()
    };
    passes("S32", &given(1, 10));
    fails("S32", &given(2, 10));
    passes("S32", &given(3, 400));
}

/// A partition that somebody may own must not wait, and one that waits must be named.
#[test]
fn what_is_parked_is_what_nobody_may_own() {
    let group = |count| ParkedGroup {
        reason: ParkReason::NoWorkers,
        need: 1,
        needs: "zone a".to_owned(),
        since_ms: 1,
        again_after: None,
        count,
        partitions: vec![partition()],
    };
    let parked = |homeless: bool, count: u32| {
        let mut coverage = if homeless {
            coverage(&[])
        } else {
            coverage(&[A])
        };
        if homeless {
            coverage.homeless.insert(partition());
            coverage.abandoned.insert(partition());
        }
        let groups: Vec<_> = (count > 0).then(|| group(count)).into_iter().collect();
        if let Value::Record(record) = &head(A, 1, 5, 3, 0).value
            && let Record::Head(head) = record.as_ref()
        {
            let mut head = head.clone();
            head.parked = ParkedRecord::sum(&groups);
            coverage.stored.head = Some(head);
        }
        coverage.stored.parked = groups;
        coverage
    };
    passes("S30", &[Fact::Due(parked(true, 1))]);
    passes("S30", &[Fact::Due(parked(false, 0))]);
    fails("S30", &[Fact::Due(parked(false, 1))]);
    fails("S30", &[Fact::Due(parked(true, 0))]);
    let mut unsaid = parked(true, 1);
    if let Some(head) = &mut unsaid.stored.head {
        head.parked = Parked::default();
    }
    fails("S30", &[Fact::Due(unsaid)]);
}
