//! Orders of operators: what holds for every leader until it is over or withdrawn.
//!
//! They are separate from requests, which are done once. When an order is over is measured by the store's own
//! time, which entries show: no two machines' clocks are compared, and no leader begins to count again.
//! The error is what clocks of servers differ by when the store is led by another one, either way; and
//! an order is over up to one heartbeat late where time is only seen in entries, never early by that.
//! What always holds: orders that would leave nobody to own anything are not obeyed, and said not to be.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::model::id::{Revision, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;
use crate::records::record::{Control, Verb};

mod pins;

pub(crate) use pins::{PinsLeft, Wanted};

/// The store's own time, as far as its entries show it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoreTime {
    /// The latest there is, and when it was seen.
    newest: Option<(u64, Instant)>,
}

impl StoreTime {
    /// An entry was seen that was written then.
    pub(crate) fn saw(&mut self, now: Instant, at_ms: u64) {
        if self.newest.is_none_or(|(newest, _)| at_ms > newest) {
            self.newest = Some((at_ms, now));
        }
    }

    /// When something is over, on the clock of the reader, that was written then and lasts so long.
    fn end_of(&self, at_ms: u64, seen: Instant, lasts: Duration) -> Instant {
        match self.newest {
            Some((newest, at)) if at_ms > 0 => {
                let end = Duration::from_millis(at_ms).saturating_add(lasts);
                let newest = Duration::from_millis(newest);
                match end.checked_sub(newest) {
                    Some(rest) => at + rest,
                    None => at.saturating_sub(newest - end),
                }
            }
            Some(_) | None => seen + lasts,
        }
    }
}

/// An order as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) control: Control,
    pub(crate) revision: Revision,
    pub(crate) at_ms: u64,
    pub(crate) seen: Instant,
}

/// What orders ask of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ordered {
    /// Who is to own nothing.
    pub(crate) drained: BTreeSet<WorkerId>,
    /// Who gets nothing new and is not drained.
    pub(crate) cordoned: BTreeSet<WorkerId>,
    /// Whether nothing moves that may stay.
    pub(crate) frozen: bool,
    /// Where operators want partitions.
    pub(crate) pins: BTreeMap<PartitionKey, Wanted>,
}

impl Ordered {
    /// Whether a worker may be given something.
    pub(crate) fn admits(&self, worker: &WorkerId) -> bool {
        !self.drained.contains(worker) && !self.cordoned.contains(worker)
    }
}

/// All orders.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    time: StoreTime,
    orders: BTreeMap<(Verb, WorkerId), Order>,
}

impl Orders {
    pub(crate) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// An entry was seen, of whichever key.
    pub(crate) fn saw(&mut self, now: Instant, at_ms: u64) {
        self.time.saw(now, at_ms);
    }

    pub(crate) fn put(&mut self, key: (Verb, WorkerId), order: Order) {
        self.orders.insert(key, order);
    }

    pub(crate) fn remove(&mut self, key: &(Verb, WorkerId)) {
        self.orders.remove(key);
    }

    /// When each order is over, on the reader's clock.
    pub(crate) fn ends(
        &self,
    ) -> impl Iterator<Item = (&(Verb, WorkerId), &Order, Option<Instant>)> {
        self.orders.iter().map(|(key, order)| {
            let lasts = order.control.lasts;
            let end = lasts.map(|lasts| self.time.end_of(order.at_ms, order.seen, lasts));
            (key, order, end)
        })
    }

    /// Orders that are over, to be removed.
    pub(crate) fn over(&self, now: Instant) -> Vec<(Verb, WorkerId, Revision)> {
        let over = self
            .ends()
            .filter(|(_, _, end)| end.is_some_and(|end| end <= now));
        over.map(|((verb, worker), order, _)| (*verb, worker.clone(), order.revision))
            .collect()
    }

    /// When the next of them is over.
    pub(crate) fn next_end(&self, now: Instant) -> Option<Instant> {
        let ends = self.ends().filter_map(|(_, _, end)| end);
        let pins = self.next_pin_end(now);
        ends.filter(|&end| end > now).chain(pins).min()
    }

    /// What is ordered of a plan now. `takes` says of a worker whether it could own anything: when nobody
    /// could but those whom the orders keep out, these orders are not obeyed.
    pub(crate) fn ordered<'a>(
        &self,
        now: Instant,
        mut takers: impl Iterator<Item = &'a WorkerId>,
    ) -> Ordered {
        let mut ordered = Ordered::default();
        for ((verb, worker), _, end) in self.ends() {
            if end.is_some_and(|end| end <= now) {
                continue;
            }
            match verb {
                Verb::Drain => {
                    ordered.drained.insert(worker.clone());
                }
                // A worker whose session was ended by hand would get everything back with the next one.
                Verb::Cordon | Verb::Evict => {
                    ordered.cordoned.insert(worker.clone());
                }
                Verb::Freeze => ordered.frozen = true,
                Verb::Pin | Verb::Refresh | Verb::Trigger | Verb::StepDown => {}
            }
        }
        ordered.pins = self.wanted(now);
        ordered
            .cordoned
            .retain(|worker| !ordered.drained.contains(worker));
        let keeps_out = !ordered.drained.is_empty() || !ordered.cordoned.is_empty();
        if keeps_out && !takers.any(|worker| ordered.admits(worker)) {
            (ordered.drained, ordered.cordoned) = (BTreeSet::new(), BTreeSet::new());
        }
        ordered
    }

    /// Whose sessions are to be ended that began before these revisions.
    pub(crate) fn evictions(&self, now: Instant) -> impl Iterator<Item = (&WorkerId, Revision)> {
        let ends = self
            .ends()
            .filter(move |(_, _, end)| end.is_none_or(|end| end > now));
        ends.filter_map(|((verb, worker), order, _)| {
            (*verb == Verb::Evict).then_some((worker, order.revision))
        })
    }

    /// The orders in words, for the audit: which are obeyed, and which are not for want of others. Of pins
    /// the plan says it.
    pub(crate) fn words(&self, now: Instant, ordered: &Ordered) -> Vec<String> {
        let words = self.ends().filter_map(|((verb, worker), order, end)| {
            let (what, author) = (verb.as_str(), &order.control.author);
            let name = match verb {
                Verb::Freeze => what.to_string(),
                Verb::Drain
                | Verb::Cordon
                | Verb::Evict
                | Verb::Pin
                | Verb::Refresh
                | Verb::Trigger
                | Verb::StepDown => format!("{what} of {worker}"),
            };
            if end.is_some_and(|end| end <= now) {
                return Some(format!("{name} is over"));
            }
            let obeyed = match verb {
                Verb::Drain => ordered.drained.contains(worker),
                Verb::Cordon | Verb::Evict => !ordered.admits(worker),
                Verb::Freeze => ordered.frozen,
                Verb::Pin | Verb::Refresh | Verb::Trigger | Verb::StepDown => return None,
            };
            let reason = match order.control.reason.as_str() {
                "" => String::new(),
                reason => format!(" ({reason})"),
            };
            Some(if obeyed {
                format!("{name} by {author}{reason}")
            } else {
                format!("{name} by {author} is not obeyed: nobody else may own anything")
            })
        });
        words.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{Nonce, WriteId};

    fn worker(number: u32) -> WorkerId {
        WorkerId::numbered("worker", number).expect("valid")
    }

    fn order(at_ms: u64, seen_ms: u64, lasts_ms: Option<u64>) -> Order {
        Order {
            control: Control {
                write: WriteId {
                    nonce: Nonce::new(1),
                    seq: 1,
                },
                author: "alice".to_string(),
                reason: "disk".to_string(),
                lasts: lasts_ms.map(Duration::from_millis),
                pins: Vec::new(),
            },
            revision: Revision::new(7),
            at_ms,
            seen: Instant::from_millis(seen_ms),
        }
    }

    fn drain(at_ms: u64, seen_ms: u64, lasts_ms: Option<u64>) -> Orders {
        let mut orders = Orders::default();
        orders.put((Verb::Drain, worker(1)), order(at_ms, seen_ms, lasts_ms));
        orders
    }

    /// A leader that came late would otherwise keep a worker drained for as long again.
    #[test]
    fn an_order_is_over_by_the_time_of_the_store_at_whatever_time_it_is_seen() {
        let mut orders = drain(1_000_000, 50, Some(10_000));
        // The newest entry is 4 s younger than the order: 6 s are left from when it was seen.
        orders.saw(Instant::from_millis(80), 1_004_000);
        orders.saw(Instant::from_millis(90), 1_000_000);
        assert_eq!(
            orders.next_end(Instant::ORIGIN),
            Some(Instant::from_millis(6_080))
        );
        let all = [worker(1), worker(2)];
        let ordered = |ms| orders.ordered(Instant::from_millis(ms), all.iter());
        assert_eq!(ordered(6_079).drained.len(), 1);
        assert_eq!(ordered(6_080), Ordered::default());
        assert_eq!(orders.over(Instant::from_millis(6_079)), []);
        let over = [(Verb::Drain, worker(1), Revision::new(7))];
        assert_eq!(orders.over(Instant::from_millis(6_080)), over);
        // Nobody looked for an hour: it is over at first sight.
        orders.saw(Instant::from_millis(100), 4_600_000);
        assert_eq!(orders.over(Instant::from_millis(4_000_000)), over);
    }

    /// A store without a clock must not make orders last for ever, or for no time.
    #[test]
    fn without_a_time_of_the_store_its_own_sight_counts() {
        let mut orders = drain(0, 500, Some(1_000));
        orders.saw(Instant::from_millis(900), 0);
        assert_eq!(
            orders.next_end(Instant::ORIGIN),
            Some(Instant::from_millis(1_500))
        );
        assert_eq!(drain(0, 500, None).next_end(Instant::ORIGIN), None);
    }

    /// An operator who drains the last worker by mistake would stop everything.
    #[test]
    fn what_would_leave_nobody_is_not_obeyed_and_a_drain_outweighs_a_cordon() {
        let mut orders = drain(0, 0, None);
        orders.put((Verb::Cordon, worker(1)), order(0, 0, None));
        orders.put((Verb::Cordon, worker(2)), order(0, 0, None));
        let freeze = WorkerId::new(Verb::GROUP).expect("valid");
        orders.put((Verb::Freeze, freeze), order(0, 0, None));
        let now = Instant::ORIGIN;
        let three = [worker(1), worker(2), worker(3)];
        let ordered = orders.ordered(now, three.iter());
        assert_eq!(ordered.drained, BTreeSet::from([worker(1)]));
        assert_eq!(ordered.cordoned, BTreeSet::from([worker(2)]));
        assert!(ordered.frozen);
        let said = orders.words(now, &ordered).join("; ");
        assert!(said.contains("drain of worker-1 by alice (disk)"), "{said}");
        assert!(!said.contains("not obeyed"), "{said}");
        let two = orders.ordered(now, three[..2].iter());
        assert!(two.drained.is_empty() && two.cordoned.is_empty() && two.frozen);
        let said = orders.words(now, &two).join("; ");
        assert!(
            said.contains("drain of worker-1 by alice is not obeyed"),
            "{said}"
        );
    }
}
