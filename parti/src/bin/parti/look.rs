//! One look at a group: everything that is in its bucket, read once; or at a recording of one.
//!
//! It is separate from the library's directory, which reads for ever and keeps errors to itself: a
//! command answers once, and an error is its answer. What always holds: a look is complete, or fails.

use std::collections::BTreeMap;
use std::time::Duration;

use parti::clock::Clock;
use parti::directory::{Change, View};
use parti_core::directory::Directory;
use parti_core::{
    Instant, PartitionTable, Record, Store, StoreInfo, StoreOp, StoreReply, WatchEvent, WatchScope,
    joined, source_key, wire,
};
use tokio::time::timeout;

use crate::failure::{Exit, Failure};

mod feed;
#[cfg(test)]
pub(crate) mod groups;
pub(crate) mod recording;

use feed::{Feed, Playing};
use recording::Recording;

/// A group as it was found.
pub(crate) struct Look {
    pub(crate) directory: Directory,
    /// The bucket by key.
    pub(crate) entries: BTreeMap<String, Vec<u8>>,
    pub(crate) info: StoreInfo,
    /// How long the store took to say what it is.
    pub(crate) answered: Duration,
    feed: Feed,
}

impl Look {
    /// Reads a group. The limit is for each answer, not for the whole.
    pub(crate) async fn at(store: &dyn Store, limit: Duration) -> Result<Self, Failure> {
        let clock = Clock::boot();
        let asked = clock.now();
        let info = timeout(limit, store.execute(StoreOp::Info)).await;
        let StoreReply::Info(info) = info.map_err(|_| no_answer(limit))?? else {
            return Err(Failure::new(
                Exit::Failed,
                "the store does not say what it is",
            ));
        };
        let answered = clock.now().since(asked);
        let watch = timeout(limit, store.watch(WatchScope::All)).await;
        let watch = watch.map_err(|_| no_answer(limit))??;
        let mut look = Self {
            directory: Directory::default(),
            entries: BTreeMap::new(),
            info,
            answered,
            feed: Feed::Group { clock, watch },
        };
        look.directory.begin(look.now());
        loop {
            let event = timeout(limit, look.feed.next()).await;
            let (now, event) = event.map_err(|_| no_answer(limit))?;
            let is_complete = matches!(event, WatchEvent::CaughtUp { .. });
            look.take(now, event)?;
            if is_complete {
                return Ok(look);
            }
        }
    }

    /// Reads a recording up to a time of it, and goes on from there at a speed. The bucket is complete, if
    /// it ever was.
    pub(crate) fn recorded(
        recording: Recording,
        at: Duration,
        speed: u32,
    ) -> Result<Self, Failure> {
        let mut look = Self {
            directory: Directory::default(),
            entries: BTreeMap::new(),
            info: recording.info.clone(),
            answered: Duration::ZERO,
            feed: Feed::Recording(Playing::new(recording, at, speed)),
        };
        look.directory.begin(Instant::from_millis(0));
        let mut until = Duration::MAX;
        while let Some((now, event)) = look.feed.skip(until) {
            if matches!(event, WatchEvent::CaughtUp { .. }) {
                until = at;
            }
            look.take(now, event)?;
        }
        Ok(look)
    }

    /// Waits for the next thing that happens.
    pub(crate) async fn next(&mut self) -> Result<Vec<Change>, Failure> {
        let (now, event) = self.feed.next().await;
        self.take(now, event)
    }

    /// Whether this is a recording, of which nothing is left.
    pub(crate) fn has_ended(&self) -> bool {
        self.feed.has_ended()
    }

    fn take(&mut self, now: Instant, event: WatchEvent) -> Result<Vec<Change>, Failure> {
        match event {
            WatchEvent::Entry(entry) => {
                let changes = self.directory.put(now, &entry);
                match entry.value {
                    Some(value) => self.entries.insert(entry.key, value),
                    None => self.entries.remove(&entry.key),
                };
                Ok(changes)
            }
            WatchEvent::CaughtUp { revision } => Ok(self.directory.caught_up(now, revision)),
            WatchEvent::Lost { .. } if self.feed.is_recorded() => {
                // What a new watch does not show again is gone when it has caught up.
                self.directory.begin(now);
                self.entries.clear();
                Ok(Vec::new())
            }
            WatchEvent::Lost { reason } => {
                let message = format!("the watch of the group was lost: {reason}");
                Err(Failure::new(Exit::NoAnswer, message))
            }
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.feed.now()
    }

    pub(crate) fn view(&self) -> View {
        self.directory.view(self.now())
    }

    /// The partition list with its weights, if the group keeps it in its bucket.
    pub(crate) fn stored_list(&self) -> Option<PartitionTable> {
        let part = |index: u32| match wire::decode(self.entries.get(&source_key(index))?) {
            Ok(Record::Source(part)) => Some(part),
            Ok(_) | Err(_) => None,
        };
        let first = part(0)?;
        let rest: Vec<_> = (1..first.parts).map_while(part).collect();
        let list = joined(first, rest).ok()?;
        PartitionTable::new(list).ok()
    }
}

fn no_answer(limit: Duration) -> Failure {
    let message = format!("the server did not answer within {limit:?} (--timeout)");
    Failure::new(Exit::NoAnswer, message)
}
