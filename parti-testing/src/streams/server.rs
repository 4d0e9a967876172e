//! A stream in memory with its consumers and the bucket of its cursors, as one server has them.
//!
//! It is separate because it is held to a real server by the same [cases](super::cases). What always holds:
//! a request is one step; what a killed server forgets is chosen by the caller.

use std::collections::{BTreeMap, BTreeSet};

use parti_nats::consume::{Cursor, Found, Retention, StreamFacts, Wrote};

use super::request::{Answer, Item, Request};

const CREATED: &str = "2026-01-31T09:13:56Z";

/// What servers do differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Before 2.14 a consumer by interest keeps what it begins behind, too, as long as others keep it.
    Before214,
    /// What it does not deliver, it does not keep.
    Since214,
}

/// The server.
#[derive(Clone, Debug)]
pub struct FakeStream {
    retention: Retention,
    release: Release,
    messages: BTreeMap<u64, Item>,
    last: u64,
    consumers: BTreeMap<String, Consumer>,
    cursors: BTreeMap<u32, (u64, Cursor)>,
    /// As a follower has them.
    follower: BTreeMap<u32, (u64, Cursor)>,
    revision: u64,
    /// Published messages that nobody was interested in, or whose interest was deleted.
    dropped: BTreeSet<Item>,
    /// What the acknowledgements since the last synchronisation have removed.
    removed: BTreeMap<u64, Item>,
}

#[derive(Clone, Debug)]
struct Consumer {
    partition: Option<u32>,
    after: u64,
    state: Progress,
    /// What a killed server may go back to.
    synchronised: Progress,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    /// The number of the last delivery.
    number: u64,
    /// The last sequence that was looked at.
    looked: u64,
    floor: u64,
    pending: BTreeSet<u64>,
    again: BTreeSet<u64>,
}

impl FakeStream {
    /// An empty stream that keeps its messages like this.
    #[must_use]
    pub const fn new(retention: Retention, release: Release) -> Self {
        Self {
            retention,
            release,
            messages: BTreeMap::new(),
            last: 0,
            consumers: BTreeMap::new(),
            cursors: BTreeMap::new(),
            follower: BTreeMap::new(),
            revision: 0,
            dropped: BTreeSet::new(),
            removed: BTreeMap::new(),
        }
    }

    /// Does one request.
    pub fn serve(&mut self, request: Request) -> Answer {
        match request {
            Request::Publish { partition, number } => self.publish(partition, number),
            Request::Facts => Answer::Facts(self.facts()),
            Request::Contents => Answer::Contents(self.messages.values().copied().collect()),
            Request::Load { partition } => Answer::Found(found(&self.cursors, partition)),
            Request::Store {
                partition,
                cursor,
                expected,
            } => Answer::Wrote(self.store(partition, cursor, expected)),
            Request::List => Answer::Names(self.consumers.keys().cloned().collect()),
            Request::Floor(names) => Answer::Floor(self.floor(&names)),
            Request::Delete(names) => {
                names.iter().for_each(|name| self.delete(name));
                Answer::Deleted
            }
            Request::Create {
                name,
                partition,
                after,
            } => self.create(name, partition, after),
            Request::Pull { name, batch } => self.pull(&name, batch),
            Request::Acknowledge { name, sequence, .. } => self.acknowledge(&name, sequence),
        }
    }

    /// The cursor as a follower has it.
    pub(super) fn read_from_follower(&self, partition: u32) -> Answer {
        Answer::Found(found(&self.follower, partition))
    }

    pub(super) fn catch_up(&mut self) {
        self.follower.clone_from(&self.cursors);
    }

    /// The cursor as it is.
    pub(super) fn cursor(&self, partition: u32) -> Option<&Cursor> {
        self.cursors.get(&partition).map(|(_, cursor)| cursor)
    }

    pub(super) const fn dropped(&self) -> &BTreeSet<Item> {
        &self.dropped
    }

    pub(super) const fn messages(&self) -> &BTreeMap<u64, Item> {
        &self.messages
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.consumers.keys().cloned().collect()
    }

    /// Consumers are written to the disk.
    pub(super) fn synchronise(&mut self) {
        for consumer in self.consumers.values_mut() {
            consumer.synchronised = consumer.state.clone();
        }
        self.removed.clear();
    }

    /// It is killed and comes back: readers in memory are gone, and durables may have forgotten what they
    /// did since they were synchronised, with what that removed.
    pub(super) fn restart(&mut self, mut forgets: impl FnMut() -> bool) {
        if self.retention == Retention::Limits {
            self.consumers.clear();
            return;
        }
        for consumer in self.consumers.values_mut().filter(|_| forgets()) {
            consumer.state = consumer.synchronised.clone();
            let back: Vec<u64> = self
                .removed
                .values()
                .filter(|item| consumer.matches(item) && item.sequence > consumer.state.floor)
                .map(|item| item.sequence)
                .collect();
            for sequence in back {
                if let Some(item) = self.removed.remove(&sequence) {
                    self.messages.insert(sequence, item);
                }
            }
        }
        self.synchronise();
    }

    /// What a consumer has delivered and was not acknowledged is delivered again.
    pub(super) fn acknowledgements_are_late(&mut self) {
        for consumer in self.consumers.values_mut() {
            let state = &mut consumer.state;
            state.again.extend(&state.pending);
        }
    }

    fn publish(&mut self, partition: u32, number: u64) -> Answer {
        self.last += 1;
        let item = Item {
            sequence: self.last,
            partition,
            number,
        };
        let wanted = self.retention != Retention::Interest
            || self
                .consumers
                .values()
                .any(|consumer| consumer.matches(&item));
        if wanted {
            self.messages.insert(item.sequence, item);
        } else {
            self.dropped.insert(item);
        }
        Answer::Published(item.sequence)
    }

    pub(super) fn facts(&self) -> StreamFacts {
        let first = self.messages.keys().next().copied();
        let first = match self.retention {
            Retention::Limits => first.unwrap_or(self.last + 1),
            Retention::WorkQueue | Retention::Interest => 0,
        };
        StreamFacts {
            created: CREATED.to_owned(),
            first,
            last: self.last,
        }
    }

    fn store(&mut self, partition: u32, cursor: Cursor, expected: u64) -> Wrote {
        let is = self.cursors.get(&partition).map_or(0, |(is, _)| *is);
        if is != expected {
            return Wrote::Refused;
        }
        self.revision += 1;
        let revision = self.revision;
        self.cursors.insert(partition, (revision, cursor));
        Wrote::Stored { revision }
    }

    fn create(&mut self, name: String, partition: Option<u32>, after: u64) -> Answer {
        let same = self.consumers.contains_key(&name);
        if same {
            // The same once more changes nothing.
            return Answer::Created;
        }
        let after = match self.retention {
            Retention::Limits | Retention::Interest => after,
            Retention::WorkQueue if self.overlaps(partition) => return Answer::NotUnique,
            Retention::WorkQueue => 0,
        };
        let state = Progress {
            looked: after,
            ..Progress::default()
        };
        let consumer = Consumer {
            partition,
            after,
            synchronised: state.clone(),
            state,
        };
        self.consumers.insert(name, consumer);
        Answer::Created
    }

    fn overlaps(&self, partition: Option<u32>) -> bool {
        let mut others = self.consumers.values();
        others.any(|other| {
            other.partition.is_none() || partition.is_none() || other.partition == partition
        })
    }

    fn delete(&mut self, name: &str) {
        let Some(gone) = self.consumers.remove(name) else {
            return;
        };
        if self.retention != Retention::Interest {
            return;
        }
        let all = self.messages.values();
        let freed = all.filter(|item| gone.needs(item, self.release) && !self.is_needed(item));
        for item in freed.copied().collect::<Vec<Item>>() {
            self.messages.remove(&item.sequence);
            self.dropped.insert(item);
        }
    }

    fn is_needed(&self, item: &Item) -> bool {
        let mut all = self.consumers.values();
        all.any(|consumer| consumer.needs(item, self.release))
    }

    fn floor(&self, names: &[String]) -> Option<u64> {
        let there = names.iter().filter_map(|name| self.consumers.get(name));
        there
            .map(|consumer| consumer.state.floor.max(consumer.after))
            .min()
    }

    fn pull(&mut self, name: &str, batch: usize) -> Answer {
        let Some(consumer) = self.consumers.get_mut(name) else {
            return Answer::Gone;
        };
        let mut delivered = Vec::new();
        while delivered.len() < batch {
            let again = consumer.state.again.pop_first();
            let next = again.or_else(|| {
                let later = self.messages.range(consumer.state.looked + 1..);
                let mut ours = later.filter(|(_, item)| consumer.matches(item));
                ours.next().map(|(sequence, _)| *sequence)
            });
            let Some(sequence) = next else { break };
            let state = &mut consumer.state;
            state.looked = state.looked.max(sequence);
            // What was acknowledged or removed meanwhile is left out.
            let Some(item) = self.messages.get(&sequence) else {
                state.pending.remove(&sequence);
                continue;
            };
            state.number += 1;
            if self.retention != Retention::Limits {
                state.pending.insert(sequence);
            }
            delivered.push((state.number, *item));
        }
        Answer::Delivered(delivered)
    }

    fn acknowledge(&mut self, name: &str, sequence: u64) -> Answer {
        let Some(consumer) = self.consumers.get_mut(name) else {
            return Answer::Gone;
        };
        let state = &mut consumer.state;
        let done: Vec<u64> = match self.retention {
            Retention::Limits => return Answer::Acknowledged,
            Retention::WorkQueue => vec![sequence],
            Retention::Interest => {
                state.looked = state.looked.max(sequence);
                let before = state.floor + 1;
                state.floor = state.floor.max(sequence);
                (before..=sequence).collect()
            }
        };
        for sequence in &done {
            state.pending.remove(sequence);
            state.again.remove(sequence);
        }
        if self.retention == Retention::WorkQueue {
            let held = state
                .pending
                .first()
                .map_or(state.looked, |first| first - 1);
            state.floor = state.floor.max(held);
        }
        for sequence in done {
            let Some(item) = self.messages.get(&sequence).copied() else {
                continue;
            };
            let is_free = self.retention == Retention::WorkQueue || !self.is_needed(&item);
            if is_free {
                self.messages.remove(&sequence);
                self.removed.insert(sequence, item);
            }
        }
        Answer::Acknowledged
    }
}

impl Consumer {
    fn matches(&self, item: &Item) -> bool {
        self.partition
            .is_none_or(|partition| partition == item.partition)
    }

    fn needs(&self, item: &Item, release: Release) -> bool {
        let floor = match release {
            // Until it has acknowledged something later.
            Release::Before214 => self.state.floor,
            Release::Since214 => self.state.floor.max(self.after),
        };
        self.matches(item) && item.sequence > floor
    }
}

fn found(cursors: &BTreeMap<u32, (u64, Cursor)>, partition: u32) -> Found {
    match cursors.get(&partition) {
        None => Found::Never,
        Some((revision, cursor)) => Found::Cursor {
            revision: *revision,
            cursor: cursor.clone(),
        },
    }
}
