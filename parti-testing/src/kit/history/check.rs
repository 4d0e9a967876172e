//! The rules, each held against the log.
//!
//! They are separate from the log so that each is a few lines. What always holds: a rule that is
//! not certainly broken is not broken; where a ghost could explain what was seen, it does.

use std::collections::{BTreeMap, BTreeSet};

use parti_core::{Entry, Expect, Revision, WatchEvent};

use super::log::{Located, Log, show, show_located, sightings};
use super::{Answer, BrokenRule, History, Promise, ReadRecord, Reads, Rule, Tick, WatchRecord};

/// Every rule that the history breaks; empty when a correct store can have produced it.
#[must_use]
pub fn check(history: &History, promise: Promise) -> Vec<BrokenRule> {
    let log = Log::of(history, promise.batches);
    let mut broken = Broken(log.violations.clone());
    order(&log, history, &mut broken);
    for write in log.writes() {
        expectation(&log, write, &mut broken);
    }
    let mut created = None;
    for read in &history.reads {
        if let Answer::Info { created: found, .. } = read.answer {
            let first = *created.get_or_insert(found);
            if first != found {
                broken.add(Rule::AnotherHistory, format!("{found}, before {first}"));
            }
        }
        if let Answer::Entries {
            prefix,
            entries,
            last_revision,
        } = &read.answer
        {
            list(&log, read.end, prefix, entries, *last_revision, &mut broken);
        }
        if promise.reads == Reads::Fresh {
            fresh(&log, read, &mut broken);
        }
    }
    for watch in &history.watches {
        Watching::new(&log, watch).follow(&mut broken);
    }
    broken.0
}

struct Broken(Vec<BrokenRule>);

impl Broken {
    fn add(&mut self, rule: Rule, what: String) {
        self.0.push(BrokenRule { rule, what });
    }
}

/// A write that began after a revision was known has a higher one.
fn order(log: &Log, history: &History, broken: &mut Broken) {
    let acknowledged = log
        .writes()
        .filter_map(|write| Some((write.end?, write.revision)));
    let seen = sightings(history).into_iter();
    let seen = seen.map(|(tick, entry)| (tick, entry.revision));
    let claimed = history.reads.iter().filter_map(|read| match read.answer {
        Answer::Entries { last_revision, .. } | Answer::Info { last_revision, .. } => {
            Some((read.end, last_revision))
        }
        Answer::Entry { .. } => None,
    });
    let events = history.watches.iter().flat_map(|watch| &watch.events);
    let marks = events.filter_map(|(tick, event)| match event {
        WatchEvent::CaughtUp { revision } => Some((*tick, *revision)),
        WatchEvent::Entry(_) | WatchEvent::Lost { .. } => None,
    });
    let mut known: Vec<(Tick, Revision)> = acknowledged
        .chain(seen)
        .chain(claimed)
        .chain(marks)
        .collect();
    known.sort_unstable();
    let mut writes: Vec<&Located> = log.writes().collect();
    writes.sort_by_key(|write| write.start);
    let mut known = known.into_iter().peekable();
    let mut highest = Revision::ZERO;
    for write in writes {
        while let Some((_, revision)) = known.next_if(|(tick, _)| *tick < write.start) {
            highest = highest.max(revision);
        }
        if write.revision <= highest {
            let what = format!("{} began after {highest} was known", show_located(write));
            broken.add(Rule::OutOfOrder, what);
        }
    }
}

/// The expectation of a write held just before it.
fn expectation(log: &Log, write: &Located, broken: &mut Broken) {
    let before = Revision::new(write.revision.get().saturating_sub(1));
    let previous = log.last_of(&write.key, before);
    let holds = match write.expect {
        Expect::Any => true,
        Expect::Revision(wanted) => {
            previous.map_or(Revision::ZERO, |previous| previous.revision) == wanted
        }
        Expect::Absent => {
            let absent = previous.is_none_or(|previous| previous.value.is_none());
            absent || log.may_hide_tombstone(&write.key, write.end.unwrap_or(Tick::MAX))
        }
    };
    if !holds {
        let previous = previous.map_or_else(|| "nothing".to_owned(), show_located);
        let (what, expect) = (show_located(write), write.expect);
        broken.add(
            Rule::ExpectationBroken,
            format!("{what} expected {expect:?} and replaced {previous}"),
        );
    }
}

/// No write up to the revision of a list is missing from it.
fn list(
    log: &Log,
    end: Tick,
    prefix: &str,
    entries: &[Entry],
    revision: Revision,
    broken: &mut Broken,
) {
    for key in log.keys().filter(|key| key.starts_with(prefix)) {
        let Some(last) = log.last_of(key, revision) else {
            continue;
        };
        let shown = entries.iter().filter(|entry| entry.key == key);
        let shown = shown.map(|entry| entry.revision).max();
        let missing = match shown {
            Some(shown) => shown < last.revision,
            None => {
                let mut later = log.later(key, revision);
                let deleted = later.any(|write| write.value.is_none() && write.start < end);
                last.value.is_some() && !deleted && !log.may_hide_tombstone(key, end)
            }
        };
        if missing {
            let what = format!("up to {revision} without {}", show_located(last));
            broken.add(Rule::ListIncomplete, what);
        }
    }
    if let Some(alien) = entries.iter().find(|entry| !entry.key.starts_with(prefix)) {
        let what = format!("{prefix:?} has {}", show(alien));
        broken.add(Rule::ListIncomplete, what);
    }
}

/// A fresh read shows what was acknowledged before it began.
fn fresh(log: &Log, read: &ReadRecord, broken: &mut Broken) {
    let acknowledged = |write: &&Located| write.end.is_some_and(|end| end < read.start);
    let newest = match &read.answer {
        Answer::Entry { key, .. } => log.later(key, Revision::ZERO).filter(acknowledged).last(),
        Answer::Entries { .. } | Answer::Info { .. } => log.writes().filter(acknowledged).last(),
    };
    let Some(newest) = newest else { return };
    let stale = match &read.answer {
        Answer::Entry {
            entry: Some(entry), ..
        } => entry.revision < newest.revision,
        Answer::Entry { key, entry: None } => {
            let mut later = log.later(key, newest.revision);
            let deleted = later.any(|write| write.value.is_none() && write.start < read.end);
            newest.value.is_some() && !deleted && !log.may_hide_tombstone(key, read.end)
        }
        Answer::Entries { last_revision, .. } | Answer::Info { last_revision, .. } => {
            *last_revision < newest.revision
        }
    };
    if stale {
        let what = format!("{:?} does not know {}", read.answer, show_located(newest));
        broken.add(Rule::Stale, what);
    }
}

/// One watch as far as it has been followed.
struct Watching<'a> {
    log: &'a Log,
    watch: &'a WatchRecord,
    /// The highest revision shown of each key.
    shown: BTreeMap<&'a str, Revision>,
    revisions: BTreeSet<Revision>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Present,
    /// Up to which revision it is complete, and the last change that was shown.
    Changes(Revision, Revision),
    Lost,
}

impl<'a> Watching<'a> {
    const fn new(log: &'a Log, watch: &'a WatchRecord) -> Self {
        Self {
            log,
            watch,
            shown: BTreeMap::new(),
            revisions: BTreeSet::new(),
            stage: Stage::Present,
        }
    }

    fn follow(mut self, broken: &mut Broken) {
        for (tick, event) in &self.watch.events {
            match (event, self.stage) {
                (WatchEvent::Lost { .. }, _) => self.stage = Stage::Lost,
                (_, Stage::Lost) => {
                    broken.add(Rule::WatchForm, format!("{event:?} after the end"));
                }
                (WatchEvent::CaughtUp { revision }, Stage::Present) => {
                    self.mark(*tick, *revision, broken);
                }
                (WatchEvent::CaughtUp { revision }, Stage::Changes(..)) => {
                    broken.add(Rule::WatchForm, format!("a second mark at {revision}"));
                }
                (WatchEvent::Entry(entry), stage) => self.entry(*tick, entry, stage, broken),
            }
        }
    }

    /// The mark claims that nothing up to a revision is missing.
    fn mark(&mut self, tick: Tick, revision: Revision, broken: &mut Broken) {
        for key in self.log.keys() {
            if !self.watch.scope.contains(key) {
                continue;
            }
            let last = self.log.last_of(key, revision);
            // Deleted keys need not be shown as present.
            let Some(last) = last.filter(|last| last.value.is_some()) else {
                continue;
            };
            if self.misses(last, tick) {
                let what = format!("{revision} without {}", show_located(last));
                broken.add(Rule::MarkIncomplete, what);
            }
        }
        self.stage = Stage::Changes(revision, Revision::ZERO);
    }

    fn entry(&mut self, tick: Tick, entry: &'a Entry, stage: Stage, broken: &mut Broken) {
        let Entry { key, revision, .. } = entry;
        if !self.watch.scope.contains(key) {
            broken.add(Rule::WatchOrder, format!("{} is not watched", show(entry)));
        }
        if let Stage::Changes(complete, last) = stage {
            // What was shown may be repeated.
            let new = !self.revisions.contains(revision);
            if new && (*revision <= last || self.is_old_news(entry)) {
                broken.add(Rule::WatchOrder, format!("{} after {last}", show(entry)));
            }
            for write in self.log.between(complete, *revision) {
                if self.watch.scope.contains(&write.key) && self.misses(write, tick) {
                    let what = format!("{} without {}", show(entry), show_located(write));
                    broken.add(Rule::WatchGap, what);
                }
            }
            self.stage = Stage::Changes(complete.max(*revision), last.max(*revision));
        }
        self.revisions.insert(*revision);
        let shown = self.shown.entry(key).or_insert(*revision);
        *shown = (*shown).max(*revision);
    }

    /// Whether a newer write of its key, or one as new, was shown before.
    fn is_old_news(&self, entry: &Entry) -> bool {
        let shown = self.shown.get(entry.key.as_str());
        shown.is_some_and(|shown| *shown >= entry.revision)
    }

    /// Whether neither the write nor one that came after it explains that it was not shown.
    fn misses(&self, write: &Located, tick: Tick) -> bool {
        let shown = self.shown.get(write.key.as_str());
        if shown.is_some_and(|shown| *shown >= write.revision) {
            return false;
        }
        let mut later = self.log.later(&write.key, write.revision);
        let replaced = later.any(|newer| newer.start < tick);
        !replaced && !self.log.may_hide_write(&write.key, tick)
    }
}
