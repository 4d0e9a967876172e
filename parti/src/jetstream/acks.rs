//! What an owner has to acknowledge, where acknowledgements remove messages from the stream.
//!
//! It is separate because the reading task fills it and the writer empties it. What always holds: nothing
//! is acknowledged before its position is stored in the cursor, and an acknowledgement that is lost is made
//! up for: the message comes again, is known by its sequence, and is acknowledged at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use parti_nats::async_nats::{Client, Subject};
use parti_nats::consume::{Delivery, Retention, Source};
use tokio::time::timeout;

/// The acknowledgements of one ownership.
#[derive(Debug)]
pub(super) struct Acks {
    source: Source,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The stored position.
    committed: u64,
    /// Where to acknowledge what is not committed, by sequence.
    replies: BTreeMap<u64, Subject>,
    /// The durable at present; none while one is made.
    durable: Option<String>,
}

impl Acks {
    /// Begins after a take-over that stored this position.
    pub(super) const fn new(source: Source, committed: u64) -> Self {
        let state = State {
            committed,
            replies: BTreeMap::new(),
            durable: None,
        };
        Self {
            source,
            state: Mutex::new(state),
        }
    }

    /// The stored position.
    pub(super) fn position(&self) -> u64 {
        self.state().committed
    }

    /// The durable at present; none while one is made.
    pub(super) fn durable(&self) -> Option<String> {
        self.state().durable.clone()
    }

    /// Another durable is made, which is not known yet; or delivers from now on: what the last one delivered
    /// comes again.
    pub(super) fn begin(&self, durable: Option<String>) {
        let mut state = self.state();
        state.replies.clear();
        state.durable = durable;
    }

    /// Messages have come, some of them perhaps again.
    pub(super) async fn delivered(&self, messages: &[Delivery]) {
        let mut again = Vec::new();
        {
            let mut state = self.state();
            for delivery in messages {
                let Some(reply) = delivery.message.reply.clone() else {
                    continue;
                };
                if delivery.sequence <= state.committed {
                    again.push(reply);
                } else {
                    state.replies.insert(delivery.sequence, reply);
                }
            }
        }
        if self.is_for_all_before() {
            again.drain(..again.len().saturating_sub(1));
        }
        self.send(again).await;
    }

    /// The position is stored: everything up to it is acknowledged, the last with a confirmation.
    pub(super) async fn committed(&self, position: u64) {
        let mut replies = {
            let mut state = self.state();
            state.committed = state.committed.max(position);
            let later = state.replies.split_off(&(position + 1));
            std::mem::replace(&mut state.replies, later)
        };
        let Some((sequence, last)) = replies.pop_last() else {
            return;
        };
        if !self.is_for_all_before() {
            self.send(replies.into_values()).await;
        }
        let client = self.client();
        let asked = client.request(last, ACK.into());
        let confirmed = timeout(self.source.wire().limit(), asked).await;
        if !matches!(confirmed, Ok(Ok(_))) {
            // They come again.
            tracing::debug!(sequence, "an acknowledgement was not confirmed");
        }
    }

    async fn send(&self, replies: impl IntoIterator<Item = Subject>) {
        let client = self.client();
        for reply in replies {
            // Fails with the client, and then nothing is read either.
            let _ = client.publish(reply, ACK.into()).await;
        }
    }

    /// Whether one acknowledgement is for all messages before, too.
    fn is_for_all_before(&self) -> bool {
        self.source.retention() != Retention::WorkQueue
    }

    fn client(&self) -> Client {
        self.source.context().client()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves the map whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ACK: &str = "+ACK";
