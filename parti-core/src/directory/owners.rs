//! Who owns which partition: an index for callers that look up one key at a time, very often.
//!
//! It is separate because it is made to be shared: a clone is a snapshot that never changes, and costs
//! as much as its list of shards. What always holds: of two records that grant the same partition,
//! as one reads them between the writes of one commit, the higher token counts.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::model::endpoint::Endpoint;
use crate::model::id::{Token, Version, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::table::hash_key;
use crate::records::record::RecordGrant;

/// How many shards there are: a change copies those it touches, a snapshot their list. A power of two.
const SHARDS: usize = 1024;

/// Whose a partition is, as the reader knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ownership {
    /// The worker.
    pub worker: WorkerId,
    /// Where it can be reached, if it says so.
    pub endpoint: Option<Endpoint>,
    /// The fencing token, which is the version at which this ownership began.
    pub token: Token,
    /// The version of the worker's assignment that says so.
    pub version: Version,
}

/// Who owns which partition. A clone is a snapshot.
#[derive(Clone, Debug)]
pub struct Owners {
    shards: Vec<Arc<Vec<Slot>>>,
    holders: Arc<Vec<Holder>>,
    len: usize,
}

/// A worker, as far as it concerns the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) worker: WorkerId,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) version: Version,
    /// Whether the session its assignment is for lives.
    pub(super) living: bool,
}

#[derive(Clone, Debug)]
struct Slot {
    hash: u64,
    key: PartitionKey,
    token: Token,
    holder: u32,
}

/// A partition whose holder is another one now.
pub(super) struct Moved {
    pub(super) key: PartitionKey,
    pub(super) from: Option<WorkerId>,
    pub(super) to: Option<(WorkerId, Token)>,
}

impl Default for Owners {
    fn default() -> Self {
        let empty = Arc::new(Vec::new());
        Self {
            shards: alloc::vec![empty; SHARDS],
            holders: Arc::default(),
            len: 0,
        }
    }
}

impl Owners {
    /// Whose a partition is. `None`: nobody's, on its way, of a worker whose session has ended, or not
    /// a partition of the group.
    #[must_use]
    pub fn owner_of(&self, key: &PartitionKey) -> Option<Ownership> {
        let hash = hash_key(key);
        let slot = self.find(hash, key)?;
        let holder = &self.holders[slot.holder as usize];
        holder.living.then(|| Ownership {
            worker: holder.worker.clone(),
            endpoint: holder.endpoint.clone(),
            token: slot.token,
            version: holder.version,
        })
    }

    /// Whether a partition is granted to somebody, of whichever session.
    pub(super) fn holds(&self, key: &PartitionKey) -> bool {
        self.find(hash_key(key), key).is_some()
    }

    /// How many partitions are granted to somebody.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is granted to anybody.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every partition that is granted, in no order, with its token and holder.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PartitionKey, Token, &Holder)> {
        let slots = self.shards.iter().flat_map(|shard| shard.iter());
        slots.map(|slot| (&slot.key, slot.token, &self.holders[slot.holder as usize]))
    }

    fn find(&self, hash: u64, key: &PartitionKey) -> Option<&Slot> {
        let shard = &self.shards[shard_of(hash)];
        let from = shard.partition_point(|slot| slot.hash < hash);
        let alike = shard[from..].iter().take_while(|slot| slot.hash == hash);
        alike.into_iter().find(|slot| slot.key == *key)
    }
}

const fn shard_of(hash: u64) -> usize {
    // The lowest bits; within a shard, slots are ordered by the rest.
    (hash as usize) & (SHARDS - 1)
}

/// The index as the directory keeps it, with what a snapshot does not need.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) owners: Owners,
    numbers: BTreeMap<WorkerId, u32>,
    /// Grants of partitions that somebody else has with a higher token.
    outbid: BTreeMap<PartitionKey, BTreeMap<u32, Token>>,
}

impl Ledger {
    /// What is known of a worker has changed. Whether anything a reader sees is another.
    pub(super) fn describe(&mut self, holder: Holder) -> bool {
        let number = self.number(&holder.worker);
        let before = &self.owners.holders[number as usize];
        let changed = *before != holder;
        if changed {
            Arc::make_mut(&mut self.owners.holders)[number as usize] = holder;
        }
        changed
    }

    /// A worker's grants are other ones now.
    pub(super) fn regrant(
        &mut self,
        worker: &WorkerId,
        before: &[RecordGrant],
        after: &[RecordGrant],
    ) -> Vec<Moved> {
        let number = self.number(worker);
        let mut moved = Vec::new();
        let kept: BTreeSet<&str> = after.iter().map(|g| g.partition.encoded()).collect();
        let gone = before.iter().map(|grant| &grant.partition);
        for key in gone.filter(|key| !kept.contains(key.encoded())) {
            moved.extend(self.withdraw(key, number));
        }
        let known: BTreeMap<&str, Token> = before
            .iter()
            .map(|grant| (grant.partition.encoded(), grant.token))
            .collect();
        for grant in after {
            if known.get(grant.partition.encoded()) != Some(&grant.token) {
                moved.extend(self.grant(&grant.partition, grant.token, number));
            }
        }
        moved
    }

    fn grant(&mut self, key: &PartitionKey, token: Token, number: u32) -> Option<Moved> {
        let hash = hash_key(key);
        let before = self.owners.find(hash, key);
        let before = before.map(|slot| (slot.holder, slot.token));
        let others = before.filter(|&(holder, _)| holder != number);
        match others {
            Some((_, theirs)) if theirs > token => {
                let outbid = self.outbid.entry(key.clone()).or_default();
                outbid.insert(number, token);
                return None;
            }
            Some((holder, theirs)) => {
                let outbid = self.outbid.entry(key.clone()).or_default();
                outbid.insert(holder, theirs);
            }
            None => {}
        }
        self.set(hash, key, Some((number, token)));
        Some(self.moved(key, before.map(|(holder, _)| holder), Some((number, token))))
    }

    fn withdraw(&mut self, key: &PartitionKey, number: u32) -> Option<Moved> {
        let mut next = None;
        if let Some(outbid) = self.outbid.get_mut(key) {
            outbid.remove(&number);
            next = outbid
                .iter()
                .map(|(&n, &token)| (n, token))
                .max_by_key(|&(_, token)| token);
        }
        let hash = hash_key(key);
        let held = self.owners.find(hash, key)?.holder == number;
        if held {
            self.set(hash, key, next);
        }
        if let Some(outbid) = self.outbid.get_mut(key) {
            if let Some((promoted, _)) = next.filter(|_| held) {
                outbid.remove(&promoted);
            }
            if outbid.is_empty() {
                self.outbid.remove(key);
            }
        }
        held.then(|| self.moved(key, Some(number), next))
    }

    fn set(&mut self, hash: u64, key: &PartitionKey, to: Option<(u32, Token)>) {
        let shard = Arc::make_mut(&mut self.owners.shards[shard_of(hash)]);
        let from = shard.partition_point(|slot| slot.hash < hash);
        let alike = shard[from..].iter().take_while(|slot| slot.hash == hash);
        let at = alike.into_iter().position(|slot| slot.key == *key);
        match (at, to) {
            (Some(at), Some((holder, token))) => {
                let slot = &mut shard[from + at];
                (slot.holder, slot.token) = (holder, token);
            }
            (Some(at), None) => {
                shard.remove(from + at);
                self.owners.len -= 1;
            }
            (None, Some((holder, token))) => {
                let key = key.clone();
                let slot = Slot {
                    hash,
                    key,
                    token,
                    holder,
                };
                shard.insert(from, slot);
                self.owners.len += 1;
            }
            (None, None) => {}
        }
    }

    fn moved(&self, key: &PartitionKey, from: Option<u32>, to: Option<(u32, Token)>) -> Moved {
        let name = |number: u32| self.owners.holders[number as usize].worker.clone();
        Moved {
            key: key.clone(),
            from: from.map(name),
            to: to.map(|(number, token)| (name(number), token)),
        }
    }

    fn number(&mut self, worker: &WorkerId) -> u32 {
        if let Some(&number) = self.numbers.get(worker) {
            return number;
        }
        let holders = Arc::make_mut(&mut self.owners.holders);
        // There are no more workers than a pool has IDs.
        let number = u32::try_from(holders.len()).unwrap_or(u32::MAX);
        holders.push(Holder {
            worker: worker.clone(),
            endpoint: None,
            version: Version::ZERO,
            living: false,
        });
        self.numbers.insert(worker.clone(), number);
        number
    }
}
