//! The agenda of a run: what happens when, in an order that does not depend on anything but the plan.
//!
//! Things of the same instant happen in the order in which they were planned.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use parti_core::{
    Epoch, Event, Grant, Instant, OpId, Revision, StoreOp, WatchEvent, WatchId, WatchScope,
};

use crate::simulator::checks::{Process, Stage};
use crate::simulator::group::node::Input;

/// Something that will happen.
#[derive(Clone, Debug)]
pub(in crate::simulator) enum Item {
    /// A node's next process starts.
    Start { node: usize },
    /// A core is called because time passed.
    Wake { process: Process },
    /// A core is called although nothing is due.
    Nudge { process: Process },
    /// A core is told something.
    Deliver { process: Process, event: Event },
    /// A slow process gets round to something.
    Turn { process: Process, input: Input },
    /// A process dies.
    Die { process: Process },
    /// A callback has ended.
    Release {
        process: Process,
        grants: Vec<Grant>,
    },
    /// A handler has failed to begin with a partition, or has begun after all.
    Attempt { process: Process, grant: Grant },
    /// A request reaches the store.
    Arrive {
        process: Process,
        op: Option<OpId>,
        request: StoreOp,
        number: u64,
        answer_by: Instant,
    },
    /// The wish for a watch reaches the store.
    Subscribe {
        process: Process,
        id: WatchId,
        scope: WatchScope,
        number: u64,
    },
    /// A watch event reaches its process.
    Watched {
        process: Process,
        id: WatchId,
        event: WatchEvent,
        skippable: bool,
    },
    /// The next action of the plan is due.
    Act { index: usize },
    /// A worker of a later release renews its session, if nobody has touched it.
    Alien {
        worker: u32,
        epoch: Epoch,
        last: Revision,
        until: Instant,
    },
    /// The store takes large values again.
    Unlimited,
    /// A paused process may go on.
    Resume { node: usize },
    /// A process that throttled stands still again.
    Throttle { node: usize },
    /// Every fault ends.
    Heal,
    /// Look whether the group has settled.
    Look,
    /// The time for a step of the recovery is over.
    Milestone { stage: Stage },
    /// The group must have settled.
    Due,
    /// The calm is over.
    Over,
}

/// A place on the agenda. The items lie elsewhere: they are large, and a heap moves its entries.
struct Entry {
    at: Instant,
    seq: u64,
    slot: usize,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

#[derive(Default)]
pub(in crate::simulator) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    items: Vec<Option<Item>>,
    free: Vec<usize>,
    seq: u64,
}

impl Queue {
    pub(in crate::simulator) fn push(&mut self, at: Instant, item: Item) {
        self.seq += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            self.items.len() - 1
        });
        self.items[slot] = Some(item);
        self.heap.push(Reverse(Entry {
            at,
            seq: self.seq,
            slot,
        }));
    }

    pub(in crate::simulator) fn pop(&mut self) -> Option<(Instant, Item)> {
        let Reverse(entry) = self.heap.pop()?;
        self.free.push(entry.slot);
        Some((entry.at, self.items[entry.slot].take()?))
    }
}
