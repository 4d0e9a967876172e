//! Pins and moves: where operators want partitions.
//!
//! They are separate because all of them are in one record, which the leader writes again when one is done or
//! over. What always holds: an entry that is written again keeps the time it was given at, so that it is over
//! when it was to be, under every leader.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Order, Orders};
use crate::model::id::{Revision, WorkerId, WriteId};
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;
use crate::records::record::{Control, Pin, Verb};

/// Where an operator wants a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) worker: WorkerId,
    /// Whether it is done once it is there.
    pub(crate) once: bool,
}

/// What is left of the record once some entries are done or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PinsLeft {
    /// What the record is about, as its key says.
    pub(crate) about: WorkerId,
    /// The record it follows on.
    pub(crate) after: Revision,
    pub(crate) pins: Vec<Pin>,
}

impl Orders {
    /// The record of pins, and what it is about.
    fn pin_order(&self) -> Option<(&WorkerId, &Order)> {
        let mut orders = self.orders.iter();
        let found =
            orders.find(|((verb, about), _)| *verb == Verb::Pin && about.as_str() == Verb::GROUP);
        found.map(|((_, about), order)| (about, order))
    }

    /// Every pin, when the record was seen, and when the pin is over on the reader's clock. More than there
    /// may be are not read.
    pub(crate) fn pins(&self) -> impl Iterator<Item = (&Pin, Instant, Option<Instant>)> {
        let entries = self.pin_order().into_iter();
        entries.flat_map(|(_, order)| {
            let pins = order.control.pins.iter().take(Pin::MOST);
            pins.map(|pin| {
                let at_ms = pin.since_ms.unwrap_or(order.at_ms);
                let end = |lasts| self.time.end_of(at_ms, order.seen, lasts);
                (pin, order.seen, pin.lasts.map(end))
            })
        })
    }

    /// Where partitions are wanted now. Of two entries for one partition the later counts.
    pub(super) fn wanted(&self, now: Instant) -> BTreeMap<PartitionKey, Wanted> {
        let pins = self
            .pins()
            .filter(|(_, _, end)| end.is_none_or(|end| end > now));
        let wanted = pins.map(|(pin, ..)| {
            let (worker, once) = (pin.worker.clone(), pin.once);
            (pin.partition.clone(), Wanted { worker, once })
        });
        wanted.collect()
    }

    /// When the next pin is over.
    pub(super) fn next_pin_end(&self, now: Instant) -> Option<Instant> {
        let ends = self.pins().filter_map(|(_, _, end)| end);
        ends.filter(|&end| end > now).min()
    }

    /// What is left without those that are over, and those that are done: moves of a partition to a worker
    /// that has it. `None` if all are left.
    pub(crate) fn pins_left(
        &self,
        now: Instant,
        has: impl Fn(&WorkerId, &PartitionKey) -> bool,
    ) -> Option<PinsLeft> {
        let (about, order) = self.pin_order()?;
        let stays = |(pin, _, end): &(&Pin, Instant, Option<Instant>)| {
            let done = pin.once && has(&pin.worker, &pin.partition);
            !done && end.is_none_or(|end| end > now)
        };
        let left: Vec<Pin> = self
            .pins()
            .filter(stays)
            .map(|(pin, ..)| Pin {
                since_ms: pin.since_ms.or(Some(order.at_ms)),
                ..pin.clone()
            })
            .collect();
        (left.len() < order.control.pins.len()).then_some(PinsLeft {
            about: about.clone(),
            after: order.revision,
            pins: left,
        })
    }

    /// The record was written again by this process, at about this revision: the watch will tell.
    pub(crate) fn rewrote_pins(&mut self, revision: Revision, left: &PinsLeft) {
        let key = (Verb::Pin, left.about.clone());
        if left.pins.is_empty() {
            self.orders.remove(&key);
        } else if let Some(order) = self.orders.get_mut(&key) {
            order.revision = revision;
            order.control.pins = left.pins.clone();
        }
    }
}

impl PinsLeft {
    /// The record that says so, unless nothing is left to say.
    pub(crate) fn record(&self, write: WriteId) -> Option<Control> {
        let last = self.pins.last()?;
        Some(Control {
            write,
            author: last.author.clone(),
            reason: last.reason.clone(),
            lasts: None,
            pins: self.pins.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::Nonce;
    use alloc::string::{String, ToString as _};
    use core::time::Duration;

    fn worker(number: u32) -> WorkerId {
        WorkerId::numbered("worker", number).expect("valid")
    }

    fn key(name: &str) -> PartitionKey {
        PartitionKey::new([name]).expect("valid")
    }

    fn pin(name: &str, to: u32, once: bool, times: (Option<u64>, Option<u64>)) -> Pin {
        Pin {
            partition: key(name),
            worker: worker(to),
            once,
            author: "alice".to_string(),
            reason: String::new(),
            since_ms: times.0,
            lasts: times.1.map(Duration::from_millis),
        }
    }

    const WRITE: WriteId = WriteId {
        nonce: Nonce::new(1),
        seq: 1,
    };

    /// The record of these, written when the store's clock said 1 000 000 and seen at 50 ms.
    fn orders(pins: Vec<Pin>) -> Orders {
        let (after, about) = (Revision::new(7), WorkerId::new(Verb::GROUP).expect("valid"));
        let key = (Verb::Pin, about.clone());
        let left = PinsLeft { about, after, pins };
        let control = left.record(WRITE).expect("some");
        let mut orders = Orders::default();
        let order = Order {
            control,
            revision: after,
            at_ms: 1_000_000,
            seen: Instant::from_millis(50),
        };
        orders.put(key, order);
        orders.saw(Instant::from_millis(50), 1_000_000);
        orders
    }

    /// Each time the leader wrote the record again, what was left in it would have begun to last again.
    #[test]
    fn a_pin_that_is_written_again_is_over_when_it_was_to_be() {
        let first = pin("p", 1, false, (None, Some(10_000)));
        let orders_now = orders(Vec::from([
            first,
            pin("q", 1, false, (Some(995_000), Some(6_000))),
        ]));
        let at = Instant::from_millis;
        assert_eq!(orders_now.next_pin_end(at(0)), Some(at(1_050)));
        assert_eq!(orders_now.wanted(at(1_049)).len(), 2);
        assert_eq!(orders_now.pins_left(at(1_049), |_, _| false), None);
        let left = orders_now
            .pins_left(at(1_050), |_, _| false)
            .expect("one is over");
        assert_eq!(left.after, Revision::new(7));
        assert_eq!(
            left.pins,
            [pin("p", 1, false, (Some(1_000_000), Some(10_000)))]
        );
        let mut later = orders_now.clone();
        later.rewrote_pins(Revision::new(9), &left);
        assert_eq!(later.next_pin_end(at(0)), Some(at(10_050)));
        let none = later.pins_left(at(10_050), |_, _| false).expect("over");
        later.rewrote_pins(Revision::new(11), &none);
        assert!(later.is_empty() && none.record(WRITE).is_none());
    }

    /// A move that stayed in force would bring the partition back after every later plan.
    #[test]
    fn a_move_is_done_once_its_worker_has_the_partition_and_a_pin_is_not() {
        let orders = orders(Vec::from([
            pin("p", 1, true, (None, None)),
            pin("q", 1, false, (None, None)),
            pin("r", 2, true, (None, None)),
        ]));
        let has = |to: &WorkerId, _: &PartitionKey| *to == worker(1);
        let left = orders.pins_left(Instant::ORIGIN, has).expect("one is done");
        let names: Vec<&PartitionKey> = left.pins.iter().map(|pin| &pin.partition).collect();
        assert_eq!(names, [&key("q"), &key("r")]);
    }
}
