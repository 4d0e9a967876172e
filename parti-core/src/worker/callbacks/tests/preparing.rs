//! Getting ready for a partition: before it is owned, and beside what is.

use super::*;

/// Limits of eight seconds for a preparation and one place of each kind.
fn narrow() -> Played {
    Played::with(Limits {
        prepare: Duration::from_secs(8),
        concurrency: 1,
        ..Limits::new(DRAIN)
    })
}

/// Ordinary life: the load happens while somebody else still works, and what it loaded is taken up.
#[test]
fn what_was_prepared_for_begins_without_a_word_about_the_preparation() {
    let mut played = Played::new();
    let revoked = ["1 revoking", "begin on_revoked p@6 with 1"];
    table(
        &mut played,
        &[
            (
                &[Prepare("p", 4), BeginWithoutLease],
                &["begin on_prepare p~4"],
            ),
            (&[Ends("p", End::Returned)], &["p~4 is ready"]),
            (&[At(60_000)], &[]),
            (&[Assign("p", 6), Begin], &["begin on_assigned p@6 with 1"]),
            (&[Ends("p", End::Returned)], &[]),
            (&[Withdraw("p", 4), Begin], &[]),
            (&[Revoke("p", 6, Reassigned), Begin], &revoked),
            (&[Ends("p", End::Returned)], &["1 invalid", "release p@6"]),
        ],
    );
    assert!(played.rests() && played.scheduler.slots.is_empty());
}

/// Without a word about it a worker keeps for ever what it loaded for nothing.
#[test]
fn what_is_withdrawn_is_told_once_if_it_had_begun_and_not_at_all_if_not() {
    let mut played = Played::new();
    let cancelled = |version| format!("begin on_prepare_cancelled p~{version}");
    let (fifth, seventh) = (cancelled(5), cancelled(7));
    table(
        &mut played,
        &[
            (&[Prepare("p", 4), Withdraw("p", 4), Begin], &[]),
            (&[Prepare("p", 5), Begin], &["begin on_prepare p~5"]),
            (&[Withdraw("p", 4)], &[]),
            (
                &[Withdraw("p", 5), Withdraw("p", 5)],
                &["cut on_prepare of p: Withdrawn"],
            ),
            (&[Begin], &[]),
            (&[Ends("p", End::Cut), Begin], &[&fifth]),
            (&[Prepare("p", 7), Begin], &[]),
            (
                &[Ends("p", End::Returned), Begin],
                &["begin on_prepare p~7"],
            ),
            (&[Ends("p", End::Returned)], &["p~7 is ready"]),
            (&[Withdraw("p", 7), Begin], &[&seventh]),
            (&[Ends("p", End::Returned)], &[]),
        ],
    );
    assert!(played.rests() && played.scheduler.slots.is_empty());
}

/// A warm-up that hangs must not keep a plan from coming true, nor keep its place.
#[test]
fn a_preparation_that_takes_too_long_counts_as_ready_and_is_cut_short() {
    let mut played = narrow();
    let over = [
        "p~4 timed out",
        "p~4 is ready",
        "cut on_prepare of p: Limit",
        "q~4 timed out",
        "q~4 is ready",
    ];
    table(
        &mut played,
        &[
            (
                &[Prepare("p", 4), Prepare("q", 4), Begin],
                &["begin on_prepare p~4"],
            ),
            (&[At(7_999)], &[]),
            (&[At(8_000)], &over),
            (&[Ends("p", End::Cut), Begin], &[]),
            (
                &[Withdraw("p", 4), Withdraw("q", 4), Begin],
                &["begin on_prepare_cancelled p~4"],
            ),
            (&[Ends("p", End::Returned)], &[]),
        ],
    );
    assert!(played.rests());
    assert!(played.scheduler.slots.is_empty(), "q was never called");
}

/// The partition stays with its owner only if somebody is told that it cannot be taken.
#[test]
fn a_preparation_that_fails_is_told_with_its_reason() {
    let mut played = Played::new();
    let panicked = [
        "on_prepare of q panicked: oh",
        "q~4 cannot be taken: it panicked: oh",
    ];
    table(
        &mut played,
        &[
            (
                &[Prepare("p", 4), Prepare("q", 4), Begin],
                &["begin on_prepare p~4", "begin on_prepare q~4"],
            ),
            (
                &[Ends("p", failed())],
                &["p~4 cannot be taken: no database"],
            ),
            (&[Ends("q", End::Panicked("oh".to_owned()))], &panicked),
            (
                &[Withdraw("p", 4), Begin],
                &["begin on_prepare_cancelled p~4"],
            ),
            (&[Ends("p", End::Returned)], &[]),
        ],
    );
}

/// The owner died meanwhile: the callbacks of one partition still never overlap.
#[test]
fn a_grant_during_the_preparation_waits_for_it_and_one_before_its_turn_does_not() {
    let mut played = narrow();
    let over = [
        "p~4 timed out",
        "p~4 is ready",
        "cut on_prepare of p: Limit",
    ];
    table(
        &mut played,
        &[
            (
                &[Prepare("p", 4), Prepare("q", 4), Begin],
                &["begin on_prepare p~4"],
            ),
            (&[Assign("q", 5), Begin], &["begin on_assigned q@5 with 1"]),
            (&[Ends("q", End::Returned)], &[]),
            (&[Assign("p", 5), Begin], &[]),
            (&[At(8_000)], &over),
            (
                &[Ends("p", End::Cut), Begin],
                &["begin on_assigned p@5 with 2"],
            ),
            (&[Ends("p", End::Returned)], &[]),
        ],
    );
    assert!(played.rests());
}

/// What was granted and taken away before its `on_assigned` began has left something to clean up.
#[test]
fn a_grant_that_is_taken_back_before_its_turn_cancels_what_was_prepared() {
    let mut played = Played::new();
    let taken_back = [
        "1 invalid",
        "cut on_prepare of p: Withdrawn",
        "1 invalid",
        "release p@5",
    ];
    let not_begun = ["2 invalid", "release p@7", "begin on_prepare_cancelled p~6"];
    table(
        &mut played,
        &[
            (&[Prepare("p", 4), Begin], &["begin on_prepare p~4"]),
            (&[Assign("p", 5)], &[]),
            (&[Revoke("p", 5, LeaseLost)], &taken_back),
            (
                &[Ends("p", End::Cut), Begin],
                &["begin on_prepare_cancelled p~4"],
            ),
            (&[Ends("p", End::Returned)], &[]),
            (&[Prepare("p", 6), Begin], &["begin on_prepare p~6"]),
            (&[Ends("p", End::Returned)], &["p~6 is ready"]),
            (&[Assign("p", 7), Begin], &["begin on_assigned p@7 with 2"]),
            (&[Revoke("p", 7, LeaseLost)], &["2 invalid"]),
            (&[Ends("p", End::NotBegun), Begin], &not_begun),
            (&[Ends("p", End::Returned)], &[]),
        ],
    );
    assert!(played.rests() && played.scheduler.slots.is_empty());
}

/// A partition can be on its way back while its last ownership still ends here.
#[test]
fn a_preparation_during_a_revocation_waits_for_it() {
    let mut played = begun(&["p"]);
    let then = ["1 invalid", "release p@1", "begin on_prepare p~4"];
    table(
        &mut played,
        &[
            (
                &[Revoke("p", 1, Reassigned), Begin],
                &["1 revoking", "begin on_revoked p@1 with 1"],
            ),
            (&[Prepare("p", 4), Begin], &[]),
            (&[Ends("p", End::Returned), Begin], &then),
            (&[Ends("p", End::Returned)], &["p~4 is ready"]),
            (&[Assign("p", 6), Begin], &["begin on_assigned p@6 with 2"]),
        ],
    );
}
