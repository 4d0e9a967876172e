//! Watches on their way: snapshots, changes, silences and losses.
//!
//! What always holds: events of one watch are delivered in the order in which the store sent them,
//! except for repetitions; after a loss nothing comes any more.

use core::time::Duration;

use parti_core::{Entry, Event, Instant, WatchEvent, WatchId, WatchScope};

use crate::simulator::checks::Process;
use crate::simulator::group::node::{WatchStage, Watching};
use crate::simulator::group::queue::Item;
use crate::simulator::group::world::World;
use crate::simulator::plans::dice::Purpose;

/// Whether an entry may be left out once its key has a newer value. What the mark promises may not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skip {
    Allowed,
    Never,
}

impl World<'_> {
    pub(in crate::simulator) fn watch(&mut self, process: Process, id: WatchId, scope: WatchScope) {
        let (now, who) = (self.now, u64::from(process.node));
        let node = &mut self.nodes[usize::from(process.node)];
        let number = node.next_message();
        let cut = now < node.watch_cut_until || now < node.requests_cut_until;
        let patience = node.config.request_timeout();
        if let Some(running) = node.process(process) {
            let (scope, stage) = (scope.clone(), WatchStage::Opening);
            running.watches.insert(
                id,
                Watching {
                    scope,
                    stage,
                    delivered_by: now,
                },
            );
        }
        let dropped = self.dice.roll(Purpose::RequestDrop, who, number);
        let delay = self.delay(self.dice.roll(Purpose::RequestDelay, who, number));
        let connected = self.nodes[usize::from(process.node)].disconnected_until;
        let delay = delay + connected.since(now);
        let lost = cut
            || self.outage().is_some()
            || delay >= patience
            || dropped.ppm(self.faults.drop_request_ppm);
        if lost {
            self.lose(process, id, now + patience, "could not be set up");
        } else {
            self.queue.push(
                now + delay,
                Item::Subscribe {
                    process,
                    id,
                    scope,
                    number,
                },
            );
        }
    }

    /// The wish for a watch reaches the store: present entries, the mark, then what came since.
    pub(in crate::simulator) fn subscribe(
        &mut self,
        process: Process,
        id: WatchId,
        scope: WatchScope,
        number: u64,
    ) {
        let now = self.now;
        let cut = self.read_cut(u64::from(process.node), number);
        let node = &mut self.nodes[usize::from(process.node)];
        let cut_off = now < node.watch_cut_until;
        let Some(running) = node.process(process) else {
            return;
        };
        let Some(watching) = running.watches.get_mut(&id) else {
            return;
        };
        if watching.stage != WatchStage::Opening {
            return;
        }
        watching.stage = WatchStage::Live;
        if cut_off || self.outage().is_some() || self.store.is_deleted() {
            self.break_watch(process, id, "was cut off");
            return;
        }
        let mut present = self.store.snapshot(&scope, cut);
        if self
            .dice
            .roll(Purpose::WatchOrder, u64::from(process.node), number)
            .below(2)
            == 0
        {
            present.sort_by_key(|entry| entry.revision);
        }
        let breaks = self
            .dice
            .roll(Purpose::SnapshotCut, u64::from(process.node), number);
        let breaks = breaks
            .ppm(self.faults.snapshot_cut_ppm)
            .then(|| breaks.again().below(present.len() as u64) as usize);
        for entry in present.drain(..breaks.unwrap_or(present.len())) {
            self.push_watch(process, id, WatchEvent::Entry(entry), Skip::Never);
        }
        if breaks.is_some() {
            self.judge.situations.count("snapshot_cut_short");
            self.set_broken(process, id);
            self.lose(process, id, now, "broke off");
            return;
        }
        self.push_watch(
            process,
            id,
            WatchEvent::CaughtUp { revision: cut },
            Skip::Never,
        );
        for entry in self.store.since(&scope, cut) {
            self.push_watch(process, id, WatchEvent::Entry(entry), Skip::Allowed);
        }
    }

    /// A change on its way to a watch, with everything that can happen to it.
    pub(super) fn watch_entry(&mut self, process: Process, id: WatchId, entry: Entry) {
        let who = u64::from(process.node);
        let number = self.nodes[usize::from(process.node)].next_message();
        let roll = |purpose| self.dice.roll(purpose, who, number);
        let node = &self.nodes[usize::from(process.node)];
        if self.now < node.watch_cut_until {
            self.break_watch(process, id, "was cut off");
        } else if roll(Purpose::WatchLost).ppm(self.faults.watch_lost_ppm) {
            self.set_broken(process, id);
            self.lose(process, id, self.now, "was lost");
        } else if roll(Purpose::WatchStall).ppm(self.faults.watch_stall_ppm) {
            self.break_watch(process, id, "fell silent");
        } else {
            let again = roll(Purpose::WatchDuplicate);
            if again.ppm(self.faults.watch_duplicate_ppm) {
                let at = self.now + again.again().duration(Duration::from_secs(1));
                let event = Event::Watch {
                    id,
                    event: WatchEvent::Entry(entry.clone()),
                };
                self.queue.push(at, Item::Deliver { process, event });
            }
            self.push_watch(process, id, WatchEvent::Entry(entry), Skip::Allowed);
        }
    }

    /// Delivers an event after a delay, in order.
    fn push_watch(&mut self, process: Process, id: WatchId, event: WatchEvent, skip: Skip) {
        let (now, node) = (self.now, usize::from(process.node));
        let number = self.nodes[node].next_message();
        let roll = self.dice.roll(Purpose::WatchDelay, node as u64, number);
        let mean = Duration::from_micros(self.faults.watch_delay_mean_us);
        let stalled_until = self.nodes[node].stalled_until;
        let Some(running) = self.nodes[node].process(process) else {
            return;
        };
        let Some(watching) = running.watches.get_mut(&id) else {
            return;
        };
        let at = (now + roll.exponential(mean)).max(watching.delivered_by);
        let at = at.max(stalled_until);
        watching.delivered_by = at;
        let skippable = skip == Skip::Allowed && roll.again().ppm(self.faults.watch_skip_ppm);
        self.queue.push(
            at,
            Item::Watched {
                process,
                id,
                event,
                skippable,
            },
        );
    }

    /// A watch event reaches its process, unless a newer value has made it superfluous.
    pub(in crate::simulator) fn watched(
        &mut self,
        process: Process,
        id: WatchId,
        event: WatchEvent,
        skippable: bool,
    ) {
        if let WatchEvent::Entry(entry) = &event
            && skippable
            && self.store.is_outdated(entry)
        {
            return;
        }
        if matches!(event, WatchEvent::Lost { .. }) {
            let node = &mut self.nodes[usize::from(process.node)];
            let known = node
                .process(process)
                .and_then(|running| running.watches.remove(&id));
            if known.is_none() {
                return;
            }
            self.judge.situations.count("watch_lost");
        }
        self.deliver(process, Event::Watch { id, event });
    }

    fn set_broken(&mut self, process: Process, id: WatchId) {
        let node = &mut self.nodes[usize::from(process.node)];
        let watching = node
            .process(process)
            .and_then(|running| running.watches.get_mut(&id));
        if let Some(watching) = watching {
            watching.stage = WatchStage::Broken;
        }
    }

    /// The loss of a watch is delivered after everything that is on its way.
    fn lose(&mut self, process: Process, id: WatchId, at: Instant, reason: &str) {
        let node = &mut self.nodes[usize::from(process.node)];
        let watching = node
            .process(process)
            .and_then(|running| running.watches.get(&id));
        let Some(watching) = watching else {
            return;
        };
        let at = at.max(watching.delivered_by);
        let event = WatchEvent::Lost {
            reason: reason.to_owned(),
        };
        self.queue.push(
            at,
            Item::Watched {
                process,
                id,
                event,
                skippable: false,
            },
        );
    }

    /// A watch falls silent; its process learns of it some time later.
    fn break_watch(&mut self, process: Process, id: WatchId, reason: &str) {
        let (now, who) = (self.now, u64::from(process.node));
        let node = &mut self.nodes[usize::from(process.node)];
        let number = node.next_message();
        let longest = Duration::from_millis(self.faults.watch_stall_ms);
        let longest = longest.max(node.config.lease() * 2);
        let silence = self
            .dice
            .roll(Purpose::WatchStall, who, number)
            .again()
            .duration(longest);
        self.set_broken(process, id);
        self.lose(process, id, now + silence, reason);
    }

    fn watches(&self, node: usize, stage: WatchStage) -> Vec<(Process, WatchId)> {
        let Some(running) = &self.nodes[node].running else {
            return Vec::new();
        };
        let watches = running
            .watches
            .iter()
            .filter(|(_, watching)| watching.stage == stage);
        watches.map(|(id, _)| (running.process, *id)).collect()
    }

    /// The connection is gone: all watches are, and the client says so once it is back.
    pub(in crate::simulator) fn lose_watches(&mut self, node: usize, at: Instant) {
        for (process, id) in self.watches(node, WatchStage::Live) {
            self.set_broken(process, id);
            self.lose(process, id, at, "was disconnected");
        }
    }

    pub(in crate::simulator) fn break_watches(&mut self, node: usize) {
        for (process, id) in self.watches(node, WatchStage::Live) {
            self.break_watch(process, id, "was cut off");
        }
    }

    /// The faults are over: what is broken is noticed now.
    pub(in crate::simulator) fn repair_watches(&mut self, node: usize) {
        for (process, id) in self.watches(node, WatchStage::Broken) {
            self.lose(process, id, self.now, "was found broken");
        }
    }
}
