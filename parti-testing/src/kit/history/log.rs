//! The log of the store as far as it was seen, and the ghosts that may be in it.
//!
//! It is separate from the rules because all of them are about it. What always holds: a write is in
//! the log at one revision at most, and what contradicts that is told as a violation.

use std::collections::BTreeMap;

use parti_core::{Entry, Expect, Revision, StoreErrorKind, WatchEvent};

use super::{Answer, Batches, BrokenRule, CommitRecord, History, Rule, Tick};

/// A write that certainly happened.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) revision: Revision,
    pub(super) key: String,
    pub(super) value: Option<Vec<u8>>,
    pub(super) expect: Expect,
    pub(super) start: Tick,
    /// When its outcome was known; never, if it was not told.
    pub(super) end: Option<Tick>,
}

/// A write that may have happened.
#[derive(Debug)]
struct Ghost {
    key: String,
    tombstone: bool,
    start: Tick,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    by_revision: BTreeMap<Revision, Located>,
    by_key: BTreeMap<String, Vec<Revision>>,
    ghosts: Vec<Ghost>,
    pub(super) violations: Vec<BrokenRule>,
}

/// Names a write: the number of its commit and its place in it.
type Name = (usize, usize);

impl Log {
    /// Puts the log together.
    pub(super) fn of(history: &History, batches: Batches) -> Self {
        let mut builder = Builder {
            history,
            batches,
            log: Self::default(),
            places: BTreeMap::new(),
        };
        builder.acknowledged();
        let nonces = builder.nonces();
        let seen = sightings(history);
        for (_, entry) in &seen {
            if let Some(value) = &entry.value {
                builder.value(&nonces, entry, value);
            }
        }
        // Tombstones have no nonce, so what is left after all values are placed is theirs.
        let mut deletions: Vec<_> = seen
            .iter()
            .filter(|(_, entry)| entry.value.is_none())
            .collect();
        // In the order of the log, since the expectation of one is about the one before.
        deletions.sort_by_key(|(tick, entry)| (entry.revision, *tick));
        for (tick, entry) in deletions {
            builder.tombstone(entry, *tick);
        }
        builder.finish()
    }

    /// Every write of the log in the order of the revisions.
    pub(super) fn writes(&self) -> impl Iterator<Item = &Located> {
        self.by_revision.values()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().map(String::as_str)
    }

    /// The last write of a key up to a revision.
    pub(super) fn last_of(&self, key: &str, up_to: Revision) -> Option<&Located> {
        let revisions = self.by_key.get(key)?;
        let count = revisions.partition_point(|revision| *revision <= up_to);
        self.by_revision.get(revisions.get(count.checked_sub(1)?)?)
    }

    /// The writes of a key after a revision.
    pub(super) fn later(&self, key: &str, after: Revision) -> impl Iterator<Item = &Located> {
        let revisions = self.by_key.get(key).map_or(&[][..], Vec::as_slice);
        let first = revisions.partition_point(|revision| *revision <= after);
        let later = revisions[first..].iter();
        later.filter_map(|revision| self.by_revision.get(revision))
    }

    /// The writes of all keys between two revisions, neither included.
    pub(super) fn between(
        &self,
        after: Revision,
        before: Revision,
    ) -> impl Iterator<Item = &Located> {
        let from = after.next();
        let range = (from < before).then(|| self.by_revision.range(from..before));
        range.into_iter().flatten().map(|(_, write)| write)
    }

    /// Whether a write of the key that nobody saw may have happened before that tick.
    pub(super) fn may_hide_write(&self, key: &str, before: Tick) -> bool {
        let mut ghosts = self.ghosts.iter();
        ghosts.any(|ghost| ghost.key == key && ghost.start < before)
    }

    /// The same of a deletion.
    pub(super) fn may_hide_tombstone(&self, key: &str, before: Tick) -> bool {
        let mut ghosts = self.ghosts.iter().filter(|ghost| ghost.tombstone);
        ghosts.any(|ghost| ghost.key == key && ghost.start < before)
    }

    pub(super) fn broken(&mut self, rule: Rule, what: String) {
        self.violations.push(BrokenRule { rule, what });
    }
}

/// Every entry that was seen, with the tick after that.
pub(super) fn sightings(history: &History) -> Vec<(Tick, &Entry)> {
    let reads = history.reads.iter().flat_map(|read| {
        let entries: Vec<&Entry> = match &read.answer {
            Answer::Entry { entry, .. } => entry.iter().collect(),
            Answer::Entries { entries, .. } => entries.iter().collect(),
            Answer::Info { .. } => Vec::new(),
        };
        entries.into_iter().map(|entry| (read.end, entry))
    });
    let events = history.watches.iter().flat_map(|watch| &watch.events);
    let events = events.filter_map(|(tick, event)| match event {
        WatchEvent::Entry(entry) => Some((*tick, entry)),
        WatchEvent::CaughtUp { .. } | WatchEvent::Lost { .. } => None,
    });
    reads.chain(events).collect()
}

struct Builder<'a> {
    history: &'a History,
    batches: Batches,
    log: Log,
    places: BTreeMap<Name, Revision>,
}

impl<'a> Builder<'a> {
    fn acknowledged(&mut self) {
        for (number, commit) in self.history.commits.iter().enumerate() {
            let Ok(revisions) = &commit.outcome else {
                continue;
            };
            let rising = revisions.windows(2).all(|pair| pair[0] < pair[1]);
            if revisions.len() != commit.writes.len() || !rising {
                let what = format!("{} writes at {revisions:?}", commit.writes.len());
                self.log.broken(Rule::BadBatch, what);
            }
            for (place, revision) in (0..commit.writes.len()).zip(revisions) {
                self.locate((number, place), *revision);
            }
        }
    }

    fn nonces(&self) -> BTreeMap<&'a [u8], Name> {
        let commits = self.history.commits.iter().enumerate();
        let names = commits.flat_map(|(number, commit)| {
            let writes = commit.writes.iter().enumerate();
            writes
                .filter_map(move |(place, write)| Some((write.value.as_deref()?, (number, place))))
        });
        names.collect()
    }

    fn value(&mut self, nonces: &BTreeMap<&[u8], Name>, entry: &Entry, value: &[u8]) {
        let shown = show(entry);
        let Some(&(number, place)) = nonces.get(value) else {
            return self.log.broken(Rule::NeverWritten, shown);
        };
        let commit = &self.history.commits[number];
        if commit.writes[place].key != entry.key {
            return self.log.broken(Rule::NeverWritten, shown);
        }
        if let Err(kind) = commit.outcome
            && kind != StoreErrorKind::Unknown
        {
            let what = format!("{shown}, whose commit failed: {kind}");
            return self.log.broken(Rule::FailedButWritten, what);
        }
        self.locate((number, place), entry.revision);
        if self.batches == Batches::Consecutive {
            self.locate_siblings((number, place), entry.revision);
        }
    }

    /// The other writes of a batch of which one was seen.
    fn locate_siblings(&mut self, (number, place): Name, revision: Revision) {
        for other in 0..self.history.commits[number].writes.len() {
            let first = revision.get().checked_sub(place as u64);
            if let Some(first) = first.filter(|_| other != place) {
                self.locate((number, other), Revision::new(first + other as u64));
            }
        }
    }

    fn tombstone(&mut self, entry: &Entry, seen: Tick) {
        if let Some(known) = self.log.by_revision.get(&entry.revision) {
            if known.key != entry.key || known.value.is_some() {
                let what = format!("{} and {}", show(entry), show_located(known));
                self.log.broken(Rule::RevisionTwice, what);
            }
            return;
        }
        let unknown = |commit: &CommitRecord| commit.outcome == Err(StoreErrorKind::Unknown);
        let commits = self.history.commits.iter().enumerate();
        let candidates = commits.filter(|(_, commit)| unknown(commit) && commit.start < seen);
        let names = candidates.flat_map(|(number, commit)| {
            let writes = commit.writes.iter().enumerate();
            let fits = writes.filter(|(_, write)| write.key == entry.key && write.value.is_none());
            fits.map(move |(place, _)| (number, place))
        });
        let free = names.filter(|name| !self.places.contains_key(name));
        // Whichever it was, its expectation held; the most particular one leaves most to the others.
        match free.min_by_key(|name| self.doubt(*name, entry)) {
            Some(name) => self.locate(name, entry.revision),
            None => self.log.broken(Rule::NeverWritten, show(entry)),
        }
    }

    /// How badly a deletion fits to where one was seen, and when it began.
    fn doubt(&self, (number, place): Name, entry: &Entry) -> (u8, Tick) {
        let before = Revision::new(entry.revision.get().saturating_sub(1));
        let previous = self.log.last_of(&entry.key, before);
        let commit = &self.history.commits[number];
        let doubt = match commit.writes[place].expect {
            Expect::Revision(wanted) => {
                let found = previous.map_or(Revision::ZERO, |previous| previous.revision);
                if found == wanted { 0 } else { 9 }
            }
            Expect::Absent if previous.is_none_or(|previous| previous.value.is_none()) => 1,
            Expect::Absent => 8,
            Expect::Any => 2,
        };
        (doubt, commit.start)
    }

    fn locate(&mut self, name: Name, revision: Revision) {
        let commit = &self.history.commits[name.0];
        let write = &commit.writes[name.1];
        let located = Located {
            revision,
            key: write.key.clone(),
            value: write.value.clone(),
            expect: write.expect,
            start: commit.start,
            end: commit.outcome.is_ok().then_some(commit.end),
        };
        match self.places.insert(name, revision) {
            Some(before) if before != revision => {
                let what = format!("{} and at {before}", show_located(&located));
                return self.log.broken(Rule::WriteTwice, what);
            }
            Some(_) => return,
            None => {}
        }
        if let Some(other) = self.log.by_revision.get(&revision) {
            let what = format!("{} and {}", show_located(&located), show_located(other));
            return self.log.broken(Rule::RevisionTwice, what);
        }
        let revisions = self.log.by_key.entry(write.key.clone()).or_default();
        let at = revisions.partition_point(|known| *known < revision);
        revisions.insert(at, revision);
        self.log.by_revision.insert(revision, located);
    }

    fn finish(mut self) -> Log {
        for (number, commit) in self.history.commits.iter().enumerate() {
            if commit.outcome != Err(StoreErrorKind::Unknown) {
                continue;
            }
            for (place, write) in commit.writes.iter().enumerate() {
                if !self.places.contains_key(&(number, place)) {
                    self.log.ghosts.push(Ghost {
                        key: write.key.clone(),
                        tombstone: write.value.is_none(),
                        start: commit.start,
                    });
                }
            }
        }
        self.log
    }
}

pub(super) fn show(entry: &Entry) -> String {
    text(&entry.key, entry.value.as_deref(), entry.revision)
}

pub(super) fn show_located(write: &Located) -> String {
    text(&write.key, write.value.as_deref(), write.revision)
}

fn text(key: &str, value: Option<&[u8]>, revision: Revision) -> String {
    match value {
        Some(value) => format!("{key}={}@{revision}", String::from_utf8_lossy(value)),
        None => format!("{key}-@{revision}"),
    }
}
