//! Reading one partition with a durable of this ownership, where acknowledgements remove messages.
//!
//! It is separate from the hub since nothing is shared there: each partition has its consumer, and each
//! lane its reading task, which ends with it. What always holds: a durable that ended for any reason is
//! replaced by another, which begins after the stored position, so that nothing that is in flight on a
//! lost connection comes behind what is newer; everything that comes is put into the queue in order or is
//! known already.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parti_nats::consume::{
    Condition, ConsumeError, DurableName, Durables, Owner, Reader, ReaderEnd, Retention,
    StreamFacts,
};
use tokio::time::{Instant, sleep, timeout_at};

use crate::jetstream::acks::Acks;
use crate::jetstream::feed::Feed;
use crate::jetstream::partitioned::Shared;

/// How many messages one pull asks for at most.
const PULL: u64 = 500;
/// How many messages are taken from the client at once.
const CHUNK: usize = 512;
/// How often to look for room when there is none.
const SHORT: Duration = Duration::from_millis(5);
/// The pause before another durable is made, at the second time and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A durable that ended before this did not work.
const SOON: Duration = Duration::from_secs(1);
/// When what late owners have left is looked for, at first and then.
const SWEEPS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// The reading of one ownership.
pub(super) struct Owned {
    pub(super) shared: Arc<Shared>,
    pub(super) durables: Durables,
    pub(super) feed: Arc<Feed>,
    pub(super) acks: Arc<Acks>,
    pub(super) owner: Owner,
}

impl Owned {
    /// Reads until the task is dropped, or until there is a reason to stop, which the feed is told.
    pub(super) async fn run(self) {
        let mut name = self.durables.name(self.feed.partition, self.owner);
        let mut pause = Duration::ZERO;
        loop {
            let begun = Instant::now();
            match self.open(&mut name).await {
                Ok(reader) => {
                    let end = self.read(reader, &name).await;
                    let partition = self.feed.partition;
                    tracing::info!(partition, %end, "a durable ended; another goes on");
                    if begun.elapsed() > SOON {
                        pause = Duration::ZERO;
                    }
                }
                Err(ConsumeError::Condition(condition)) => {
                    if is_final(&condition) {
                        return self.feed.stop(condition);
                    }
                    self.shared.report(self.feed.partition, &condition);
                }
                Err(error) => {
                    tracing::warn!(partition = self.feed.partition, %error, "no durable");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).clamp(PAUSES.0, PAUSES.1);
        }
    }

    async fn open(&self, name: &mut DurableName) -> Result<Reader, ConsumeError> {
        let facts = self.shared.source.facts().await?;
        let delivered = self.feed.delivered();
        if let Some(condition) = moved(&self.feed.created, delivered, &facts) {
            return Err(condition.into());
        }
        self.acks.begin(None);
        let position = self.acks.position();
        let cursors = &self.shared.cursors;
        let opened = self.durables.open(name, position, cursors).await?;
        if opened.is_first && self.durables.retention() == Retention::Interest {
            let last = facts.last;
            let position = delivered;
            let condition = Condition::InterestLost { position, last };
            self.shared.report(self.feed.partition, &condition);
        }
        self.acks.begin(Some(name.encode()));
        self.shared.passed(self.feed.partition);
        Ok(opened.reader)
    }

    /// Reads until the durable ends.
    async fn read(&self, mut reader: Reader, name: &DurableName) -> ReaderEnd {
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut sweep = Instant::now() + SWEEPS.0;
        loop {
            let room = self.shared.budget.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            let is_short = match self.ask(&mut reader).await {
                Ok(is_short) => is_short,
                Err(end) => return end,
            };
            let step = tokio::select! {
                biased;
                step = timeout_at(sweep, reader.next(CHUNK, &mut chunk)) => step,
                () = room, if is_short => continue,
                () = sleep(SHORT), if is_short => continue,
            };
            // Before they are in the queue: what is handled is found here.
            self.acks.delivered(&chunk).await;
            let delivered = self.feed.delivered();
            chunk.retain(|message| message.sequence > delivered);
            let last = chunk.last().map(|message| message.sequence);
            self.feed.put(std::mem::take(&mut chunk));
            if let Some(last) = last {
                self.feed.pass(last);
            }
            match step {
                Ok(Ok(_)) => {}
                Ok(Err(end)) => return end,
                Err(_) => {
                    sweep = Instant::now() + SWEEPS.1;
                    if let Err(ConsumeError::Condition(condition)) = self.durables.sweep(name).await
                        && is_final(&condition)
                    {
                        self.feed.stop(condition);
                    }
                }
            }
        }
    }

    /// Pulls if there is room; whether room is what is missing.
    async fn ask(&self, reader: &mut Reader) -> Result<bool, ReaderEnd> {
        let bounds = self.shared.settings.bounds;
        let lanes = self.shared.lanes().max(1);
        let bound = self.feed.most(bounds).min(bounds.messages / lanes).max(1);
        let outstanding = reader.outstanding();
        let room = bound
            .saturating_sub(self.feed.waiting())
            .min(self.feed.room(bounds));
        let room = room.saturating_sub(outstanding);
        let is_full = self.shared.budget.bytes.load(Ordering::Acquire) >= bounds.bytes;
        let least = (bound / 4).clamp(1, PULL);
        if is_full || room < least {
            return Ok(outstanding == 0);
        }
        if outstanding < PULL {
            reader.pull(room.min(PULL)).await?;
        }
        Ok(false)
    }
}

/// Whether trying again changes nothing.
const fn is_final(condition: &Condition) -> bool {
    !condition.passes()
}

/// Whether positions mean something else in the stream than they did.
pub(super) fn moved(created: &str, position: u64, facts: &StreamFacts) -> Option<Condition> {
    if created != facts.created {
        let (recorded, found) = (created.to_owned(), facts.created.clone());
        return Some(Condition::StreamRecreated {
            recorded,
            found,
            position,
        });
    }
    let last = facts.last;
    (position > last).then_some(Condition::StreamRolledBack { position, last })
}
