//! When positions are written, and what each answer leads to.

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn stored() -> Cursor {
    Cursor {
        owner: Owner {
            token: 7,
            nonce: 70,
        },
        hold: Hold::Held,
        position: 10,
        stream_created: "monday".to_owned(),
    }
}

fn progress() -> Progress {
    let every = NonZeroU64::new(3).expect("not zero");
    let within = seconds(5);
    Progress::new(CommitRules { every, within }, stored(), 4)
}

fn found(revision: u64, cursor: Cursor) -> Found {
    Found::Cursor { revision, cursor }
}

/// A position that is written too late is handled again after a crash, one that is written for each
/// message costs as much as the message.
#[test]
fn a_position_is_written_after_enough_messages_or_enough_time() {
    let mut progress = progress();
    assert!(!progress.is_due(seconds(100)) && progress.deadline().is_none());
    progress.handled(seconds(1), 11);
    progress.handled(seconds(2), 15);
    assert_eq!(progress.deadline(), Some(seconds(6)));
    assert!(!progress.is_due(seconds(5)) && progress.is_due(seconds(6)));
    progress.handled(seconds(3), 20);
    assert!(progress.is_due(seconds(3)), "three messages");
    let (cursor, expected) = progress.begin(Hold::Held).expect("a write");
    assert_eq!((cursor.position, expected), (20, 4));
    assert!(!progress.is_due(seconds(100)), "one write at a time");
    assert_eq!(progress.begin(Hold::Held), None);
    progress.handled(seconds(4), 21);
    assert_eq!(progress.answered(Wrote::Stored { revision: 5 }), Next::GoOn);
    assert_eq!(
        (progress.committed(), progress.deadline()),
        (20, Some(seconds(9)))
    );
    let (cursor, expected) = progress.begin(Hold::Released).expect("a write");
    assert_eq!(
        (cursor.position, expected, cursor.hold),
        (21, 5, Hold::Released)
    );
}

/// An owner that ends without having told so has its successor treat everything as handled twice.
#[test]
fn a_release_is_told_even_when_nothing_was_handled_and_nothing_else_is() {
    let mut progress = progress();
    assert_eq!(progress.begin(Hold::Held), None);
    let (cursor, _) = progress.begin(Hold::Released).expect("a write");
    assert_eq!((cursor.position, cursor.hold), (10, Hold::Released));
}

/// What the partition does not have is passed over, without a write for it alone.
#[test]
fn a_position_that_only_passed_by_is_written_with_the_next_and_never_goes_back() {
    let mut progress = progress();
    progress.passed(30);
    progress.passed(20);
    assert!(progress.deadline().is_none());
    let (cursor, _) = progress.begin(Hold::Held).expect("a write");
    assert_eq!(cursor.position, 30);
}

/// A refusal that is retried with the new revision would write over a newer owner's position.
#[test]
fn after_a_refusal_only_a_cursor_that_is_ours_goes_on() {
    for wrote in [Wrote::Refused, Wrote::Unknown] {
        let begun = || {
            let mut progress = progress();
            progress.handled(seconds(1), 11);
            let (sent, _) = progress.begin(Hold::Held).expect("a write");
            assert_eq!(progress.answered(wrote), Next::Read);
            assert_eq!(
                progress.begin(Hold::Held),
                None,
                "nothing is written unread"
            );
            (progress, sent)
        };
        // The write was stored and its answer lost.
        let (mut progress, sent) = begun();
        assert_eq!(progress.read(seconds(2), found(5, sent)), Next::GoOn);
        assert_eq!((progress.committed(), progress.deadline()), (11, None));
        // It was not stored: it is written again at once it is due.
        let (mut progress, _) = begun();
        assert_eq!(progress.read(seconds(2), found(4, stored())), Next::GoOn);
        assert_eq!(progress.deadline(), Some(seconds(7)));
        assert_eq!(
            progress.begin(Hold::Held).map(|(_, expected)| expected),
            Some(4)
        );
        // Somebody else has it: a newer owner, or a newer reader of this one.
        for owner in [
            Owner { token: 8, nonce: 1 },
            Owner {
                token: 7,
                nonce: 71,
            },
        ] {
            let (mut progress, _) = begun();
            let theirs = Cursor { owner, ..stored() };
            let fenced = Condition::Fenced {
                ours: 7,
                found: owner.token,
            };
            assert_eq!(
                progress.read(seconds(2), found(5, theirs)),
                Next::Stop(fenced)
            );
        }
        for gone in [Found::Never, Found::Deleted { revision: 6 }] {
            let (mut progress, _) = begun();
            let next = progress.read(seconds(2), gone);
            assert!(
                matches!(next, Next::Stop(Condition::CursorMissing { .. })),
                "{next:?}"
            );
        }
    }
}

/// An owner that takes over after a crash and lets go at once would hide what the crashed one had handled:
/// the next would repeat it without a word.
#[test]
fn a_release_says_so_only_when_what_was_handled_before_is_behind() {
    let mut progress = progress();
    assert_eq!(
        progress.hold_of_release(progress.position() + 2),
        Hold::Held
    );
    progress.passed(progress.position() + 2);
    assert_eq!(
        progress.hold_of_release(progress.position()),
        Hold::Released
    );
}
