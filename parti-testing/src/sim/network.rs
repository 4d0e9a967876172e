//! Messages between processes and the store: delays, losses, lagging copies, watches.
//!
//! What always holds: a commit is applied or not by the store alone; whatever the network does only
//! changes when and whether the process learns of it. Every request is answered exactly once.

use core::time::Duration;

use parti_core::{Event, Instant, OpId, Revision, StoreError, StoreErrorKind, StoreOp, StoreReply};

mod watches;

use super::dice::{Purpose, Roll};
use super::node::WatchStage;
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
        let result = self.serve(process, &request, number);
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
        match request {
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
            StoreOp::Get { .. } | StoreOp::List { .. } | StoreOp::Info => {
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
}

fn unknown() -> StoreError {
    StoreError::new(StoreErrorKind::Unknown, "simulated: no answer in time")
}
