//! The sink: takes what is handled, refuses older owners, and judges what it saw.
//!
//! It stands for a database that keeps token and sequence with each partition's data and compares them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

/// One handled message.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Effect {
    partition: u32,
    token: u64,
    sequence: u64,
    key: String,
    number: u64,
    may_repeat: bool,
}

#[derive(Default)]
struct Partition {
    token: u64,
    sequence: u64,
    last: Option<Instant>,
}

/// What was stored, and what was wrong with it.
pub(crate) struct Sink {
    partitions: BTreeMap<u32, Partition>,
    next: BTreeMap<String, u64>,
    accepted: u64,
    twice: u64,
    order_violations: u64,
    repeats: u64,
    repeats_unannounced: u64,
    fenced: u64,
    event: &'static str,
    gaps: Vec<(&'static str, Duration)>,
}

impl Sink {
    pub(crate) fn new() -> Self {
        Self {
            partitions: BTreeMap::new(),
            next: BTreeMap::new(),
            accepted: 0,
            twice: 0,
            order_violations: 0,
            repeats: 0,
            repeats_unannounced: 0,
            fenced: 0,
            event: "start",
            gaps: Vec::new(),
        }
    }

    pub(crate) const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// From now on gaps belong to this event.
    pub(crate) fn begin(&mut self, event: &'static str) {
        self.event = event;
        self.gaps.push((event, Duration::ZERO));
    }

    /// Stores an effect, or says why not.
    pub(crate) fn take(&mut self, effect: &Effect, now: Instant) -> &'static str {
        let partition = self.partitions.entry(effect.partition).or_default();
        if effect.token < partition.token {
            self.fenced += 1;
            return "fenced";
        }
        partition.token = effect.token;
        if effect.sequence <= partition.sequence {
            self.repeats += 1;
            self.repeats_unannounced += u64::from(!effect.may_repeat);
            return "repeated";
        }
        partition.sequence = effect.sequence;
        let gap = partition.last.map(|last| now.duration_since(last));
        partition.last = Some(now);
        if let (Some(gap), Some(longest)) = (gap, self.gaps.last_mut()) {
            longest.1 = longest.1.max(gap);
        }
        let due = self.next.entry(effect.key.clone()).or_default();
        self.twice += u64::from(effect.number < *due);
        self.order_violations += u64::from(effect.number != *due);
        *due = effect.number + 1;
        self.accepted += 1;
        "stored"
    }

    /// The line at the end, and whether it is as it must be.
    pub(crate) fn report(&self, published: u64) -> (Value, bool) {
        let lost = published.saturating_sub(self.accepted);
        let gaps = self.gaps.iter().map(|(event, gap)| {
            let milliseconds = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
            ((*event).to_owned(), Value::from(milliseconds))
        });
        let line = json!({
            "messages": published,
            "lost": lost,
            "handled_twice_committed": self.twice,
            "order_violations": self.order_violations,
            "repeated_calls": self.repeats,
            "repeated_unannounced": self.repeats_unannounced,
            "fenced_calls": self.fenced,
            "longest_gap_ms": gaps.collect::<serde_json::Map<_, _>>(),
        });
        let wrong = lost + self.twice + self.order_violations + self.repeats_unannounced;
        (line, wrong == 0 && published > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(token: u64, sequence: u64, number: u64) -> Effect {
        Effect {
            partition: 3,
            token,
            sequence,
            key: "k".to_owned(),
            number,
            may_repeat: false,
        }
    }

    /// A checker that finds nothing proves nothing.
    #[test]
    fn each_thing_that_can_be_wrong_is_counted() {
        let now = Instant::now();
        let mut sink = Sink::new();
        assert_eq!(sink.take(&effect(5, 10, 0), now), "stored");
        assert_eq!(sink.take(&effect(6, 11, 1), now), "stored");
        assert_eq!(sink.take(&effect(5, 12, 2), now), "fenced");
        assert!(sink.report(2).1);
        assert!(!sink.report(3).1, "one is lost");
        let announced = Effect {
            may_repeat: true,
            ..effect(6, 11, 1)
        };
        assert_eq!(sink.take(&announced, now), "repeated");
        assert!(sink.report(2).1);
        assert_eq!(sink.take(&effect(6, 11, 1), now), "repeated");
        assert_eq!(sink.report(2).0["repeated_unannounced"], json!(1));
        sink.take(&effect(6, 13, 3), now);
        assert_eq!(
            sink.report(3).0["order_violations"],
            json!(1),
            "2 is missing"
        );
        sink.take(&effect(6, 14, 0), now);
        assert_eq!(sink.report(4).0["handled_twice_committed"], json!(1));
    }
}
