//! Bad traces about one session: its deadline, its end, what it has taken in.

use super::facts::*;
use super::*;
use parti_core::{Epoch, HistoryLoss, OnBucketLost, Version};

/// An owner at work after its successor may have begun is what exclusive mode exists to prevent.
#[test]
fn a_session_is_relied_on_no_longer_than_its_last_renewal_allows() {
    let joined = commit(A, vec![active(A, 1, 0, 0)]);
    // Applied in second 1; the shortest lease is 6 s less the drift.
    check(&[], &[joined.clone(), settled(A, 6)]);
    check(&["S1a"], &[joined.clone(), settled(A, 7)]);
    let renewed = commit(A, vec![active(A, 2, 1, 0)]);
    check(&[], &[joined.clone(), renewed, settled(A, 7)]);
    let others = commit(B, vec![active(B, 2, 0, 0)]);
    check(&["S1a"], &[joined, others, settled(A, 7)]);
}

/// One old read must not cost a worker everything it has.
#[test]
fn an_identity_is_kept_until_it_is_over() {
    let [a, b] = joined();
    let lost = notice(
        A,
        Notice::IdentityLost {
            worker: worker(A),
            epoch: Epoch::new(1),
        },
    );
    let given_up = |facts: &[Fact]| {
        let facts = [&[a.clone(), b.clone()][..], facts, &[lost.clone()][..]].concat();
        violated(Mode::Exclusive, &facts).contains("S18b")
    };
    assert!(given_up(&[]));
    assert!(!given_up(&vec![notice(A, Notice::Recovered); 6]));
    let silent = SessionStatus::Evicted { silent: false };
    assert!(!given_up(&[commit(B, vec![ended(A, silent, 3, 1)])]));
    let mut gone = active(A, 3, 1, 0);
    gone.value = Value::Tombstone;
    assert!(!given_up(&[commit(B, vec![gone])]));
}

/// In a bucket that was made again epochs begin again: a slot with the same one may be another's.
#[test]
fn an_identity_that_another_process_holds_with_the_same_epoch_is_given_up_rightly() {
    let [a, _] = joined();
    let lost = |process| {
        let (worker, epoch) = (worker(A), Epoch::new(1));
        notice(process, Notice::IdentityLost { worker, epoch })
    };
    let violated = |process| violated(Mode::Overlap, &[a.clone(), lost(process)]);
    assert!(violated(A).contains("S18b"));
    assert!(!violated(B).contains("S18b"));
}

/// Nothing of a session or a grant is left in a bucket that was made again.
#[test]
fn another_bucket_is_noticed_in_the_step_that_tells_of_it() {
    let told = |process, created| Fact::Step {
        process,
        local: seconds(1),
        created: Some(created),
    };
    let lost = |process| {
        let loss = HistoryLoss::Recreated {
            before: 7,
            found: 8,
        };
        let (then, known) = (OnBucketLost::Recreate, Version::ZERO);
        notice(process, Notice::HistoryLost { loss, then, known })
    };
    let ending = |process| {
        let (from, to) = (State::Init, State::Shutdown);
        notice(process, Notice::StateChanged { from, to })
    };
    let knows = [told(A, 7), settled(A, 100), told(A, 7), settled(A, 100)];
    passes("S27", &knows);
    let goes_on = [told(A, 8), settled(A, 100)];
    fails("S27", &[&knows[..], &goes_on[..]].concat());
    let others = [told(A, 8), lost(B), settled(A, 100)];
    fails("S27", &[&knows[..], &others[..]].concat());
    let gives_up = [told(A, 8), lost(A), settled(A, 100)];
    passes("S27", &[&knows[..], &gives_up[..]].concat());
    let late = [lost(A), told(A, 7), told(A, 8), settled(A, 100)];
    passes("S27", &[&knows[..], &late[..]].concat());
    let ended = [ending(A), told(A, 8), settled(A, 100)];
    passes("S27", &[&knows[..], &ended[..]].concat());
    let next = [Fact::Ended { process: A }, told(A, 8), settled(A, 100)];
    passes("S27", &[&knows[..], &next[..]].concat());
}

/// A worker that follows a record its leader has replaced holds what is somebody else's.
#[test]
fn what_a_session_has_taken_in_never_goes_back() {
    let [a, _] = joined();
    let says = |applied, revision| commit(A, vec![active(A, revision, revision - 1, applied)]);
    check(&[], &[a.clone(), says(5, 2), says(5, 3), says(7, 4)]);
    check(&["S23"], &[a.clone(), says(5, 2), says(4, 3)]);
    let gone = SessionStatus::Released {
        hold: Duration::ZERO,
    };
    check(&[], &[a, says(5, 2), commit(A, vec![ended(A, gone, 3, 2)])]);
}
