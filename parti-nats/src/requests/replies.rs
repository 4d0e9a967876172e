//! Where answers to requests arrive: inboxes of our own, one for each request under way.
//!
//! It is separate because the client's own requests leave an entry in its memory for each one that is
//! never answered, for as long as the process lives, and a store that flaps for weeks answers many
//! not at all. What always holds: an inbox serves one request at a time; one whose request was given
//! up is closed, so that client and server forget it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::client::PublishErrorKind;
use async_nats::{Client, Message, StatusCode, Subscriber};
use futures_util::{FutureExt, StreamExt};

use crate::requests::api::Outgoing;
use crate::wire::outcome::Failure;

/// How many inboxes wait for the next requests; as many as reads are made side by side.
const IDLE_MAX: usize = 32;

/// The inboxes of one store that nobody uses at the moment.
#[derive(Default)]
pub(crate) struct Replies(Mutex<Vec<Inbox>>);

struct Inbox {
    /// Its subject up to the number of the request.
    prefix: String,
    messages: Subscriber,
    asked: u64,
}

impl Replies {
    /// Sends one message and waits for its answer, for as long as the caller does.
    pub(crate) async fn ask(
        &self,
        client: &Client,
        outgoing: Outgoing,
    ) -> Result<Message, Failure> {
        let idle = self.idle().pop();
        let mut inbox = match idle {
            Some(inbox) => inbox,
            None => Inbox::open(client).await?,
        };
        let message = inbox.ask(client, outgoing).await?;
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(inbox);
        }
        drop(idle);
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(Failure::NoResponders);
        }
        Ok(message)
    }

    /// An answer did not come. The server may have ended the other inboxes as well, when a permission was
    /// taken away, and need not say so again.
    pub(crate) fn forget(&self) {
        self.idle().clear();
    }

    /// A panic leaves the value whole, so a poisoned lock is usable.
    fn idle(&self) -> MutexGuard<'_, Vec<Inbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Replies").field(&self.idle().len()).finish()
    }
}

impl Inbox {
    async fn open(client: &Client) -> Result<Self, Failure> {
        let prefix = client.new_inbox();
        let messages = client.subscribe(format!("{prefix}.*")).await;
        Ok(Self {
            prefix,
            messages: messages.map_err(|error| Failure::Broken(error.to_string()))?,
            asked: 0,
        })
    }

    async fn ask(&mut self, client: &Client, outgoing: Outgoing) -> Result<Message, Failure> {
        // What was answered twice must not fill the place of the answer that is to come.
        while let Some(Some(_)) = self.messages.next().now_or_never() {}
        self.asked += 1;
        let reply = format!("{}.{}", self.prefix, self.asked);
        let Outgoing {
            subject,
            headers,
            payload,
        } = outgoing;
        let sent = if headers.is_empty() {
            client
                .publish_with_reply(subject, reply.clone(), payload)
                .await
        } else {
            client
                .publish_with_reply_and_headers(subject, reply.clone(), headers, payload)
                .await
        };
        sent.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Failure::TooLarge(error.to_string()),
            PublishErrorKind::InvalidSubject => Failure::BadSubject(error.to_string()),
            PublishErrorKind::Send => Failure::Broken(error.to_string()),
        })?;
        while let Some(message) = self.messages.next().await {
            if *message.subject == *reply {
                return Ok(message);
            }
        }
        Err(Failure::Broken("the client was closed".to_owned()))
    }
}
