//! One reader at work: it asks for as much as there is room for, and puts what comes into the queues.
//!
//! It is separate from the hub because it runs by itself. What always holds: what does not fit a queue is
//! left in the stream, and nothing later of that partition is put into it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parti_nats::consume::{Delivery, Layout, Reader, ReaderEnd, Step};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::jetstream::feed::{Budget, Feed};
use crate::jetstream::settings::Bounds;

/// How many messages one pull asks for.
const PULL: u64 = 1_000;
/// How many are asked for ahead.
const AHEAD: u64 = 4_000;
/// How many are taken from the client at once.
const CHUNK: usize = 512;
/// How often to look for room when there is none.
const SHORT: Duration = Duration::from_millis(2);

/// A reader with the feeds it fills.
pub(super) struct Reading {
    pub(super) reader: Reader,
    pub(super) layout: Arc<Layout>,
    /// By partition.
    pub(super) feeds: BTreeMap<u32, Arc<Feed>>,
    pub(super) budget: Arc<Budget>,
    pub(super) bounds: Bounds,
    pub(super) stop: Arc<Notify>,
    /// Tells the hub that a queue is full.
    pub(super) full: Arc<Notify>,
}

impl Reading {
    /// Reads until it is stopped or the reader ends; the reader is there to be deleted.
    pub(super) async fn run(mut self) -> (Option<ReaderEnd>, Reader) {
        let mut chunk = Vec::with_capacity(CHUNK);
        let (stop, budget) = (Arc::clone(&self.stop), Arc::clone(&self.budget));
        let end = loop {
            let room = budget.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            let is_short = match self.ask().await {
                Ok(is_short) => is_short,
                Err(end) => break Some(end),
            };
            let step = tokio::select! {
                biased;
                () = stop.notified() => break None,
                step = self.reader.next(CHUNK, &mut chunk) => step,
                () = room, if is_short => continue,
                // A feed of its own may have room where all together have not much.
                () = sleep(SHORT), if is_short => continue,
            };
            self.route(&mut chunk);
            match step {
                Ok(Step::Messages | Step::Idle) => {}
                Err(end) => break Some(end),
            }
        };
        (end, self.reader)
    }

    /// Pulls if few are under way and there is room for more; whether room is what is missing.
    async fn ask(&mut self) -> Result<bool, ReaderEnd> {
        let outstanding = self.reader.outstanding();
        let room = self.room().saturating_sub(outstanding);
        let batch = room.min(AHEAD.saturating_sub(outstanding)).min(PULL);
        // Many small pulls cost more than they bring; a partition alone may have little room.
        let least = match self.feeds.values().next() {
            Some(feed) if self.feeds.len() == 1 => (feed.most(self.bounds) / 4).min(PULL),
            _ => PULL / 2,
        };
        if outstanding > AHEAD - PULL {
            return Ok(false);
        }
        if batch < least.clamp(1, self.bounds.messages) {
            return Ok(true);
        }
        self.reader.pull(batch).await?;
        Ok(false)
    }

    fn room(&self) -> u64 {
        let waiting = self.budget.messages.load(Ordering::Acquire);
        if self.budget.bytes.load(Ordering::Acquire) >= self.bounds.bytes {
            return 0;
        }
        let room = self.bounds.messages.saturating_sub(waiting);
        match self.feeds.values().next() {
            Some(feed) if self.feeds.len() == 1 => room.min(feed.room(self.bounds)),
            _ => room,
        }
    }

    fn route(&self, chunk: &mut Vec<Delivery>) {
        let Some(last) = chunk.last().map(|delivery| delivery.sequence) else {
            return;
        };
        let mut sorted: BTreeMap<u32, Vec<Delivery>> = BTreeMap::new();
        for delivery in chunk.drain(..) {
            let partition = self.layout.partition(&delivery.message.subject);
            if let Some(partition) = partition {
                sorted.entry(partition).or_default().push(delivery);
            }
        }
        for (partition, mut messages) in sorted {
            let Some(feed) = self.feeds.get(&partition) else {
                continue;
            };
            let delivered = feed.delivered();
            messages.retain(|message| message.sequence > delivered);
            if feed.overflowed() && self.feeds.len() > 1 {
                continue;
            }
            let is_alone = self.feeds.len() == 1;
            let fitting = feed.fitting(&messages, self.bounds);
            // What comes alone was asked for, and nothing brings it again.
            if messages.len() > fitting && !is_alone {
                messages.truncate(fitting);
                feed.set_overflowed(true);
                self.full.notify_one();
            }
            feed.put(messages);
        }
        for feed in self.feeds.values().filter(|feed| !feed.overflowed()) {
            feed.pass(last);
        }
    }
}
