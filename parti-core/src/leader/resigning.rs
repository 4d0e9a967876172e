//! What a leader hands on to the next, and resigning in order: one last `head` that names
//! nobody, so that others need not wait. The commit that does it removes the requests that asked for it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;

use crate::io::event::OpOwner;
use crate::io::notice::StepDownReason;
use crate::leader::Leader;
use crate::leader::leadership::{Leadership, Resigning, Step};
use crate::link::attempt::Attempt;
use crate::link::cx::Cx;
use crate::model::id::{Token, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::state::Cause;
use crate::model::time::Instant;
use crate::ports::store::{Expect, Write};
use crate::records::carried::Carried;
use crate::records::keys::{control_key, head_key};
use crate::records::record::{Head, Record, Verb};

impl Leader {
    /// What the next leader is to go on with.
    pub(crate) fn carried(&self, now: Instant) -> Carried {
        let knowledge = &self.knowledge;
        if !self.leadership.is_informed() {
            // It has not seen enough to know better than the one before.
            return knowledge.head.carried.clone();
        }
        let waited = knowledge.joins.waited(now);
        let (suspected, leases_decide) = knowledge.budget.carried(now);
        Carried {
            suspected,
            leases_decide,
            futile: self.futile,
            unassigned: knowledge.is_cold().then_some(waited),
            rebalanced: self.last_rebalance.map(|at| now.since(at)),
            quarantined: knowledge.quarantine.carried(now),
        }
    }

    /// How many terms in a row were given up before this one.
    pub(crate) const fn futile(&self) -> u32 {
        self.futile
    }

    /// Gives up the leadership as soon as no commit is in flight.
    pub(crate) fn resign(&mut self, reason: StepDownReason) {
        self.leadership.resign(reason);
    }

    /// What the next leader is to go on with after this one gave up.
    fn handed_on(&self, now: Instant, reason: &StepDownReason) -> Carried {
        let carried = self.carried(now);
        let futile = carried.futile.saturating_add(reason.is_futile().into());
        Carried { futile, ..carried }
    }

    /// Whether this worker has let go of partitions that are planned for others and not granted yet.
    pub(crate) fn owes_grants(&self) -> bool {
        let (view, head) = (&self.knowledge.view, &self.knowledge.head);
        let own = head.leader.as_ref();
        let (Leadership::Leading(_), Some(target), Some(record)) = (
            &self.leadership,
            self.in_force.target().filter(|_| head.unfinished > 0),
            own.and_then(|own| view.records.get(&own.worker)),
        ) else {
            return false;
        };
        let granted = view.records.values().flat_map(|record| &record.granted);
        let granted: BTreeMap<&PartitionKey, Token> = granted
            .map(|grant| (&grant.partition, grant.token))
            .collect();
        let mut released = record.revoking.iter();
        released.any(|revoking| {
            let rank = target.table.rank_of(&revoking.partition);
            let planned = rank.is_some_and(|rank| target.owner(rank).is_some());
            let since = Token::from(revoking.since);
            let newer = granted.get(&revoking.partition);
            planned && newer.is_none_or(|token| *token < since)
        })
    }

    /// The requests that the leader is to resign, by who asks.
    pub(crate) fn asked_to_step_down(&self) -> impl Iterator<Item = &WorkerId> {
        let asked = self.knowledge.view.controls.keys();
        let asked = asked.filter(|(verb, _)| *verb == Verb::StepDown);
        asked.map(|(_, by)| by)
    }

    /// Writes the last `head` when it is time to.
    pub(crate) fn poll_resignation(&mut self, cx: &mut Cx<'_>) {
        let Leadership::Resigning(Resigning { reason, step, .. }) = &self.leadership else {
            return;
        };
        match step {
            Step::Pausing { until } if cx.now < *until => return,
            Step::Committing(_) | Step::Writing { .. } => return,
            Step::Pausing { .. } | Step::Due => {}
        }
        let carried = self.handed_on(cx.now, reason);
        let knowledge = &self.knowledge;
        let write = self.author.next_write(&knowledge.head);
        let head = Head {
            write,
            leader: None,
            version: knowledge.next_version(cx),
            format: cx.format(),
            lease: cx.config().lease(),
            cause: Cause::Resignation,
            carried,
            ..knowledge.head.clone()
        };
        let value = Some(cx.encode(&Record::Head(head.clone())));
        let expect = Expect::Revision(knowledge.head_revision);
        let mut writes = vec![Write {
            key: head_key(),
            value,
            expect,
        }];
        // Done, whatever it resigns for: the next leader must not read them as meant for itself.
        writes.extend(self.asked_to_step_down().map(|by| Write {
            key: control_key(Verb::StepDown, by),
            value: None,
            expect: Expect::Any,
        }));
        let attempt = Attempt::begin(cx, OpOwner::Leader, write, writes);
        if let Leadership::Resigning(resigning) = &mut self.leadership {
            resigning.step = Step::Writing {
                attempt: Box::new(attempt),
                head: Box::new(head),
            };
        }
    }
}
