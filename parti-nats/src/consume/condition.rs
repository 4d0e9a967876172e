//! What can be wrong with a partition of a stream, by name, with the numbers that say how much.
//!
//! It is separate because operators meet these words in logs, in the health and in errors: each says
//! what was found, what was expected, and what happens next.

use std::fmt;

/// Why a partition is not consumed, or was consumed with a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// A newer owner has written the cursor: this one's commits are refused, and it has ended.
    Fenced {
        /// Our token.
        ours: u64,
        /// The token in the cursor.
        found: u64,
    },
    /// The cursor of a partition that had one is not there. The start policy is not applied again;
    /// write a cursor by hand or consume under another group.
    CursorMissing {
        /// What shows that there was one.
        evidence: String,
    },
    /// The cursor cannot be read: written by a newer release, or by somebody else.
    CursorUnreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// The stream is not there.
    StreamMissing {
        /// Its name.
        stream: String,
    },
    /// The stream was deleted and created again: positions of the old one mean nothing in it.
    StreamRecreated {
        /// When the stream of the cursor was created.
        recorded: String,
        /// When this one was.
        found: String,
        /// The position in the old one.
        position: u64,
    },
    /// The cursor is beyond the end of the stream: it was restored from a backup.
    StreamRolledBack {
        /// The position of the cursor.
        position: u64,
        /// The last sequence of the stream.
        last: u64,
    },
    /// The stream's retention or a purge removed messages that were not handled.
    Overtaken {
        /// The position of the cursor.
        position: u64,
        /// The first sequence that is still there.
        first: u64,
    },
    /// No consumer of the group was interested in the partition: what was published meanwhile is lost.
    InterestLost {
        /// Up to where messages were delivered.
        position: u64,
        /// The last sequence of the stream.
        last: u64,
    },
    /// A message failed as often as it may, and the policy is to stop.
    Poisoned {
        /// The message.
        sequence: u64,
        /// How often it was tried.
        attempts: u32,
        /// Why it failed last.
        reason: String,
    },
    /// A limit of the server, the account or the stream is reached, such as the stream's `max_consumers`.
    LimitReached {
        /// What was asked.
        what: String,
        /// The server's words.
        reason: String,
    },
    /// The server does not do what is asked for.
    Refused {
        /// What was asked.
        what: String,
        /// Its words.
        reason: String,
    },
}

impl Condition {
    /// A short name for logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Fenced { .. } => "fenced",
            Self::CursorMissing { .. } => "cursor_missing",
            Self::CursorUnreadable { .. } => "cursor_unreadable",
            Self::StreamMissing { .. } => "stream_missing",
            Self::StreamRecreated { .. } => "stream_recreated",
            Self::StreamRolledBack { .. } => "stream_rolled_back",
            Self::Overtaken { .. } => "overtaken",
            Self::InterestLost { .. } => "interest_lost",
            Self::Poisoned { .. } => "poisoned",
            Self::LimitReached { .. } => "limit_reached",
            Self::Refused { .. } => "refused",
        }
    }

    /// Whether it is over as soon as the server does what is asked for: nothing of the partition's own is
    /// wrong.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(
            self,
            Self::StreamMissing { .. } | Self::LimitReached { .. } | Self::Refused { .. }
        )
    }

    /// How many messages are lost at most, if it tells of a loss: sequences of other partitions
    /// are counted, too.
    #[must_use]
    pub const fn lost_at_most(&self) -> u64 {
        if let Self::InterestLost { position, last } = self {
            return last.saturating_sub(*position);
        }
        if let Self::Overtaken { position, first } = self {
            return first.saturating_sub(*position + 1);
        }
        0
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced { ours, found } => {
                write!(f, "fenced: the cursor has token {found}, ours is {ours}")
            }
            Self::CursorMissing { evidence } => write!(
                f,
                "the cursor is gone ({evidence}); it is not begun again by itself"
            ),
            Self::CursorUnreadable { reason } => {
                write!(f, "the cursor cannot be read: {reason}")
            }
            Self::StreamMissing { stream } => write!(f, "there is no stream {stream}"),
            Self::StreamRecreated {
                recorded,
                found,
                position,
            } => write!(
                f,
                "the stream was created at {found}, the cursor (position {position}) is of one \
                 created at {recorded}"
            ),
            Self::StreamRolledBack { position, last } => write!(
                f,
                "the cursor is at {position}, the stream ends at {last}: it was rolled back"
            ),
            Self::Overtaken { position, first } => write!(
                f,
                "the stream begins at {first}, the cursor is at {position}: at most {} messages \
                 are lost",
                self.lost_at_most()
            ),
            Self::InterestLost { position, last } => write!(
                f,
                "no consumer was interested in the partition after {position}, the stream ends at \
                 {last}: at most {} messages are lost",
                self.lost_at_most()
            ),
            Self::Poisoned {
                sequence,
                attempts,
                reason,
            } => write!(
                f,
                "message {sequence} failed {attempts} times, last: {reason}"
            ),
            Self::LimitReached { what, reason } => {
                write!(f, "{what} is beyond a limit: {reason}")
            }
            Self::Refused { what, reason } => write!(f, "{what} was refused: {reason}"),
        }
    }
}

impl std::error::Error for Condition {}
