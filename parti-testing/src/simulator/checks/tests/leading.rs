//! Bad and good traces of leaders: what they decide, when, and on what.

use std::sync::Arc;

use super::*;
use parti_core::{
    Partition, PartitionTable, PlanInput, Revision, RevokeCause, StepDownReason, StrategyId, Term,
    WorkerInfo, WorkerTable,
};

fn ms(value: u64) -> Instant {
    Instant::from_millis(value)
}

fn heard(process: Process, at_ms: u64, revision: u64) -> Fact {
    Fact::Heard {
        process,
        local: ms(at_ms),
        revision: Revision::new(revision),
        watched: true,
    }
}

/// A plan asked for by A: who had each partition, and who is to have it.
fn plans(at_ms: u64, previous: &[u32], owners: &[u32]) -> Fact {
    let list = (0..owners.len()).map(|n| Partition::new([format!("p{n}")]).expect("valid"));
    let workers = [A, B].map(|process| WorkerInfo::new(worker(process)));
    let input = PlanInput {
        previous: previous.to_vec(),
        ..PlanInput::fresh(
            Arc::new(PartitionTable::new(list.collect()).expect("valid")),
            Arc::new(WorkerTable::new(workers.to_vec()).expect("valid")),
        )
    };
    Fact::Planned {
        process: A,
        planning: Box::new(Planning {
            local: ms(at_ms),
            strategy: StrategyId::new("keep-then-fill/1"),
            input,
            owners: Some(owners.to_vec()),
        }),
    }
}

/// A generation that A sends: why, and whom it evicts at which revision.
fn proposes(at_ms: u64, cause: Cause, evicts: &[(Process, u64)]) -> Fact {
    let head = because(cause, head(A, 1, 5, 100, 0));
    let Some(Record::Head(head)) = head.record() else {
        panic!("it is a head");
    };
    let evictions = evicts.iter().map(|(process, revision)| Eviction {
        worker: worker(*process),
        judged: Some(Revision::new(*revision)),
        status: SessionStatus::Evicted { silent: true },
    });
    Fact::Proposes {
        process: A,
        proposal: Box::new(Proposal {
            local: ms(at_ms),
            write: head.write,
            head: head.clone(),
            expects: Vec::new(),
            evictions: evictions.collect(),
        }),
    }
}

/// Both join and A hears of both at 0 s; A's renewals come back at these times.
fn in_contact(echoes: &[u64]) -> Vec<Fact> {
    let mut facts = joined().to_vec();
    facts.extend([heard(A, 0, 1), heard(A, 0, 2)]);
    let mut before = 1;
    for (number, at) in (10..).zip(echoes) {
        facts.push(commit(A, vec![active(A, number, before, 0)]));
        facts.push(heard(A, *at, number));
        before = number;
    }
    facts
}

/// A worker that is only slow must keep its partitions: the limit is exact.
#[test]
fn the_patience_of_an_emergency_is_counted_from_what_the_leader_heard() {
    let at = |decided, revision| {
        let evicts = proposes(decided, Cause::Emergency, &[(B, revision)]);
        [in_contact(&[2_000, 4_000, 6_000]), vec![evicts]].concat()
    };
    passes("S15", &at(6_000, 2));
    fails("S15", &at(5_999, 2));
    fails("S15", &at(6_000, 3));
    // A renewal of B that A heard of counts again.
    let renewed = [
        in_contact(&[2_000]),
        vec![commit(B, vec![active(B, 20, 2, 0)]), heard(A, 3_000, 20)],
        vec![proposes(8_000, Cause::Emergency, &[(B, 20)])],
    ];
    fails("S15", &renewed.concat());
    // After a gap of contact nothing that was silent before counts.
    let gap = |decided| {
        let evicts = proposes(decided, Cause::Emergency, &[(B, 2)]);
        [
            in_contact(&[2_000, 20_000, 22_000, 24_000, 26_000]),
            vec![evicts],
        ]
        .concat()
    };
    fails("S15", &gap(25_999));
    passes("S15", &gap(26_000));
}

/// An outage of the store must not look like the death of everybody.
#[test]
fn nothing_is_decided_without_contact() {
    let at = |decided| [in_contact(&[2_000]), vec![plans(decided, &[0], &[0])]].concat();
    passes("S16", &at(5_000));
    fails("S16", &at(5_001));
    // A new watch may bring what an abandoned one has brought already.
    let again = [in_contact(&[2_000]), vec![heard(A, 5_000, 1)]].concat();
    passes("S16", &[again, vec![plans(8_000, &[0], &[0])]].concat());
    let sent = |at, cause| [in_contact(&[2_000]), vec![proposes(at, cause, &[])]].concat();
    fails("S16", &sent(6_000, Cause::Resume));
    passes("S16", &sent(6_000, Cause::Resignation));
    // Decided in contact and sent later, as by a process that was paused.
    let late = [at(5_000), vec![proposes(60_000, Cause::Emergency, &[])]];
    passes("S16", &late.concat());
}

/// A worker that is evicted and comes again at once joins like any other, also for a leader to whom its
/// eviction has not come back yet.
#[test]
fn a_worker_ended_before_a_generation_for_nobody_joins_after_it() {
    let gained = notice(A, Notice::LeadershipGained { term: Term::new(1) });
    let ended_before = |at| {
        let silent = SessionStatus::Evicted { silent: true };
        let nobody = because(Cause::Drain, head(A, 1, 5, 100, 0));
        let again = written(
            "w.worker-1",
            101,
            99,
            session(B, SessionStatus::Active, 0, 101),
        );
        let mut sent = proposes(at, Cause::PlannedScale, &[]);
        if let Fact::Proposes { proposal, .. } = &mut sent {
            proposal.write.seq = 1;
        }
        vec![
            commit(B, vec![active(B, 2, 0, 0)]),
            heard(A, 1_000, 2),
            gained.clone(),
            commit(A, vec![ended(B, silent, 99, 2)]),
            proposes(9_000, Cause::Drain, &[]),
            commit(A, vec![nobody]),
            commit(B, vec![again]),
            heard(A, 10_000, 101),
            plans(at, &[0], &[0]),
            sent,
        ]
    };
    passes("S14", &ended_before(20_000));
    fails("S14", &ended_before(19_999));
}

/// A group that starts up must not be rebalanced once per worker.
#[test]
fn windows_are_waited_for() {
    let gained = notice(A, Notice::LeadershipGained { term: Term::new(1) });
    let settled_at = |second: u64| Fact::Settled {
        process: A,
        end: idle(second),
    };
    let decides = |at, cause| {
        let facts = [gained.clone(), settled_at(1)];
        let plan = [plans(at, &[0], &[0]), proposes(at, cause, &[])];
        [&facts[..], &plan[..]].concat()
    };
    passes("S14", &decides(7_000, Cause::ColdStart));
    fails("S14", &decides(6_999, Cause::ColdStart));
    let joins = |at| {
        let recorded = commit(A, vec![head(A, 1, 4, 50, 0), assignment(A, 4, Some(4), 51)]);
        let b = [commit(B, vec![active(B, 2, 0, 0)]), heard(A, 10_000, 2)];
        [vec![recorded], b.to_vec(), decides(at, Cause::PlannedScale)].concat()
    };
    passes("S14", &joins(20_000));
    fails("S14", &joins(19_999));
    let over = notice(
        A,
        Notice::LeadershipLost {
            term: Term::new(1),
            reason: StepDownReason::Deposed,
        },
    );
    passes("S14", &[vec![gained.clone(), over], joins(20_000)].concat());
    // A worker that is heard of between a generation for nobody and its commit has joined after it.
    let late = |at| {
        let nobody = because(Cause::Drain, head(A, 1, 5, 100, 0));
        let b = [commit(B, vec![active(B, 2, 0, 0)]), heard(A, 10_000, 2)];
        let mut joins = decides(at, Cause::PlannedScale).split_off(2);
        if let Some(Fact::Proposes { proposal, .. }) = joins.last_mut() {
            proposal.write.seq = 1;
        }
        let gained = vec![gained.clone(), proposes(9_000, Cause::Drain, &[])];
        [gained, b.to_vec(), vec![commit(A, vec![nobody])], joins].concat()
    };
    passes("S14", &late(20_000));
    fails("S14", &late(19_999));
    // A window that is over ends before its worker is heard to have come back.
    let back = |back| {
        let mut facts = joins(20_000);
        let again = written("w.worker-1", 9, 2, session(B, SessionStatus::Active, 0, 9));
        let end = facts.len() - 2;
        facts.splice(end..end, [commit(B, vec![again]), heard(A, back, 9)]);
        facts
    };
    passes("S14", &back(20_000));
    fails("S14", &back(19_999));
}

/// Every change would interrupt work that has nothing to do with it.
#[test]
fn plans_move_no_more_than_they_must_and_are_followed() {
    passes("S17", &[plans(0, &[0, 0], &[0, 1])]);
    fails("S17", &[plans(0, &[0, 1], &[1, 0])]);
    fails("S17", &[plans(0, &[0, 0], &[1, 1])]);
    let [a, b] = joined();
    let granted = |process| vec![head(A, 1, 5, 3, 0), assignment(process, 5, Some(5), 4)];
    let follows = |process| {
        let plan = plans(0, &[0], &[0]);
        vec![a.clone(), b.clone(), plan, commit(A, granted(process))]
    };
    passes("S17", &follows(A));
    fails("S17", &follows(B));
    let taken = vec![head(A, 1, 6, 5, 3), assignment(A, 6, None, 6)];
    let again = [plans(0, &[0], &[0]), commit(A, taken)];
    fails("S17", &[follows(A), again.to_vec()].concat());
    // All for whom there was a plan leave before it is committed; then it was given up.
    let [plan, taken] = again;
    let drains = |process, name| {
        let record = session(process, SessionStatus::Draining, 0, 7);
        commit(process, vec![written(name, 7, 1, record)])
    };
    let some = vec![plan, drains(A, "w.worker-0")];
    fails(
        "S17",
        &[&follows(A)[..], &some, core::slice::from_ref(&taken)].concat(),
    );
    let all = [some, vec![drains(B, "w.worker-1"), taken]].concat();
    passes("S17", &[follows(A), all].concat());
}

/// A generation that says it is finished must leave nothing behind.
#[test]
fn a_finished_generation_is_complete() {
    let plan = plans(0, &[0], &[0]);
    let empty = commit(A, vec![head(A, 1, 5, 3, 0)]);
    fails("S12", &[plan.clone(), empty.clone()]);
    let reason = StepDownReason::Deposed;
    let term = Term::new(1);
    let over = notice(A, Notice::LeadershipLost { term, reason });
    passes("S12", &[plan.clone(), over, empty.clone()]);
    passes("S12", &[empty]);
    let full = commit(A, vec![head(A, 1, 5, 3, 0), assignment(A, 5, Some(5), 4)]);
    passes("S12", &[plan.clone(), full]);
    // A plan that was given up says nothing about a generation for nobody.
    let nobody = changed(&head(A, 1, 5, 3, 0), |head| head.workers = 0);
    passes("S12", &[plan, commit(A, vec![nobody])]);
}

/// Trouble with the store must neither stop the work of one mode nor double that of the other.
#[test]
fn a_degraded_worker_keeps_to_its_mode() {
    let degraded = |reason| notice(A, Notice::Degraded { reason });
    let [a, b] = joined();
    let no_echo = [a, b, degraded(parti_core::DegradedReason::WatchSilent)];
    let plan = plans(0, &[0], &[0]);
    fails(
        "S22",
        &[&no_echo[..], core::slice::from_ref(&plan)].concat(),
    );
    passes(
        "S22",
        &[&no_echo[..], &[heard(A, 0, 1), plan.clone()]].concat(),
    );
    // Heard in the very step in which it calls itself degraded, or in one before.
    let before = |between: &[Fact]| {
        let heard = [&no_echo[..2], &[heard(A, 0, 1)], between, &no_echo[2..]].concat();
        [&heard[..], core::slice::from_ref(&plan)].concat()
    };
    passes("S22", &before(&[]));
    fails("S22", &before(&[settled(A, 20)]));
    let evicts = proposes(0, Cause::Emergency, &[(B, 2)]);
    fails(
        "S22",
        &[&no_echo[..], core::slice::from_ref(&evicts)].concat(),
    );
    // What was sent before may be sent again.
    passes(
        "S22",
        &[
            core::slice::from_ref(&evicts),
            &no_echo[..],
            core::slice::from_ref(&evicts),
        ]
        .concat(),
    );
    let lost = revoke_for(RevokeCause::LeaseLost, A, 1);
    // Its lease may count from a renewal that said exclusive, until it has said overlap for long enough.
    let overlaps = active(A, 1, 0, 0).saying(|said| said.honours = Mode::Overlap);
    let after = |seconds| {
        let calm = vec![notice(A, Notice::Recovered); seconds];
        let begins = [commit(A, vec![overlaps.clone()]), assign(A, 1)];
        [&begins[..], &calm, core::slice::from_ref(&lost)].concat()
    };
    assert!(violated(Mode::Overlap, &after(8)).contains("S22"));
    assert!(!violated(Mode::Overlap, &after(2)).contains("S22"));
    passes("S22", &after(8));
}

/// The next leader would ask the same source.
#[test]
fn a_source_that_is_down_is_no_reason_to_give_up_while_the_records_name_a_list() {
    let gives_up = |last: &str| {
        let reason = StepDownReason::Failing(last.to_owned());
        let term = Term::new(1);
        notice(A, Notice::LeadershipLost { term, reason })
    };
    let down = crate::simulator::checks::leading::terms_change::SOURCE_DOWN;
    let granted = commit(A, vec![head(A, 1, 5, 3, 0), assignment(A, 5, Some(5), 4)]);
    let ignored = Notice::RecordIgnored {
        key: "a.worker-1".to_owned(),
        reason: "of another release".to_owned(),
    };
    let puzzled = [granted.clone(), notice(A, ignored), gives_up(down)];
    passes("S33", &puzzled);
    fails("S33", &[granted.clone(), gives_up(down)]);
    passes("S33", &[granted, gives_up("the strategy fails")]);
    passes("S33", &[gives_up(down)]);
}

/// Windows that begin again with each leader never end while leaders change.
#[test]
fn a_first_plan_comes_in_time() {
    let calm = |revision: u64| commit(A, vec![active(A, revision, revision - 1, 0)]);
    let waits = |seconds: u64| (2..seconds).map(calm).collect::<Vec<_>>();
    let begins = commit(A, vec![active(A, 1, 0, 0)]);
    let unplanned = commit(
        A,
        vec![changed(&head(A, 1, 5, 500, 0), |head| {
            head.planned = parti_core::Version::ZERO
        })],
    );
    let planned = commit(A, vec![head(A, 1, 5, 500, 0)]);
    let begun = [begins];
    fails("S34", &[&begun[..], &[unplanned], &waits(200)].concat());
    passes("S34", &[&begun[..], &[planned], &waits(200)].concat());
    passes("S34", &[&begun[..], &waits(60)].concat());
}
