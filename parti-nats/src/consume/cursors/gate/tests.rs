//! What is shared between two numberings, by table: a key's order hangs on each line.

use super::*;
use crate::consume::cursor::Found;
use crate::consume::cursor::{Cursor, Hold, Owner};
use crate::consume::layout::partition_of;
use crate::consume::take_over::StreamFacts;

fn look(counts: &[u32], begun: usize, ended: &[u32]) -> (usize, Vec<u32>, Vec<u32>) {
    let shared = shared(counts, 0, &|numbering| numbering <= begun, &|p| {
        ended.contains(&p)
    });
    (shared.numbering, shared.partitions, shared.waits_for)
}

/// A new partition that begins before its keys' old ones have ended handles them out of order.
#[test]
fn a_new_partition_is_shared_when_its_old_ones_have_ended() {
    // Twice as many: one old partition each.
    assert_eq!(look(&[2, 4], 0, &[0, 1]), (0, vec![0, 1], vec![]));
    assert_eq!(look(&[2, 4], 1, &[]), (0, vec![0, 1], vec![0, 1]));
    assert_eq!(look(&[2, 4], 1, &[1]), (0, vec![0, 3, 5], vec![0]));
    assert_eq!(look(&[2, 4], 1, &[0, 1]), (1, vec![2, 3, 4, 5], vec![]));
    // Half as many: two each.
    assert_eq!(look(&[4, 2], 1, &[0]), (0, vec![0, 1, 2, 3], vec![1, 2, 3]));
    assert_eq!(look(&[4, 2], 1, &[0, 2]), (0, vec![1, 3, 4], vec![1, 3]));
    // No common divisor: all of them.
    assert_eq!(look(&[2, 3], 1, &[0]), (0, vec![0, 1], vec![1]));
    assert_eq!(look(&[2, 3], 1, &[0, 1]), (1, vec![2, 3, 4], vec![]));
}

/// Two re-partitions without a message between them: nothing says that the first has begun but the second.
#[test]
fn a_numbering_without_messages_holds_up_nothing() {
    let only_the_last = |numbering: usize| numbering == 2;
    let waiting = shared(&[1, 2, 2], 0, &only_the_last, &|_| false);
    assert_eq!(waiting.waits_for, [0]);
    let open = shared(&[1, 2, 2], 0, &only_the_last, &|partition| partition < 3);
    assert_eq!((open.numbering, open.partitions), (2, vec![3, 4]));
}

/// A key without messages in the middle numbering must not overtake those it has in the first.
#[test]
fn what_is_not_shared_has_not_ended() {
    let counts = [1, 2, 4];
    // Nothing of the second numbering is left to handle, but of the first there is.
    assert_eq!(look(&counts, 2, &[1, 2]), (0, vec![0], vec![0]));
    assert_eq!(look(&counts, 2, &[0, 1]), (1, vec![2, 3, 5], vec![2]));
    assert_eq!(look(&counts, 2, &[0, 1, 2]), (2, vec![3, 4, 5, 6], vec![]));
}

/// Whatever the numbers, the old partition of a key is among those that its new one waits for.
#[test]
fn a_keys_old_partition_is_always_waited_for() {
    for (old, new) in [(2, 4), (4, 2), (6, 4), (64, 96), (7, 5), (1, 9), (9, 1)] {
        for key in 0..200 {
            let key = format!("key-{key}");
            let mine = partition_of(&key, old);
            let others: Vec<u32> = (0..old).filter(|number| *number != mine).collect();
            let (_, partitions, _) = look(&[old, new], 1, &others);
            let new = old + partition_of(&key, new);
            assert!(!partitions.contains(&new), "{key}: {old} to {new}");
        }
    }
}

/// Every message of an old partition counts, also one that nobody has looked at yet.
#[test]
fn a_partition_has_ended_when_its_cursor_covers_its_last_message() {
    let cursor = |position, created: &str| Found::Cursor {
        revision: 1,
        cursor: Cursor {
            owner: Owner { token: 1, nonce: 1 },
            hold: Hold::Held,
            position,
            stream_created: created.to_owned(),
        },
    };
    let stream = |first| StreamFacts {
        created: "now".to_owned(),
        first,
        last: 100,
    };
    let deleted = Found::Deleted { revision: 1 };
    let cases = [
        (cursor(49, "now"), Some(50), 0, 1, false),
        (cursor(50, "now"), Some(50), 0, 1, true),
        (cursor(50, "before"), Some(50), 0, 1, false),
        (cursor(50, "before"), None, 0, 1, true),
        // Removed by limits: its owner may still work on it.
        (cursor(49, "now"), None, 0, 60, false),
        (cursor(59, "now"), None, 0, 60, true),
        (Found::Never, Some(50), 49, 1, false),
        (Found::Never, Some(50), 50, 1, true),
        (Found::Never, None, 0, 1, true),
        (deleted, None, 0, 1, false),
    ];
    for (found, last, start, first, wanted) in cases {
        let stream = stream(first);
        for retention in [Retention::Limits, Retention::Interest] {
            let ended = is_ended(&found, last, start, &stream, retention);
            assert_eq!(ended, wanted, "{found:?} {last:?} {start} {first}");
        }
        // What is not acknowledged would stay in a queue for ever.
        let ended = is_ended(&found, last, start, &stream, Retention::WorkQueue);
        assert_eq!(ended, wanted && last.is_none(), "{found:?} {last:?}");
    }
}
