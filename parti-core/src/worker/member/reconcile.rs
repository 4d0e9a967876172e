//! Comparing with the store now and then: a watch is a hint, reading is the repair.
//!
//! The leader lists everything, a follower reads `head` and its own record. Both are rare: what a
//! renewal brings back through the watch already proves that nothing before it was missed.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Member, Membership};
use crate::io::effect::{Wake, WakeReason};
use crate::io::event::{OpId, OpOwner};
use crate::link::circuits::Gate;
use crate::link::cx::Cx;
use crate::model::id::Revision;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{Entry, StoreError, StoreOp, StoreReply};
use crate::records::keys::{Key, assignment_key, head_key, session_key};
use crate::records::record::Verb;
use crate::worker::context::WorkerCx;

/// Reads under way and when the next are due.
#[derive(Clone, Debug)]
pub(crate) struct Reconcile {
    due_at: Instant,
    /// When to read in place of a watch that stays silent. It leaves the regular time as it is: a
    /// watch that was merely slower than an acknowledgement must not cost a comparison.
    poll_at: Option<Instant>,
    listing: Option<OpId>,
    reading: BTreeMap<OpId, Reading>,
}

#[derive(Clone, Debug)]
pub(super) enum Reading {
    Record,
    /// All pieces of this worker's assignment.
    Pieces,
    Request {
        verb: Verb,
        key: String,
        asked: Revision,
    },
}

impl Reconcile {
    pub(crate) fn new(cx: &mut Cx<'_>) -> Self {
        let interval = cx.config().reconcile_interval();
        // Spread over the interval, so that a group that starts at once does not read at once.
        let due_at = cx.now + interval / 2 + cx.rng().duration_below(interval);
        Self {
            due_at,
            poll_at: None,
            listing: None,
            reading: BTreeMap::new(),
        }
    }

    pub(crate) fn lead(&mut self, cx: &Cx<'_>) {
        (self.due_at, self.listing) = (cx.now + cx.config().reconcile_interval(), None);
    }

    /// A snapshot lacks what is known, which proves nothing: it may have moved meanwhile, or somebody
    /// deleted it while no watch was there to tell. A comparison does tell.
    pub(crate) fn hasten(&mut self, at: Instant) {
        self.due_at = self.due_at.min(at);
    }

    pub(crate) fn follow(&mut self, cx: &Cx<'_>) {
        self.lead(cx);
    }

    pub(crate) fn look_at(
        &mut self,
        cx: &mut Cx<'_>,
        (verb, key, asked): (Verb, String, Revision),
    ) {
        if cx.gate(OpOwner::Reconcile) != Gate::Free {
            self.due_at = self.due_at.min(cx.now + cx.config().heartbeat_interval());
            return;
        }
        // A list says up to where it is complete: a read that shows nothing may just be stale.
        let prefix = key.clone();
        let op = cx.store(OpOwner::Reconcile, StoreOp::List { prefix });
        self.reading
            .insert(op, Reading::Request { verb, key, asked });
    }

    /// A read is under way.
    pub(super) fn reads(&mut self, op: OpId, reading: Reading) {
        self.reading.insert(op, reading);
    }

    pub(crate) fn wake(&self) -> Option<Wake> {
        Some(Wake::new(self.next_at(), WakeReason::Reconcile))
    }

    fn next_at(&self) -> Instant {
        self.poll_at.map_or(self.due_at, |at| at.min(self.due_at))
    }
}

impl Member {
    pub(super) fn poll_reconcile(&mut self, cx: &mut WorkerCx<'_>) {
        // A follower whose watch stays silent reads instead, or it would never hear of its assignment.
        let polls = self.leader.is_none() && cx.heard().is_one_way();
        let in_a_heartbeat = cx.now + cx.config().heartbeat_interval();
        let poll_at = self.reconcile.poll_at.unwrap_or(in_a_heartbeat);
        self.reconcile.poll_at = polls.then_some(poll_at);
        if cx.now < self.reconcile.next_at() {
            return;
        }
        if polls {
            self.reconcile.poll_at = Some(in_a_heartbeat);
        }
        let regular = cx.now >= self.reconcile.due_at;
        if cx.gate(OpOwner::Reconcile) != Gate::Free {
            self.reconcile.due_at = self.reconcile.due_at.max(in_a_heartbeat);
            return;
        }
        if regular {
            self.reconcile.due_at = cx.now + cx.config().reconcile_interval();
            cx.suspect();
        }
        if cx.planted(Planted::NoRepair) {
            return;
        }
        self.look_at_requests(cx);
        if self.leader.is_some() {
            let prefix = String::new();
            let op = cx.store(OpOwner::Reconcile, StoreOp::List { prefix });
            self.reconcile.listing = Some(op);
        } else {
            for key in [head_key(), assignment_key(&self.session.worker)] {
                let op = cx.store(OpOwner::Reconcile, StoreOp::Get { key });
                self.reconcile.reading.insert(op, Reading::Record);
            }
        }
    }

    /// A request that neither the watch nor a snapshot answers was removed in between, or still waits.
    pub(super) fn look_at_requests(&mut self, cx: &mut WorkerCx<'_>) {
        for request in cx.requests.asked(&self.session.worker) {
            self.reconcile.look_at(cx, request);
        }
    }

    /// An answer to a read; an error is made good by the next one.
    pub(crate) fn on_reconciled(
        &mut self,
        cx: &mut WorkerCx<'_>,
        op: OpId,
        result: &Result<StoreReply, StoreError>,
    ) -> Membership {
        let reading = self.reconcile.reading.remove(&op);
        let listing = self
            .reconcile
            .listing
            .take_if(|listing| *listing == op)
            .is_some();
        match (result, reading) {
            (
                Ok(StoreReply::Entries {
                    entries,
                    last_revision,
                }),
                None,
            ) if listing => self.on_listed(cx, entries, *last_revision),
            (Ok(StoreReply::Info(info)), _) => {
                self.learn_facts(cx, info);
                Membership::On
            }
            (Ok(StoreReply::Entry(Some(entry))), Some(Reading::Record)) => {
                self.on_entry(cx, &cx.seen(entry), false)
            }
            (Ok(StoreReply::Entries { entries, .. }), Some(Reading::Pieces)) => {
                for entry in entries {
                    let seen = cx.seen(entry);
                    if let Key::Piece(worker, number) = seen.key()
                        && *worker == self.session.worker
                    {
                        self.on_piece(cx, *number, &seen);
                    }
                }
                Membership::On
            }
            (
                Ok(StoreReply::Entries {
                    entries,
                    last_revision,
                }),
                Some(Reading::Request { verb, key, asked }),
            ) => {
                let there = |entry: &Entry| entry.key == key && entry.value.is_some();
                if *last_revision >= asked && !entries.iter().any(there) {
                    let gone = Entry {
                        at_ms: 0,
                        key,
                        revision: asked.next(),
                        value: None,
                    };
                    self.on_control(cx, verb, &cx.seen(&gone));
                }
                Membership::On
            }
            (Ok(_) | Err(_), _) => Membership::On,
        }
    }

    fn on_listed(
        &mut self,
        cx: &mut WorkerCx<'_>,
        entries: &[Entry],
        last_revision: Revision,
    ) -> Membership {
        if let Some(leader) = &self.leader
            && let Some(loss) = leader.contradiction(entries, last_revision)
        {
            return Membership::HistoryLost(loss);
        }
        // Keys come in their order. What its own session and the head say decides what the records are
        // worth: nothing is begun that the next entry ends.
        let own = session_key(&self.session.worker);
        let mut entries: Vec<&Entry> = entries.iter().collect();
        entries.sort_by_key(|entry| (entry.key != own, entry.key != head_key()));
        for entry in &entries {
            let membership = self.on_entry(cx, &cx.seen(entry), false);
            if membership != Membership::On {
                return membership;
            }
        }
        if !entries.iter().any(|entry| entry.key == head_key()) {
            self.head_is_gone(cx, last_revision);
        }
        if let Some(leader) = self.leader_mut() {
            let keys = entries.iter().map(|entry| entry.key.clone()).collect();
            leader.on_list(cx, &keys, last_revision);
        }
        Membership::On
    }
}
