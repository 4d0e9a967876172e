//! A place where worker processes run one after the other, and what the outside did to it.
//!
//! What always holds: nothing of a process outlives it here; requests on their way do, elsewhere.

use std::collections::{BTreeMap, VecDeque};

use core::time::Duration;
use parti_core::Wake;
use parti_core::{
    Config, Core, Event, Grant, Instant, Nonce, PartitionKey, Revision, WatchId, WatchScope,
};

use crate::simulator::checks::Process;
use crate::simulator::group::clock::Clock;

/// What a process is called with.
#[derive(Clone, Debug)]
pub(in crate::simulator) enum Input {
    Event(Event),
    Timeout,
    Released(Vec<Grant>),
}

/// A watch as the store and the network see it.
#[derive(Clone, Debug)]
pub(in crate::simulator) struct Watching {
    pub(in crate::simulator) scope: WatchScope,
    pub(in crate::simulator) stage: WatchStage,
    /// Events are delivered in order, none before this.
    pub(in crate::simulator) delivered_by: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum WatchStage {
    /// The store does not know of it yet.
    Opening,
    /// Changes are delivered.
    Live,
    /// Nothing is delivered any more; its loss will be noticed.
    Broken,
}

/// What a process has been told to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum Holding {
    Assigned,
    Revoking,
}

/// A process that was told to leave.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulator) struct Leaving {
    /// When it must have ended; pauses put it off.
    pub(in crate::simulator) by: Instant,
    /// How long after its end the next process starts.
    pub(in crate::simulator) rejoin: Option<Duration>,
}

/// A running process.
#[derive(Debug)]
pub(in crate::simulator) struct Running {
    pub(in crate::simulator) process: Process,
    pub(in crate::simulator) core: Core,
    pub(in crate::simulator) clock: Clock,
    /// When its core wants to be woken, as of its last step.
    pub(in crate::simulator) wake: Option<Wake>,
    /// The earliest wake-up on the agenda.
    pub(in crate::simulator) armed: Option<Instant>,
    pub(in crate::simulator) watches: BTreeMap<WatchId, Watching>,
    pub(in crate::simulator) held: BTreeMap<PartitionKey, Holding>,
    /// Until when its session is valid, in true time.
    pub(in crate::simulator) until: Instant,
    pub(in crate::simulator) leaving: Option<Leaving>,
    /// The session for which it answers probes.
    pub(in crate::simulator) answers_for: Option<Nonce>,
    /// It dies in its next step after this many effects.
    pub(in crate::simulator) dies_after: Option<u32>,
    /// It dies while its next callback runs.
    pub(in crate::simulator) dies_in_callback: bool,
    /// For how many steps its clock shows how much too early a time.
    pub(in crate::simulator) step_back: Option<(u32, Duration)>,
    /// The latest time its core was told.
    pub(in crate::simulator) latest: Instant,
    /// What waits while it is paused.
    pub(in crate::simulator) inbox: VecDeque<Input>,
    /// The newest revision of each key that it was shown.
    pub(in crate::simulator) shown: BTreeMap<String, Revision>,
    /// Writes that were applied though it was told that their outcome is unknown.
    pub(in crate::simulator) unknown: Vec<Revision>,
    pub(in crate::simulator) steps: u64,
    /// Its core has said that it is over.
    pub(in crate::simulator) exited: bool,
}

/// A time in which a process takes long for everything.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulator) struct Slowness {
    pub(in crate::simulator) until: Instant,
    pub(in crate::simulator) each: Duration,
    /// When it is done with everything it was told so far.
    pub(in crate::simulator) busy_until: Instant,
}

/// A place where processes run.
#[derive(Debug)]
pub(in crate::simulator) struct Node {
    pub(in crate::simulator) config: Config,
    pub(in crate::simulator) drift_ppm: i32,
    pub(in crate::simulator) capacity: u32,
    pub(in crate::simulator) running: Option<Running>,
    /// Processes that ran here so far.
    pub(in crate::simulator) runs: u16,
    /// Messages sent from here so far: the number that keys their fate.
    pub(in crate::simulator) messages: u64,
    pub(in crate::simulator) paused_until: Instant,
    /// When the present pause began, or the last one.
    pub(in crate::simulator) paused_from: Instant,
    pub(in crate::simulator) requests_cut_until: Instant,
    pub(in crate::simulator) replies_cut_until: Instant,
    pub(in crate::simulator) watch_cut_until: Instant,
    /// Its reads are not answered until then.
    pub(in crate::simulator) no_answers_until: Instant,
    /// It stands still for so long each time, until then.
    pub(in crate::simulator) throttled: Option<(Duration, Instant)>,
    /// Messages wait until then and come at once.
    pub(in crate::simulator) stalled_until: Instant,
    /// The client has no connection until then.
    pub(in crate::simulator) disconnected_until: Instant,
    /// How long the clock stood still during the present pause.
    pub(in crate::simulator) suspended: Duration,
    /// When its clock goes on. Freezes that overlap are one.
    pub(in crate::simulator) suspended_until: Instant,
    pub(in crate::simulator) slow: Option<Slowness>,
    /// No process starts here any more.
    pub(in crate::simulator) retired: bool,
    /// Processes that took too long to stop.
    pub(in crate::simulator) unstopped: Vec<Process>,
}

impl Node {
    pub(in crate::simulator) const fn new(config: Config, drift_ppm: i32) -> Self {
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
            no_answers_until: Instant::ORIGIN,
            throttled: None,
            stalled_until: Instant::ORIGIN,
            disconnected_until: Instant::ORIGIN,
            suspended: Duration::ZERO,
            suspended_until: Instant::ORIGIN,
            slow: None,
            retired: false,
            unstopped: Vec::new(),
        }
    }

    /// The process if it still runs.
    pub(in crate::simulator) fn process(&mut self, process: Process) -> Option<&mut Running> {
        self.running
            .as_mut()
            .filter(|running| running.process == process)
    }

    pub(in crate::simulator) const fn next_message(&mut self) -> u64 {
        self.messages += 1;
        self.messages
    }

    /// Whether the session of its process ran out while the process stood still, and it has just
    /// gone on.
    pub(in crate::simulator) fn has_slept_through(&self, now: Instant) -> bool {
        let until = self.running.as_ref().map(|running| running.until);
        self.paused_until == now
            && until.is_some_and(|until| self.paused_from <= until && until <= now)
    }

    pub(in crate::simulator) fn is_paused(&self, now: Instant) -> bool {
        now < self.paused_until
    }
}
