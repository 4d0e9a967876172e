//! Orders of operators, compared with what the bucket says of workers and partitions.

use alloc::vec::Vec;

use super::{News, SessionView, View};
use crate::link::cx::Cx;
use crate::model::id::{Epoch, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;
use crate::records::orders::{Order, Ordered, PinsLeft};
use crate::records::record::{Record, Verb};
use crate::records::seen::{Content, Seen};

impl View {
    /// An order of an operator. One that cannot be read is not obeyed, and left alone.
    pub(super) fn on_order(
        &mut self,
        cx: &mut Cx<'_>,
        (verb, worker): (Verb, &WorkerId),
        seen: &Seen<'_>,
    ) -> News {
        if let Content::Unreadable { reason, .. } = seen.content() {
            cx.ignore(seen, reason);
        }
        let key = (verb, worker.clone());
        if let Some(Record::Control(control)) = seen.record() {
            let order = Order {
                control: control.clone(),
                revision: seen.revision(),
                at_ms: seen.entry().at_ms,
                seen: cx.now,
            };
            self.orders.put(key, order);
        } else {
            self.orders.remove(&key);
        }
        News::Change
    }

    /// Whether a worker was granted a partition, as its record says.
    pub(crate) fn has(&self, worker: &WorkerId, partition: &PartitionKey) -> bool {
        let record = self.records.get(worker);
        record.is_some_and(|r| r.granted.iter().any(|grant| grant.partition == *partition))
    }

    /// What orders ask of a plan now, without moves that are done.
    pub(crate) fn ordered<'a>(
        &self,
        now: Instant,
        takers: impl Iterator<Item = &'a WorkerId>,
    ) -> Ordered {
        let mut ordered = self.orders.ordered(now, takers);
        self.forget_done(&mut ordered);
        // Who is cordoned and has nothing is planned for with no capacity: its empty record tells it that it
        // need not wait for one.
        let cordoned = core::mem::take(&mut ordered.cordoned).into_iter();
        let keeps = |worker: &WorkerId| {
            let record = self.records.get(worker).map(|record| record.epoch);
            let epoch = self.sessions.get(worker).map(SessionView::epoch);
            self.owns(worker) && (record.is_none() || record == epoch)
        };
        let (keeping, idle): (Vec<_>, Vec<_>) = cordoned.partition(keeps);
        ordered.cordoned.extend(keeping);
        ordered.drained.extend(idle);
        ordered
    }

    /// Takes moves out that are done: they ask for nothing.
    pub(crate) fn forget_done(&self, ordered: &mut Ordered) {
        let pins = &mut ordered.pins;
        pins.retain(|key, wanted| !(wanted.once && self.has(&wanted.worker, key)));
    }

    /// What is left of the pins, if some are over or done.
    pub(crate) fn pins_left(&self, now: Instant) -> Option<PinsLeft> {
        let has = |worker: &WorkerId, key: &PartitionKey| self.has(worker, key);
        self.orders.pins_left(now, has)
    }

    /// Workers whose session is to be ended by order, unless that order is not obeyed. It is about sessions
    /// that began before it was given: the next one of the slot is left alone.
    pub(crate) fn evicted_by_order<'a>(
        &'a self,
        now: Instant,
        ordered: &'a Ordered,
    ) -> impl Iterator<Item = &'a WorkerId> {
        let orders = self.orders.evictions(now).filter(|(worker, given)| {
            let session = self.sessions.get(*worker);
            let concerned = session.filter(|s| s.is_living() && s.epoch() < Epoch::from(*given));
            concerned.is_some() && !ordered.admits(worker)
        });
        orders.map(|(worker, _)| worker)
    }
}
