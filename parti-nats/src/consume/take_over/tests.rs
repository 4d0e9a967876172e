//! Tables of what each cursor leads to.

use super::*;

const ME: Owner = Owner {
    token: 7,
    nonce: 70,
};

fn stream(first: u64, last: u64) -> StreamFacts {
    StreamFacts {
        created: "monday".to_owned(),
        first,
        last,
    }
}

fn rules() -> Rules {
    Rules {
        start: 40,
        recreated: OnRecreated::Stop,
        overtaken: OnOvertaken::GoOn,
    }
}

fn cursor(token: u64, hold: Hold, position: u64) -> Cursor {
    Cursor {
        owner: Owner { token, nonce: 1 },
        hold,
        position,
        stream_created: "monday".to_owned(),
    }
}

fn found(cursor: Cursor) -> Found {
    let revision = 9;
    Found::Cursor { revision, cursor }
}

/// A start policy that is applied twice reads everything again, or skips what was never handled.
#[test]
fn the_start_applies_to_a_partition_that_never_had_a_cursor_and_to_no_other() {
    let begun = take_over(ME, Found::Never, &stream(50, 100), rules());
    let TakeOver::Write {
        cursor,
        expected: 0,
        seen_up_to: 40,
        report: None,
    } = begun
    else {
        panic!("{begun:?}")
    };
    assert_eq!(
        (cursor.position, cursor.owner, cursor.hold),
        (40, ME, Hold::Held)
    );
    let gone = take_over(ME, Found::Deleted { revision: 3 }, &stream(1, 100), rules());
    assert!(
        matches!(gone, TakeOver::Stop(Condition::CursorMissing { .. })),
        "{gone:?}"
    );
    let reason = "x".to_owned();
    let odd = take_over(ME, Found::Unreadable { reason }, &stream(1, 100), rules());
    assert!(
        matches!(odd, TakeOver::Stop(Condition::CursorUnreadable { .. })),
        "{odd:?}"
    );
}

/// An owner that takes over from a newer one handles messages beside it.
#[test]
fn nobody_takes_over_from_a_newer_owner() {
    let newer = take_over(
        ME,
        found(cursor(8, Hold::Released, 60)),
        &stream(1, 100),
        rules(),
    );
    let stop = TakeOver::Stop(Condition::Fenced { ours: 7, found: 8 });
    assert_eq!(newer, stop);
    // The same token with another nonce: an earlier reader of the same ownership.
    for token in [6, 7] {
        let older = take_over(
            ME,
            found(cursor(token, Hold::Held, 60)),
            &stream(1, 100),
            rules(),
        );
        let TakeOver::Write {
            cursor,
            expected: 9,
            ..
        } = older
        else {
            panic!("{older:?}")
        };
        assert_eq!((cursor.position, cursor.owner), (60, ME));
    }
    let mut own = cursor(7, Hold::Held, 60);
    own.owner = ME;
    let again = take_over(ME, found(own.clone()), &stream(1, 100), rules());
    assert_eq!(
        again,
        TakeOver::Ours {
            revision: 9,
            cursor: own
        }
    );
}

/// A handler that is not told that it may see a message twice cannot protect itself.
#[test]
fn after_an_owner_that_did_not_release_everything_that_follows_may_have_been_handled() {
    for (hold, expected) in [(Hold::Held, 100), (Hold::Released, 60)] {
        let taken = take_over(ME, found(cursor(6, hold, 60)), &stream(1, 100), rules());
        let TakeOver::Write { seen_up_to, .. } = taken else {
            panic!("{taken:?}")
        };
        assert_eq!(seen_up_to, expected, "{hold:?}");
    }
}

/// What retention removed must be told with a number, and what it did not must not be.
#[test]
fn messages_that_are_gone_are_reported_or_stop_the_partition() {
    let lost = |first| {
        take_over(
            ME,
            found(cursor(6, Hold::Held, 60)),
            &stream(first, 100),
            rules(),
        )
    };
    for first in [1, 60, 61] {
        assert!(
            matches!(lost(first), TakeOver::Write { report: None, .. }),
            "{first}"
        );
    }
    let TakeOver::Write {
        report: Some(report),
        cursor: taken,
        ..
    } = lost(71)
    else {
        panic!("not reported")
    };
    assert_eq!((report.lost_at_most(), taken.position), (10, 60));
    // Purged: the first sequence is behind the last.
    let TakeOver::Write {
        report: Some(report),
        ..
    } = lost(101)
    else {
        panic!("not reported")
    };
    assert_eq!(report.lost_at_most(), 40);
    let strict = Rules {
        overtaken: OnOvertaken::Stop,
        ..rules()
    };
    let stopped = take_over(
        ME,
        found(cursor(6, Hold::Held, 60)),
        &stream(71, 100),
        strict,
    );
    let overtaken = Condition::Overtaken {
        position: 60,
        first: 71,
    };
    assert_eq!(stopped, TakeOver::Stop(overtaken));
}

/// A position of another stream skips as many messages of this one as it is high.
#[test]
fn a_position_of_another_stream_is_never_used() {
    let mut old = cursor(6, Hold::Held, 60);
    old.stream_created = "sunday".to_owned();
    let stopped = take_over(ME, found(old.clone()), &stream(1, 100), rules());
    assert!(
        matches!(
            &stopped,
            TakeOver::Stop(Condition::StreamRecreated { position: 60, .. })
        ),
        "{stopped:?}"
    );
    let over = Rules {
        recreated: OnRecreated::StartOver,
        ..rules()
    };
    let begun = take_over(ME, found(old), &stream(1, 100), over);
    let TakeOver::Write {
        cursor,
        expected: 9,
        report: Some(_),
        seen_up_to: 0,
    } = begun
    else {
        panic!("{begun:?}")
    };
    assert_eq!(
        (cursor.position, cursor.stream_created.as_str()),
        (0, "monday")
    );
    let beyond = take_over(
        ME,
        found(self::cursor(6, Hold::Held, 101)),
        &stream(1, 100),
        rules(),
    );
    let rolled_back = Condition::StreamRolledBack {
        position: 101,
        last: 100,
    };
    assert_eq!(beyond, TakeOver::Stop(rolled_back));
}
