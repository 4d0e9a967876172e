//! Bad and good traces of workers: slots, callbacks, notices, and what a caller reads.

use super::*;
use parti_core::{Boot, Core, Epoch, Revision, Status, StrategyId, Term, Version, WorkerId};

fn claimed(process: Process, slot: WorkerId, epoch: u64) -> Fact {
    let (epoch, nonce) = (Epoch::new(epoch), nonce(process));
    notice(
        process,
        Notice::Claimed {
            worker: slot,
            epoch,
            nonce,
        },
    )
}

/// Two workers under one name would both renew and both be granted.
#[test]
fn a_slot_has_one_holder_at_a_time() {
    let both = |until| {
        [
            claimed(A, worker(A), 1),
            settled(A, until),
            claimed(B, worker(A), 2),
            settled(B, 100),
        ]
    };
    passes("S1", &both(3));
    fails("S1", &both(50));
    let mut released = both(50).to_vec();
    released.insert(2, notice(A, Notice::Stopped { errors: Vec::new() }));
    passes("S1", &released);
    passes("S2", &both(3));
    fails("S2", &[claimed(A, worker(A), 1), claimed(B, worker(A), 1)]);
}

/// Two callbacks would work on the same data in the most ordinary handoff.
#[test]
fn processing_ends_before_it_begins_elsewhere() {
    let ends = [assign(A, 1), revoke(A, 1), released(A, 1), assign(B, 2)];
    passes("S5", &ends);
    fails("S5", &[assign(A, 1), revoke(A, 1), assign(B, 2)]);
}

fn changed(version: u64, added: usize, removed: usize, total: usize) -> Fact {
    let version = Version::new(version);
    notice(
        A,
        Notice::AssignmentChanged {
            version,
            added,
            removed,
            total,
        },
    )
}

fn step_ends() -> Fact {
    let end = StepEnd {
        effects: 1,
        ..idle(1)
    };
    Fact::Settled { process: A, end }
}

/// A consumer that follows the notices must know what is its own.
#[test]
fn notices_add_up_to_what_is_assigned() {
    let granted = commit(A, vec![head(A, 1, 5, 3, 0), assignment(A, 5, Some(5), 4)]);
    let begin = [claimed(A, worker(A), 1), granted];
    let told = |facts: &[Fact]| [&begin[..], facts, &[step_ends()]].concat();
    passes("S20", &told(&[assign(A, 5), changed(5, 1, 0, 1)]));
    fails("S20", &told(&[assign(A, 5)]));
    fails("S20", &told(&[assign(A, 5), changed(5, 2, 0, 1)]));
    fails("S20", &told(&[assign(A, 4), changed(5, 1, 0, 1)]));
    // Assigned, and not in the record that is said to be taken in.
    let none = commit(A, vec![head(A, 1, 6, 5, 3), assignment(A, 6, None, 6)]);
    let kept = told(&[assign(A, 5), changed(5, 1, 0, 1), none, changed(6, 0, 0, 1)]);
    fails("S20", &kept);
}

/// A stale read must not bring an old decision back to life.
#[test]
fn what_a_session_relies_on_never_goes_back() {
    let expects = |number: u64| {
        let written = head(A, 1, number, 50, 0);
        let Some(Record::Head(head)) = written.record() else {
            panic!("it is a head");
        };
        let revision = Revision::new(number);
        Fact::Proposes {
            process: A,
            proposal: Box::new(Proposal {
                local: seconds(1),
                write: head.write,
                head: head.clone(),
                expects: vec![("head".to_owned(), Expect::Revision(revision))],
                evictions: Vec::new(),
            }),
        }
    };
    passes("S23b", &[expects(5), expects(5), expects(6)]);
    fails("S23b", &[expects(5), expects(4)]);
    let says = |revision, before, applied| commit(A, vec![active(A, revision, before, applied)]);
    passes("S23", &[says(1, 0, 0), says(2, 1, 5), says(3, 2, 5)]);
    fails("S23", &[says(1, 0, 0), says(2, 1, 5), says(3, 2, 4)]);
}

/// A program that asks whether it owns something must not be told a lie.
#[test]
fn what_a_caller_reads_agrees_with_what_was_told() {
    let reads = |assigned, is_leader, until| {
        let boot = Boot {
            now: seconds(0),
            wall_ms: 0,
            seed: 1,
            strategy: StrategyId::new("s"),
            software: String::new(),
            endpoint: None,
            prepares: false,
        };
        let config = Config::builder("g").build().expect("coherent");
        let mut status: Status = Core::new(config, boot).status();
        status.state = State::Degraded;
        status.worker = Some(worker(A));
        status.deadline = Some(seconds(until));
        status.is_leader = is_leader;
        status.assigned = assigned;
        let end = StepEnd {
            deadline: Some(seconds(until)),
            until: Some(seconds(until)),
            status: Some(Box::new(status)),
            ..idle(1)
        };
        Fact::Settled { process: A, end }
    };
    passes("S26", &[assign(A, 1), reads(1, false, 9)]);
    fails("S26", &[assign(A, 1), reads(0, false, 9)]);
    fails("S26", &[assign(A, 1), revoke(A, 1), reads(1, false, 9)]);
    fails("S26", &[assign(A, 1), reads(1, false, 1)]);
    fails("S26", &[reads(0, true, 9)]);
    let gained = notice(A, Notice::LeadershipGained { term: Term::new(1) });
    passes("S26", &[gained, reads(0, true, 9)]);
}

/// A worker that is told to be alone relies on it, however the others are configured.
#[test]
fn while_both_modes_live_the_stricter_holds_for_who_relies_on_it() {
    let says = |process: Process, mode| {
        let revision = u64::from(process.node) + 1;
        let said = active(process, revision, 0, 0);
        commit(
            process,
            vec![said.saying(|said| (said.settings.mode, said.honours) = (mode, mode))],
        )
    };
    let contended = |a, b| {
        let said = [says(A, a), says(B, b)];
        let held = [assign(A, 1), settled(A, 100), assign(B, 2)];
        violated_in_both_modes(&[&said[..], &held[..]].concat()).contains("S29")
    };
    assert!(contended(Mode::Exclusive, Mode::Exclusive));
    assert!(contended(Mode::Exclusive, Mode::Overlap));
    // Neither of them was promised to be alone.
    assert!(!contended(Mode::Overlap, Mode::Overlap));
}

/// What a worker writes last must not meet its successor, although its own guard is invalid.
#[test]
fn the_next_owner_waits_for_the_callback_of_the_one_before() {
    let lost = revoke_for(parti_core::RevokeCause::IdentityLost, A, 1);
    let held = [settled(A, 100), assign(A, 1), lost];
    fails("S28", &[&held[..], &[assign(B, 2)]].concat());
    passes(
        "S28",
        &[&held[..], &[released(A, 1), assign(B, 2)]].concat(),
    );
    passes(
        "S28",
        &[&held[..], &[Fact::Ended { process: A }, assign(B, 2)]].concat(),
    );
    let calm = vec![notice(B, Notice::Recovered); 30];
    let after_its_time = [&held[..], &calm, &[assign(B, 2)]].concat();
    passes("S28", &after_its_time);
}
