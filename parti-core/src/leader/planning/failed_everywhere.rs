//! Partitions that every worker that may own them failed with: parked, and tried again after a while.
//!
//! It is separate from planning around rejections because it outlives leaders: how long one has been
//! parked, and when it is to be tried again, is stored in the record of what is parked. What always
//! holds: the times between two tries double from the first quarantine of a rejection up to eight of
//! them; there are never more than so many, the others stay where they are.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::model::partition::PartitionKey;
use crate::ports::strategy::{ParkReason, Unmet};
use crate::records::record::ParkedGroup;

/// The most partitions that are parked because nobody can process them: as many as one worker tells
/// of. More than that have another cause, which moving or parking does not cure.
const MOST_PARKED: usize = 64;
/// The longest time between two tries is this many times the shortest.
const LONGEST: u32 = 8;

/// A partition that everybody failed with, and what somebody said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedPartition {
    pub(crate) key: PartitionKey,
    pub(crate) why: String,
}

/// What a plan knows of partitions that everybody failed with.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailedEverywhere {
    /// The shortest time between two tries.
    first: Duration,
    /// By need: how long it has been so, and when it is to be tried again.
    before: BTreeMap<u64, Before>,
    /// What this plan parks.
    parked: Vec<(u32, FailedPartition)>,
}

#[derive(Clone, Copy, Debug)]
struct Before {
    waited: Duration,
    again_after: Option<Duration>,
}

impl FailedEverywhere {
    /// What was parked for this reason before.
    pub(crate) fn new(
        first: Duration,
        groups: &[ParkedGroup],
        waited: &BTreeMap<u64, Duration>,
    ) -> Self {
        let groups = groups.iter();
        let futile = groups.filter(|group| group.reason == ParkReason::FailedEverywhere);
        let before = futile.map(|group| {
            let waited = waited.get(&group.need).copied().unwrap_or_default();
            let again_after = group.again_after;
            (
                group.need,
                Before {
                    waited,
                    again_after,
                },
            )
        });
        Self {
            first,
            before: before.collect(),
            parked: Vec::new(),
        }
    }

    /// Whether a parked partition is to be tried again now.
    pub(crate) fn is_due(&self, key: &PartitionKey) -> bool {
        let before = self.before.get(&need_of(key));
        before.is_some_and(|before| before.again_after.is_some_and(|at| before.waited >= at))
    }

    /// Whether a partition is parked and its time has not come yet.
    pub(crate) fn is_waiting(&self, key: &PartitionKey) -> bool {
        let before = self.before.get(&need_of(key));
        before.is_some_and(|before| before.again_after.is_some_and(|at| before.waited < at))
    }

    /// Leaves a partition without an owner; false when there is no room for it.
    pub(crate) fn park(&mut self, rank: u32, failed_partition: FailedPartition) -> bool {
        let room = self.parked.len() < MOST_PARKED;
        if room {
            self.parked.push((rank, failed_partition));
        }
        room
    }

    /// What the plan says of it. Of what is tried again the count goes on as long as somebody
    /// `remembers` that it failed.
    pub(crate) fn unmet(&self, remembers: impl Fn(u64) -> bool) -> Vec<Unmet> {
        let mut unmet: Vec<Unmet> = Vec::new();
        for (rank, failed_partition) in &self.parked {
            let need = need_of(&failed_partition.key);
            unmet.push(Unmet {
                reason: ParkReason::FailedEverywhere,
                need,
                needs: alloc::format!("a worker that can process it; {}", failed_partition.why),
                unplaced: vec![*rank],
                again_after: Some(self.again_after(need)),
            });
        }
        let tried = self.before.keys().filter(|need| {
            let parked = unmet.iter().any(|unmet| unmet.need == **need);
            !parked && remembers(**need)
        });
        let tried = tried.map(|&need| Unmet {
            reason: ParkReason::FailedEverywhere,
            need,
            needs: "a worker that can process it".into(),
            unplaced: Vec::new(),
            again_after: None,
        });
        let tried: Vec<Unmet> = tried.collect();
        unmet.extend(tried);
        unmet
    }

    /// After how long in all it is to be tried again.
    fn again_after(&self, need: u64) -> Duration {
        let Some(before) = self.before.get(&need) else {
            return self.first;
        };
        match before.again_after {
            Some(at) if before.waited < at => at,
            Some(_) | None => {
                let longest = self.first.saturating_mul(LONGEST);
                let more = before.waited.clamp(self.first, longest);
                before.waited.saturating_add(more)
            }
        }
    }
}

/// The number under which the waiting of a partition is counted.
pub(crate) fn need_of(key: &PartitionKey) -> u64 {
    // FNV-1a, over a word that no strategy uses and the key.
    let bytes = b"failed everywhere ".iter().chain(key.encoded().as_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::partition::Partition;

    const FIRST: Duration = Duration::from_secs(300);

    fn failed_partition(name: &str) -> FailedPartition {
        let key = Partition::new([name]).expect("valid key").key;
        FailedPartition {
            key,
            why: "worker-1 says: no".into(),
        }
    }

    fn stored(unmet: &Unmet) -> ParkedGroup {
        ParkedGroup {
            reason: unmet.reason,
            need: unmet.need,
            needs: unmet.needs.clone(),
            since_ms: 0,
            again_after: unmet.again_after,
            count: unmet.unplaced.len() as u32,
            partitions: Vec::new(),
        }
    }

    fn after(groups: &[ParkedGroup], secs: u64) -> FailedEverywhere {
        let waited = groups.iter().map(|g| (g.need, Duration::from_secs(secs)));
        FailedEverywhere::new(FIRST, groups, &waited.collect())
    }

    /// A partition that nobody can process would be tried at the same pace for ever.
    #[test]
    fn the_times_between_two_tries_double_up_to_a_limit_although_leaders_change() {
        let p = failed_partition("p");
        let mut groups: Vec<ParkedGroup> = Vec::new();
        let mut waited = 0;
        for next in [300, 600, 1_200, 2_400, 4_800, 7_200, 9_600] {
            let mut futile = after(&groups, waited);
            assert!(futile.park(3, p.clone()));
            let unmet = futile.unmet(|_| false);
            assert_eq!(unmet.len(), 1);
            assert_eq!(unmet[0].again_after, Some(Duration::from_secs(next)));
            groups = vec![stored(&unmet[0])];
            assert!(!after(&groups, next - 1).is_due(&p.key));
            assert!(after(&groups, next).is_due(&p.key));
            // A plan for another reason puts nothing off.
            let mut other = after(&groups, next - 1);
            other.park(3, p.clone());
            assert_eq!(other.unmet(|_| false)[0].again_after, groups[0].again_after);
            // It is tried: what is counted goes on while somebody remembers, and nothing is due.
            let tried = after(&groups, next).unmet(|need| need == need_of(&p.key));
            assert_eq!((tried.len(), tried[0].unplaced.len()), (1, 0));
            assert_eq!(after(&groups, next).unmet(|_| false), vec![]);
            groups = vec![stored(&tried[0])];
            assert!(!after(&groups, next).is_due(&p.key));
            waited = next;
        }
    }

    /// A database that is down would park everything there is.
    #[test]
    fn only_so_many_are_parked() {
        let mut futile = after(&[], 0);
        let parks = (0..100).filter(|&n| futile.park(n, failed_partition(&alloc::format!("p{n}"))));
        assert_eq!(parks.count(), MOST_PARKED);
    }
}
