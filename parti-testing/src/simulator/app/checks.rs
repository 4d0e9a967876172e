//! The properties of a user's own work, one table of them, and their checkers.
//!
//! They are separate from those of the library because they judge what a handler and its storage do
//! with what the library promises. What always holds: each looks only at requests and callbacks.

use std::collections::{BTreeMap, BTreeSet};

use parti_core::{Mode, PartitionKey, Token};

use super::resource::{Reply, Request};
use crate::simulator::checks::Process;

/// A property of a user's own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnProperty {
    /// The short name in reports; it does not change.
    pub id: &'static str,
    /// What must hold.
    pub name: &'static str,
    /// The production problem it prevents.
    pub why: &'static str,
}

pub(super) const EXCLUSION: &str = "OWN-S4";
pub(super) const FENCE: &str = "OWN-S6";
pub(super) const CALLBACKS: &str = "OWN-S19";
pub(super) const NOTIFIED: &str = "OWN-S20";
pub(super) const PROGRESS: &str = "OWN-LIVE";
pub(super) const PANIC: &str = "OWN-PANIC";
pub(super) const SPIN: &str = "OWN-SPIN";
pub(in super::super) const CLAIM: &str = "OWN-CLAIM";

/// Every property of a user's own work.
pub const OWN_PROPERTIES: &[OwnProperty] = &[
    OwnProperty {
        id: EXCLUSION,
        name: "nobody sends for a partition once a later owner has begun to",
        why: "a handler that does not ask its guard goes on beside the next owner",
    },
    OwnProperty {
        id: FENCE,
        name: "the tokens of accepted writes of a partition never fall",
        why: "a write of an earlier owner arrives late and overwrites what the present one wrote",
    },
    OwnProperty {
        id: CALLBACKS,
        name: "nothing is sent for an ownership after its on_revoked has ended",
        why: "a task that outlives the handoff works on what belongs to somebody else",
    },
    OwnProperty {
        id: NOTIFIED,
        name: "what a handler says it holds is what it was told to hold",
        why: "a handler that mixes up its callbacks leaves partitions unprocessed or keeps too many",
    },
    OwnProperty {
        id: PROGRESS,
        name: "after the faults every partition is written to by its owner",
        why: "work that stopped at an error is not taken up again",
    },
    OwnProperty {
        id: PANIC,
        name: "a handler never panics, and its assertions hold",
        why: "a defect in the work on one partition, or an invariant of yours that is broken",
    },
    OwnProperty {
        id: SPIN,
        name: "a handler does not run without end at one instant",
        why: "a loop without a pause would take a processor for itself",
    },
    OwnProperty {
        id: CLAIM,
        name: "what the scenario's author claims holds: Cx::fail and the final check",
        why: "your own invariants, such as that a counter counts everything",
    },
];

/// Something a property does not allow.
pub(super) type Found = Option<(&'static str, String)>;

#[derive(Debug)]
pub(super) struct OwnChecks {
    mode: Mode,
    /// The largest token sent for a partition, and by whom.
    sent: BTreeMap<(String, PartitionKey), (Token, Process)>,
    accepted: BTreeMap<(String, PartitionKey), (Token, Process)>,
    /// Ownerships whose `on_revoked` has ended.
    ended: BTreeSet<(Process, PartitionKey, Token)>,
    /// Partitions written to since the group was calm.
    worked: Option<BTreeMap<PartitionKey, Process>>,
}

impl OwnChecks {
    pub(super) const fn new(mode: Mode) -> Self {
        Self {
            mode,
            sent: BTreeMap::new(),
            accepted: BTreeMap::new(),
            ended: BTreeSet::new(),
            worked: None,
        }
    }

    /// A session that resumes gets the same ownership, with the same token, again.
    pub(super) fn assigned(&mut self, process: Process, partition: &PartitionKey, token: Token) {
        self.ended.remove(&(process, partition.clone(), token));
    }

    pub(super) fn revoked(&mut self, process: Process, partition: &PartitionKey, token: Token) {
        self.ended.insert((process, partition.clone(), token));
    }

    pub(super) fn forget(&mut self, process: Process) {
        self.ended.retain(|(of, ..)| *of != process);
    }

    pub(super) fn sends(&mut self, process: Process, request: &Request) -> Found {
        let ownership = (process, request.partition.clone(), request.token);
        if self.ended.contains(&ownership) {
            let reason = format!("{process} sends {request} after its on_revoked has ended");
            return Some((CALLBACKS, reason));
        }
        let next = (request.token, process);
        let place = (request.resource.clone(), request.partition.clone());
        let last = self.sent.entry(place).or_insert(next);
        let (newest, by) = *last;
        let late = request.token < newest && by != process;
        if late && matches!(self.mode, Mode::Exclusive) {
            let reason = format!("{process} sends {request} though {by} has sent {newest} before");
            return Some((EXCLUSION, reason));
        }
        *last = next.max(*last);
        None
    }

    pub(super) fn answered(&mut self, process: Process, request: &Request, reply: Reply) -> Found {
        if !matches!(reply, Reply::Done(_)) || request.value.is_none() {
            return None;
        }
        if let Some(worked) = &mut self.worked {
            worked.insert(request.partition.clone(), process);
        }
        let place = (request.resource.clone(), request.partition.clone());
        let next = (request.token, process);
        let last = self.accepted.entry(place).or_insert(next);
        let (token, by) = *last;
        if request.token < token {
            let reason = format!("{request} of {process} is accepted after {token} of {by}");
            return Some((FENCE, reason));
        }
        *last = next;
        None
    }

    /// The group is calm from now on.
    pub(super) fn calm(&mut self) {
        self.worked = Some(BTreeMap::new());
    }

    /// Whether every partition that is held was written to by its holder while it was calm.
    pub(super) fn progress(&self, holders: &BTreeMap<PartitionKey, Process>) -> Found {
        let worked = self.worked.as_ref()?;
        let idle = |(key, process): &(&PartitionKey, &Process)| worked.get(*key) != Some(*process);
        let idle: Vec<_> = holders.iter().filter(idle).collect();
        let (key, process) = idle.first()?;
        let (count, all) = (idle.len(), holders.len());
        let reason = format!(
            "{count} of {all} partitions are not written to by their owner, such as {key} of {process}"
        );
        Some((PROGRESS, reason))
    }
}

/// What a handler says it holds against what it was told; partitions in motion are left out.
pub(super) fn notified<'a>(
    process: Process,
    says: &BTreeSet<PartitionKey>,
    told: impl Iterator<Item = (&'a PartitionKey, bool)>,
) -> Found {
    let mut moving = BTreeSet::new();
    let mut held = BTreeSet::new();
    for (key, rests) in told {
        let _ = if rests {
            held.insert(key)
        } else {
            moving.insert(key)
        };
    }
    let missing = held.iter().find(|key| !says.contains(**key));
    let extra = says
        .iter()
        .find(|key| !held.contains(key) && !moving.contains(key));
    let reason = match (missing, extra) {
        (None, None) => return None,
        (Some(key), _) => format!("{process} was assigned {key} and does not say so"),
        (None, Some(key)) => format!("{process} says that it holds {key} and does not"),
    };
    Some((NOTIFIED, reason))
}
