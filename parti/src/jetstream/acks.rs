//! What an owner has to acknowledge, where acknowledgements remove messages from the stream.
//!
//! It is separate because the reading task fills it and the writer empties it. What always holds: nothing
//! is acknowledged before its position is stored in the cursor, and an acknowledgement that is lost is made
//! up for: the message comes again, is known by its sequence, and is acknowledged at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use parti_nats::async_nats::{Client, Subject};
use parti_nats::consume::{Delivery, Source, Unacknowledged};
use tokio::time::timeout;

/// The acknowledgements of one ownership.
#[derive(Debug)]
pub(super) struct Acks {
    source: Source,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    held: Unacknowledged<Subject>,
    /// The durable at present; none while one is made.
    durable: Option<String>,
}

impl Acks {
    /// Begins after a take-over that stored this position.
    pub(super) fn new(source: Source, committed: u64) -> Self {
        let state = State {
            held: Unacknowledged::new(source.retention(), committed),
            durable: None,
        };
        Self {
            source,
            state: Mutex::new(state),
        }
    }

    /// The stored position.
    pub(super) fn position(&self) -> u64 {
        self.state().held.position()
    }

    /// The durable at present; none while one is made.
    pub(super) fn durable(&self) -> Option<String> {
        self.state().durable.clone()
    }

    /// Another durable is made, which is not known yet; or delivers from now on: what the last one delivered
    /// comes again.
    pub(super) fn begin(&self, durable: Option<String>) {
        let mut state = self.state();
        state.held.begin();
        state.durable = durable;
    }

    /// Messages have come, some of them perhaps again.
    pub(super) async fn delivered(&self, messages: &[Delivery]) {
        let all = messages.iter().filter_map(|delivery| {
            let reply = delivery.message.reply.clone()?;
            Some((delivery.sequence, reply))
        });
        let again = self.state().held.delivered(all);
        self.send(again).await;
    }

    /// The position is stored: everything up to it is acknowledged, the last with a confirmation.
    pub(super) async fn committed(&self, position: u64) {
        let mut due = self.state().held.committed(position);
        let Some((sequence, last)) = due.pop() else {
            return;
        };
        self.send(due.into_iter().map(|(_, reply)| reply)).await;
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

    fn client(&self) -> Client {
        self.source.context().client()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves the map whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ACK: &str = "+ACK";
