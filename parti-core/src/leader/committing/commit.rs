//! One generation as one conditional commit: `head`, changed assignments, evictions, the audit
//! entry, all or nothing.
//!
//! When more records change than a batch may hold, those that only take away go first; what is left
//! over follows in the next commit, found by comparing with the target again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::io::effect::{Wake, WakeReason};
use crate::io::event::OpOwner;
use crate::io::notice::{OwnerEnd, Transfer};
use crate::leader::committing::fitting::{MAX_COMMIT, Put, Room, What};
use crate::leader::committing::ledger::{Change, Step};
use crate::leader::committing::slots::Slots;
use crate::leader::knowledge::view::{View, unknown_session};
use crate::leader::planning::inherited::Origin;
use crate::leader::planning::target::{Judged, Requested, Target};
use crate::link::attempt::Attempt;
use crate::link::cx::Cx;
use crate::model::id::{Revision, Version, WorkerId, WriteId};
use crate::model::partition::PartitionKey;
use crate::model::state::Cause;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{Expect, StoreInfo, Write};
use crate::records::agreement::Agreed;
use crate::records::assembly::TooLarge;
use crate::records::carried::Carried;
use crate::records::keys::{Key, audit_key, control_key, head_key, parked_key, session_key};
use crate::records::orders::PinsLeft;
use crate::records::record::{
    Head, ParkedGroup, ParkedRecord, Record, SessionRecord, SessionStatus, Verb,
};
use crate::records::wire;

/// The digest of weights in `head` while the list is one that the records name.
const UNKNOWN_WEIGHTS: u128 = 0;

/// What helps when an assignment does not fit.
const ADVICE: &str =
    "use more workers, shorter partition keys, or a store with a larger payload limit";

/// A generation under way.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) attempt: Attempt,
    /// When an outcome that is still open counts as a failed step.
    pub(crate) give_up: Wake,
    pub(crate) head: Head,
    pub(crate) puts: Vec<Put>,
    pub(crate) evicted: Vec<(WorkerId, SessionRecord)>,
    /// The plan this generation begins, if it is the first of one.
    pub(crate) target: Option<Target>,
    /// What it parks, if the record of that changes.
    pub(crate) parked: Option<Vec<ParkedGroup>>,
    pub(crate) requests: Vec<Requested>,
    /// What it leaves of the pins, and how many revisions after `head`, if some are over or done.
    pub(crate) pins: Option<(PinsLeft, u64)>,
    pub(crate) granted: usize,
    pub(crate) revoked: usize,
    /// How many of the granted partitions each former owner had.
    pub(crate) former: BTreeMap<WorkerId, usize>,
}

impl Commit {
    /// When to go on.
    pub(crate) fn wake(&self) -> Option<Wake> {
        Wake::earlier(self.attempt.wake(), Some(self.give_up))
    }

    /// How long what it grants had no owner, by former owner. To be asked before its evictions are
    /// noted in the view.
    pub(crate) fn transfers(&self, cx: &Cx<'_>, view: &View) -> Vec<Transfer> {
        let exclusive = self.head.agreed.mode.waits();
        let transfers = self.former.iter().filter_map(|(from, &partitions)| {
            let session = view.sessions.get(from)?;
            let lost = self.evicted.iter().any(|(worker, _)| worker == from)
                || session.record.as_ref().is_some_and(|record| {
                    matches!(
                        record.status,
                        SessionStatus::Evicted { .. } | SessionStatus::Suspected
                    )
                });
            let (end, since) = if lost {
                (OwnerEnd::Lost, session.heard)
            } else {
                (OwnerEnd::Released, session.said)
            };
            (lost || exclusive).then(|| Transfer {
                from: from.clone(),
                end,
                partitions,
                vacant: cx.now.since(since),
            })
        });
        transfers.collect()
    }
}

/// What a generation is to do.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) target: Target,
    /// Whether it is the first generation of the target.
    pub(crate) begins: bool,
    pub(crate) cause: Cause,
    pub(crate) evictions: BTreeMap<WorkerId, Judged>,
    pub(crate) requests: Vec<Requested>,
}

/// What a commit is made of.
pub(crate) struct Draft<'a> {
    pub(crate) write: WriteId,
    pub(crate) worker: &'a WorkerId,
    pub(crate) info: &'a StoreInfo,
    /// The format in which all of it is written.
    pub(crate) format: u16,
    /// The leader's lease.
    pub(crate) lease: Duration,
    pub(crate) base: (&'a Head, Revision),
    /// The version of the generation.
    pub(crate) version: Version,
    pub(crate) view: &'a View,
    pub(crate) target: &'a Target,
    /// Whether this is the first generation of the target.
    pub(crate) begins: bool,
    pub(crate) cause: Cause,
    /// What the group obeys from this generation on.
    pub(crate) agreed: Agreed,
    pub(crate) slots: &'a Slots,
    pub(crate) step: Step,
    pub(crate) evictions: BTreeMap<WorkerId, Judged>,
    pub(crate) requests: Vec<Requested>,
    /// What the next leader is to go on with, as it was before this generation.
    pub(crate) carried: Carried,
    /// Where the list comes from.
    pub(crate) origin: Origin,
}

impl Draft<'_> {
    /// Sends the commit.
    ///
    /// # Errors
    /// In words, with the numbers, when a record is larger than the store takes. Nothing is sent.
    pub(crate) fn send(mut self, cx: &mut Cx<'_>) -> Result<Commit, String> {
        let version = self.version;
        let parked = self.parked();
        let orders = self.requests.len() + usize::from(self.view.orders.pins().next().is_some());
        let fixed = 2 + self.evictions.len() + orders + usize::from(parked.is_some());
        let (mut puts, too_large) = self.fit(Room {
            writes: self.info.max_batch.saturating_sub(fixed).max(1),
            bytes: MAX_COMMIT,
        });
        self.check_progress(&puts, too_large)?;
        let head = self.head(version);
        let mut evicted = self.evicted();
        evicted.retain(|_| !cx.planted(Planted::GrantWithoutEvict));
        let former = self.former(version);
        let audit = self.audit(cx, version);
        let mut writes = Vec::with_capacity(puts.len() + evicted.len() + 2);
        let expect = Expect::Revision(self.base.1);
        writes.push(Write {
            key: head_key(),
            value: Some(wire::encode_as(self.format, &Record::Head(head.clone()))),
            expect: cx.unless_planted(Planted::BlindHead, expect, Expect::Any),
        });
        for (worker, record, expect) in &evicted {
            let value = Some(wire::encode_as(
                self.format,
                &Record::Session(record.clone()),
            ));
            writes.push(write(session_key(worker), value, *expect));
        }
        for put in &mut puts {
            put.keys = put.writes.iter().map(|write| write.key.clone()).collect();
            writes.append(&mut put.writes);
        }
        for (verb, worker, revision) in &self.requests {
            let (key, expect) = (control_key(*verb, worker), Expect::Revision(*revision));
            writes.push(write(key, None, expect));
        }
        if let Some(groups) = &parked {
            writes.push(self.parked_write(version, groups));
        }
        let pins = self.pins_left(cx.now, &puts).map(|left| {
            let after = writes.len() as u64;
            writes.push(self.pins_write(&left));
            (left, after)
        });
        let value = Some(wire::encode_as(self.format, &Record::Audit(audit)));
        writes.push(write(audit_key(version.get()), value, Expect::Any));
        check_sizes(&writes, self.info.max_value)?;
        let attempt = Attempt::begin(cx, OpOwner::Leader, self.write, writes);
        let patience = cx.config().operation_timeout().max(cx.config().lease());
        Ok(Commit {
            attempt,
            give_up: Wake::new(cx.now + patience, WakeReason::Retry),
            head,
            puts,
            evicted: evicted
                .into_iter()
                .map(|(worker, record, _)| (worker, record))
                .collect(),
            target: self.begins.then(|| self.target.clone()),
            parked,
            requests: self.requests,
            pins,
            granted: self.step.granted,
            revoked: self.step.revoked,
            former,
        })
    }

    /// A generation that changes nothing would be followed by another one, for ever.
    fn check_progress(&self, puts: &[Put], too_large: Option<TooLarge>) -> Result<(), String> {
        let nothing = puts.is_empty() && self.evictions.is_empty() && self.requests.is_empty();
        if self.begins || !nothing {
            return Ok(());
        }
        let most = self.info.max_batch;
        Err(match too_large {
            Some(too_large) => alloc::format!("{too_large}; {ADVICE}"),
            None => {
                alloc::format!("no change of an assignment fits into a commit of {most} writes")
            }
        })
    }

    /// How many of the partitions granted now each former owner had.
    fn former(&self, version: Version) -> BTreeMap<WorkerId, usize> {
        let mut former = BTreeMap::new();
        let pages = self
            .step
            .changes
            .iter()
            .filter_map(|(_, change)| match change {
                Change::Write(page) => Some(page),
                Change::Remove => None,
            });
        let granted = pages.flat_map(|page| &page.granted);
        for new in granted.filter(|g| g.token.get() == version.get()) {
            if let Some(Some(from)) = self.target.previous.get(new.rank as usize) {
                *former.entry(from.clone()).or_default() += 1;
            }
        }
        former
    }

    /// What is parked from this generation on, as far as it fits a record; `None` when the stored
    /// record says so already.
    fn parked(&self) -> Option<Vec<ParkedGroup>> {
        if !self.begins {
            return None;
        }
        let parking = &self.view.parking;
        parking.rewritten(&self.target.parked, self.base.0.parked, self.info.max_value)
    }

    /// What is left of the pins after this generation. A move is done in the generation that grants: later it
    /// would ask for the partition again after another plan has moved it on.
    fn pins_left(&self, now: Instant, puts: &[Put]) -> Option<PinsLeft> {
        let has = |worker: &WorkerId, key: &PartitionKey| {
            let put = puts.iter().find(|put| put.worker == *worker);
            match put.map(|put| &put.what) {
                Some(What::Written(record)) => {
                    record.granted.iter().any(|grant| grant.partition == *key)
                }
                Some(What::Removed) => false,
                Some(What::Repaired) | None => self.view.has(worker, key),
            }
        };
        self.view.orders.pins_left(now, has)
    }

    fn pins_write(&self, left: &PinsLeft) -> Write {
        let record = left.record(self.write).map(Record::Control);
        Write {
            key: control_key(Verb::Pin, &left.about),
            value: record.map(|record| wire::encode_as(self.format, &record)),
            expect: Expect::Revision(left.after),
        }
    }

    fn parked_write(&self, version: Version, groups: &[ParkedGroup]) -> Write {
        let record = ParkedRecord {
            write: self.write,
            version,
            groups: groups.to_vec(),
        };
        let value = wire::encode_as(self.format, &Record::Parked(record));
        Write {
            key: parked_key(),
            value: (!groups.is_empty()).then_some(value),
            expect: Expect::Any,
        }
    }

    fn head(&self, version: Version) -> Head {
        let (before, target) = (self.base.0, self.target);
        let (partitions, digest, weights_digest) = if self.origin.is_partial() {
            // What is missing is not gone, and nobody knows what anything weighs.
            (before.partitions, before.digest, UNKNOWN_WEIGHTS)
        } else {
            let table = &target.table;
            (table.len() as u32, table.digest(), table.weights_digest())
        };
        Head {
            write: self.write,
            term: before.term,
            leader: before.leader.clone(),
            version,
            format: self.format,
            lease: self.lease,
            cause: self.cause,
            planned: if self.begins { version } else { before.planned },
            strategy: if self.begins {
                target.strategy.clone()
            } else {
                before.strategy.clone()
            },
            workers: target.workers.len() as u32,
            partitions,
            digest,
            weights_digest,
            unfinished: (self.step.unfinished as u32).saturating_add(self.origin.missing()),
            granted: self.grants() as u32,
            agreed: self.agreed,
            parked: if self.begins {
                ParkedRecord::sum(&target.parked)
            } else {
                before.parked
            },
            carried: self.carried(),
        }
    }

    /// How many grants all records have after this commit.
    fn grants(&self) -> usize {
        let changes: BTreeMap<usize, &Change> = self
            .step
            .changes
            .iter()
            .map(|(index, change)| (*index, change))
            .collect();
        let slots = self.slots.slots.iter().enumerate();
        let grants = slots.map(|(index, slot)| match changes.get(&index) {
            Some(Change::Write(page)) => page.granted.len(),
            Some(Change::Remove) => 0,
            None => slot.page.as_ref().map_or(0, |page| page.granted.len()),
        });
        grants.sum()
    }

    fn carried(&self) -> Carried {
        let mut recorded: BTreeSet<&WorkerId> = self.view.records.keys().collect();
        for (index, change) in &self.step.changes {
            let worker = &self.slots.workers[*index];
            match change {
                Change::Write(_) => recorded.insert(worker),
                Change::Remove => recorded.remove(worker),
            };
        }
        let before = self.carried.clone();
        let waited = before.unassigned.unwrap_or_default();
        Carried {
            unassigned: recorded.is_empty().then_some(waited),
            rebalanced: if self.begins {
                Some(core::time::Duration::ZERO)
            } else {
                before.rebalanced
            },
            ..before
        }
    }

    fn evicted(&self) -> Vec<(WorkerId, SessionRecord, Expect)> {
        let evicted = self.evictions.iter().filter_map(|(worker, judged)| {
            let session = self.view.sessions.get(worker)?;
            let epoch = match (&session.record, self.view.records.get(worker)) {
                (None, Some(record)) if session.unread.is_none() => record.epoch,
                (Some(_) | None, _) => session.epoch(),
            };
            let status = judged.status();
            let outline = session.unread.as_ref();
            let record = match &session.record {
                Some(record) => SessionRecord {
                    write: self.write,
                    epoch,
                    status,
                    ..record.clone()
                },
                None => unknown_session(self.write, epoch, status, (self.agreed.mode, outline)),
            };
            Some((worker.clone(), record, session.expect))
        });
        evicted.collect()
    }
}

const fn write(key: String, value: Option<Vec<u8>>, expect: Expect) -> Write {
    Write { key, value, expect }
}

fn check_sizes(writes: &[Write], most: usize) -> Result<(), String> {
    let size = |write: &Write| write.value.as_ref().map_or(0, Vec::len);
    let Some(write) = writes.iter().find(|write| size(write) > most) else {
        return Ok(());
    };
    let advice = match Key::parse(&write.key) {
        Key::Assignment(_) | Key::Piece(..) => ADVICE,
        Key::Session(_) => "use shorter labels, or a store with a larger payload limit",
        Key::Head
        | Key::Audit(_)
        | Key::Control(..)
        | Key::Parked
        | Key::Suspicion
        | Key::Source
        | Key::Foreign => "use a store with a larger payload limit",
    };
    Err(alloc::format!(
        "the record {} would have {} bytes, the store takes {most}; {advice}",
        write.key,
        size(write)
    ))
}
