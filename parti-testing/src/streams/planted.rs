//! Bugs that owners can be made to have, to prove that the checks find them.
//!
//! They are separate from the owners as they are named in documents and on command lines. What always holds:
//! a bug is a wrong use of the decisions of [`parti_nats::consume`], which stay as they are.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// Messages are acknowledged when they were handled, before their position is stored.
    AcknowledgedEarly,
    /// A position is offered to be stored when its message is begun.
    PositionEarly,
    /// All owners of a partition use one name for their consumers.
    NameReused,
    /// What a reader delivers is believed although its numbers have a gap, or went back.
    StaleReaderBelieved,
    /// By interest, older consumers are deleted before the newer is created.
    InterestEmptied,
    /// Cursors are read from a follower.
    FollowerRead,
    /// A message that left the queue unhandled counts as handled.
    DroppedCounts,
    /// A write without an answer counts as stored.
    UnknownIsStored,
    /// An owner that lets go says that nothing after its position was handled, though the owner before it
    /// may have.
    ReleasedEarly,
    /// The stream is looked at before the cursor is read.
    StreamFirst,
    /// What comes from a newer durable is not compared with what is known.
    RepeatsBelieved,
    /// New partitions are shared without waiting for the old ones of their keys.
    GateOpen,
    /// A numbering counts as begun before a message of it was seen.
    GateNotBegun,
    /// By interest, the durables of partitions that are over are left.
    OldDurablesStay,
}

impl Bug {
    /// All that are hunted; [`Bug::StreamFirst`] is too rare.
    pub const ALL: [Self; 13] = [
        Self::AcknowledgedEarly,
        Self::PositionEarly,
        Self::NameReused,
        Self::StaleReaderBelieved,
        Self::InterestEmptied,
        Self::FollowerRead,
        Self::DroppedCounts,
        Self::UnknownIsStored,
        Self::ReleasedEarly,
        Self::RepeatsBelieved,
        Self::GateOpen,
        Self::GateNotBegun,
        Self::OldDurablesStay,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AcknowledgedEarly => "acknowledged-early",
            Self::PositionEarly => "position-early",
            Self::NameReused => "name-reused",
            Self::StaleReaderBelieved => "stale-reader-believed",
            Self::InterestEmptied => "interest-emptied",
            Self::FollowerRead => "follower-read",
            Self::DroppedCounts => "dropped-counts",
            Self::UnknownIsStored => "unknown-is-stored",
            Self::ReleasedEarly => "released-early",
            Self::StreamFirst => "stream-first",
            Self::RepeatsBelieved => "repeats-believed",
            Self::GateOpen => "gate-open",
            Self::GateNotBegun => "gate-not-begun",
            Self::OldDurablesStay => "old-durables-stay",
        }
    }
}
