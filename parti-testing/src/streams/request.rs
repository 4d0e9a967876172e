//! What is asked of a stream and its consumers, and what is answered.
//!
//! It is separate because the stream in memory, the owners and the conformance with a real server speak it.

use parti_nats::consume::{Cursor, Found, StreamFacts, Wrote};

/// One message of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// Its sequence.
    pub sequence: u64,
    /// Its partition.
    pub partition: u32,
    /// Which of the messages of its key it is.
    pub number: u64,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Publish the `number`-th message of a partition's key.
    Publish {
        /// The partition.
        partition: u32,
        /// The number.
        number: u64,
    },
    /// What the stream looks like.
    Facts,
    /// The messages that are in the stream.
    Contents,
    /// Read a cursor from the leader.
    Load {
        /// The partition.
        partition: u32,
    },
    /// Write a cursor if it has this revision, zero for none.
    Store {
        /// The partition.
        partition: u32,
        /// The cursor.
        cursor: Cursor,
        /// The revision.
        expected: u64,
    },
    /// The names of all consumers.
    List,
    /// The least acknowledgement floor of these consumers.
    Floor(Vec<String>),
    /// Delete these consumers.
    Delete(Vec<String>),
    /// Create a consumer as the stream's retention wants it: a reader by limits, else a durable.
    Create {
        /// Its name.
        name: String,
        /// The partition; all when there is none.
        partition: Option<u32>,
        /// It delivers what comes after.
        after: u64,
    },
    /// Ask a consumer for so many messages.
    Pull {
        /// The consumer.
        name: String,
        /// How many.
        batch: usize,
    },
    /// Acknowledge a message, and wait for the confirmation.
    Acknowledge {
        /// The consumer it came from.
        name: String,
        /// Its sequence.
        sequence: u64,
        /// Its number in that consumer.
        number: u64,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The sequence of what was published.
    Published(u64),
    /// The stream.
    Facts(StreamFacts),
    /// Its messages.
    Contents(Vec<Item>),
    /// A cursor.
    Found(Found),
    /// What became of a write.
    Wrote(Wrote),
    /// Names, sorted.
    Names(Vec<String>),
    /// A floor; none when no such consumer is there.
    Floor(Option<u64>),
    /// They are gone.
    Deleted,
    /// It is there.
    Created,
    /// A work queue has another consumer for the partition.
    NotUnique,
    /// Messages with their number in the consumer.
    Delivered(Vec<(u64, Item)>),
    /// No such consumer.
    Gone,
    /// The acknowledgement was taken.
    Acknowledged,
    /// There was no answer: it happened, happens later, or never does.
    Unknown,
}
