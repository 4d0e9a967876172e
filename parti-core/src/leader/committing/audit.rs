//! The audit entry of a generation: what it did and why, cut to what the store takes.
//!
//! It is separate because it is for people: it must never be the reason why a generation cannot be
//! written. What always holds: its record fits into a value, and `truncated` says what is missing.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crate::leader::committing::commit::Draft;
use crate::leader::committing::ledger::{Change, Page};
use crate::leader::knowledge::parking::{cut, newly};
use crate::link::cx::Cx;
use crate::model::id::{Version, WorkerId};
use crate::model::partition::PartitionKey;
use crate::records::record::{AuditEntry, WorkerChange};

/// The most partitions an audit entry names.
const CHANGES: usize = 2_000;
/// What an entry takes apart from triggers and changes.
const FIXED: usize = 256;
/// What the length of a partition key takes at most.
const KEY_LENGTH: usize = 3;
/// What the length of a text and of a list takes at most.
const LENGTH: usize = 5;

impl Draft<'_> {
    pub(crate) fn audit(&self, cx: &Cx<'_>, version: Version) -> AuditEntry {
        let before: BTreeSet<&PartitionKey> = self.view.parking.named().0.collect();
        let mut parked = if self.begins {
            newly(&self.target.parked, &before)
        } else {
            Vec::new()
        };
        let most = self.info.max_value;
        // What is parked takes a quarter at most.
        let unnamed = cut(&mut parked, most / 2);
        let reserved = if parked.is_empty() { 0 } else { most / 4 };
        let mut room = Room {
            bytes: most.saturating_sub(FIXED + reserved),
            partitions: CHANGES,
            truncated: false,
        };
        let report = &self.target.report;
        let wanted = if self.begins {
            self.target.triggers.as_slice()
        } else {
            &[]
        };
        let triggers = room.triggers(wanted);
        let silenced = triggers.len() < wanted.len();
        let changes = self.step.changes.iter();
        let changes = changes.filter_map(|(index, change)| match change {
            Change::Remove => None,
            Change::Write(page) => Some(self.worker_change(*index, page, version)),
        });
        let changes = changes
            .filter(|change| !(change.gained.is_empty() && change.lost.is_empty()))
            .map_while(|change| room.change(change))
            .collect();
        AuditEntry {
            write: self.write,
            version,
            term: self.base.0.term,
            leader: self.worker.clone(),
            cause: self.cause,
            triggers,
            at_ms: cx.wall_ms(),
            moved: if self.begins { report.moved } else { 0 },
            lower_bound: if self.begins { report.lower_bound } else { 0 },
            changes,
            parked,
            truncated: silenced || unnamed || room.truncated,
        }
    }

    fn worker_change(&self, index: usize, page: &Page, version: Version) -> WorkerChange {
        let key = |rank: u32| self.slots.key(&self.target.table, rank).clone();
        let gained = page
            .granted
            .iter()
            .filter(|g| g.token.get() == version.get())
            .map(|g| {
                let from = self.target.previous.get(g.rank as usize).cloned().flatten();
                (key(g.rank), from)
            });
        let lost = page.revoking.iter().filter(|&&(_, since)| since == version);
        let lost: BTreeSet<PartitionKey> = lost.map(|&(rank, _)| key(rank)).collect();
        WorkerChange {
            worker: self.slots.workers[index].clone(),
            gained: gained.collect(),
            lost: lost.into_iter().collect(),
        }
    }
}

/// What is left of an entry.
struct Room {
    bytes: usize,
    partitions: usize,
    /// Whether some change was left out.
    truncated: bool,
}

impl Room {
    /// As many triggers as fit into a quarter: what was done matters more than who asked for it.
    fn triggers(&mut self, triggers: &[String]) -> Vec<String> {
        let mut left = self.bytes / 4;
        let mut kept = Vec::new();
        for trigger in triggers {
            let Some(rest) = left.checked_sub(trigger.len() + LENGTH) else {
                break;
            };
            left = rest;
            self.bytes -= trigger.len() + LENGTH;
            kept.push(trigger.clone());
        }
        kept
    }

    /// As much of a worker's change as fits; nothing once something was left out.
    fn change(&mut self, change: WorkerChange) -> Option<WorkerChange> {
        if self.truncated || !self.takes(change.worker.as_str().len() + 3 * LENGTH) {
            return None;
        }
        // Names of workers are short enough for a length of one byte.
        let name =
            |from: &Option<WorkerId>| from.as_ref().map_or(0, |from| from.as_str().len() + 1);
        let gained = change
            .gained
            .into_iter()
            .take_while(|(key, from)| self.names(key, name(from)));
        let gained = gained.collect();
        let lost = change.lost.into_iter().take_while(|key| self.names(key, 0));
        let (worker, lost) = (change.worker, lost.collect());
        Some(WorkerChange {
            worker,
            gained,
            lost,
        })
    }

    fn names(&mut self, key: &PartitionKey, more: usize) -> bool {
        let left = self.partitions.checked_sub(1);
        self.partitions = left.unwrap_or(0);
        self.truncated |= left.is_none();
        !self.truncated && self.takes(key.encoded().len() + KEY_LENGTH + more + 1)
    }

    fn takes(&mut self, bytes: usize) -> bool {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.unwrap_or(0);
        self.truncated |= left.is_none();
        left.is_some()
    }
}
