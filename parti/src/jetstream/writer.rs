//! The cursor of one lane on its way to the server: one write at a time, read again when its outcome is
//! not known.
//!
//! It is separate because writes go on while a message is handled. What always holds: what is decided is
//! decided by [`Progress`]; here it is only sent.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use parti_nats::consume::{
    Condition, ConsumeError, Cursor, Found, Hold, Next, Output, Progress, Wrote,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::jetstream::acks::Acks;
use crate::jetstream::partitioned::Shared;

/// The pause before a cursor is read again when there was no answer.
const PAUSE: Duration = Duration::from_millis(100);
/// With so many outputs the position is written: with those of one more message they fit a batch.
const MANY_OUTPUTS: usize = 90;

/// What came of a write.
enum Answer {
    Wrote(Wrote),
    Read(Found),
    Failed(Condition),
}

impl Answer {
    /// The position that is stored for sure, of what `sent` was to store.
    fn stored(&self, sent: &Cursor) -> Option<u64> {
        match self {
            Self::Wrote(Wrote::Stored { .. }) => Some(sent.position),
            Self::Read(Found::Cursor { cursor, .. }) if cursor.owner == sent.owner => {
                Some(cursor.position)
            }
            Self::Wrote(_) | Self::Read(_) | Self::Failed(_) => None,
        }
    }
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    partition: u32,
    progress: Progress,
    begun: Instant,
    /// One at most; it ends with the writer.
    writing: JoinSet<Answer>,
    /// What is acknowledged once its position is stored.
    acks: Option<Arc<Acks>>,
    /// Outputs that are not stored for sure, with the sequence of their input.
    outputs: VecDeque<(u64, Output)>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        partition: u32,
        progress: Progress,
        acks: Option<Arc<Acks>>,
    ) -> Self {
        Self {
            shared,
            partition,
            progress,
            begun: Instant::now(),
            writing: JoinSet::new(),
            acks,
            outputs: VecDeque::new(),
        }
    }

    /// Messages were handled, together; a write begins if it is time.
    pub(super) fn handled(&mut self, sequences: impl Iterator<Item = u64>, outputs: Vec<Output>) {
        let now = self.begun.elapsed();
        for sequence in sequences {
            self.progress.handled(now, sequence);
        }
        let position = self.progress.position();
        self.outputs
            .extend(outputs.into_iter().map(|output| (position, output)));
        if self.progress.is_due(now) || self.outputs.len() >= MANY_OUTPUTS {
            self.write(Hold::Held);
        }
    }

    /// Waits until the outputs of one more message fit into the next write.
    pub(super) async fn make_room(&mut self) -> Result<(), Condition> {
        while !self.outputs.is_empty() && self.outputs.len() >= MANY_OUTPUTS {
            self.write(Hold::Held);
            if self.writing.is_empty() {
                break;
            }
            self.step().await?;
        }
        Ok(())
    }

    /// What the last write of a release says: [`Progress::hold_of_release`].
    pub(super) const fn hold_of_release(&self, seen_up_to: u64) -> Hold {
        self.progress.hold_of_release(seen_up_to)
    }

    /// There is nothing to handle up to here.
    pub(super) fn passed(&mut self, sequence: u64) {
        self.progress.passed(sequence);
    }

    /// Writes what there is to write, if no write is under way.
    pub(super) fn write(&mut self, hold: Hold) {
        if let Some((cursor, expected)) = self.progress.begin(hold) {
            let (shared, partition) = (Arc::clone(&self.shared), self.partition);
            let outputs = self.outputs.iter().map(|(_, output)| output.clone());
            let outputs = outputs.collect();
            let acks = self.acks.clone();
            self.writing.spawn(async move {
                let answer = send(&shared, partition, &cursor, expected, outputs).await;
                // Not before the position is stored: then nothing acknowledged is handled again.
                if let (Some(acks), Some(stored)) = (acks, answer.stored(&cursor)) {
                    acks.committed(stored).await;
                }
                answer
            });
        }
    }

    /// Waits until there is a reason to stop, and writes meanwhile.
    pub(super) async fn run(&mut self) -> Condition {
        loop {
            if let Err(condition) = self.step().await {
                return condition;
            }
        }
    }

    async fn step(&mut self) -> Result<(), Condition> {
        let due = self.progress.deadline().map(|due| self.begun + due);
        let is_writing = !self.writing.is_empty();
        tokio::select! {
            biased;
            answer = self.writing.join_next(), if is_writing => match answer {
                Some(Ok(answer)) => self.take(answer),
                // Its task panicked or was aborted: nothing is known.
                Some(Err(_)) | None => Ok(()),
            },
            () = until(due) => {
                self.write(Hold::Held);
                Ok(())
            }
        }
    }

    fn take(&mut self, answer: Answer) -> Result<(), Condition> {
        let now = self.begun.elapsed();
        let next = match answer {
            Answer::Wrote(wrote) => self.progress.answered(wrote),
            Answer::Read(found) => self.progress.read(now, found),
            Answer::Failed(condition) => Next::Stop(condition),
        };
        // Whatever was stored, it was stored with its position: what is left was not.
        let committed = self.progress.committed();
        while self
            .outputs
            .front()
            .is_some_and(|(sequence, _)| *sequence <= committed)
        {
            self.outputs.pop_front();
        }
        match next {
            // An unknown outcome is read by the task that had it.
            Next::GoOn | Next::Read => Ok(()),
            Next::Stop(condition) => Err(condition),
        }
    }

    /// Ends with everything written that was handled, or after the limit.
    pub(super) async fn finish(mut self, hold: Hold, limit: Duration) -> Result<(), Condition> {
        let all = async {
            while !self.writing.is_empty() {
                self.step().await?;
            }
            self.write(hold);
            while !self.writing.is_empty() {
                self.step().await?;
            }
            Ok(())
        };
        timeout(limit, all).await.unwrap_or(Ok(()))
    }
}

async fn send(
    shared: &Shared,
    partition: u32,
    cursor: &Cursor,
    expected: u64,
    outputs: Vec<Output>,
) -> Answer {
    let cursors = &shared.cursors;
    match cursors.store(partition, cursor, expected, outputs).await {
        Ok(stored @ Wrote::Stored { .. }) => {
            shared.passed(partition);
            return Answer::Wrote(stored);
        }
        // Nothing was stored, and what was handled stays known here: it is written again after a look.
        Err(ConsumeError::Condition(condition @ Condition::LimitReached { .. })) => {
            shared.report(partition, &condition);
            sleep(PAUSE).await;
        }
        Ok(Wrote::Refused | Wrote::Unknown) | Err(ConsumeError::Unavailable { .. }) => {}
        Err(error) => return failed(error),
    }
    loop {
        match cursors.load(partition).await {
            Ok(found) => return Answer::Read(found),
            Err(ConsumeError::Unavailable { what, reason }) => {
                tracing::debug!(partition, what, reason, "the cursor could not be read");
            }
            Err(error) => return failed(error),
        }
        sleep(PAUSE).await;
    }
}

fn failed(error: ConsumeError) -> Answer {
    let reason = error.to_string();
    let what = "writing the cursor".to_owned();
    if let ConsumeError::Condition(condition) = error {
        return Answer::Failed(condition);
    }
    Answer::Failed(Condition::Refused { what, reason })
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
