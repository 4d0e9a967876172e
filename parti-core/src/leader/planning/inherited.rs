//! The partition list of a leader whose source does not answer: what the records name.
//!
//! It is separate so that the trust in such a list is in one place. What always holds: an inherited list
//! removes nothing and moves nothing that has an owner; it lets the partitions of the dead and of
//! those that leave be placed, until the source is back.

use alloc::collections::BTreeSet;

use crate::config::Config;
use crate::io::notice::Notice;
use crate::leader::Leader;
use crate::leader::knowledge::Knowledge;
use crate::leader::knowledge::view::Fate;
use crate::leader::planning::target::Target;
use crate::link::cx::Cx;
use crate::model::id::Version;
use crate::model::partition::{Partition, PartitionKey};
use crate::model::table::PartitionTable;
use crate::planted::Planted;
use crate::ports::strategy::NO_OWNER;

/// Where the list in use comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The source, or there is none yet.
    #[default]
    Source,
    /// The records, which name all partitions of the last plan, and these all weigh the same: as good
    /// as the source's.
    Whole,
    /// The records; partitions may weigh differently, or so many are missing.
    Partial { missing: u32 },
}

impl Origin {
    /// Whether only what has no owner may be placed.
    pub(crate) const fn is_partial(self) -> bool {
        match self {
            Self::Source | Self::Whole => false,
            Self::Partial { .. } => true,
        }
    }

    /// Partitions of the last plan that nobody names.
    pub(crate) const fn missing(self) -> u32 {
        match self {
            Self::Source | Self::Whole => 0,
            Self::Partial { missing } => missing,
        }
    }
}

impl Leader {
    /// Begins with what the records name, if they name anything. Whether there is a list now.
    pub(crate) fn inherit_list(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.list.table.is_some() {
            return true;
        }
        let (knowledge, head) = (&self.knowledge, &self.knowledge.head);
        let nothing = head.planned == Version::ZERO || knowledge.is_cold();
        if !knowledge.view.is_whole() || nothing || cx.planted(Planted::NoListNoLeader) {
            return false;
        }
        let named = knowledge.named().into_iter();
        let partitions = named.map(|key| Partition { key, weight: 1 });
        let Ok(table) = PartitionTable::new(partitions.collect()) else {
            return false;
        };
        let all = table.digest() == head.digest;
        let origin = if all && table.weights_digest() == head.weights_digest {
            Origin::Whole
        } else {
            let known = u32::try_from(table.len()).unwrap_or(u32::MAX);
            let missing = head.partitions.saturating_sub(known);
            Origin::Partial { missing }
        };
        let (partitions, missing) = (table.len(), origin.missing() as usize);
        cx.notify(Notice::ListInherited {
            partitions,
            missing,
        });
        self.list.inherit(table, origin);
        self.in_force.forget_comparison();
        true
    }

    /// With a list that is not whole, whatever has an owner that lives and stays keeps it, and everybody
    /// waits for their share until the source is back.
    pub(crate) fn pin(&self, config: &Config, target: &mut Target) {
        if !self.list.origin.is_partial() {
            return;
        }
        let view = &self.knowledge.view;
        for (worker, record) in &view.records {
            let Some(index) = target.workers.index_of(worker) else {
                continue;
            };
            if view.fate(config, worker, record.epoch) != Fate::Living {
                continue;
            }
            for grant in &record.granted {
                let Some(rank) = target.table.rank_of(&grant.partition) else {
                    continue;
                };
                // Whom the rules of the strategy forbid it does not keep it.
                let owner = &mut target.owners[rank as usize];
                if *owner == NO_OWNER || *owner == index {
                    continue;
                }
                *owner = index;
                match &grant.anchor {
                    Some(anchor) => target.anchors.insert(rank, anchor.clone()),
                    None => target.anchors.remove(&rank),
                };
            }
        }
        target.kept.extend(target.epochs.keys().cloned());
    }
}

impl Knowledge {
    /// The partitions of the last plan that the records name. One that is taken away may be on its way
    /// to another owner, or out of the list: if that would make too many, only what has an owner or is
    /// parked counts. An example: after the list became empty all is being taken away, and `head` says
    /// that there are 0 partitions; none of these may be granted again.
    fn named(&self) -> BTreeSet<PartitionKey> {
        let records = || self.view.records.values();
        let granted = records().flat_map(|record| &record.granted);
        let mut named: BTreeSet<PartitionKey> =
            granted.map(|grant| grant.partition.clone()).collect();
        named.extend(self.view.parking.named().0.cloned());
        let revoking = records().flat_map(|record| &record.revoking);
        let taken: BTreeSet<PartitionKey> = revoking.map(|taken| taken.partition.clone()).collect();
        let all: BTreeSet<PartitionKey> = named.union(&taken).cloned().collect();
        if all.len() <= self.head.partitions as usize {
            all
        } else {
            named
        }
    }
}
