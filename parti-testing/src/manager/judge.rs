//! What must hold in every run, judged from what handlers are told and what guards say.
//!
//! It is separate from the world so that it knows nothing of faults but which process is gone. What
//! always holds: it only reads guards, and never asks a manager what it thinks.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use parti::{Guard, PartitionKey, RevokeCause, Token};
use serde::Serialize;
use tokio::time::Instant;

use crate::simulator::scramble;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub enum Property {
    /// At any time at most one process has a valid guard of a partition.
    OneValidGuard,
    /// Each owner of a partition has a larger token than every earlier one.
    RisingTokens,
    /// The callbacks of a partition in a process never overlap.
    NoOverlap,
    /// What was begun ends exactly once, with the guard it began with.
    Alternation,
    /// A guard is invalid once its `on_revoked` has returned.
    EndedGuard,
    /// After a stop has answered, nothing of the process runs, and everything it began has ended.
    CompleteStop,
    /// What failed is tried again, or given away.
    FailureIsRetried,
    /// After the faults everything is owned within the bound.
    Recovery,
    /// Nothing is sent to a resource with an invalid guard.
    ValidSend,
    /// The tokens of the writes that a resource accepts never fall.
    FencedWrite,
    /// After the faults every partition is written to.
    Progress,
    /// What the handler or the scenario itself found, and panics of the handler.
    Handler,
}

/// Every property, and what it says.
pub const PROPERTIES: [(Property, &str); 12] = [
    (
        Property::OneValidGuard,
        "at any time at most one process has a valid guard of a partition",
    ),
    (
        Property::RisingTokens,
        "each owner of a partition has a larger token than every earlier one",
    ),
    (
        Property::NoOverlap,
        "the callbacks of a partition in a process never overlap",
    ),
    (
        Property::Alternation,
        "what was begun ends exactly once, with the guard it began with",
    ),
    (
        Property::EndedGuard,
        "a guard is invalid once its on_revoked has returned",
    ),
    (
        Property::CompleteStop,
        "after a stop has answered nothing of the process runs, and what it began has ended",
    ),
    (
        Property::FailureIsRetried,
        "what failed to begin is tried again or given away",
    ),
    (
        Property::Recovery,
        "after the faults everything is owned within the bound",
    ),
    (
        Property::ValidSend,
        "nothing is sent to a resource with an invalid guard",
    ),
    (
        Property::FencedWrite,
        "the tokens of the writes that a resource accepts never fall",
    ),
    (
        Property::Progress,
        "after the faults every partition is written to, if the scenario expects it",
    ),
    (
        Property::Handler,
        "what the handler or the scenario itself finds; a handler does not panic",
    ),
];

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// When, in milliseconds from the beginning.
    pub at_ms: u64,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_millis(self.at_ms).as_secs_f64();
        write!(f, "{:?} at {seconds:.3} s: {}", self.property, self.what)
    }
}

/// Something that a batch has to have met, or it says nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum Situation {
    Assigned,
    RevokedReassigned,
    RevokedStopping,
    LeaseLost,
    IdentityLost,
    CallbackFailed,
    CallbackPanicked,
    CallbackHung,
    CallbackCut,
    TriedAgain,
    Crashed,
    Stopped,
    StartFailed,
    BucketRecreated,
    Suspended,
    StoreOutage,
    Paused,
    StoppedInside,
}

impl Situation {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Assigned,
        Self::RevokedReassigned,
        Self::RevokedStopping,
        Self::LeaseLost,
        Self::IdentityLost,
        Self::CallbackFailed,
        Self::CallbackPanicked,
        Self::CallbackHung,
        Self::CallbackCut,
        Self::TriedAgain,
        Self::Crashed,
        Self::Stopped,
        Self::StartFailed,
        Self::BucketRecreated,
        Self::Suspended,
        Self::StoreOutage,
        Self::Paused,
        Self::StoppedInside,
    ];
}

/// A partition in a process.
type Place = (u64, PartitionKey);

/// What is known, and what was found.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) begun: Instant,
    /// Every guard that may still be valid.
    guards: BTreeMap<Place, Guard>,
    /// The largest token of each partition, and whose it is.
    tokens: BTreeMap<PartitionKey, (Token, u64)>,
    /// Callbacks that run.
    running: BTreeMap<Place, &'static str>,
    /// Ownerships that were begun and not ended.
    open: BTreeMap<Place, Guard>,
    /// Guards that are still valid after their end, and how often they were seen so.
    ended: BTreeMap<Place, u32>,
    /// Since when something that failed waits.
    failed: BTreeMap<Place, Instant>,
    /// Processes that stand still, and whether their clocks go on. Where they do not, a process does
    /// nothing, whatever its guards say.
    standing: BTreeMap<u64, bool>,
    /// What happened, if it is kept.
    pub(super) trace: Option<Vec<String>>,
    pub(super) violations: Vec<Violation>,
    pub(super) met: BTreeMap<Situation, u64>,
    pub(super) digest: u64,
}

/// After how many looks a guard whose ownership has ended must be invalid.
const ENDS_WITHIN: u32 = 4;

/// The longest pause before a failed callback is tried again, with room.
const RETRIED_WITHIN: Duration = Duration::from_secs(45);

impl Judge {
    pub(super) fn new(traced: bool) -> Self {
        Self {
            begun: Instant::now(),
            guards: BTreeMap::new(),
            tokens: BTreeMap::new(),
            running: BTreeMap::new(),
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            failed: BTreeMap::new(),
            standing: BTreeMap::new(),
            trace: traced.then(Vec::new),
            violations: Vec::new(),
            met: BTreeMap::new(),
            digest: 0,
        }
    }

    pub(super) fn meet(&mut self, situation: Situation) {
        *self.met.entry(situation).or_default() += 1;
    }

    /// Adds a line to the trace, if one is kept.
    pub(super) fn line(&mut self, text: impl FnOnce() -> String) {
        let at = self.begun.elapsed().as_secs_f64();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{at:>9.3} s {}", text()));
        }
    }

    pub(super) fn violate(&mut self, property: Property, what: String) {
        let at_ms = self.begun.elapsed().as_millis() as u64;
        self.note(0xff ^ property as u64, at_ms, 0);
        self.line(|| format!("VIOLATION {property:?}: {what}"));
        let violation = Violation {
            property,
            at_ms,
            what,
        };
        self.violations.push(violation);
    }

    /// Something happened: the digest tells two runs apart.
    pub(super) fn note(&mut self, what: u64, who: u64, detail: u64) {
        let at = self.begun.elapsed().as_micros() as u64;
        for word in [what, who, detail, at] {
            self.digest = scramble(self.digest ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
    }

    /// A callback begins.
    pub(super) fn enter(&mut self, place: &Place, what: &'static str) {
        if let Some(other) = self.running.insert(place.clone(), what) {
            let (process, key) = place;
            let what = format!("{what} of {key} begins during {other} in process {process}");
            self.violate(Property::NoOverlap, what);
        }
    }

    /// A callback is over: it returned, or it was dropped.
    pub(super) fn leave(&mut self, place: &Place, ended: bool) {
        self.running.remove(place);
        if !ended {
            self.meet(Situation::CallbackCut);
        }
    }

    pub(super) fn on_assigned(&mut self, process: u64, guard: &Guard) {
        let (key, token) = (guard.partition().clone(), guard.token());
        self.note(1, process, token.get());
        self.line(|| format!("process {process} is assigned {key} with {token}"));
        self.meet(Situation::Assigned);
        let place = (process, key.clone());
        if self.failed.remove(&place).is_some() {
            self.meet(Situation::TriedAgain);
        }
        let (last, owner) = *self.tokens.entry(key.clone()).or_insert((token, process));
        if guard.is_valid() && (token < last || (token == last && owner != process)) {
            let what =
                format!("{key} begins in process {process} with {token}, after {last} in {owner}");
            self.violate(Property::RisingTokens, what);
        }
        self.tokens.insert(key, (token, process).max((last, owner)));
        if let Some(before) = self.open.insert(place.clone(), guard.clone())
            && before.token() != token
        {
            let what = format!(
                "{} begins in process {process} with {token} before the end of {}",
                place.1,
                before.token()
            );
            self.violate(Property::Alternation, what);
        }
        self.guards.insert(place, guard.clone());
        self.look();
    }

    pub(super) fn on_failed(&mut self, place: &Place) {
        self.meet(Situation::CallbackFailed);
        self.line(|| format!("process {} fails with {}", place.0, place.1));
        self.failed.insert(place.clone(), Instant::now());
    }

    pub(super) fn on_revoked(&mut self, process: u64, guard: &Guard, cause: RevokeCause) {
        let (key, token) = (guard.partition().clone(), guard.token());
        self.note(2, process, token.get());
        self.line(|| format!("process {process} is told to end {key} with {token}: {cause:?}"));
        match cause {
            RevokeCause::LeaseLost => self.meet(Situation::LeaseLost),
            RevokeCause::IdentityLost => self.meet(Situation::IdentityLost),
            RevokeCause::Stopping => self.meet(Situation::RevokedStopping),
            RevokeCause::Reassigned => self.meet(Situation::RevokedReassigned),
        }
        let place = (process, key.clone());
        self.failed.remove(&place);
        let began = self.open.remove(&place).map(|guard| guard.token());
        if began != Some(token) {
            let what =
                format!("{key} with {token} ends in process {process}, where {began:?} began");
            self.violate(Property::Alternation, what);
        }
    }

    /// A process has answered that it is stopped.
    pub(super) fn on_stopped(&mut self, process: u64) {
        self.note(3, process, 0);
        self.line(|| format!("process {process} has stopped"));
        self.meet(Situation::Stopped);
        let of = |(owner, _): &&Place| *owner == process;
        let running: Vec<&Place> = self.running.keys().filter(of).collect();
        let open: Vec<&Place> = self.open.keys().filter(of).collect();
        if !running.is_empty() || !open.is_empty() {
            let what = format!("process {process}: runs {running:?}, has not ended {open:?}");
            self.violate(Property::CompleteStop, what);
        }
        self.forget(process);
    }

    /// A process has ended without a word: nothing of it ends any more.
    pub(super) fn on_crashed(&mut self, process: u64) {
        self.note(4, process, 0);
        self.line(|| format!("process {process} is gone"));
        self.forget(process);
    }

    fn forget(&mut self, process: u64) {
        self.open.retain(|(owner, _), _| *owner != process);
        self.failed.retain(|(owner, _), _| *owner != process);
        self.running.retain(|(owner, _), _| *owner != process);
    }

    /// A process stands still, and its clock perhaps as well.
    /// False if it stands still already.
    pub(super) fn on_pause(&mut self, process: u64, counted: bool) -> bool {
        if self.standing.contains_key(&process) {
            return false;
        }
        self.note(5, process, u64::from(counted));
        self.meet(Situation::Paused);
        self.standing.insert(process, counted);
        true
    }

    pub(super) fn on_resume(&mut self, process: u64) {
        self.note(7, process, 0);
        self.standing.remove(&process);
        self.line(|| format!("process {process} goes on"));
    }

    /// A handler sends a request to a resource.
    pub(super) fn on_sent(&mut self, process: u64, guard: &Guard, resource: &str, writes: bool) {
        let (key, token) = (guard.partition(), guard.token());
        self.note(6, process, token.get());
        self.line(|| {
            let what = if writes { "writes" } else { "reads" };
            format!("process {process} {what} {key} in {resource} with {token}")
        });
        if !guard.is_valid() {
            let what =
                format!("process {process} sends for {key} with {token} when its guard is invalid");
            self.violate(Property::ValidSend, what);
        }
    }

    /// Looks at all guards.
    fn look(&mut self) {
        self.guards.retain(|_, guard| guard.is_valid());
        let mut holders: BTreeMap<&PartitionKey, u64> = BTreeMap::new();
        let mut twice = Vec::new();
        let awake = self
            .guards
            .keys()
            .filter(|(process, _)| self.standing.get(process) != Some(&false));
        for (process, key) in awake {
            let holder = *holders.entry(key).or_insert(*process);
            if holder != *process {
                twice.push((key.clone(), holder, *process));
            }
        }
        for (key, one, other) in twice {
            let what = format!("{key} is valid in the processes {one} and {other}");
            self.violate(Property::OneValidGuard, what);
        }
    }

    /// Looks at everything, and answers how many partitions somebody holds and processes. To be called at
    /// regular times.
    pub(super) fn look_at_all(&mut self) -> u32 {
        self.look();
        self.look_at_ends();
        self.look_at_failures();
        let processed = self.guards.keys().filter(|place| {
            self.open.contains_key(*place)
                && !self.running.contains_key(*place)
                && !self.failed.contains_key(*place)
        });
        let processed: BTreeSet<&PartitionKey> = processed.map(|(_, key)| key).collect();
        u32::try_from(processed.len()).unwrap_or(u32::MAX)
    }

    /// Whether guards have ended with their ownerships, a moment for the driver to hear of it aside.
    fn look_at_ends(&mut self) {
        let ended = self.guards.keys().filter(|place| {
            !self.open.contains_key(*place)
                && !self.running.contains_key(*place)
                && !self.standing.contains_key(&place.0)
        });
        let mut seen = BTreeMap::new();
        for place in ended {
            seen.insert(
                place.clone(),
                self.ended.get(place).map_or(1, |times| times + 1),
            );
        }
        for (process, key) in seen
            .iter()
            .filter(|(_, times)| **times == ENDS_WITHIN)
            .map(|seen| seen.0)
        {
            let what =
                format!("{key} has ended in process {process}, and its guard is still valid");
            self.violations.push(Violation {
                property: Property::EndedGuard,
                at_ms: self.begun.elapsed().as_millis() as u64,
                what,
            });
        }
        self.ended = seen;
    }

    /// Whether everything that failed was tried again in time.
    fn look_at_failures(&mut self) {
        let late = self.failed.iter().filter(|(place, since)| {
            since.elapsed() > RETRIED_WITHIN && self.open.get(*place).is_some_and(Guard::is_valid)
        });
        let late: Vec<Place> = late.map(|(place, _)| place.clone()).collect();
        for place in late {
            self.failed.remove(&place);
            let (process, key) = place;
            let what =
                format!("{key} failed to begin in process {process}, and nobody tries again");
            self.violate(Property::FailureIsRetried, what);
        }
    }
}
