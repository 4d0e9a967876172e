//! The desk as a plain state machine: grants in, callbacks and releases out, no runtime.

use std::sync::Arc;

use super::*;
use crate::shell::clock::Clock;
use crate::shell::guard::Lease;

const DRAIN: Duration = Duration::from_secs(5);

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn guard(name: &str, token: u64) -> Guard {
    let partition = PartitionKey::new([name]).expect("valid key");
    let token = Token::new(token);
    let lease = Arc::new(Lease::new(Clock::boot()));
    lease.set(Some(Instant::FAR_FUTURE));
    Guard::new(Grant { partition, token }, lease)
}

fn desk() -> Desk {
    Desk::new(DRAIN, 2, 3)
}

/// What is to begin, as `name@token callback`.
fn begun(calls: &[Call]) -> Vec<String> {
    let show = |call: &Call| {
        format!(
            "{:?} {}",
            call.job.guard().grant(),
            call.job.callback().as_str()
        )
    };
    calls.iter().map(show).collect()
}

fn finish(desk: &mut Desk, call: Call) {
    let Call { job, .. } = call;
    let end = End::Returned;
    desk.finish(at(0), Finished { job, end });
}

fn finish_all(desk: &mut Desk) {
    for call in desk.calls() {
        finish(desk, call);
    }
}

/// Ordinary life; a release before the callback's end would let two workers process at once.
#[test]
fn a_revoked_partition_is_released_when_its_callback_has_ended() {
    let (mut desk, guard) = (desk(), guard("p", 1));
    desk.assign(at(0), guard.clone());
    let calls = desk.calls();
    assert_eq!(begun(&calls), ["p@1 on_assigned"]);
    calls.into_iter().for_each(|call| finish(&mut desk, call));
    desk.revoke(at(0), guard.grant().clone(), RevokeCause::Reassigned);
    let calls = desk.calls();
    assert_eq!(begun(&calls), ["p@1 on_revoked"]);
    assert!(desk.take_released().is_empty(), "still draining");
    assert!(guard.is_valid() && guard.is_revoking());
    calls.into_iter().for_each(|call| finish(&mut desk, call));
    assert_eq!(desk.take_released(), [guard.grant().clone()]);
    assert!(!guard.is_valid() && desk.is_idle());
    desk.expire(at(60_000));
    assert!(desk.take_released().is_empty(), "released once only");
    assert!(desk.take_notices().is_empty(), "nothing was late");
}

/// A handler that hangs must not keep a partition from the rest of the group for ever.
#[test]
fn a_partition_that_drains_too_long_is_released_with_its_guard_invalid() {
    let (mut desk, guard) = (desk(), guard("p", 1));
    desk.assign(at(0), guard.clone());
    finish_all(&mut desk);
    desk.revoke(at(0), guard.grant().clone(), RevokeCause::Reassigned);
    let hanging = desk.calls();
    assert_eq!(desk.deadline(), Some(at(5000)));
    desk.expire(at(4999));
    assert!(desk.take_released().is_empty() && guard.is_valid());
    desk.expire(at(5000));
    assert_eq!(desk.take_released(), [guard.grant().clone()]);
    assert!(!guard.is_valid());
    let late = |notice: &ManagerNotice| matches!(notice, ManagerNotice::DrainTimedOut { .. });
    assert!(desk.take_notices().iter().all(late));
    hanging.into_iter().for_each(|call| finish(&mut desk, call));
    assert!(desk.take_released().is_empty(), "released once only");
}

/// The callback's own limit can be seen before the drain's: that is a time-out all the same.
#[test]
fn a_revocation_cut_short_is_told_as_a_drain_time_out_once() {
    let (mut desk, guard) = (desk(), guard("p", 1));
    desk.assign(at(0), guard.clone());
    finish_all(&mut desk);
    desk.revoke(at(0), guard.grant().clone(), RevokeCause::Reassigned);
    let (job, end) = (desk.calls().remove(0).job, End::CutShort);
    desk.finish(at(0), Finished { job, end });
    assert_eq!(desk.take_released(), [guard.grant().clone()]);
    desk.expire(at(5000));
    assert_eq!(desk.take_notices().len(), 1);
    assert!(!guard.is_valid() && desk.take_released().is_empty());
}

/// The next owner's callback beside the last one of the old would corrupt what both work on.
#[test]
fn callbacks_of_one_partition_never_overlap_even_after_a_drain_time_out() {
    let (mut desk, old, new) = (desk(), guard("p", 1), guard("p", 2));
    desk.assign(at(0), old.clone());
    finish_all(&mut desk);
    desk.revoke(at(0), old.grant().clone(), RevokeCause::Reassigned);
    let hanging = desk.calls();
    desk.expire(at(5000));
    desk.assign(at(0), new.clone());
    assert!(desk.calls().is_empty(), "the old callback still runs");
    hanging.into_iter().for_each(|call| finish(&mut desk, call));
    assert_eq!(begun(&desk.calls()), ["p@2 on_assigned"]);
    assert!(new.is_valid());
}

/// Slow loading must not hold up a handoff; what began must still be told to end.
#[test]
fn a_slow_assignment_is_cut_short_when_its_revocation_has_waited_too_long() {
    let (mut desk, guard) = (desk(), guard("p", 1));
    desk.assign(at(0), guard.clone());
    let mut slow = desk.calls();
    desk.revoke(at(0), guard.grant().clone(), RevokeCause::Reassigned);
    assert!(desk.calls().is_empty(), "on_assigned still runs");
    assert!(
        slow[0]
            .cut
            .try_recv()
            .is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
    );
    desk.expire(at(5000));
    assert_eq!(desk.take_released(), [guard.grant().clone()]);
    let closed = oneshot::error::TryRecvError::Closed;
    assert!(
        slow[0].cut.try_recv().is_err_and(|error| error == closed),
        "told to end"
    );
    slow.into_iter().for_each(|call| finish(&mut desk, call));
    assert_eq!(begun(&desk.calls()), ["p@1 on_revoked"], "for cleaning up");
}

/// Hanging assignments fill their lane; revocations must get through all the same.
#[test]
fn revocations_do_not_wait_for_the_assignments_of_other_partitions() {
    let mut desk = desk();
    let guards: Vec<_> = ["a", "b", "c", "d"].map(|name| guard(name, 1)).into();
    desk.assign(at(0), guards[0].clone());
    finish_all(&mut desk);
    for guard in &guards[1..] {
        desk.assign(at(0), guard.clone());
    }
    let hanging = desk.calls();
    assert_eq!(
        begun(&hanging),
        ["b@1 on_assigned", "c@1 on_assigned"],
        "bounded by 2"
    );
    for guard in &guards {
        desk.revoke(at(0), guard.grant().clone(), RevokeCause::Stopping);
    }
    assert_eq!(begun(&desk.calls()), ["a@1 on_revoked"]);
    assert_eq!(
        desk.take_released(),
        [guards[3].grant().clone()],
        "d never began"
    );
    assert!(!guards[3].is_valid());
}

/// A lost lease may not be relied on for the time of the drain.
#[test]
fn a_lost_lease_invalidates_the_guard_before_the_drain() {
    for cause in [RevokeCause::LeaseLost, RevokeCause::IdentityLost] {
        let (mut desk, guard) = (desk(), guard("p", 1));
        desk.assign(at(0), guard.clone());
        finish_all(&mut desk);
        desk.revoke(at(0), guard.grant().clone(), cause);
        assert!(!guard.is_valid(), "{cause}");
        assert_eq!(begun(&desk.calls()), ["p@1 on_revoked"]);
    }
}

/// A core that asks for what is not there must get its answer, or the handoff never ends.
#[test]
fn revoking_what_is_not_held_is_released_at_once() {
    let (mut desk, held, other) = (desk(), guard("p", 2), guard("p", 1));
    desk.assign(at(0), held.clone());
    desk.revoke(at(0), other.grant().clone(), RevokeCause::Reassigned);
    assert_eq!(desk.take_released(), [other.grant().clone()]);
    assert!(held.is_valid() && !held.is_revoking());
}

/// A panic that is swallowed is a partition nobody processes and nobody knows of.
#[test]
fn a_panic_is_told_and_counts_as_failed() {
    let (mut desk, guard) = (desk(), guard("p", 1));
    desk.assign(at(0), guard.clone());
    let call = desk.calls().pop().expect("one call");
    let (job, end) = (call.job, End::Panicked("boom".to_owned()));
    desk.finish(at(0), Finished { job, end });
    let partition = guard.partition().clone();
    let (callback, message) = (Callback::Assigned, "boom".to_owned());
    let expected = ManagerNotice::CallbackPanicked {
        partition,
        callback,
        message,
    };
    let told = desk.take_notices();
    assert_eq!(told[0], expected);
    assert!(matches!(
        &told[1..],
        [ManagerNotice::AssignFailed { failures: 1, .. }]
    ));
    desk.revoke(at(0), guard.grant().clone(), RevokeCause::Reassigned);
    assert_eq!(begun(&desk.calls()), ["p@1 on_revoked"]);
}

/// A session that resumes after a short outage gets its grants again, with the same tokens; a limit left
/// over from before would take them all away a few seconds later.
#[test]
fn the_limit_of_an_ownership_that_was_released_in_time_ends_no_later_one() {
    let (mut desk, first) = (desk(), guard("p", 1));
    desk.assign(at(0), first.clone());
    finish_all(&mut desk);
    desk.revoke(at(0), first.grant().clone(), RevokeCause::LeaseLost);
    finish_all(&mut desk);
    assert_eq!(desk.take_released().len(), 1);
    let again = guard("p", 1);
    desk.assign(at(0), again.clone());
    finish_all(&mut desk);
    desk.expire(at(5000));
    assert!(again.is_valid() && !again.is_revoking());
    assert!(desk.take_released().is_empty() && desk.take_notices().is_empty());
}

/// As above, when it is the callback itself that ends late.
#[test]
fn a_callback_that_ends_late_releases_no_later_ownership() {
    let (mut desk, first) = (desk(), guard("p", 1));
    desk.assign(at(0), first.clone());
    finish_all(&mut desk);
    desk.revoke(at(0), first.grant().clone(), RevokeCause::LeaseLost);
    let late = desk.calls();
    desk.expire(at(5000));
    assert_eq!(desk.take_released().len(), 1);
    let again = guard("p", 1);
    desk.assign(at(0), again.clone());
    late.into_iter().for_each(|call| finish(&mut desk, call));
    assert!(again.is_valid() && desk.take_released().is_empty());
    assert_eq!(begun(&desk.calls()), ["p@1 on_assigned"]);
}

/// A guard of a lease that has run out, and that lease.
fn dead(name: &str, token: u64) -> (Guard, Arc<Lease>) {
    let partition = PartitionKey::new([name]).expect("valid key");
    let lease = Arc::new(Lease::new(Clock::boot()));
    let token = Token::new(token);
    let guard = Guard::new(Grant { partition, token }, Arc::clone(&lease));
    (guard, lease)
}

/// After a blocked runtime the lease is over before the core has noticed: work would begin that
/// somebody else may be doing already.
#[test]
fn an_assignment_does_not_begin_with_a_guard_that_is_invalid() {
    let (mut desk, (guard, lease)) = (desk(), dead("p", 1));
    desk.assign(at(0), guard.clone());
    assert!(desk.calls().is_empty());
    // What was only late begins when the guard is valid.
    lease.set(Some(Instant::FAR_FUTURE));
    assert_eq!(begun(&desk.calls()), ["p@1 on_assigned"]);
}

/// As above; what never began has nothing to end, and the core waits for its release.
#[test]
fn what_did_not_begin_is_released_without_a_callback_when_it_is_revoked() {
    let (mut desk, (guard, _lease)) = (desk(), dead("p", 1));
    desk.assign(at(0), guard.clone());
    assert!(desk.calls().is_empty());
    desk.revoke(at(0), guard.grant().clone(), RevokeCause::LeaseLost);
    assert_eq!(desk.take_released(), [guard.grant().clone()]);
    assert!(desk.calls().is_empty() && desk.is_idle());
}

/// The guard can become invalid between the turn of the callback and the moment it would begin.
#[test]
fn a_callback_that_found_its_guard_invalid_waits_or_is_released() {
    let (mut desk, guard) = (desk(), guard("p", 1));
    desk.assign(at(0), guard.clone());
    let (job, end) = (desk.calls().remove(0).job, End::NotBegun);
    desk.finish(at(0), Finished { job, end });
    let (job, end) = (desk.calls().remove(0).job, End::NotBegun);
    desk.revoke(at(0), guard.grant().clone(), RevokeCause::LeaseLost);
    assert!(desk.take_released().is_empty(), "it may have begun");
    desk.finish(at(0), Finished { job, end });
    assert_eq!(desk.take_released(), [guard.grant().clone()]);
    assert!(desk.calls().is_empty() && desk.is_idle());
    desk.expire(at(5000));
    assert!(desk.take_notices().is_empty() && desk.take_released().is_empty());
}

/// A future that panics when it is cut short is late and has panicked: both are told.
#[test]
fn a_revocation_that_panics_when_it_is_cut_short_is_told_as_both() {
    let (mut desk, guard) = (desk(), guard("p", 1));
    desk.assign(at(0), guard.clone());
    finish_all(&mut desk);
    desk.revoke(at(0), guard.grant().clone(), RevokeCause::Reassigned);
    let (job, end) = (
        desk.calls().remove(0).job,
        End::CutShortPanicking("boom".to_owned()),
    );
    desk.finish(at(0), Finished { job, end });
    assert_eq!(desk.take_released(), [guard.grant().clone()]);
    assert_eq!(desk.take_notices().len(), 2);
    desk.assign(at(0), guard);
    assert!(desk.slots.len() == 1 && desk.revoking.running == 0);
}

fn fail(desk: &mut Desk, now: Instant, call: Call) {
    let Call { job, .. } = call;
    let end = End::Failed("no database".to_owned());
    desk.finish(now, Finished { job, end });
}

/// A partition whose state could not be loaded was owned and processed by nobody until a restart.
#[test]
fn what_fails_is_tried_again_after_growing_pauses_and_told_after_some_failures() {
    let (mut desk, guard) = (desk(), guard("p", 1));
    desk.assign(at(0), guard.clone());
    let mut now = at(0);
    for (failures, pause) in [
        (1, 1),
        (2, 2),
        (3, 4),
        (4, 8),
        (5, 16),
        (6, 32),
        (7, 60),
        (8, 60),
    ] {
        let mut calls = desk.calls();
        assert_eq!(begun(&calls), ["p@1 on_assigned"], "try {failures}");
        fail(&mut desk, now, calls.remove(0));
        let pause = Duration::from_secs(pause);
        assert_eq!(
            desk.take_notices(),
            [ManagerNotice::AssignFailed {
                partition: guard.partition().clone(),
                token: guard.token(),
                failures,
                reason: "no database".to_owned(),
                pause,
            }]
        );
        let told: Vec<_> = desk.take_told().into_iter().map(|t| t.failing).collect();
        let expected = Some(Some("no database".to_owned())).filter(|_| failures == 3);
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>());
        desk.expire((now + pause).saturating_sub(Duration::from_millis(1)));
        assert!(desk.calls().is_empty(), "too early");
        now += pause;
        assert_eq!(desk.deadline(), Some(now));
        desk.expire(now);
    }
    let pending = desk.pending().expect("it is not processed");
    assert_eq!(
        (pending.since, pending.partitions, pending.failed),
        (at(0), 1, 1)
    );
    finish_all(&mut desk);
    assert_eq!(desk.pending(), None);
    let told = desk.take_told();
    assert_eq!(
        (told.len(), &told[0].failing),
        (1, &None),
        "it has begun after all"
    );
    assert!(guard.is_valid());
}

/// What a failed call left behind would never be ended; what never began must not be.
#[test]
fn an_ownership_that_was_tried_ends_with_one_on_revoked() {
    let (mut desk, guard) = (desk(), guard("p", 1));
    desk.assign(at(0), guard.clone());
    let call = desk.calls().remove(0);
    fail(&mut desk, at(0), call);
    desk.revoke(at(10), guard.grant().clone(), RevokeCause::Reassigned);
    assert_eq!(desk.pending(), None);
    let calls = desk.calls();
    assert_eq!(begun(&calls), ["p@1 on_revoked"]);
    calls.into_iter().for_each(|call| finish(&mut desk, call));
    assert_eq!(desk.take_released(), [guard.grant().clone()]);
    desk.expire(at(60_000));
    assert!(desk.calls().is_empty() && desk.is_idle(), "no further try");
}

/// A revocation that comes while it runs must not be followed by a further try.
#[test]
fn a_call_that_fails_while_it_is_being_revoked_is_not_tried_again() {
    let (mut desk, guard) = (desk(), guard("p", 1));
    desk.assign(at(0), guard.clone());
    let call = desk.calls().remove(0);
    desk.revoke(at(10), guard.grant().clone(), RevokeCause::Stopping);
    fail(&mut desk, at(20), call);
    assert!(desk.take_notices().is_empty(), "nobody waits for it");
    assert_eq!(begun(&desk.calls()), ["p@1 on_revoked"]);
}

/// One partition that keeps failing must not take the places of those that wait.
#[test]
fn a_resting_partition_takes_no_place() {
    let mut desk = desk();
    for name in ["a", "b", "c", "d"] {
        desk.assign(at(0), guard(name, 1));
    }
    let calls = desk.calls();
    assert_eq!(begun(&calls), ["a@1 on_assigned", "b@1 on_assigned"]);
    for call in calls {
        fail(&mut desk, at(0), call);
    }
    assert_eq!(begun(&desk.calls()), ["c@1 on_assigned", "d@1 on_assigned"]);
}
