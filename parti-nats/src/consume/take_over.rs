//! Taking over a partition: from what was read to the one conditional write, or the reason not to.
//!
//! It is separate because safety hangs on it: after the write every older owner's commit fails, and a
//! position that is begun again by mistake handles everything twice or loses it. What always holds: the
//! start policy applies to a partition that never had a cursor, and to no other.

use crate::consume::condition::Condition;
use crate::consume::cursor::{Cursor, Found, Hold, Owner};

/// Where a group begins in a partition that it has never consumed. It is turned into a sequence once,
/// when the group first comes to the stream, and holds for all its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StartAt {
    /// With the first message of the stream.
    #[default]
    All,
    /// With messages published after the group was first built.
    New,
    /// With this stream sequence.
    Sequence(u64),
    /// With messages published from this time on, in nanoseconds since 1970.
    Time(u64),
}

/// What to do when the stream was created again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnRecreated {
    /// Stop with [`Condition::StreamRecreated`].
    #[default]
    Stop,
    /// Begin with the first message of the new stream.
    StartOver,
}

/// What to do when retention or a purge removed messages that were not handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnOvertaken {
    /// Report [`Condition::Overtaken`] and go on with what is there.
    #[default]
    GoOn,
    /// Stop with it.
    Stop,
}

/// What the stream looks like at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    /// When it was created, as the server says it.
    pub created: String,
    /// Its first sequence; one more than the last when it is empty. Zero where acknowledgements remove
    /// messages: what is missing there was handled.
    pub first: u64,
    /// Its last sequence, zero before the first message.
    pub last: u64,
}

/// The user's choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The position at which partitions without a cursor begin.
    pub start: u64,
    /// What to do when the stream was created again.
    pub recreated: OnRecreated,
    /// What to do when messages are gone.
    pub overtaken: OnOvertaken,
}

/// What follows from a cursor that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// Write this, if the cursor still has that revision (zero: if there never was one).
    Write {
        /// What to write.
        cursor: Cursor,
        /// The condition.
        expected: u64,
        /// Up to here messages may have been handled by the owner before; at most the position when
        /// it released the partition.
        seen_up_to: u64,
        /// What there is to report.
        report: Option<Condition>,
    },
    /// It is ours already: a write whose answer was lost was stored.
    Ours {
        /// Its revision.
        revision: u64,
        /// What it says.
        cursor: Cursor,
    },
    /// Do not consume.
    Stop(Condition),
}

/// Decides about a partition whose cursor was read.
#[must_use]
pub fn take_over(me: Owner, found: Found, stream: &StreamFacts, rules: Rules) -> TakeOver {
    match found {
        Found::Never => {
            let cursor = ours(me, rules.start, stream);
            let seen_up_to = rules.start;
            write(cursor, 0, seen_up_to, stream, rules)
        }
        Found::Deleted { revision } => TakeOver::Stop(Condition::CursorMissing {
            evidence: format!("deleted at revision {revision} of the cursors"),
        }),
        Found::Unreadable { reason } => TakeOver::Stop(Condition::CursorUnreadable { reason }),
        Found::Cursor { revision, cursor } if cursor.owner == me => {
            TakeOver::Ours { revision, cursor }
        }
        Found::Cursor { cursor, .. } if cursor.owner.token > me.token => {
            TakeOver::Stop(Condition::Fenced {
                ours: me.token,
                found: cursor.owner.token,
            })
        }
        Found::Cursor { revision, cursor } => succeed(me, revision, &cursor, stream, rules),
    }
}

/// There is a cursor of an owner that is not newer.
fn succeed(
    me: Owner,
    revision: u64,
    cursor: &Cursor,
    stream: &StreamFacts,
    rules: Rules,
) -> TakeOver {
    let position = cursor.position;
    if cursor.stream_created != stream.created {
        let condition = Condition::StreamRecreated {
            recorded: cursor.stream_created.clone(),
            found: stream.created.clone(),
            position,
        };
        return match rules.recreated {
            OnRecreated::Stop => TakeOver::Stop(condition),
            OnRecreated::StartOver => TakeOver::Write {
                cursor: ours(me, 0, stream),
                expected: revision,
                seen_up_to: 0,
                report: Some(condition),
            },
        };
    }
    if position > stream.last {
        let last = stream.last;
        return TakeOver::Stop(Condition::StreamRolledBack { position, last });
    }
    let seen_up_to = match cursor.hold {
        Hold::Held => stream.last,
        Hold::Released => position,
    };
    write(
        ours(me, position, stream),
        revision,
        seen_up_to,
        stream,
        rules,
    )
}

fn write(
    cursor: Cursor,
    expected: u64,
    seen_up_to: u64,
    stream: &StreamFacts,
    rules: Rules,
) -> TakeOver {
    let position = cursor.position;
    // A group that begins has lost nothing.
    let overtaken = expected > 0 && stream.first > position + 1;
    let first = stream.first;
    let report = overtaken.then_some(Condition::Overtaken { position, first });
    match (report, rules.overtaken) {
        (Some(condition), OnOvertaken::Stop) => TakeOver::Stop(condition),
        (report, OnOvertaken::Stop | OnOvertaken::GoOn) => TakeOver::Write {
            cursor,
            expected,
            seen_up_to,
            report,
        },
    }
}

fn ours(owner: Owner, position: u64, stream: &StreamFacts) -> Cursor {
    Cursor {
        owner,
        hold: Hold::Held,
        position,
        stream_created: stream.created.clone(),
    }
}

#[cfg(test)]
mod tests;
