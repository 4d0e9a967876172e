//! What worker processes wrote down, and what must be true of all of it together.
//!
//! What always holds: a process owns a partition from its `assigned` line to its `revoked` line, or
//! to the moment at which it was killed or paused: a dead process acts no more, and a paused one has
//! to find its guard invalid when it goes on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One line of one process.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) at_ms: u64,
    pub(crate) worker: String,
    pub(crate) event: String,
    partition: Option<String>,
    token: Option<u64>,
}

impl Line {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let field = |name: &str| {
            value
                .get(name)
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        };
        Some(Self {
            at_ms: value.get("at_ms")?.as_u64()?,
            worker: field("worker")?,
            event: field("event")?,
            partition: field("partition"),
            token: value.get("token").and_then(Value::as_u64),
        })
    }
}

/// The lines of one process, and when it was killed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    pub(crate) lines: Vec<Line>,
    pub(crate) killed_at_ms: Option<u64>,
    /// When it was paused for longer than its lease.
    pub(crate) paused_at_ms: Option<u64>,
}

impl Life {
    /// How many lines tell of an event.
    pub(crate) fn count(&self, event: &str) -> usize {
        self.lines.iter().filter(|line| line.event == event).count()
    }

    /// When an event was last told of.
    pub(crate) fn last(&self, event: &str) -> Option<u64> {
        self.lines
            .iter()
            .filter(|line| line.event == event)
            .map(|line| line.at_ms)
            .max()
    }

    /// When an event was first told of after a time.
    pub(crate) fn first_after(&self, event: &str, at_ms: Option<u64>) -> Option<u64> {
        let later = self.lines.iter().filter(|line| line.event == event);
        let later = later.map(|line| line.at_ms);
        later.filter(|at| Some(*at) > at_ms).min()
    }

    /// The partitions it owns after its last line.
    pub(crate) fn owned(&self) -> BTreeSet<String> {
        let mut owned = BTreeSet::new();
        for line in &self.lines {
            let Some(partition) = &line.partition else {
                continue;
            };
            match line.event.as_str() {
                "assigned" => owned.insert(partition.clone()),
                "revoked" => owned.remove(partition),
                _ => false,
            };
        }
        owned
    }

    /// When an ownership that began and ended at these times could last be used.
    fn last_use(&self, from_ms: u64, until_ms: Option<u64>) -> Option<u64> {
        let paused = self.paused_at_ms.filter(|&paused| from_ms <= paused);
        until_ms.into_iter().chain(paused).min()
    }
}

/// A process owned a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ownership {
    pub(crate) from_ms: u64,
    /// `None` while it lasts.
    pub(crate) until_ms: Option<u64>,
    pub(crate) token: u64,
    pub(crate) process: usize,
}

/// The ownerships of each partition, in the order in which they began.
pub(crate) fn ownerships(lives: &[Life]) -> BTreeMap<String, Vec<Ownership>> {
    let mut all: BTreeMap<String, Vec<Ownership>> = BTreeMap::new();
    for (process, life) in lives.iter().enumerate() {
        let mut open: BTreeMap<&str, Ownership> = BTreeMap::new();
        for line in &life.lines {
            let Some(partition) = &line.partition else {
                continue;
            };
            match (line.event.as_str(), line.token) {
                ("assigned", Some(token)) => {
                    let (from_ms, until_ms) = (line.at_ms, None);
                    let ownership = Ownership {
                        from_ms,
                        until_ms,
                        token,
                        process,
                    };
                    let before = open.insert(partition, ownership);
                    assert!(before.is_none(), "{partition} assigned twice: {line:?}");
                }
                ("revoked", _) => {
                    let mut ownership = open.remove(partition.as_str()).expect("was assigned");
                    ownership.until_ms = life.last_use(ownership.from_ms, Some(line.at_ms));
                    all.entry(partition.clone()).or_default().push(ownership);
                }
                (_, _) => {}
            }
        }
        for (partition, mut ownership) in open {
            ownership.until_ms = life.last_use(ownership.from_ms, life.killed_at_ms);
            all.entry(partition.to_owned()).or_default().push(ownership);
        }
    }
    for list in all.values_mut() {
        list.sort();
    }
    all
}

/// The ID a process claimed first.
pub(crate) fn claimed(life: &Life) -> String {
    let claimed = life.lines.iter().find(|line| line.event == "claimed");
    claimed.map(|line| line.worker.clone()).unwrap_or_default()
}

/// Ownerships of the same partition that overlap in time.
pub(crate) fn overlaps(lives: &[Life]) -> Vec<(String, Ownership, Ownership)> {
    let mut found = Vec::new();
    for (partition, list) in ownerships(lives) {
        for pair in list.windows(2) {
            if pair[0].until_ms.is_none_or(|until| until > pair[1].from_ms) {
                found.push((partition.clone(), pair[0].clone(), pair[1].clone()));
            }
        }
    }
    found
}

/// Ownerships whose token is not larger than that of another process before. A session that gets
/// back what nobody else had meanwhile keeps its token.
pub(crate) fn stale_tokens(lives: &[Life]) -> Vec<(String, Ownership, Ownership)> {
    let mut found = Vec::new();
    for (partition, list) in ownerships(lives) {
        for pair in list.windows(2) {
            let same_process = pair[1].process == pair[0].process;
            let least = pair[0].token + u64::from(!same_process);
            if pair[1].token < least {
                found.push((partition.clone(), pair[0].clone(), pair[1].clone()));
            }
        }
    }
    found
}

/// How many partitions each process owns now.
pub(crate) fn shares(lives: &[Life]) -> Vec<usize> {
    let mut shares = vec![0; lives.len()];
    for ownership in ownerships(lives).values().filter_map(|list| list.last()) {
        if ownership.until_ms.is_none() {
            shares[ownership.process] += 1;
        }
    }
    shares
}

/// The longest time that passed from the death or pause of a process until one of its partitions was owned
/// again; `None` while one is not, or when it owned nothing.
pub(crate) fn takeover_ms(lives: &[Life], process: usize) -> Option<u64> {
    let ended = lives[process]
        .killed_at_ms
        .or(lives[process].paused_at_ms)?;
    let mut longest = None;
    for list in ownerships(lives).values() {
        let orphaned = |o: &Ownership| o.process == process && o.until_ms == Some(ended);
        if let Some(position) = list.iter().position(orphaned) {
            let next = list.get(position + 1)?;
            longest = longest.max(Some(next.from_ms.saturating_sub(ended)));
        }
    }
    longest
}
