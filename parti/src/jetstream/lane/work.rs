//! The work on one partition while it lasts: its messages to the handler, one batch after another.
//!
//! It is separate from the lane because it ends and begins again while the lane goes on. What always
//! holds: a batch is begun only with a valid guard and after the one before it ended; sequences are told to
//! the writer only after the handler said that it is done, or the policy for poison did.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use parti_nats::async_nats::HeaderMap;
use parti_nats::consume::{Condition, Delivery, Hold, MOST_OUTPUTS, Output};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::jetstream::feed::Feed;
use crate::jetstream::lane::{End, Lane};
use crate::jetstream::message::PartitionMessage;
use crate::jetstream::settings::OnPoison;
use crate::jetstream::writer::Writer;
use crate::system::contain::{self, Ran};

/// How often the position of a partition without messages is written.
const IDLE: Duration = Duration::from_secs(30);

/// The work on one partition while it lasts.
pub(super) struct Work<'a> {
    pub(super) lane: &'a Lane,
    pub(super) feed: &'a Feed,
    pub(super) writer: &'a mut Writer,
    pub(super) seen_up_to: u64,
}

impl Work<'_> {
    pub(super) async fn run(
        &mut self,
        messages: &mut mpsc::UnboundedReceiver<Vec<Delivery>>,
    ) -> End {
        let guard = &self.lane.guard;
        let batch = self.lane.shared.settings.batch.get();
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
            let Some(mut chunk) = chunk else {
                // The feed is held by us as long as this runs.
                return End::Revoked;
            };
            while chunk.len() < batch
                && let Ok(more) = messages.try_recv()
            {
                chunk.extend(more);
            }
            let mut left = chunk.as_slice();
            while !left.is_empty() {
                let (next, later) = left.split_at(batch.min(left.len()));
                if let Err(end) = self.handle_all(next).await {
                    self.feed.forgot(later);
                    return end;
                }
                left = later;
            }
            if let Some(position) = self.feed.idle_position() {
                self.writer.passed(position);
            }
        }
    }

    /// Handles a batch; message by message when it failed as often as it may, so that only what is poison
    /// counts as poison.
    async fn handle_all(&mut self, batch: &[Delivery]) -> Result<(), End> {
        let is_one = batch.len() == 1;
        if !is_one {
            let done = self.handle(batch, false).await;
            match done.inspect_err(|_| self.feed.forgot(batch))? {
                None => {}
                Some(_) => {
                    self.handled(batch, Vec::new());
                    return Ok(());
                }
            }
        }
        for (index, one) in batch.chunks(1).enumerate() {
            let done = self.handle(one, !is_one).await;
            let outputs = done.inspect_err(|_| self.feed.forgot(&batch[index..]))?;
            self.handled(one, outputs.unwrap_or_default());
        }
        Ok(())
    }

    fn handled(&mut self, batch: &[Delivery], outputs: Vec<Output>) {
        self.feed.took(batch);
        self.lane.shared.count_handled(batch.len());
        let sequences = batch.iter().map(|delivery| delivery.sequence);
        self.writer.handled(sequences, outputs);
    }

    fn idle(&mut self) {
        if let Some(position) = self.feed.idle_position() {
            self.writer.passed(position);
            self.writer.write(Hold::Held);
        }
    }

    /// Handles messages until they are done one way or the other: with their outputs, or none where
    /// several failed as often as they may. `again` says that they were tried before, together.
    async fn handle(
        &mut self,
        batch: &[Delivery],
        again: bool,
    ) -> Result<Option<Vec<Output>>, End> {
        let guard = &self.lane.guard;
        let shared = &self.lane.shared;
        let partition = self.lane.partition;
        self.writer.make_room().await.map_err(End::Stopped)?;
        let mut attempt = 1_u32;
        loop {
            if guard.is_revoking() {
                return Err(left(attempt, again));
            }
            if shared.pauses.has(partition) {
                tokio::select! {
                    biased;
                    () = guard.revoking() => {}
                    condition = self.writer.run() => return Err(End::Stopped(condition)),
                    () = self.feed.changed.notified() => self.has_stopped()?,
                    () = shared.pauses.resumed(partition) => {}
                }
                continue;
            }
            if !guard.is_valid() {
                // Either it is over, or the worker was late and the lease is renewed at once.
                tokio::select! {
                    () = guard.revoking() => {}
                    () = sleep(Duration::from_millis(10)) => {}
                }
                continue;
            }
            let messages = batch.iter().map(|delivery| {
                let may_repeat = again || delivery.sequence <= self.seen_up_to;
                let (delivery, guard) = (delivery.clone(), guard.clone());
                PartitionMessage::new(delivery, partition, guard, attempt, may_repeat)
            });
            let reason = match self.call(messages.collect()).await? {
                Ok(outputs) => return Ok(Some(outputs)),
                Err(reason) => reason,
            };
            let retries = &shared.settings.retries;
            let sequence = batch.first().map(|delivery| delivery.sequence);
            if attempt >= retries.attempts {
                let [delivery] = batch else {
                    tracing::warn!(partition, sequence, attempt, reason, "a batch failed");
                    return Ok(None);
                };
                if self.poisoned(delivery, attempt, &reason).await? {
                    return Ok(Some(Vec::new()));
                }
            }
            let count = batch.len();
            tracing::warn!(
                partition,
                sequence,
                count,
                attempt,
                reason,
                "a message failed"
            );
            let pause = retries.pause(attempt);
            attempt = attempt.saturating_add(1);
            tokio::select! {
                biased;
                () = guard.revoking() => return Err(left(attempt, again)),
                condition = self.writer.run() => return Err(End::Stopped(condition)),
                () = sleep(pause) => {}
            }
        }
    }

    fn has_stopped(&self) -> Result<(), End> {
        self.feed
            .stopped()
            .map_or(Ok(()), |condition| Err(End::Stopped(condition)))
    }

    /// Calls the handler; the outer error is the end of the work.
    async fn call(
        &mut self,
        messages: Vec<PartitionMessage>,
    ) -> Result<Result<Vec<Output>, String>, End> {
        let guard = &self.lane.guard;
        let on_messages = &self.lane.shared.settings.on_messages;
        let body = async move { on_messages(messages).await };
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
const fn left(attempt: u32, again: bool) -> End {
    if again || attempt > 1 {
        End::Lost
    } else {
        End::Revoked
    }
}
