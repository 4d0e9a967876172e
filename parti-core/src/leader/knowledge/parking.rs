//! Parked partitions: what has no owner because nobody may own it, and for how long.
//!
//! Separate because it outlives leaders: the record is written in the commit of the plan that placed
//! not everything, and the next leader counts on from it. What always holds: a record is small
//! enough to be stored however much is parked; what it cannot name it counts.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::io::notice::Notice;
use crate::leader::knowledge::view::News;
use crate::link::cx::Cx;
use crate::model::id::Nonce;
use crate::model::partition::PartitionKey;
use crate::model::table::PartitionTable;
use crate::model::time::Instant;
use crate::ports::strategy::{ParkReason, Unmet};
use crate::records::problem::{Problem, ProblemKind};
use crate::records::record::{Parked, ParkedGroup, ParkedRecord, Record};
use crate::records::seen::{Content, Seen};

/// The most bytes the names of parked partitions take in a record.
const MAX_NAMES: usize = 128 << 10;
/// The most bytes of the words for a need.
const MAX_WORDS: usize = 200;
/// The most bytes of a group besides its words and names.
const GROUP_OVERHEAD: usize = 64;
/// The most bytes of a name besides its text.
const NAME_OVERHEAD: usize = 3;
/// The most partitions a notice names.
const NOTICE_NAMES: usize = 100;

/// What a leader knows of the record of parked partitions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parking {
    groups: Vec<ParkedGroup>,
    /// When this process first saw that a need is unmet, on its own clock.
    seen: BTreeMap<u64, Instant>,
    /// Whether the stored record is not the one in force and has to be written again.
    damaged: bool,
}

impl Parking {
    /// What is parked, by what it waits for.
    pub(crate) fn groups(&self) -> &[ParkedGroup] {
        &self.groups
    }

    /// Whether the record was damaged, or is not what `head` says.
    pub(crate) fn is_spoiled(&self, said: Parked) -> bool {
        self.damaged || ParkedRecord::sum(&self.groups) != said
    }

    /// What has to be written so that the record says that these are parked, as far as it fits; `None`
    /// when it says so already. `said` is what `head` says of it.
    pub(crate) fn rewritten(
        &self,
        parked: &[ParkedGroup],
        said: Parked,
        max_value: usize,
    ) -> Option<Vec<ParkedGroup>> {
        let mut groups = parked.to_vec();
        cut(&mut groups, max_value);
        (self.is_spoiled(said) || self.groups != groups).then_some(groups)
    }

    /// Takes in an entry of the record's key. Only `author` writes it, once that is known.
    pub(crate) fn on_entry(
        &mut self,
        cx: &mut Cx<'_>,
        seen: &Seen<'_>,
        author: Option<Nonce>,
    ) -> News {
        let reason = match seen.content() {
            Content::Record(record) => {
                if let Record::Parked(record) = &**record
                    && author.is_none_or(|author| author == record.write.nonce)
                {
                    self.set(cx.now, record.groups.clone());
                    return News::Change;
                }
                "it was written by somebody who does not lead"
            }
            Content::Nothing if author.is_none() || self.groups.is_empty() => {
                self.set(cx.now, Vec::new());
                return News::Change;
            }
            Content::Nothing => "it was deleted by somebody who does not lead",
            Content::Unreadable { reason, .. } => reason,
        };
        cx.ignore(seen, reason);
        self.damaged = true;
        News::Change
    }

    /// These are parked now.
    pub(crate) fn set(&mut self, now: Instant, groups: Vec<ParkedGroup>) {
        self.damaged = false;
        let before = core::mem::take(&mut self.seen);
        let since = |group: &ParkedGroup| before.get(&group.need).copied().unwrap_or(now);
        self.seen = groups
            .iter()
            .map(|group| (group.need, since(group)))
            .collect();
        self.groups = groups;
    }

    /// The store takes more than it did: what had no room may have some now.
    pub(crate) fn make_room(&mut self) {
        for group in &mut self.groups {
            if group.reason == ParkReason::DoesNotFit && group.count > 0 {
                group.again_after = Some(Duration::ZERO);
            }
        }
    }

    /// How long each need has been unmet. Wall clocks of several leaders may disagree: what this one
    /// has seen itself is the least.
    pub(crate) fn waited(&self, now: Instant, wall_ms: u64) -> BTreeMap<u64, Duration> {
        let waited = |group: &ParkedGroup| {
            let told = Duration::from_millis(wall_ms.saturating_sub(group.since_ms));
            let seen = self.seen.get(&group.need).map(|&since| now.since(since));
            (group.need, told.max(seen.unwrap_or_default()))
        };
        self.groups.iter().map(waited).collect()
    }

    /// When the strategy is to be asked again although nothing happened.
    pub(crate) fn due(&self, now: Instant, wall_ms: u64) -> Option<Instant> {
        let waited = self.waited(now, wall_ms);
        let due = self.groups.iter().filter_map(|group| {
            let waited = waited.get(&group.need).copied().unwrap_or_default();
            Some(now + group.again_after?.saturating_sub(waited))
        });
        due.min()
    }

    /// What has been waited for as long as the strategy wants, in words.
    pub(crate) fn waited_enough(
        &self,
        now: Instant,
        wall_ms: u64,
    ) -> impl Iterator<Item = &String> {
        let waited = self.waited(now, wall_ms);
        let enough = self.groups.iter().filter(move |group| {
            let waited = waited.get(&group.need);
            group
                .again_after
                .is_some_and(|after| waited >= Some(&after))
        });
        enough.map(|group| &group.needs)
    }

    /// Partitions the record names, and how many more there are.
    pub(crate) fn named(&self) -> (impl Iterator<Item = &PartitionKey>, usize) {
        let unnamed = |group: &ParkedGroup| group.count as usize - group.partitions.len();
        let names = self.groups.iter().flat_map(|group| &group.partitions);
        (names, self.groups.iter().map(unnamed).sum())
    }

    /// The problem that partitions are parked, of so many partitions.
    pub(crate) fn problem(&self, now: Instant, wall_ms: u64, of: u32) -> Option<Problem> {
        let waited = self.waited(now, wall_ms);
        let parked = || self.groups.iter().filter(|group| group.count > 0);
        let waited = parked().filter_map(|group| waited.get(&group.need)).max()?;
        let count: usize = parked().map(|group| group.count as usize).sum();
        let mut detail = alloc::format!("{count} of {of} partitions have nobody who may own them");
        for group in parked() {
            let (reason, count, needs) = (group.reason, group.count, &group.needs);
            let name = group.partitions.first();
            let name = name.map(|key| alloc::format!(", such as {key}"));
            let name = name.unwrap_or_default();
            detail.push_str(&alloc::format!("; {reason}: {count}{name}, need {needs}"));
        }
        let since = now.saturating_sub(*waited);
        Some(Problem::new(ProblemKind::Parked, since, count, detail))
    }

    /// What a plan leaves without an owner, with the counts of waiting so far.
    pub(crate) fn after(
        &self,
        unmet: &[Unmet],
        table: &PartitionTable,
        wall_ms: u64,
    ) -> Vec<ParkedGroup> {
        let groups = unmet.iter().map(|unmet| {
            let before = self.groups.iter().find(|group| group.need == unmet.need);
            let ranks = unmet.unplaced.iter();
            let keys = ranks.filter_map(|&rank| table.as_slice().get(rank as usize));
            let partitions: Vec<_> = keys.map(|partition| partition.key.clone()).collect();
            ParkedGroup {
                reason: unmet.reason,
                need: unmet.need,
                needs: unmet.needs.clone(),
                since_ms: before.map_or(wall_ms, |group| group.since_ms.min(wall_ms)),
                again_after: unmet.again_after.map(rounded_up),
                count: partitions.len() as u32,
                partitions,
            }
        });
        groups.collect()
    }

    /// Tells of what `after` parks that was not, and of what is parked no more.
    pub(crate) fn tell(&self, cx: &mut Cx<'_>, after: &[ParkedGroup]) {
        let before: BTreeSet<&PartitionKey> = self.named().0.collect();
        let now: BTreeSet<&PartitionKey> =
            after.iter().flat_map(|group| &group.partitions).collect();
        for group in newly(after, &before) {
            let (count, mut partitions) = (group.count, group.partitions);
            partitions.truncate(NOTICE_NAMES);
            let (reason, needs) = (group.reason, group.needs);
            cx.notify(Notice::Parked {
                reason,
                needs,
                count,
                partitions,
            });
        }
        let mut freed: Vec<PartitionKey> = before.difference(&now).copied().cloned().collect();
        if !freed.is_empty() {
            let count = freed.len() as u32;
            freed.truncate(NOTICE_NAMES);
            let partitions = freed;
            cx.notify(Notice::Unparked { count, partitions });
        }
    }
}

/// The groups with those of their partitions that are not among the ones before.
pub(crate) fn newly(groups: &[ParkedGroup], before: &BTreeSet<&PartitionKey>) -> Vec<ParkedGroup> {
    let new = groups.iter().filter_map(|group| {
        let partitions = group.partitions.iter().filter(|key| !before.contains(*key));
        let partitions: Vec<PartitionKey> = partitions.cloned().collect();
        (!partitions.is_empty()).then(|| ParkedGroup {
            count: partitions.len() as u32,
            partitions,
            ..group.clone()
        })
    });
    new.collect()
}

/// Cuts names and words so that the groups take at most about half of `max_value`. Whether anything
/// was cut.
pub(crate) fn cut(groups: &mut [ParkedGroup], max_value: usize) -> bool {
    let mut was_cut = false;
    let mut room = (max_value / 2).min(MAX_NAMES);
    for group in groups.iter_mut() {
        let words = MAX_WORDS.min(room / 4);
        if group.needs.len() > words {
            group.needs = shortened(&group.needs, words);
        }
        room = room.saturating_sub(GROUP_OVERHEAD + group.needs.len());
    }
    for group in groups {
        let fits = group.partitions.iter().take_while(|key| {
            let size = key.encoded().len() + NAME_OVERHEAD;
            let fits = size <= room;
            if fits {
                room -= size;
            }
            fits
        });
        let fits = fits.count();
        was_cut |= fits < group.partitions.len();
        group.partitions.truncate(fits);
    }
    was_cut
}

/// To what a record can say, which must not be less: too early would be asked for nothing.
fn rounded_up(duration: Duration) -> Duration {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

fn shortened(words: &str, most: usize) -> String {
    let end = (0..=most.saturating_sub(3)).rev();
    let end = end.into_iter().find(|&end| words.is_char_boundary(end));
    let mut short = words[..end.unwrap_or(0)].to_string();
    short.push_str("...");
    short
}

#[cfg(test)]
mod tests;
