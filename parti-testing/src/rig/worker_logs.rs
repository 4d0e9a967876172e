//! What worker processes wrote down, and what must be true of all of it together.
//!
//! It is separate from the checks of the simulator because of a real process nothing is known but
//! its own words, in the time of one clock of the machine. What always holds: an ownership counts
//! only as long as there is evidence for it, so that an overlap that is found is one: from its
//! `assigned` line until its guard was last seen valid, or until the process was killed.
//!
//! A line is a JSON object with `at_ms`, `worker`, `session` and `event`; the `worker` example of
//! `parti` writes them.
//!
//! ```
//! use parti_testing::rig::worker_logs::{Life, judge};
//!
//! let lines = [
//!     r#"{"at_ms":10,"worker":"w-0","session":"a","event":"assigned","partition":"p","token":1}"#,
//!     r#"{"at_ms":20,"worker":"w-0","session":"a","event":"revoked","partition":"p","used_ms":20}"#,
//! ];
//! let life = Life::read(lines);
//! assert_eq!(life.count("assigned"), 1);
//! assert!(judge(&[life]).is_empty());
//! ```

use std::collections::BTreeMap;

use serde_json::{Map, Value};

mod judge;
#[cfg(test)]
mod tests;

pub use judge::{
    Commit, Finding, Ownership, chain, commits, judge, overlaps, ownerships, stale_tokens,
};

/// One line of one process.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// When it was written, in milliseconds since 1970.
    pub at_ms: u64,
    /// The worker ID, empty before one is held.
    pub worker: String,
    /// The session.
    pub session: String,
    /// What happened.
    pub event: String,
    fields: Map<String, Value>,
}

impl Line {
    /// Reads a line; `None` when it is none, as the last one of a killed process.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
            return None;
        };
        let text = |name: &str| Some(fields.get(name)?.as_str()?.to_owned());
        Some(Self {
            at_ms: fields.get("at_ms")?.as_u64()?,
            worker: text("worker")?,
            session: text("session")?,
            event: text("event")?,
            fields,
        })
    }

    /// A field that is a word.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// A field that is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name)?.as_u64()
    }
}

/// A partition that a process owns now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owned {
    /// The worker ID under which.
    pub worker: String,
    /// The fencing token.
    pub token: u64,
}

/// The lines of one process, and what was done to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Life {
    /// In the order in which they were written.
    pub lines: Vec<Line>,
    /// When it was killed.
    pub killed_at_ms: Option<u64>,
    /// When it was paused for longer than its lease.
    pub paused_at_ms: Option<u64>,
    owned: BTreeMap<String, Owned>,
}

impl Life {
    /// Reads the lines of a process.
    #[must_use]
    pub fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut life = Self::default();
        let lines = lines.into_iter().filter_map(Line::parse);
        lines.for_each(|line| life.push(line));
        life
    }

    /// Adds a line.
    pub fn push(&mut self, line: Line) {
        match (line.event.as_str(), line.text("partition")) {
            ("assigned", Some(partition)) => {
                let (worker, token) = (line.worker.clone(), line.number("token").unwrap_or(0));
                let owned = Owned { worker, token };
                self.owned.insert(partition.to_owned(), owned);
            }
            ("revoked", Some(partition)) => drop(self.owned.remove(partition)),
            (_, _) => {}
        }
        self.lines.push(line);
    }

    /// What it owns after its last line; nothing when it was killed.
    #[must_use]
    pub fn owned(&self) -> BTreeMap<String, Owned> {
        match self.killed_at_ms {
            Some(_) => BTreeMap::new(),
            None => self.owned.clone(),
        }
    }

    /// How many partitions it owns.
    #[must_use]
    pub fn share(&self) -> usize {
        self.killed_at_ms.map_or(self.owned.len(), |_| 0)
    }

    /// How many lines tell of an event.
    #[must_use]
    pub fn count(&self, event: &str) -> usize {
        self.lines.iter().filter(|line| line.event == event).count()
    }

    /// When an event was last told of.
    #[must_use]
    pub fn last(&self, event: &str) -> Option<u64> {
        let told = self.lines.iter().filter(|line| line.event == event);
        told.map(|line| line.at_ms).max()
    }

    /// When an event was first told of after a time.
    #[must_use]
    pub fn first_after(&self, event: &str, at_ms: Option<u64>) -> Option<u64> {
        let later = self.lines.iter().filter(|line| line.event == event);
        let later = later.map(|line| line.at_ms);
        later.filter(|at| Some(*at) > at_ms).min()
    }

    /// The ID it claimed first; empty before.
    #[must_use]
    pub fn claimed(&self) -> &str {
        let claimed = self.lines.iter().find(|line| line.event == "claimed");
        claimed.map_or("", |line| line.worker.as_str())
    }

    /// Whether it led when it wrote its last line.
    #[must_use]
    pub fn leads(&self) -> bool {
        let of_leadership = |line: &&Line| line.event == "leader" || line.event == "follower";
        let last = self.lines.iter().rfind(of_leadership);
        last.is_some_and(|line| line.event == "leader")
    }
}

/// How many partitions each process owns now.
#[must_use]
pub fn shares(lives: &[Life]) -> Vec<usize> {
    lives.iter().map(Life::share).collect()
}

/// The longest time that passed from the death or pause of a process until one of its partitions
/// was owned again; `None` while one is not, or when it owned nothing.
#[must_use]
pub fn takeover_ms(lives: &[Life], process: usize) -> Option<u64> {
    let life = lives.get(process)?;
    let ended = life.killed_at_ms.or(life.paused_at_ms)?;
    takeover_since(lives, process, ended)
}

/// The same for what a process owned at a moment, such as that at which it was cut off.
#[must_use]
pub fn takeover_since(lives: &[Life], process: usize, since_ms: u64) -> Option<u64> {
    let mut longest = None;
    for list in ownerships(lives).values() {
        let orphaned = |owned: &Ownership| {
            let told = owned.told_ms.is_none_or(|told| told >= since_ms);
            owned.process == process && owned.from_ms <= since_ms && told
        };
        if let Some(position) = list.iter().position(orphaned) {
            let next = list.get(position + 1)?;
            longest = longest.max(Some(next.from_ms.saturating_sub(since_ms)));
        }
    }
    longest
}

/// How long each partition had no owner between one and the next, for all that ended after a time; the
/// longest last. Where the next began before the evidence for the last ended, it is 0.
#[must_use]
pub fn gaps(lives: &[Life], since_ms: u64) -> Vec<u64> {
    let mut gaps = Vec::new();
    for list in ownerships(lives).values() {
        let pairs = list.iter().zip(list.iter().skip(1));
        gaps.extend(pairs.filter_map(|(one, next)| {
            let end = one.until_ms.filter(|end| *end >= since_ms)?;
            Some(next.from_ms.saturating_sub(end))
        }));
    }
    gaps.sort_unstable();
    gaps
}
