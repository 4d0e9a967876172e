//! The stream's numberings: keys, the partitions they have in each, and the gate that shares new ones.
//!
//! It is separate from the world's other steps because it is what a leader does. What always holds: the gate
//! decides with [`shared`] and [`is_ended`] as production does, and asks for one thing at a time, while
//! everything else goes on.

use std::collections::{BTreeMap, BTreeSet};

use parti_nats::consume::{DurableName, Retention, StreamFacts, is_ended, shared};

use super::World;
use crate::kit::random::Random;
use crate::streams::planted::Bug;
use crate::streams::request::{Answer, Request};

/// How many numberings a stream comes to have, at most.
const MOST: usize = 3;

/// The numberings of a stream, and what the leader knows of them.
pub(super) struct Numberings {
    /// How many partitions each has that the stream comes to have.
    counts: Vec<u32>,
    /// The last that is written down: what the leader knows.
    written: usize,
    /// Which one the transform has now.
    current: usize,
    /// How many keys there are.
    keys: u32,
    /// The numberings that a message was seen of.
    begun: BTreeSet<usize>,
    ended: BTreeSet<u32>,
    last: BTreeMap<u32, u64>,
    look: Option<Look>,
}

/// A look at one old partition, as far as it is.
struct Look {
    partition: u32,
    facts: StreamFacts,
    last: Option<Option<u64>>,
}

impl Numberings {
    pub(super) fn new(random: &mut Random) -> Self {
        let first = 1 + random.below(3) as u32;
        let more = if random.below(2) == 0 {
            0
        } else {
            1 + random.below(MOST as u64 - 1)
        };
        let later = (0..more).map(|_| 1 + random.below(4) as u32);
        let counts: Vec<u32> = std::iter::once(first).chain(later).collect();
        let most = counts.iter().max().copied().unwrap_or(first);
        // Without another numbering a key for each partition shows all there is to see.
        let keys = if more == 0 { first } else { most + 2 };
        Self {
            counts,
            written: 0,
            current: 0,
            keys,
            begun: BTreeSet::new(),
            ended: BTreeSet::new(),
            last: BTreeMap::new(),
            look: None,
        }
    }

    /// A key, and its partition as messages are stored now.
    pub(super) fn choose(&self, random: &mut Random) -> (u32, u32) {
        let key = random.below(u64::from(self.keys)) as u32;
        let first = self.range(self.current).start;
        (key, first + key % self.counts[self.current])
    }

    /// The numbers of a numbering's partitions.
    fn range(&self, numbering: usize) -> std::ops::Range<u32> {
        let first: u32 = self.counts[..numbering].iter().sum();
        first..first + self.counts[numbering]
    }

    /// What the leader lists.
    pub(super) fn listed(&self, bug: Option<Bug>) -> BTreeSet<u32> {
        let counts = &self.counts[..=self.written];
        let begun = |numbering: usize| self.begun.contains(&numbering);
        let has_ended =
            |partition: u32| bug == Some(Bug::GateOpen) || self.ended.contains(&partition);
        let shared = shared(counts, 0, &begun, &has_ended);
        shared.partitions.into_iter().collect()
    }

    /// Old partitions that are waited for.
    fn waits_for(&self) -> Vec<u32> {
        let begun = |numbering: usize| self.begun.contains(&numbering);
        let counts = &self.counts[..=self.written];
        let shared = shared(counts, 0, &begun, &|p| self.ended.contains(&p));
        shared.waits_for
    }
}

impl World {
    /// A numbering is written down, and later the transform is changed: from then on messages are stored in
    /// its partitions.
    pub(super) fn repartition(&mut self) {
        let numberings = &mut self.numberings;
        if numberings.current < numberings.written {
            numberings.current += 1;
            let range = numberings.range(numberings.current);
            self.note(|| format!("messages are stored in the partitions {range:?} now"));
            return;
        }
        if numberings.written + 1 == numberings.counts.len() {
            return;
        }
        numberings.written += 1;
        if self.bug == Some(Bug::GateNotBegun) {
            numberings.begun.insert(numberings.written);
        }
        let next = numberings.range(numberings.written);
        self.note(|| format!("the partitions {next:?} are written down"));
        // By interest the durables are there before.
        self.found(next);
    }

    /// The leader looks at one thing.
    pub(super) fn look_at_the_gate(&mut self) {
        self.see_begun();
        let Some(mut look) = self.numberings.look.take() else {
            let waits = self.numberings.waits_for();
            let Some(partition) = self.pick(waits.len()).map(|pick| waits[pick]) else {
                return self.list();
            };
            let facts = self.server.facts();
            let known = self.numberings.last.get(&partition);
            let known = known.filter(|_| self.retention != Retention::WorkQueue);
            let last = known.copied().map(Some);
            self.numberings.look = Some(Look {
                partition,
                facts,
                last,
            });
            return;
        };
        let partition = look.partition;
        let Some(last) = look.last else {
            let all = self.server.messages().values();
            let ours = all.filter(|item| item.partition == partition);
            look.last = Some(ours.map(|item| item.sequence).next_back());
            self.numberings.look = Some(look);
            return;
        };
        let Answer::Found(found) = self.server.serve(Request::Load { partition }) else {
            return;
        };
        if let Some(last) = last {
            self.numberings.last.insert(partition, last);
        }
        if is_ended(&found, last, 0, &look.facts, self.retention) {
            self.note(|| format!("partition {partition} has ended: {last:?}, {found:?}"));
            self.numberings.ended.insert(partition);
        }
        self.list();
    }

    /// A message of a numbering is stored, so nothing older follows. By retention that removes, the leader
    /// may miss it until there is another.
    fn see_begun(&mut self) {
        for numbering in 1..=self.numberings.current {
            let range = self.numberings.range(numbering);
            let mut all = self.server.messages().values();
            if all.any(|item| range.contains(&item.partition)) {
                self.numberings.begun.insert(numbering);
            }
        }
    }

    /// What is not listed any more is revoked; what is new can be granted.
    fn list(&mut self) {
        let listed = self.numberings.listed(self.bug);
        let gone = self
            .owners
            .iter()
            .filter(|(partition, _)| !listed.contains(partition));
        let gone: Vec<(u32, Option<u64>)> = gone.map(|(p, lane)| (*p, *lane)).collect();
        for (partition, lane) in gone {
            match lane.and_then(|lane| self.lanes.get_mut(&lane)) {
                Some(lane) => lane.revoke(),
                None => {
                    self.owners.remove(&partition);
                    self.clean(partition);
                }
            }
        }
        let known: BTreeSet<u32> = self.owners.keys().copied().collect();
        for partition in listed.difference(&known) {
            self.owners.insert(*partition, None);
            self.note(|| format!("partition {partition} is listed"));
        }
    }

    /// By interest the durables of a partition that is over are deleted.
    fn clean(&mut self, partition: u32) {
        if self.retention != Retention::Interest || self.bug == Some(Bug::OldDurablesStay) {
            return;
        }
        let of = |name: &String| {
            DurableName::parse(name).is_some_and(|name| name.partition == partition)
        };
        let names = self.server.names().into_iter().filter(of).collect();
        self.note(|| format!("the durables of {partition} are deleted: {names:?}"));
        self.server.serve(Request::Delete(names));
    }

    /// Whether nothing is to be shared any more that could be, which a message of each numbering begins.
    pub(super) fn is_shared(&self) -> bool {
        let listed = self.numberings.listed(self.bug);
        self.numberings.waits_for().is_empty() && self.owners.keys().copied().eq(listed)
    }
}
