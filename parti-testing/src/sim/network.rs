//! Messages between processes and the store: delays, losses, lagging copies, watches.
//!
//! What always holds: a commit is applied or not by the store alone; whatever the network does only
//! changes when and whether the process learns of it. Every request is answered exactly once.

use core::time::Duration;

use parti_core::{
    Entry, Event, Instant, OpId, Revision, StoreError, StoreErrorKind, StoreOp, StoreReply,
    WatchEvent, WatchId, WatchScope,
};

use super::dice::{Purpose, Roll};
use super::node::{WatchStage, Watching};
use super::queue::Item;
use super::store::written;
use super::world::World;
use crate::checks::{Fact, Process};
use crate::kv::Applied;

/// A time in which the store serves nobody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    pub(super) until: Instant,
    /// Clients are told at once.
    pub(super) answers: bool,
}

/// Whether an entry may be left out once its key has a newer value. What the mark promises may not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skip {
    Allowed,
    Never,
}

type Answer = Result<StoreReply, StoreError>;

impl World<'_> {
    fn outage(&self) -> Option<Outage> {
        self.outage.filter(|outage| self.now < outage.until)
    }

    /// How long a message takes.
    fn delay(&self, roll: Roll) -> Duration {
        let usual = roll.exponential(Duration::from_micros(self.faults.delay_mean_us));
        if roll.again().ppm(self.faults.tail_ppm) {
            let tail = Duration::from_millis(self.faults.tail_ms);
            usual + roll.again().again().duration(tail)
        } else {
            usual
        }
    }

    pub(super) fn send(&mut self, process: Process, op: OpId, request: StoreOp) {
        let (now, who) = (self.now, u64::from(process.node));
        let node = &mut self.nodes[usize::from(process.node)];
        let number = node.next_message();
        let cut = now < node.requests_cut_until;
        let answer_by = now + node.config.request_timeout();
        let roll = |purpose| self.dice.roll(purpose, who, number);
        let outage = self.outage();
        if let Some(outage) = outage.filter(|outage| outage.answers)
            && roll(Purpose::Outage).below(4) > 0
        {
            debug_assert!(now < outage.until, "an outage that is over refuses nobody");
            let error = StoreError::new(StoreErrorKind::Unavailable, "simulated outage");
            let at = now + self.delay(roll(Purpose::RequestDelay));
            self.answer(process, op, at.min(answer_by), Err(error));
            return;
        }
        let mut arrival = now + self.delay(roll(Purpose::RequestDelay));
        let mut dropped = cut || roll(Purpose::RequestDrop).ppm(self.faults.drop_request_ppm);
        if let Some(outage) = outage {
            // A store that is changing its leader may take a request in and apply it much later.
            dropped |= roll(Purpose::Outage).again().below(2) == 0;
            arrival = arrival.max(outage.until);
        }
        let duplicate = roll(Purpose::RequestDuplicate);
        if !cut && duplicate.ppm(self.faults.duplicate_ppm) {
            let tail = Duration::from_millis(self.faults.tail_ms.max(1000));
            let at = now + duplicate.again().duration(tail);
            let request = request.clone();
            self.queue.push(
                at,
                Item::Arrive {
                    process,
                    op: None,
                    request,
                    number,
                    answer_by,
                },
            );
        }
        let in_time = !dropped && arrival < answer_by;
        if !in_time {
            self.answer(process, op, answer_by, Err(unknown()));
        }
        if !dropped {
            let op = in_time.then_some(op);
            self.queue.push(
                arrival,
                Item::Arrive {
                    process,
                    op,
                    request,
                    number,
                    answer_by,
                },
            );
        }
    }

    fn answer(&mut self, process: Process, op: OpId, at: Instant, result: Answer) {
        self.queue.push(
            at,
            Item::Deliver {
                process,
                event: Event::Store { op, result },
            },
        );
    }

    /// A request reaches the store. `op` is `None` if its answer is no longer waited for.
    pub(super) fn arrive(
        &mut self,
        process: Process,
        op: Option<OpId>,
        request: StoreOp,
        number: u64,
        answer_by: Instant,
    ) {
        let (now, who) = (self.now, u64::from(process.node));
        if self.outage().is_some() {
            if let Some(op) = op {
                self.answer(process, op, answer_by, Err(unknown()));
            }
            return;
        }
        let patience = self.nodes[usize::from(process.node)]
            .config
            .request_timeout();
        let of_a_lost_history = answer_by.saturating_sub(patience) < self.store.began();
        let result = if of_a_lost_history {
            // The connection broke together with the store.
            Err(unknown())
        } else {
            self.serve(process, &request, number)
        };
        let Some(op) = op else {
            if matches!(result, Ok(StoreReply::Committed { .. })) {
                self.judge.sometimes.count("applied_late");
                self.note_unknown(process, &result);
            }
            return;
        };
        let node = &self.nodes[usize::from(process.node)];
        let cut = now < node.replies_cut_until;
        let roll = self.dice.roll(Purpose::ReplyDrop, who, number);
        let dropped = cut || roll.ppm(self.faults.drop_reply_ppm);
        let at = now + self.delay(self.dice.roll(Purpose::ReplyDelay, who, number));
        if dropped || at >= answer_by {
            self.note_unknown(process, &result);
            self.answer(process, op, answer_by, Err(unknown()));
        } else {
            self.note_found(process, &result);
            self.answer(process, op, at, result);
        }
    }

    fn note_unknown(&mut self, process: Process, result: &Answer) {
        if let Ok(StoreReply::Committed { revisions }) = result {
            self.judge.sometimes.count("unknown_but_applied");
            self.remember_unknown(process, revisions);
        }
    }

    /// Counts answers in which a process finds a write of its own whose outcome it did not know.
    fn note_found(&mut self, process: Process, result: &Answer) {
        let Ok(StoreReply::Entry(Some(entry))) = result else {
            return;
        };
        let running = self.nodes[usize::from(process.node)].process(process);
        if running.is_some_and(|running| running.unknown.contains(&entry.revision)) {
            self.judge.sometimes.count("own_write_found");
        }
    }

    fn serve(&mut self, process: Process, request: &StoreOp, number: u64) -> Answer {
        let who = u64::from(process.node);
        if self.store.is_deleted() && *request != StoreOp::Create {
            // Only questions about the bucket itself tell that it is gone.
            let kind = match request {
                StoreOp::Info => StoreErrorKind::Missing,
                StoreOp::Get { .. }
                | StoreOp::List { .. }
                | StoreOp::Commit { .. }
                | StoreOp::Create => StoreErrorKind::Unavailable,
            };
            return Err(StoreError::new(kind, "simulated: there is no bucket"));
        }
        match request {
            StoreOp::Create => {
                if self.store.ensure(self.now) {
                    self.lost_history(Revision::ZERO);
                    self.judge.sometimes.count("bucket_recreated");
                }
                Ok(StoreReply::Info(self.store.info(self.now)))
            }
            StoreOp::Info => Ok(StoreReply::Info(self.store.info(self.now))),
            StoreOp::Commit { writes } => {
                if self
                    .dice
                    .roll(Purpose::Refuse, who, number)
                    .ppm(self.faults.refuse_ppm)
                {
                    let reason = "simulated: another write of the key is in flight";
                    return Err(StoreError::new(StoreErrorKind::Refused, reason));
                }
                let applied = self.store.commit(self.now, writes)?;
                self.publish(process, &applied);
                let revisions = applied.iter().map(|write| write.entry.revision).collect();
                Ok(StoreReply::Committed { revisions })
            }
            StoreOp::Get { .. } | StoreOp::List { .. } => {
                let cut = self.read_cut(who, number);
                let reply = self.store.read(request, cut);
                reply.ok_or_else(|| StoreError::new(StoreErrorKind::Rejected, "not a read"))
            }
        }
    }

    /// The revision up to which a read sees the history.
    fn read_cut(&mut self, who: u64, number: u64) -> Revision {
        if self
            .dice
            .roll(Purpose::Stale, who, number)
            .ppm(self.faults.stale_ppm)
        {
            self.judge.sometimes.count("stale_read");
            let age = self.dice.roll(Purpose::StaleAge, who, number);
            let age = age.duration(Duration::from_millis(self.faults.stale_ms));
            self.store.revision_before(self.now, age)
        } else {
            self.store.last_revision()
        }
    }

    /// Tells the checkers and every watch of a commit.
    fn publish(&mut self, process: Process, applied: &[Applied]) {
        let now = self.now;
        let writes: Vec<_> = applied.iter().map(written).collect();
        for write in &writes {
            self.judge.fold(write.revision.get());
        }
        self.judge.observe(now, &Fact::Commit { process, writes });
        let mut due = Vec::new();
        for node in &self.nodes {
            let Some(running) = &node.running else {
                continue;
            };
            for (id, watching) in &running.watches {
                if watching.stage != WatchStage::Live {
                    continue;
                }
                for write in applied
                    .iter()
                    .filter(|w| watching.scope.contains(&w.entry.key))
                {
                    due.push((running.process, *id, write.entry.clone()));
                }
            }
        }
        for (to, id, entry) in due {
            self.watch_entry(to, id, entry);
        }
    }

    pub(super) fn watch(&mut self, process: Process, id: WatchId, scope: WatchScope) {
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
    pub(super) fn subscribe(
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
        for entry in present {
            self.push_watch(process, id, WatchEvent::Entry(entry), Skip::Never);
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
    fn watch_entry(&mut self, process: Process, id: WatchId, entry: Entry) {
        let who = u64::from(process.node);
        let number = self.nodes[usize::from(process.node)].next_message();
        let roll = |purpose| self.dice.roll(purpose, who, number);
        if self.now < self.nodes[usize::from(process.node)].watch_cut_until {
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
        let Some(running) = self.nodes[node].process(process) else {
            return;
        };
        let Some(watching) = running.watches.get_mut(&id) else {
            return;
        };
        let at = (now + roll.exponential(mean)).max(watching.delivered_by);
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
    pub(super) fn watched(
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
            self.judge.sometimes.count("watch_lost");
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

    pub(super) fn break_watches(&mut self, node: usize) {
        for (process, id) in self.watches(node, WatchStage::Live) {
            self.break_watch(process, id, "was cut off");
        }
    }

    /// The faults are over: what is broken is noticed now.
    pub(super) fn mend_watches(&mut self, node: usize) {
        for (process, id) in self.watches(node, WatchStage::Broken) {
            self.lose(process, id, self.now, "was found broken");
        }
    }
}

fn unknown() -> StoreError {
    StoreError::new(StoreErrorKind::Unknown, "simulated: no answer in time")
}
