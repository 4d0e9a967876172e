//! A place where worker processes run one after the other, and what the outside did to it.
//!
//! What always holds: nothing of a process outlives it here; requests on their way do, elsewhere.

use std::collections::{BTreeMap, VecDeque};

use core::time::Duration;
use parti_core::Wake;
use parti_core::{
    Config, Core, Event, Grant, Instant, PartitionKey, Revision, WatchId, WatchScope,
};

use super::app::AppEvent;
use super::clock::Clock;
use crate::checks::Process;

/// What a process is called with.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Event(Event),
    Timeout,
    Released(Vec<Grant>),
    App(AppEvent),
}

/// A watch as the store and the network see it.
#[derive(Clone, Debug)]
pub(super) struct Watching {
    pub(super) scope: WatchScope,
    pub(super) stage: WatchStage,
    /// Events are delivered in order, none before this.
    pub(super) delivered_by: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchStage {
    /// The store does not know of it yet.
    Opening,
    /// Changes are delivered.
    Live,
    /// Nothing is delivered any more; its loss will be noticed.
    Broken,
}

/// What a process has been told to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    Assigned,
    Revoking,
}

/// A process that was told to leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    /// When it must have ended; pauses put it off.
    pub(super) by: Instant,
    /// How long after its end the next process starts.
    pub(super) rejoin: Option<Duration>,
}

/// A running process.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) core: Core,
    pub(super) clock: Clock,
    /// When its core wants to be woken, as of its last step.
    pub(super) wake: Option<Wake>,
    /// The earliest wake-up on the agenda.
    pub(super) armed: Option<Instant>,
    pub(super) watches: BTreeMap<WatchId, Watching>,
    pub(super) held: BTreeMap<PartitionKey, Holding>,
    /// Until when its session is valid, in true time.
    pub(super) until: Instant,
    pub(super) leaving: Option<Leaving>,
    /// It dies in its next step after this many effects.
    pub(super) dies_after: Option<u32>,
    /// It dies while its next callback runs.
    pub(super) dies_in_callback: bool,
    /// For how many steps its clock shows how much too early a time.
    pub(super) set_back: Option<(u32, Duration)>,
    /// The latest time its core was told.
    pub(super) latest: Instant,
    /// What waits while it is paused.
    pub(super) inbox: VecDeque<Input>,
    /// The newest revision of each key that it was shown.
    pub(super) shown: BTreeMap<String, Revision>,
    /// Writes that were applied though it was told that their outcome is unknown.
    pub(super) unknown: Vec<Revision>,
    pub(super) steps: u64,
    /// Its core has said that it is over.
    pub(super) exited: bool,
}

/// A time in which a process takes long for everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slowness {
    pub(super) until: Instant,
    pub(super) each: Duration,
    /// When it is done with everything it was told so far.
    pub(super) busy_until: Instant,
}

/// A place where processes run.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) config: Config,
    pub(super) drift_ppm: i32,
    pub(super) capacity: u32,
    pub(super) running: Option<Running>,
    /// Processes that ran here so far.
    pub(super) runs: u16,
    /// Messages sent from here so far: the number that keys their fate.
    pub(super) messages: u64,
    pub(super) paused_until: Instant,
    /// When the present pause began, or the last one.
    pub(super) paused_from: Instant,
    pub(super) requests_cut_until: Instant,
    pub(super) replies_cut_until: Instant,
    pub(super) watch_cut_until: Instant,
    /// Its reads are not answered until then.
    pub(super) deaf_until: Instant,
    /// It stands still for so long each time, until then.
    pub(super) limping: Option<(Duration, Instant)>,
    /// Messages wait until then and come at once.
    pub(super) clogged_until: Instant,
    /// The client has no connection until then.
    pub(super) disconnected_until: Instant,
    /// How long the clock stood still during the present pause.
    pub(super) frozen: Duration,
    /// When its clock goes on. Freezes that overlap are one.
    pub(super) frozen_until: Instant,
    pub(super) slow: Option<Slowness>,
    /// No process starts here any more.
    pub(super) retired: bool,
    /// Processes that took too long to stop.
    pub(super) unstopped: Vec<Process>,
}

impl Node {
    pub(super) const fn new(config: Config, drift_ppm: i32) -> Self {
        let capacity = config.capacity();
        Self {
            config,
            drift_ppm,
            capacity,
            running: None,
            runs: 0,
            messages: 0,
            paused_until: Instant::ORIGIN,
            paused_from: Instant::ORIGIN,
            requests_cut_until: Instant::ORIGIN,
            replies_cut_until: Instant::ORIGIN,
            watch_cut_until: Instant::ORIGIN,
            deaf_until: Instant::ORIGIN,
            limping: None,
            clogged_until: Instant::ORIGIN,
            disconnected_until: Instant::ORIGIN,
            frozen: Duration::ZERO,
            frozen_until: Instant::ORIGIN,
            slow: None,
            retired: false,
            unstopped: Vec::new(),
        }
    }

    /// The process if it still runs.
    pub(super) fn process(&mut self, process: Process) -> Option<&mut Running> {
        self.running
            .as_mut()
            .filter(|running| running.process == process)
    }

    pub(super) const fn next_message(&mut self) -> u64 {
        self.messages += 1;
        self.messages
    }

    /// Whether the session of its process ran out while the process stood still, and it has just
    /// gone on.
    pub(super) fn has_slept_through(&self, now: Instant) -> bool {
        let until = self.running.as_ref().map(|running| running.until);
        self.paused_until == now
            && until.is_some_and(|until| self.paused_from <= until && until <= now)
    }

    pub(super) fn is_paused(&self, now: Instant) -> bool {
        now < self.paused_until
    }
}
