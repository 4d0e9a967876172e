//! The lane of one partition: takes it over, handles its messages one after another, and lets it go.
//!
//! It is separate from the handler that owns it because it runs by itself. What always holds: a message is
//! begun only with a valid guard and after the one before it ended; its sequence is told to the writer
//! only after the handler said that it is done, or the policy for poison did.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parti_nats::async_nats::HeaderMap;
use parti_nats::consume::{
    Condition, ConsumeError, Delivery, DurableName, Hold, MOST_OUTPUTS, Output, Owner, Progress,
    Retention, Rules, TakeOver, Wrote, take_over,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::handler::guard::Guard;
use crate::jetstream::acks::Acks;
use crate::jetstream::feed::Feed;
use crate::jetstream::message::PartitionMessage;
use crate::jetstream::owned::Owned;
use crate::jetstream::partitioned::{Shared, nonce};
use crate::jetstream::settings::OnPoison;
use crate::jetstream::writer::Writer;
use crate::system::contain::{self, Ran};

/// How often a take-over is tried against others before it counts as failed.
const TRIES: usize = 20;
/// How long a last write may take when the ownership is over anyway.
const LAST_WRITE: Duration = Duration::from_secs(5);
/// The pause before a partition that stopped is looked at again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How often the position of a partition without messages is written.
const IDLE: Duration = Duration::from_secs(30);

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
            start: cursors.start(),
            recreated: settings.recreated,
            overtaken: settings.overtaken,
        };
        let mut seen = None;
        for _ in 0..TRIES {
            let stream = source.facts().await?;
            let found = cursors.load(self.partition).await?;
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
        let cursors = self.shared.cursors.clone();
        let mut writer = Writer::new(cursors, self.partition, progress, acks);
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
        let hold = match &end {
            End::Revoked => Hold::Released,
            End::Lost | End::Stopped(_) => Hold::Held,
        };
        if matches!(end, End::Stopped(Condition::Fenced { .. })) {
            return end;
        }
        if let Some(position) = feed.idle_position().filter(|_| hold == Hold::Released) {
            writer.passed(position);
        }
        match writer.finish(hold, LAST_WRITE).await {
            Ok(()) => self.leave(&feed, owner, hold).await,
            Err(condition) => self.shared.report(self.partition, &condition),
        }
        end
    }

    /// A work queue needs no durable until it has another owner; one by interest does.
    async fn leave(&self, feed: &Feed, owner: Owner, hold: Hold) {
        let durables = self.shared.durables.as_ref();
        let durables = durables.filter(|durables| durables.retention() == Retention::WorkQueue);
        let (Some(durables), Some(acks), Hold::Released) = (durables, &feed.acks, hold) else {
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

/// The work on one partition while it lasts.
struct Work<'a> {
    lane: &'a Lane,
    feed: &'a Feed,
    writer: &'a mut Writer,
    seen_up_to: u64,
}

impl Work<'_> {
    async fn run(&mut self, messages: &mut mpsc::UnboundedReceiver<Vec<Delivery>>) -> End {
        let guard = &self.lane.guard;
        loop {
            if let Some(condition) = self.feed.stopped() {
                return End::Stopped(condition);
            }
            let chunk = tokio::select! {
                biased;
                () = guard.revoking() => return End::Revoked,
                condition = self.writer.run() => return End::Stopped(condition),
                () = self.feed.changed.notified() => continue,
                chunk = messages.recv() => chunk,
                () = sleep(IDLE) => {
                    self.idle();
                    continue;
                }
            };
            let Some(chunk) = chunk else {
                // The feed is held by us as long as this runs.
                return End::Revoked;
            };
            let mut chunk = chunk.into_iter();
            while let Some(delivery) = chunk.next() {
                let outputs = match self.handle(&delivery).await {
                    Ok(outputs) => outputs,
                    Err(end) => {
                        self.feed.forgot(std::slice::from_ref(&delivery));
                        self.feed.forgot(chunk.as_slice());
                        return end;
                    }
                };
                self.feed.took(std::slice::from_ref(&delivery));
                self.lane.shared.count_handled();
                self.writer.handled(delivery.sequence, outputs);
            }
            if let Some(position) = self.feed.idle_position() {
                self.writer.passed(position);
            }
        }
    }

    fn idle(&mut self) {
        if let Some(position) = self.feed.idle_position() {
            self.writer.passed(position);
            self.writer.write(Hold::Held);
        }
    }

    /// Handles one message until it is done one way or the other.
    async fn handle(&mut self, delivery: &Delivery) -> Result<Vec<Output>, End> {
        let guard = &self.lane.guard;
        let shared = &self.lane.shared;
        let may_repeat = delivery.sequence <= self.seen_up_to;
        self.writer.make_room().await.map_err(End::Stopped)?;
        let mut attempt = 1_u32;
        loop {
            if guard.is_revoking() {
                return Err(left(attempt));
            }
            if !guard.is_valid() {
                // Either it is over, or the worker was late and the lease is renewed at once.
                tokio::select! {
                    () = guard.revoking() => {}
                    () = sleep(Duration::from_millis(10)) => {}
                }
                continue;
            }
            let partition = self.lane.partition;
            let message = PartitionMessage::new(
                delivery.clone(),
                partition,
                guard.clone(),
                attempt,
                may_repeat,
            );
            let reason = match self.call(message).await? {
                Ok(outputs) => return Ok(outputs),
                Err(reason) => reason,
            };
            let retries = &shared.settings.retries;
            if attempt >= retries.attempts && self.poisoned(delivery, attempt, &reason).await? {
                return Ok(Vec::new());
            }
            tracing::warn!(
                partition,
                sequence = delivery.sequence,
                attempt,
                reason,
                "a message failed"
            );
            let pause = retries.pause(attempt);
            attempt = attempt.saturating_add(1);
            tokio::select! {
                biased;
                () = guard.revoking() => return Err(left(attempt)),
                condition = self.writer.run() => return Err(End::Stopped(condition)),
                () = sleep(pause) => {}
            }
        }
    }

    /// Calls the handler; the outer error is the end of the work.
    async fn call(
        &mut self,
        message: PartitionMessage,
    ) -> Result<Result<Vec<Output>, String>, End> {
        let guard = &self.lane.guard;
        let on_message = &self.lane.shared.settings.on_message;
        let body = async move { on_message(message).await };
        let mut running = pin!(contain::run(body, guard.invalidated()));
        // Most handlers end at once: the writer is not asked for them.
        let at_once = poll_fn(|context| Poll::Ready(running.as_mut().poll(context)));
        let ran = match at_once.await {
            Poll::Ready(ran) => ran,
            Poll::Pending => tokio::select! {
                biased;
                ran = &mut running => ran,
                // Somebody else has the partition: what is begun is of no use.
                condition = self.writer.run() => return Err(End::Stopped(condition)),
            },
        };
        match ran {
            Ran::Done(Ok(outputs)) if outputs.len() > MOST_OUTPUTS => Ok(Err(format!(
                "{} outputs for one message; at most {MOST_OUTPUTS} are allowed",
                outputs.len()
            ))),
            Ran::Done(Ok(outputs)) => Ok(Ok(outputs)),
            Ran::Done(Err(error)) => Ok(Err(error.to_string())),
            Ran::Panicked(words) => Ok(Err(format!("the handler panicked: {words}"))),
            Ran::Cut { .. } => Err(End::Lost),
        }
    }

    /// What becomes of a message that failed as often as it may: whether it counts as handled.
    async fn poisoned(
        &mut self,
        delivery: &Delivery,
        attempts: u32,
        reason: &str,
    ) -> Result<bool, End> {
        let (partition, sequence) = (self.lane.partition, delivery.sequence);
        match &self.lane.shared.settings.retries.then {
            OnPoison::Stop => Err(End::Stopped(Condition::Poisoned {
                sequence,
                attempts,
                reason: reason.to_owned(),
            })),
            OnPoison::Skip => {
                tracing::error!(
                    partition,
                    sequence,
                    attempts,
                    reason,
                    "a message is skipped"
                );
                self.lane.shared.count_skipped();
                Ok(true)
            }
            OnPoison::DeadLetter { subject } => {
                let sent = self.dead_letter(subject, delivery, attempts, reason).await;
                if let Err(error) = &sent {
                    tracing::warn!(partition, sequence, error, "no dead letter; tried again");
                } else {
                    self.lane.shared.count_dead_lettered();
                }
                Ok(sent.is_ok())
            }
        }
    }

    async fn dead_letter(
        &self,
        subject: &str,
        delivery: &Delivery,
        attempts: u32,
        reason: &str,
    ) -> Result<(), String> {
        let source = &self.lane.shared.source;
        let stream = source.name();
        let mut headers: HeaderMap = delivery.message.headers.clone().unwrap_or_default();
        headers.insert("Nats-Msg-Id", format!("{stream}:{}", delivery.sequence));
        headers.insert("Parti-Stream", stream);
        headers.insert("Parti-Subject", delivery.message.subject.as_str());
        headers.insert("Parti-Sequence", delivery.sequence.to_string());
        headers.insert("Parti-Partition", self.lane.partition.to_string());
        headers.insert("Parti-Attempts", attempts.to_string());
        // A line feed would end the header.
        headers.insert("Parti-Error", reason.replace(['\r', '\n'], " "));
        let payload = delivery.message.payload.clone();
        let context = source.context();
        let sent = context.publish_with_headers(subject.to_owned(), headers, payload);
        let stored = sent.await.map_err(|error| error.to_string())?.await;
        stored.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// A revocation before this attempt; a message that failed before is half done.
const fn left(attempt: u32) -> End {
    if attempt > 1 { End::Lost } else { End::Revoked }
}
