//! Messages between processes and the store: delays, losses, lagging copies, watches.
//!
//! What always holds: a commit is applied or not by the store alone; whatever the network does only
//! changes when and whether the process learns of it. Every request is answered exactly once.

use core::time::Duration;

use parti_core::{
    Epoch, Event, Instant, OpId, Record, Revision, StoreError, StoreErrorKind, StoreOp, StoreReply,
    Write,
};

mod watches;

use crate::simulator::checks::{AppliedCommit, Fact, Process};
use crate::simulator::group::node::WatchStage;
use crate::simulator::group::queue::Item;
use crate::simulator::group::world::World;
use crate::simulator::plans::dice::{Purpose, Roll};
use crate::simulator::plans::plan::{Denial, KeyKind};
use crate::simulator::storage::store::any_release;
use parti_core::kv::Applied;

/// A time in which the store serves nobody.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulator) struct Outage {
    pub(in crate::simulator) until: Instant,
    /// Clients are told at once.
    pub(in crate::simulator) answers: bool,
}

/// What is wrong with the store, until when.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::simulator) struct Trouble {
    pub(in crate::simulator) denied: Option<(KeyKind, Denial, Instant)>,
    /// Served by a replica without the others, which knows the history up to this revision.
    pub(in crate::simulator) stuck: Option<(Revision, Instant)>,
    pub(in crate::simulator) slow: Option<(Duration, Instant)>,
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

    pub(in crate::simulator) fn send(&mut self, process: Process, op: OpId, request: StoreOp) {
        let (now, who) = (self.now, u64::from(process.node));
        let node = &mut self.nodes[usize::from(process.node)];
        let number = node.next_message();
        let answer_by = now + node.config.request_timeout();
        let roll = |purpose| self.dice.roll(purpose, who, number);
        if self.outage().is_some_and(|outage| outage.answers) && roll(Purpose::Outage).below(4) > 0
        {
            let error = StoreError::new(StoreErrorKind::Unavailable, "simulated outage");
            let at = now + self.delay(roll(Purpose::RequestDelay));
            self.answer(process, op, at.min(answer_by), Err(error));
            return;
        }
        let duplicate = roll(Purpose::RequestDuplicate);
        let cut = now < self.nodes[usize::from(process.node)].requests_cut_until;
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
        let arrival = self.arrival(process, &request, number, answer_by);
        let in_time = arrival.is_some_and(|arrival| arrival < answer_by);
        if !in_time {
            self.answer(process, op, answer_by, Err(unknown()));
        }
        if let Some(arrival) = arrival {
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

    /// When a request reaches the store, if ever.
    fn arrival(
        &mut self,
        process: Process,
        request: &StoreOp,
        number: u64,
        answer_by: Instant,
    ) -> Option<Instant> {
        let (now, who) = (self.now, u64::from(process.node));
        let roll = |purpose| self.dice.roll(purpose, who, number);
        let mut dropped = roll(Purpose::RequestDrop).ppm(self.faults.drop_request_ppm);
        let mut arrival = now + self.delay(roll(Purpose::RequestDelay));
        if let Some(moment) = self.moment(process, roll(Purpose::AtLimit), answer_by) {
            arrival = moment;
        }
        let late = roll(Purpose::VeryLate);
        if late.ppm(self.faults.very_late_ppm) {
            self.judge.situations.count("very_late");
            let longest = Duration::from_millis(self.faults.very_late_ms);
            let end = Instant::from_millis(self.plan.safety_ms).max(now);
            arrival = (now + late.again().duration(longest)).min(end);
        }
        if let (StoreOp::Commit { .. }, Some((longest, until))) = (request, self.trouble.slow)
            && now < until
        {
            self.judge.situations.count("slow_commit");
            arrival += roll(Purpose::SlowStore).duration(longest);
        }
        let node = &self.nodes[usize::from(process.node)];
        dropped |= now < node.requests_cut_until;
        arrival = arrival.max(node.stalled_until);
        if now < node.disconnected_until {
            self.judge.situations.count("flushed_at_reconnect");
            arrival = arrival.max(node.disconnected_until);
        }
        if let Some(outage) = self.outage() {
            // A store that is changing its leader may take a request in and apply it much later.
            dropped |= roll(Purpose::Outage).again().below(2) == 0;
            arrival = arrival.max(outage.until);
        }
        (!dropped).then_some(arrival)
    }

    /// A moment at which something ends, or the one before or after, if the roll says so.
    fn moment(&self, process: Process, roll: Roll, answer_by: Instant) -> Option<Instant> {
        if !roll.ppm(self.faults.at_limit_ppm) {
            return None;
        }
        let node = &self.nodes[usize::from(process.node)];
        let running = node.running.as_ref()?;
        let (which, side) = (roll.again(), roll.again().again());
        let limit = match which.below(3) {
            0 => answer_by,
            1 if running.until < Instant::FAR_FUTURE => running.until,
            _ => self.now + node.config.lease(),
        };
        let near = Duration::from_nanos(side.again().pick(&[1, 1_000, 1_000_000, 20_000_000]));
        let moment = match side.below(2) {
            0 => limit.saturating_sub(near),
            _ => limit + near,
        };
        (moment > self.now).then_some(moment)
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
    pub(in crate::simulator) fn arrive(
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
            self.serve_or_fail(process, &request, number)
        };
        if let (StoreOp::Commit { writes }, Err(error)) = (&request, &result)
            && error.kind == StoreErrorKind::Refused
        {
            self.note_zombie(writes);
        }
        let Some(op) = op else {
            if matches!(result, Ok(StoreReply::Committed { .. })) {
                self.judge.situations.count("applied_late");
                self.note_unknown(process, &result);
            }
            return;
        };
        let node = &self.nodes[usize::from(process.node)];
        let mut dropped = now < node.replies_cut_until || now < node.disconnected_until;
        dropped |= now < node.no_answers_until && !matches!(request, StoreOp::Commit { .. });
        let stalled_until = node.stalled_until;
        let roll = self.dice.roll(Purpose::ReplyDrop, who, number);
        dropped |= roll.ppm(self.faults.drop_reply_ppm);
        let failed = self.dice.roll(Purpose::Fail, who, number);
        dropped |= !failed.ppm(self.faults.fail_ppm)
            && matches!(&result, Err(error) if error.kind == StoreErrorKind::Unknown);
        let delay = self.delay(self.dice.roll(Purpose::ReplyDelay, who, number));
        let hug = self
            .dice
            .roll(Purpose::AtLimit, who, number)
            .again()
            .again();
        let moment = self.moment(process, hug, answer_by);
        let at = moment.unwrap_or(now + delay).max(stalled_until);
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
            self.judge.situations.count("unknown_but_applied");
            self.remember_unknown(process, revisions);
        }
    }

    /// Counts refused renewals of sessions that others have ended or replaced.
    fn note_zombie(&mut self, writes: &[Write]) {
        let decoded = |bytes: &Vec<u8>| match any_release(bytes) {
            Ok(Record::Session(record)) => Some(record),
            Ok(_) | Err(_) => None,
        };
        let Some(write) = writes.first().filter(|write| write.key.starts_with("w.")) else {
            return;
        };
        let present = self.store.present_entry(&write.key);
        let present = present
            .and_then(|entry| entry.value.as_ref())
            .and_then(decoded);
        let wished = write.value.as_ref().and_then(decoded);
        if let (Some(present), Some(wished)) = (present, wished)
            && wished.epoch > Epoch::ZERO
            && (present.nonce() != wished.nonce() || !present.status.is_living())
        {
            self.judge.situations.count("zombie_refused");
        }
    }

    /// Counts answers in which a process finds a write of its own whose outcome it did not know.
    fn note_found(&mut self, process: Process, result: &Answer) {
        let Ok(StoreReply::Entry(Some(entry))) = result else {
            return;
        };
        let running = self.nodes[usize::from(process.node)].process(process);
        if running.is_some_and(|running| running.unknown.contains(&entry.revision)) {
            self.judge.situations.count("own_write_found");
        }
    }

    fn serve_or_fail(&mut self, process: Process, request: &StoreOp, number: u64) -> Answer {
        let roll = self.dice.roll(Purpose::Fail, process.node.into(), number);
        if !roll.ppm(self.faults.fail_ppm) {
            return self.serve(process, request, number);
        }
        match roll.again().below(3) {
            0 => Err(StoreError::new(
                StoreErrorKind::Unavailable,
                "simulated: not now",
            )),
            1 => Err(unknown()),
            _ => {
                let result = self.serve(process, request, number);
                self.note_unknown(process, &result);
                Err(unknown())
            }
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
                    self.judge.situations.count("bucket_recreated");
                }
                Ok(StoreReply::Info(self.store.info()))
            }
            StoreOp::Info => Ok(StoreReply::Info(self.store.info())),
            StoreOp::Commit { writes } => {
                if let Some(error) = self.denied(writes, who, number) {
                    return Err(error);
                }
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

    /// Why the store cannot carry out a commit although it is there.
    fn denied(&mut self, writes: &[Write], who: u64, number: u64) -> Option<StoreError> {
        if let Some((kinds, how, until)) = self.trouble.denied
            && self.now < until
            && writes.iter().any(|write| kinds.contains(&write.key))
        {
            self.judge.situations.count("commit_denied");
            let kind = match how {
                Denial::Unavailable => StoreErrorKind::Unavailable,
                Denial::Unknown => StoreErrorKind::Unknown,
                Denial::Rejected => StoreErrorKind::Rejected,
            };
            return Some(StoreError::new(kind, "simulated: not these keys"));
        }
        let (_, until) = self.trouble.stuck?;
        if self.now >= until {
            return None;
        }
        self.judge.situations.count("commit_stuck");
        let kind = match self.dice.roll(Purpose::Stuck, who, number).below(3) {
            0 => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Unknown,
        };
        Some(StoreError::new(kind, "simulated: no quorum"))
    }

    /// The revision up to which a read sees the history.
    fn read_cut(&mut self, who: u64, number: u64) -> Revision {
        if let Some((cut, until)) = self.trouble.stuck
            && self.now < until
        {
            return cut;
        }
        if self
            .dice
            .roll(Purpose::Stale, who, number)
            .ppm(self.faults.stale_ppm)
        {
            self.judge.situations.count("stale_read");
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
        let writes = self.store.shown(applied);
        if self.store.is_split() {
            self.judge.situations.count("assignment_in_pieces");
        }
        for write in &writes {
            self.judge.fold(write.revision.get());
        }
        let commit = AppliedCommit {
            at: now,
            process,
            writes,
        };
        self.judge.observe(now, &Fact::Commit(commit));
        self.fan_out(applied);
    }

    /// Tells every watch.
    pub(in crate::simulator) fn fan_out(&mut self, applied: &[Applied]) {
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
