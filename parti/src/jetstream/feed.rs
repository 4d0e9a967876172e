//! What stands between a reader and the lane of a partition: the queue, how much is in it, and how far
//! was delivered.
//!
//! It is separate because both sides and the hub look at it. What always holds: one reader feeds it at
//! a time, and what is in the queue, known or handled is counted by [`Intake`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parti_nats::consume::{Condition, Delivery, Intake};
use tokio::sync::{Notify, mpsc};

use crate::jetstream::acks::Acks;
use crate::jetstream::settings::Bounds;

/// Readers hear of room when so many messages were handled, or none waits.
const ROOM: u64 = 256;
/// How many messages may be asked for while nobody knows how large they are.
const FIRST: u64 = 64;

/// The messages of all partitions that wait in memory, and how many may.
#[derive(Debug, Default)]
pub(super) struct Budget {
    pub(super) messages: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Something was handled, or a feed has room again.
    pub(super) room: Notify,
}

/// One partition's feed.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) partition: u32,
    /// When the stream of its positions was created.
    pub(super) created: String,
    queue: mpsc::UnboundedSender<Vec<Delivery>>,
    budget: Arc<Budget>,
    intake: Mutex<Intake>,
    /// What waits, in bytes.
    bytes: AtomicU64,
    /// What a message had in the last batch, on average; zero before the first.
    size: AtomicU64,
    overflowed: AtomicBool,
    /// What there is to acknowledge, where acknowledgements remove messages.
    pub(super) acks: Option<Arc<Acks>>,
    stopped: Mutex<Option<Condition>>,
    pub(super) changed: Notify,
}

impl Feed {
    /// A feed that goes on after a position.
    pub(super) fn new(
        partition: u32,
        created: String,
        position: u64,
        budget: Arc<Budget>,
        queue: mpsc::UnboundedSender<Vec<Delivery>>,
        acks: Option<Arc<Acks>>,
    ) -> Self {
        Self {
            partition,
            created,
            queue,
            budget,
            intake: Mutex::new(Intake::new(position)),
            bytes: AtomicU64::new(0),
            size: AtomicU64::new(0),
            overflowed: AtomicBool::new(false),
            acks,
            stopped: Mutex::new(None),
            changed: Notify::new(),
        }
    }

    /// The last sequence that was put into the queue, or beyond which nothing of the partition was.
    pub(super) fn delivered(&self) -> u64 {
        self.intake().delivered()
    }

    /// How many messages wait.
    pub(super) fn waiting(&self) -> u64 {
        self.intake().waiting()
    }

    /// How many bytes wait.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// How many messages may wait, if they are as large as those that came last.
    pub(super) fn most(&self, bounds: Bounds) -> u64 {
        let each = match self.size.load(Ordering::Acquire) {
            0 => bounds.partition_bytes / FIRST,
            each => each,
        };
        let most = bounds.partition_bytes / each.max(1);
        most.clamp(1, bounds.partition)
    }

    /// How many messages more may be asked for.
    pub(super) fn room(&self, bounds: Bounds) -> u64 {
        if self.bytes() >= bounds.partition_bytes {
            return 0;
        }
        self.most(bounds).saturating_sub(self.waiting())
    }

    /// How many of these have room. One always has where nothing waits: it may be larger than any bound.
    pub(super) fn fitting(&self, messages: &[Delivery], bounds: Bounds) -> usize {
        let waiting = self.waiting();
        let count = bounds.partition.saturating_sub(waiting);
        let mut bytes = self.bytes();
        let fits = |(index, message): &(usize, &Delivery)| {
            bytes += message.message.length as u64;
            let is_first = waiting == 0 && *index == 0;
            is_first || (*index as u64) < count && bytes <= bounds.partition_bytes
        };
        messages.iter().enumerate().take_while(fits).count()
    }

    /// Whether it had to leave a shared reader because its queue was full.
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Acquire)
    }

    pub(super) fn set_overflowed(&self, overflowed: bool) {
        self.overflowed.store(overflowed, Ordering::Release);
    }

    /// Up to where everything was handled, when nothing waits.
    pub(super) fn idle_position(&self) -> Option<u64> {
        self.intake().idle_position()
    }

    /// Puts messages into the queue, in order and later than all before.
    pub(super) fn put(&self, messages: Vec<Delivery>) {
        let Some(last) = messages.last() else { return };
        let (last, count, bytes) = (last.sequence, len(&messages), weight(&messages));
        self.size.store((bytes / count).max(1), Ordering::Release);
        self.intake().put(count, last);
        self.budget.messages.fetch_add(count, Ordering::AcqRel);
        self.budget.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        if let Err(unread) = self.queue.send(messages) {
            self.forgot(&unread.0);
        }
    }

    /// The reader has read the stream up to here.
    pub(super) fn pass(&self, sequence: u64) {
        self.intake().pass(sequence);
    }

    /// Messages have left the queue and were handled.
    pub(super) fn took(&self, messages: &[Delivery]) {
        self.intake().handled(len(messages));
        self.forgot(messages);
    }

    /// Messages have left the queue and were not handled here: they are waited for in this feed for ever,
    /// so that it never looks as if they had been.
    pub(super) fn forgot(&self, messages: &[Delivery]) {
        let (count, bytes) = (len(messages), weight(messages));
        let before = self.budget.messages.fetch_sub(count, Ordering::AcqRel);
        self.budget.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        let after = before.saturating_sub(count);
        // A reader that is woken for each message does nothing else.
        if after == 0 || before / ROOM != after / ROOM {
            self.budget.room.notify_waiters();
        }
    }

    /// The partition must not be consumed any more.
    pub(super) fn stop(&self, condition: Condition) {
        *locked(&self.stopped) = Some(condition);
        self.changed.notify_one();
    }

    /// Why it must not.
    pub(super) fn stopped(&self) -> Option<Condition> {
        locked(&self.stopped).clone()
    }

    fn intake(&self) -> MutexGuard<'_, Intake> {
        locked(&self.intake)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves the values whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn len(messages: &[Delivery]) -> u64 {
    messages.len() as u64
}

fn weight(messages: &[Delivery]) -> u64 {
    let bytes = messages
        .iter()
        .map(|delivery| delivery.message.length as u64);
    bytes.sum()
}
