//! What is asked of the leader, and by whom.
//!
//! It is separate because these records are written by people and their tools, not by the group.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::model::id::{WorkerId, WriteId};
use crate::model::partition::PartitionKey;

/// A request to the leader, or an order that every leader obeys while it holds. The leader removes it in
/// the generation that contains the request, or in the first one after the order is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The write.
    pub write: WriteId,
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: String,
    /// For how long an order holds from when the store took it, by the store's own time; `None`: until
    /// it is withdrawn. Of no meaning for a request.
    pub lasts: Option<Duration>,
    /// Where operators want partitions, if it is the record of that ([`Verb::Pin`](super::Verb::Pin)).
    pub pins: Vec<Pin>,
}

/// A partition that an operator wants at a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Which.
    pub partition: PartitionKey,
    /// Where. It is about the slot, not about one session.
    pub worker: WorkerId,
    /// Whether it is done as soon as the worker owns it: later plans may put it elsewhere.
    pub once: bool,
    /// Who wants it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When it was given, in milliseconds by the store's own time; `None` in the record it was given with, of
    /// which the store knows the time.
    pub since_ms: Option<u64>,
    /// For how long it holds from then; `None`: until it is withdrawn.
    pub lasts: Option<Duration>,
}

impl Pin {
    /// So many there may be in a group: each is planned for by hand, and all are in one record.
    pub const MOST: usize = 64;
}
