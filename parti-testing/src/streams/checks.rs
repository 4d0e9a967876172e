//! What must hold of what was handled, stored and acknowledged, whatever failed.
//!
//! It is separate from the world since it believes nobody: it sees what the server stored, what the handlers
//! did and what a fenced target kept. What always holds: the first violation of a run is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use parti_nats::consume::{Condition, Cursor, Owner, Retention};

use super::request::Item;
use super::server::FakeStream;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// The target has every message of a key, in order, once.
    Complete,
    /// A stored position covers only what was handled.
    Covered,
    /// Tokens and positions of a cursor rise.
    Rising,
    /// Nothing is acknowledged that no stored position covers.
    AcknowledgedLate,
    /// By interest, nothing is dropped while nobody but owners deletes consumers.
    Interested,
    /// What is handled again says that it may be.
    Announced,
    /// A condition is reported only when it is so.
    Honest,
    /// When the faults are over, all is handled and stored, and what acknowledgements remove is removed.
    Drained,
}

/// Something that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What should have held.
    pub property: Property,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.property, self.what)
    }
}

/// What is known of one partition.
#[derive(Debug, Default)]
struct Partition {
    published: BTreeMap<u64, Item>,
    /// Handled by anybody.
    handled: BTreeSet<u64>,
    /// Handled by the owner of the time.
    by_owner: BTreeSet<u64>,
    /// The stored token and position.
    stored: (u64, u64),
}

/// The checks of one run.
#[derive(Debug)]
pub(super) struct Checks {
    partitions: BTreeMap<u32, Partition>,
    /// Whose message each is, by sequence.
    keys: BTreeMap<u64, u32>,
    /// The target of each key: its token, the last sequence, and the number that is due.
    targets: BTreeMap<u32, (u64, u64, u64)>,
    /// How many messages each key has.
    counts: BTreeMap<u32, u64>,
    pub(super) violation: Option<Violation>,
    /// How many handler calls repeated something.
    pub(super) repeats: u64,
}

impl Checks {
    pub(super) const fn new() -> Self {
        Self {
            partitions: BTreeMap::new(),
            keys: BTreeMap::new(),
            targets: BTreeMap::new(),
            counts: BTreeMap::new(),
            violation: None,
            repeats: 0,
        }
    }

    fn violated(&mut self, property: Property, what: String) {
        self.violation.get_or_insert(Violation { property, what });
    }

    pub(super) fn published(&mut self, item: Item, key: u32) {
        self.keys.insert(item.sequence, key);
        *self.counts.entry(key).or_default() += 1;
        let partition = self.partitions.entry(item.partition).or_default();
        partition.published.insert(item.sequence, item);
    }

    /// A handler is done with a message, and wrote it to the target.
    pub(super) fn handled(&mut self, item: Item, owner: Owner, may_repeat: bool, is_owner: bool) {
        let partition = self.partitions.entry(item.partition).or_default();
        let is_repeat = !partition.handled.insert(item.sequence);
        self.repeats += u64::from(is_repeat);
        let before = partition.by_owner.contains(&item.sequence);
        if is_owner {
            partition.by_owner.insert(item.sequence);
        }
        let key = self.keys.get(&item.sequence).copied();
        let target = self.targets.entry(key.unwrap_or_default()).or_default();
        let (token, last, due) = target;
        let mut wrong = Vec::new();
        if owner.token >= *token {
            *token = owner.token;
            if item.sequence > *last {
                *last = item.sequence;
                if item.number != *due {
                    let what = format!("{item:?} reached the target when number {due} was due");
                    wrong.push((Property::Complete, what));
                }
                *due = item.number + 1;
            }
        }
        // A late owner cannot know what its successor did: the target refuses it.
        if before && is_owner && !may_repeat {
            let what = format!("{item:?} was handled again by {owner:?}, which was not told");
            wrong.push((Property::Announced, what));
        }
        for (property, what) in wrong {
            self.violated(property, what);
        }
    }

    /// The server stored a cursor.
    pub(super) fn stored(&mut self, number: u32, cursor: &Cursor) {
        let partition = self.partitions.entry(number).or_default();
        let now = (cursor.owner.token, cursor.position);
        let (token, position) = partition.stored;
        let rises = now.0 >= token && now.1 >= position;
        let mut covered = partition.published.range(..=now.1);
        let unhandled = covered.find(|(sequence, _)| !partition.handled.contains(sequence));
        let unhandled = unhandled.map(|(_, item)| *item);
        partition.stored = now;
        if !rises {
            let what = format!(
                "partition {number}: {now:?} was stored over {:?}",
                (token, position)
            );
            self.violated(Property::Rising, what);
        }
        if let Some(item) = unhandled {
            let what = format!("{cursor:?} covers {item:?}, which nobody handled");
            self.violated(Property::Covered, what);
        }
    }

    /// The server took an acknowledgement.
    pub(super) fn acknowledged(&mut self, server: &FakeStream, sequence: u64) {
        let mut partitions = self.partitions.iter();
        let of = partitions.find(|(_, p)| p.published.contains_key(&sequence));
        let Some((number, _)) = of else { return };
        let stored = server.cursor(*number).map_or(0, |cursor| cursor.position);
        if sequence > stored {
            let what = format!("{sequence} was acknowledged, partition {number} is at {stored}");
            self.violated(Property::AcknowledgedLate, what);
        }
    }

    pub(super) fn stopped(&mut self, condition: &Condition, owner: Owner, is: Option<&Cursor>) {
        let is_fenced = matches!(condition, Condition::Fenced { .. });
        let is_so = is_fenced && is.is_some_and(|cursor| cursor.owner != owner);
        if !is_so {
            let what = format!("{owner:?} stopped: {condition}; the cursor is {is:?}");
            self.violated(Property::Honest, what);
        }
    }

    /// Nothing that has interest may be gone.
    pub(super) fn dropped(&mut self, server: &FakeStream) {
        let lost = server.dropped().iter();
        let lost = lost.filter(|item| {
            let of = self.partitions.get(&item.partition);
            of.is_none_or(|partition| !partition.handled.contains(&item.sequence))
        });
        if let Some(item) = lost.copied().next() {
            self.violated(Property::Interested, format!("{item:?} is gone, unhandled"));
        }
    }

    /// Why it is not over; nothing when all is done.
    pub(super) fn left(
        &self,
        server: &FakeStream,
        retention: Retention,
        may_stay: impl Fn(u32) -> bool,
    ) -> Option<String> {
        for (key, published) in &self.counts {
            let due = self.targets.get(key).map_or(0, |(_, _, due)| *due);
            if due != *published {
                return Some(format!("key {key}: {due} of {published} in the target"));
            }
        }
        for (number, partition) in &self.partitions {
            let last = partition.published.keys().next_back().copied();
            if partition.stored.1 < last.unwrap_or_default() {
                return Some(format!(
                    "partition {number}: stored at {:?}",
                    partition.stored
                ));
            }
        }
        let kept = server.messages().values();
        let kept: Vec<&Item> = kept.filter(|item| !may_stay(item.partition)).collect();
        let is_clean = retention == Retention::Limits || kept.is_empty();
        (!is_clean).then(|| format!("{kept:?} are still in the stream"))
    }

    pub(super) fn not_drained(&mut self, why: String) {
        self.violated(Property::Drained, why);
    }
}
