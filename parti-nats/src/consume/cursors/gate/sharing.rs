//! Which partitions are shared, and when an old one has ended: the decisions of the gate.
//!
//! They are separate because they are pure: the simulator of consumption makes them, too.

use crate::consume::cursor::Found;
use crate::consume::stream::Retention;
use crate::consume::take_over::StreamFacts;

/// Whether nothing of an old partition is left to handle, nothing of it being stored any more: what its
/// cursor says, the last of its messages that the stream has, where the group began, and the stream, which
/// was looked at before the cursor was read. A work queue must have none of them any more: what was not
/// acknowledged would stay there, since the partition has no further owner.
#[must_use]
pub fn is_ended(
    found: &Found,
    last: Option<u64>,
    start: u64,
    stream: &StreamFacts,
    retention: Retention,
) -> bool {
    match (found, last) {
        (_, Some(_)) if retention == Retention::WorkQueue => false,
        (Found::Cursor { cursor, .. }, _) if cursor.stream_created != stream.created => {
            last.is_none()
        }
        (Found::Cursor { cursor, .. }, Some(last)) => cursor.position >= last,
        // What was removed may be in the hands of the owner, until its position has passed it.
        (Found::Cursor { cursor, .. }, None) => cursor.position + 1 >= stream.first,
        (Found::Never, last) => last.is_none_or(|last| last <= start),
        (Found::Deleted { .. } | Found::Unreadable { .. }, _) => false,
    }
}

/// What a group shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The numberings before this one are over.
    pub numbering: usize,
    /// The partitions.
    pub partitions: Vec<u32>,
    /// Old ones that hold up new ones.
    pub waits_for: Vec<u32>,
}

/// Which partitions are shared: of the first numbering all, of each that follows those whose keys' old
/// partitions have ended; old ones until all new ones that wait for them are there. The keys of a new
/// partition come from the old ones with the same remainder by the greatest common divisor of both numbers.
///
/// `counts` has how many partitions each numbering has, `from` is the first that is not over, `begun` says
/// whether a message of a numbering was seen, and `has_ended` what [`is_ended`] found.
///
/// # Panics
/// When there is no numbering `from`.
#[must_use]
pub fn shared(
    counts: &[u32],
    from: usize,
    begun: &dyn Fn(usize) -> bool,
    has_ended: &dyn Fn(u32) -> bool,
) -> Shared {
    let mut shared = Shared {
        numbering: from,
        partitions: Vec::new(),
        waits_for: Vec::new(),
    };
    // A message of a later numbering says the same of those before it, which may have none.
    let begun = |numbering: usize| (numbering..counts.len()).any(begun);
    let mut first: u32 = counts[..from].iter().sum();
    // By remainder: whether the partitions of this numbering are shared.
    let mut open = vec![true];
    for (numbering, count) in counts.iter().enumerate().skip(from) {
        let next = counts.get(numbering + 1);
        let classes = next.map_or(1, |next| gcd(*count, *next)) as usize;
        let mut passed = vec![next.is_some() && begun(numbering + 1); classes];
        let is_open = |number: u32| open[number as usize % open.len()];
        for number in 0..*count {
            let has_ended = is_open(number) && has_ended(first + number);
            if !has_ended {
                passed[number as usize % classes] = false;
            }
            if next.is_some() && begun(numbering + 1) && is_open(number) && !has_ended {
                shared.waits_for.push(first + number);
            }
        }
        let stays = (0..*count).filter(|n| is_open(*n) && !passed[*n as usize % classes]);
        shared.partitions.extend(stays.map(|number| first + number));
        if shared.numbering == numbering && next.is_some() && passed.iter().all(|passed| *passed) {
            shared.numbering = numbering + 1;
        }
        first += count;
        open = passed;
    }
    shared
}

const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
