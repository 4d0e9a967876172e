//! L13: what operators order is done, and stays done.
//!
//! It is judged once the faults are over. Where the checker cannot know why an order is not obeyed, it
//! does not judge: with workers in quarantine, with partitions that not everybody can process or may own,
//! with records that are full, and where the orders leave nobody.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{AppliedCommit, Check, Coverage, Findings, Process, Rules, Written};
use parti_core::{
    Control, Instant, Key, ParkReason, PartitionKey, Pin, Record, Revision, SessionStatus, Verb,
    WorkerId,
};

/// An order, when it was written and at which revision.
#[derive(Clone, Debug)]
struct Order {
    at: Instant,
    revision: Revision,
    control: Control,
    /// Since when each partition is wanted where it is.
    wanted: BTreeMap<(PartitionKey, WorkerId), Instant>,
}

#[derive(Debug)]
pub(in crate::simulator) struct Obeyed {
    /// How long an order may take to be obeyed.
    patience: Duration,
    orders: BTreeMap<(Verb, WorkerId), Order>,
}

impl Obeyed {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        let wait = rules.windows.1.max(rules.cooldown);
        Self {
            patience: rules.lease * 8 + wait * 2,
            orders: BTreeMap::new(),
        }
    }

    fn take(&mut self, at: Instant, writes: &[Written]) {
        for write in writes {
            let Key::Control(verb, worker) = &write.key else {
                continue;
            };
            let key = (*verb, worker.clone());
            let before = self.orders.remove(&key).map(|order| order.wanted);
            if let Some(Record::Control(control)) = write.record() {
                let known = before.unwrap_or_default();
                let wanted = control.pins.iter().map(|pin| {
                    let wanted = (pin.partition.clone(), pin.worker.clone());
                    let since = known.get(&wanted).copied().unwrap_or(at);
                    (wanted, since)
                });
                let order = Order {
                    at,
                    revision: write.revision,
                    wanted: wanted.collect(),
                    control: control.clone(),
                };
                self.orders.insert(key, order);
            }
        }
    }

    /// Whether something holds that was ordered then, and for long enough, by every clock.
    fn holds(&self, now: Instant, at: Instant, lasts: Option<Duration>) -> bool {
        let until = |lasts| at + lasts > now + self.patience;
        at + self.patience <= now && lasts.is_none_or(until)
    }

    /// The workers that an order of a kind is about.
    fn about(&self, now: Instant, verb: Verb) -> BTreeSet<&WorkerId> {
        let orders = self.orders.iter().filter(|((of, _), _)| *of == verb);
        let holding = orders.filter(|(_, o)| self.holds(now, o.at, o.control.lasts));
        holding.map(|((_, worker), _)| worker).collect()
    }

    /// Whether there is an order about a worker that keeps it from getting something, however young or old.
    fn is_kept_out(&self, worker: &WorkerId) -> bool {
        let verbs = [Verb::Drain, Verb::Cordon, Verb::Evict];
        let mut verbs = verbs.into_iter();
        verbs.any(|verb| self.orders.contains_key(&(verb, worker.clone())))
    }

    fn pins(&self, now: Instant) -> impl Iterator<Item = &Pin> {
        let frozen = self.orders.keys().any(|(verb, _)| *verb == Verb::Freeze);
        let orders = self.orders.iter().filter(move |((verb, worker), _)| {
            *verb == Verb::Pin && worker.as_str() == Verb::GROUP && !frozen
        });
        orders.flat_map(move |(_, order)| {
            let pins = order.control.pins.iter();
            pins.filter(move |pin| {
                let wanted = (pin.partition.clone(), pin.worker.clone());
                let since = order.wanted.get(&wanted).copied().unwrap_or(order.at);
                self.holds(now, since, pin.lasts)
            })
        })
    }
}

impl Check for Obeyed {
    fn on_commit(&mut self, _: Process, writes: &[Written], findings: &mut Findings) {
        self.take(findings.now(), writes);
    }

    fn on_external(&mut self, at: Instant, writes: &[Written]) {
        self.take(at, writes);
    }

    fn on_due(&mut self, coverage: &Coverage, findings: &mut Findings) {
        let (now, stored) = (coverage.now, &coverage.stored);
        let quarantined = stored.head.as_ref().is_none_or(|head| {
            let mut quarantined = head.carried.quarantined.iter();
            quarantined.any(|out| !out.rest.is_zero())
        });
        let full = stored
            .parked
            .iter()
            .any(|group| group.reason == ParkReason::DoesNotFit);
        let choosy = full || !(coverage.homeless.is_empty() && coverage.unfit.is_empty());
        if quarantined || choosy || coverage.restless || !coverage.pending().is_empty() {
            return;
        }
        let takes = |worker: &WorkerId| {
            let session = stored.sessions.get(worker).map(|(_, _, session)| session);
            session.is_some_and(|s| s.status == SessionStatus::Active && s.capacity > 0)
        };
        let mut takers = stored.sessions.keys().filter(|worker| takes(worker));
        if !takers.any(|worker| !self.is_kept_out(worker)) {
            return;
        }
        let has = |worker: &WorkerId| stored.assignments.get(worker).map(|(_, record)| record);
        for worker in self.about(now, Verb::Drain) {
            let owned = has(worker).map_or(0, |record| record.granted.len());
            if takes(worker) && owned > 0 {
                findings.report(format!("{worker} is drained and has {owned} partitions"));
            }
        }
        for worker in self.about(now, Verb::Evict) {
            let key = (Verb::Evict, worker.clone());
            let given = self.orders.get(&key).map(|order| order.revision.get());
            let epoch = stored.sessions.get(worker).map(|(_, epoch, _)| epoch.get());
            let leads = stored.head.as_ref().and_then(|head| head.leader.as_ref());
            // A leader does not end its own session, and where nobody else can lead it leads on.
            let leads = leads.is_some_and(|leader| leader.worker == *worker);
            if takes(worker) && !leads && epoch < given {
                findings.report(format!(
                    "the session of {worker} of {epoch:?} goes on, which was to end at {given:?}"
                ));
            }
        }
        for Pin {
            partition, worker, ..
        } in self.pins(now)
        {
            let there = coverage.partitions.contains(partition);
            let mut granted = has(worker).into_iter().flat_map(|record| &record.granted);
            let has = granted.any(|grant| grant.partition == *partition);
            let session = stored.sessions.get(worker).map(|(_, _, session)| session);
            // Labels mean rules, which the strategy holds to.
            let there = there && session.is_some_and(|session| session.labels.is_empty());
            if there && takes(worker) && !self.is_kept_out(worker) && !has {
                findings.report(format!(
                    "{partition} is wanted at {worker} and is not there"
                ));
            }
        }
    }

    fn lose_history(&mut self, _: &[AppliedCommit]) {
        self.orders.clear();
    }
}
