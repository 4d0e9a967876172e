//! The lane of one partition: takes it over, handles its messages one after another, and lets it go.
//!
//! It is separate from the handler that owns it because it runs by itself. What always holds: it works
//! between a take-over and the last write of what was handled, and a partition that stopped is taken over
//! again first.

use std::sync::Arc;
use std::time::Duration;

use parti_nats::consume::{
    Condition, ConsumeError, DurableName, Hold, Owner, Progress, Retention, Rules, TakeOver, Wrote,
    take_over,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::handler::guard::Guard;
use crate::jetstream::acks::Acks;
use crate::jetstream::feed::Feed;
use crate::jetstream::lane::work::Work;
use crate::jetstream::owned::Owned;
use crate::jetstream::partitioned::{Shared, nonce};
use crate::jetstream::writer::Writer;

pub(super) mod pauses;
mod work;

/// How often a take-over is tried against others before it counts as failed.
const TRIES: usize = 20;
/// How long a last write may take when the ownership is over anyway.
const LAST_WRITE: Duration = Duration::from_secs(5);
/// The pause before a partition that stopped is looked at again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A partition that was taken over.
pub(super) struct Taken {
    progress: Progress,
    seen_up_to: u64,
}

/// Why the work on a partition ended.
enum End {
    /// It is revoked, and nothing is half done.
    Revoked,
    /// The ownership is over, and a message may be half done.
    Lost,
    /// Something is wrong.
    Stopped(Condition),
}

pub(super) struct Lane {
    pub(super) shared: Arc<Shared>,
    pub(super) partition: u32,
    pub(super) guard: Guard,
}

impl Lane {
    /// Takes the partition over: afterwards no older owner can commit.
    pub(super) async fn take_over(&self) -> Result<Taken, ConsumeError> {
        let Shared {
            cursors, source, ..
        } = &*self.shared;
        let token = self.guard.token().get();
        let nonce = nonce();
        let me = Owner { token, nonce };
        let settings = &self.shared.settings;
        let rules = Rules {
            start: cursors.start().max(source.after(self.partition)),
            recreated: settings.recreated,
            overtaken: settings.overtaken,
        };
        let mut seen = None;
        for _ in 0..TRIES {
            // The stream after the cursor: a late owner may have moved it beyond what the stream had before.
            let found = cursors.load(self.partition).await?;
            let stream = source.facts().await?;
            match take_over(me, found, &stream, rules) {
                TakeOver::Stop(condition) => return Err(condition.into()),
                TakeOver::Ours { revision, cursor } => {
                    let progress = Progress::new(settings.commit, cursor, revision);
                    let seen_up_to = seen.unwrap_or(stream.last);
                    return Ok(Taken {
                        progress,
                        seen_up_to,
                    });
                }
                TakeOver::Write {
                    cursor,
                    expected,
                    seen_up_to,
                    report,
                } => {
                    seen = Some(seen_up_to);
                    let stored = cursors
                        .store(self.partition, &cursor, expected, Vec::new())
                        .await?;
                    if let Some(report) = &report {
                        self.shared.report(self.partition, report);
                    }
                    if let Wrote::Stored { revision } = stored {
                        let progress = Progress::new(settings.commit, cursor, revision);
                        return Ok(Taken {
                            progress,
                            seen_up_to,
                        });
                    }
                }
            }
        }
        Err(ConsumeError::Unavailable {
            what: format!("taking over partition {}", self.partition),
            reason: format!("the cursor was changed by others {TRIES} times"),
        })
    }

    /// Works on the partition until it is revoked or lost.
    pub(super) async fn run(self, taken: Taken) {
        let mut taken = Some(taken);
        let mut pause = PAUSES.0;
        loop {
            if let Some(taken) = taken.take() {
                self.shared.clear(self.partition);
                let end = self.consume(taken).await;
                match end {
                    End::Revoked | End::Lost => return,
                    End::Stopped(condition) => {
                        self.shared.report(self.partition, &condition);
                        if matches!(
                            condition,
                            Condition::Fenced { .. } | Condition::Poisoned { .. }
                        ) {
                            return self.guard.revoking().await;
                        }
                        pause = PAUSES.0;
                    }
                }
            }
            tokio::select! {
                biased;
                () = self.guard.revoking() => return,
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSES.1);
            match self.take_over().await {
                Ok(again) => taken = Some(again),
                Err(ConsumeError::Condition(condition)) => {
                    self.shared.report(self.partition, &condition);
                }
                Err(error) => tracing::warn!(partition = self.partition, %error, "not taken over"),
            }
        }
    }

    async fn consume(&self, taken: Taken) -> End {
        let Taken {
            progress,
            seen_up_to,
        } = taken;
        let (queue, mut messages) = mpsc::unbounded_channel();
        let budget = Arc::clone(&self.shared.budget);
        let created = progress.stream_created().to_owned();
        let position = progress.position();
        let durables = self.shared.durables.clone();
        let acks = durables.as_ref().map(|_| {
            let source = self.shared.source.clone();
            Arc::new(Acks::new(source, position))
        });
        let feed = Feed::new(
            self.partition,
            created,
            position,
            budget,
            queue,
            acks.clone(),
        );
        let feed = Arc::new(feed);
        let owner = progress.owner();
        let shared = Arc::clone(&self.shared);
        let mut writer = Writer::new(shared, self.partition, progress, acks);
        let mut reading = JoinSet::new();
        self.shared.attach(&feed);
        if let (Some(durables), Some(acks)) = (durables, feed.acks.clone()) {
            let owned = Owned {
                shared: Arc::clone(&self.shared),
                durables,
                feed: Arc::clone(&feed),
                acks,
                owner,
            };
            reading.spawn(owned.run());
        }
        let mut work = Work {
            lane: self,
            feed: &feed,
            writer: &mut writer,
            seen_up_to,
        };
        let end = work.run(&mut messages).await;
        reading.shutdown().await;
        self.shared.detach(self.partition).await;
        messages.close();
        while let Ok(unread) = messages.try_recv() {
            feed.forgot(&unread);
        }
        if matches!(end, End::Stopped(Condition::Fenced { .. })) {
            return end;
        }
        let is_released = matches!(end, End::Revoked);
        if let Some(position) = feed.idle_position().filter(|_| is_released) {
            writer.passed(position);
        }
        let hold = if is_released {
            writer.hold_of_release(seen_up_to)
        } else {
            Hold::Held
        };
        match writer.finish(hold, LAST_WRITE).await {
            Ok(()) if is_released => self.leave(&feed, owner).await,
            Ok(()) => {}
            Err(condition) => self.shared.report(self.partition, &condition),
        }
        end
    }

    /// A work queue needs no durable until it has another owner; one by interest does.
    async fn leave(&self, feed: &Feed, owner: Owner) {
        let durables = self.shared.durables.as_ref();
        let durables = durables.filter(|durables| durables.retention() == Retention::WorkQueue);
        let (Some(durables), Some(acks)) = (durables, &feed.acks) else {
            return;
        };
        if let Some(name) = acks.durable() {
            return durables.delete(&name).await;
        }
        let all = DurableName {
            count: u64::MAX,
            ..durables.name(self.partition, owner)
        };
        if let Err(error) = durables.sweep(&all).await {
            tracing::debug!(partition = self.partition, %error, "a durable may be left");
        }
    }
}
