//! Handlers that fail to begin: what is tried again, when, and what the core is told.

use super::*;

/// An `on_assigned` that hangs kept its place for ever, and its partition unprocessed.
#[test]
fn an_assignment_beyond_its_limit_is_cut_short_and_tried_again() {
    let limits = Limits {
        assign: Some(Duration::from_secs(30)),
        concurrency: 1,
        ..Limits::new(DRAIN)
    };
    let mut played = Played::with(limits);
    let again = "p@1 failed 1, again after 1s: it did not return within 30s";
    table(
        &mut played,
        &[
            (&[Assign("p", 1), Begin], &["begin on_assigned p@1 with 1"]),
            (&[Assign("q", 1), At(29_999), Begin], &[]),
            (&[At(30_000), At(31_000)], &["cut on_assigned of p: Limit"]),
            (
                &[Ends("p", End::Cut), Begin],
                &[again, "begin on_assigned q@1 with 2"],
            ),
            (&[Ends("q", End::Returned), At(31_999), Begin], &[]),
            (&[At(32_000), Begin], &["begin on_assigned p@1 with 1"]),
            // It returned after all, before it was dropped.
            (&[At(62_000)], &["cut on_assigned of p: Limit"]),
            (&[Ends("p", End::Returned)], &[]),
        ],
    );
    assert!(played.rests() && played.scheduler.pending().is_none());
}

/// A partition whose state could not be loaded was owned and processed by nobody until a restart.
#[test]
fn what_fails_is_tried_again_after_growing_pauses_and_told_after_some_failures() {
    let mut played = Played::new();
    played.play(&[Assign("p", 1)]);
    let mut now = 0;
    let pauses = [1, 2, 4, 8, 16, 32, 60, 60];
    for (failures, pause) in (1..).zip(pauses) {
        let begins = played.play(&[Begin]);
        assert_eq!(begins, ["begin on_assigned p@1 with 1"], "{failures}");
        let mut told = played.play(&[Ends("p", failed())]);
        let again = format!("p@1 failed {failures}, again after {pause}s: no database");
        assert_eq!(told.pop(), Some(again));
        let cannot: &[&str] = if failures == 3 {
            &["p@1 cannot begin: no database"]
        } else {
            &[]
        };
        assert_eq!(told, cannot);
        now += pause * 1000;
        assert_eq!(played.play(&[At(now - 1), Begin]), [""; 0], "too early");
        let due = played.scheduler.poll_timeout();
        assert_eq!(due, Some(Instant::from_millis(now)));
        played.play(&[At(now)]);
    }
    let pending = Pending {
        since: Instant::ORIGIN,
        partitions: 1,
        failed: 1,
    };
    assert_eq!(played.scheduler.pending(), Some(pending));
    let told = played.play(&[Begin, Ends("p", End::Returned)]);
    assert_eq!(told[1..], ["p@1 has begun"]);
    assert!(played.rests() && played.scheduler.pending().is_none());
}

/// What a failed call left behind would never be ended; what never began must not be.
#[test]
fn an_ownership_that_was_tried_ends_with_one_on_revoked() {
    let mut played = Played::new();
    played.play(&[Assign("p", 1), Begin, Ends("p", failed())]);
    let begins = ["1 revoking", "begin on_revoked p@1 with 1"];
    table(
        &mut played,
        &[
            (&[At(10), Revoke("p", 1, Reassigned), Begin], &begins),
            (&[Ends("p", End::Returned)], &["1 invalid", "release p@1"]),
            (&[At(60_000), Begin], &[]),
        ],
    );
    assert!(played.rests() && played.scheduler.pending().is_none());
}

/// A revocation that comes while it runs must not be followed by a further try.
#[test]
fn a_call_that_fails_while_it_is_being_revoked_is_not_tried_again() {
    let mut played = Played::new();
    played.play(&[Assign("p", 1), Begin, Revoke("p", 1, Stopping)]);
    let next = played.play(&[Ends("p", failed()), Begin]);
    assert_eq!(next, ["begin on_revoked p@1 with 1"], "nobody waits for it");
}

/// One partition that keeps failing must not take the places of those that wait.
#[test]
fn a_resting_partition_takes_no_place() {
    let mut played = Played::new();
    played.play(&["a", "b", "c", "d"].map(|name| Assign(name, 1)));
    played.play(&[Begin, Ends("a", failed()), Ends("b", failed())]);
    let next = played.play(&[Begin]);
    assert_eq!(
        next,
        [
            "begin on_assigned c@1 with 3",
            "begin on_assigned d@1 with 4"
        ]
    );
}
