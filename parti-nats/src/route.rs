//! Requests to the owner of a partition, in plain messages: what stands on the wire, and how it is sent.
//!
//! It is separate from the requests of the store because nothing is stored and nothing is proven by it. Each
//! process that answers has an address of its own, so that no two of them ever receive one request. What
//! always holds: an answer that refuses was given before anything was done, and a request that may have
//! been received and has no answer is [`NotAnswered::Silence`], never "not received".

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Subject, Subscriber};
pub use bytes::Bytes;
use futures_util::StreamExt as _;
use parti_core::{Endpoint, GroupName, PartitionKey, Token};

use crate::requests::api::Outgoing;
use crate::requests::replies::Replies;
use crate::wire::outcome::Failure;

mod message;
mod subject;

pub use subject::{MAX_SUBJECT, key_of, key_tokens, text_of, token_of};

/// What is asked of the owner of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The partition.
    pub partition: PartitionKey,
    /// The ownership that the caller means: a worker that has only an older one does not take it.
    pub token: Token,
    /// For how long the request may wait for the ownership to begin.
    pub hold: Duration,
    /// The request itself.
    pub payload: Bytes,
}

/// An owner that somebody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownOwner {
    /// Where it answers.
    pub endpoint: Endpoint,
    /// Its token.
    pub token: Token,
}

/// What came back. The set is closed: a caller has to decide about each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was handled in the name of this ownership.
    Done {
        /// The token.
        token: Token,
        /// The answer.
        payload: Bytes,
    },
    /// It was handled, and the handler failed.
    Failed {
        /// The token.
        token: Token,
        /// The handler's words.
        reason: String,
    },
    /// It was begun by an owner that lost the partition before it had ended.
    Interrupted {
        /// The token.
        token: Token,
    },
    /// It was not begun.
    Refused(Refusal),
}

/// Why a request was not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Every ownership here up to this token is over or is being ended.
    Over {
        /// The token.
        token: Token,
        /// Who owns it now, if that is known here.
        owner: Option<KnownOwner>,
    },
    /// The ownership has not begun here, for as long as the request might wait.
    NotYet,
    /// There are as many requests here as there may be.
    Busy,
    /// The request cannot be read.
    Unreadable,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAnswered {
    /// Nothing was sent: there is no connection.
    NotSent(String),
    /// Nothing was sent: the subject would be too long.
    TooLong {
        /// How many bytes it has; at most [`MAX_SUBJECT`] are allowed.
        bytes: usize,
    },
    /// Nothing was sent: the server takes no message of this size.
    TooLarge(String),
    /// Nobody has this address: the process has gone, or its connection has.
    Nobody,
    /// It was sent, and there was no answer: it may have been handled, or be handled yet.
    Silence(String),
}

/// Asks owners. It keeps an inbox for each request under way, and a few for the next ones.
pub struct Asking {
    client: Client,
    group: GroupName,
    replies: Replies,
}

impl Asking {
    /// Over a connection, for a group.
    #[must_use]
    pub fn new(client: Client, group: GroupName) -> Self {
        Self {
            client,
            group,
            replies: Replies::default(),
        }
    }

    /// Sends one request to one address and waits for its answer.
    ///
    /// # Errors
    /// [`NotAnswered`] says whether it may have been received.
    ///
    /// # Cancellation safety
    /// Dropping the future abandons the answer, not the request. Bounded by `within`.
    pub async fn ask(
        &self,
        endpoint: &Endpoint,
        ask: &Ask,
        within: Duration,
    ) -> Result<Reply, NotAnswered> {
        let subject = subject::request(&self.group, endpoint, &ask.partition);
        let subject = subject.map_err(|bytes| NotAnswered::TooLong { bytes })?;
        if self.client.connection_state() != State::Connected {
            return Err(NotAnswered::NotSent("no connection to the server".into()));
        }
        let outgoing = Outgoing {
            subject,
            headers: message::ask_headers(ask),
            payload: ask.payload.clone(),
        };
        let asking = self.replies.ask(&self.client, outgoing);
        match tokio::time::timeout(within, asking).await {
            Ok(Ok(answer)) => message::reply(&answer)
                .ok_or_else(|| NotAnswered::Silence("the answer cannot be read".to_owned())),
            Ok(Err(failure)) => Err(not_answered(failure)),
            Err(_) => Err(NotAnswered::Silence(format!("no answer within {within:?}"))),
        }
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

fn not_answered(failure: Failure) -> NotAnswered {
    match failure {
        Failure::NoResponders => NotAnswered::Nobody,
        Failure::TooLarge(why) => NotAnswered::TooLarge(why),
        Failure::NotConnected { .. } | Failure::NotAsked(_) | Failure::BadSubject(_) => {
            NotAnswered::NotSent(failure.to_string())
        }
        Failure::NotCommitted
        | Failure::TooOld { .. }
        | Failure::TimedOut { .. }
        | Failure::Broken(_)
        | Failure::Denied { .. }
        | Failure::Server { .. }
        | Failure::Alone { .. }
        | Failure::Malformed(_) => NotAnswered::Silence(failure.to_string()),
    }
}

/// The requests to one address. Dropping it ends the listening at once.
pub struct Listening {
    client: Client,
    requests: Subscriber,
    /// What the subjects begin with.
    address: Arc<str>,
}

impl Listening {
    /// Begins to listen. When it returns, the server of this connection knows.
    ///
    /// # Errors
    /// Why the client cannot.
    ///
    /// # Cancellation safety
    /// Dropping the future ends the listening. Bounded by the client, which waits for a connection.
    pub async fn begin(
        client: Client,
        group: &GroupName,
        endpoint: &Endpoint,
    ) -> Result<Self, String> {
        let address = subject::address(group, endpoint);
        let requests = client.subscribe(format!("{address}>")).await;
        let requests = requests.map_err(|error| error.to_string())?;
        client.flush().await.map_err(|error| error.to_string())?;
        Ok(Self {
            client,
            requests,
            address: Arc::from(address),
        })
    }

    /// The next request; `None` when the connection was closed or the rest has come after
    /// [`Listening::end`]. What cannot be read is refused here.
    ///
    /// # Cancellation safety
    /// Dropping the future loses no request. There is no deadline: it waits for requests.
    pub async fn next(&mut self) -> Option<Received> {
        loop {
            let message = self.requests.next().await?;
            let Some(reply) = message.reply.clone() else {
                // Nobody waits for an answer, so nobody would follow a refusal.
                continue;
            };
            let key = message.subject.strip_prefix(&*self.address);
            let partition = key.and_then(subject::key_of);
            let answering = Answering {
                client: self.client.clone(),
                reply,
            };
            match partition.and_then(|partition| message::ask(partition, &message)) {
                Some(ask) => return Some(Received { ask, answering }),
                None => answering.answer(Reply::Refused(Refusal::Unreadable)).await,
            }
        }
    }

    /// Receives nothing new. What the server has sent already still comes.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave the listening as it was. Bounded by the client's queue.
    pub async fn end(&mut self) {
        // A client that takes no commands has ended, and so has this.
        let _ = self.requests.drain().await;
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listening").field(&self.address).finish()
    }
}

/// A request, and the way back.
#[derive(Debug)]
pub struct Received {
    /// What is asked.
    pub ask: Ask,
    /// To be answered once.
    pub answering: Answering,
}

/// The way back to who asked.
pub struct Answering {
    client: Client,
    reply: Subject,
}

impl Answering {
    /// Hands the answer to the connection. An answer that is too large becomes a failure that says so.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave the request without an answer. Bounded by the client's queue.
    pub async fn answer(self, reply: Reply) {
        let (headers, payload) = message::reply_parts(&reply);
        let sent = self
            .client
            .publish_with_headers(self.reply.clone(), headers, payload);
        if let (Err(error), Reply::Done { token, .. }) = (sent.await, &reply) {
            let reason = format!("the answer was not sent: {error}");
            let failed = Reply::Failed {
                token: *token,
                reason,
            };
            let (headers, payload) = message::reply_parts(&failed);
            // The caller hears nothing then, and calls that unknown.
            let _ = self
                .client
                .publish_with_headers(self.reply, headers, payload)
                .await;
        }
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answering").field(&self.reply).finish()
    }
}

/// An address that no other process has.
#[must_use]
pub fn unique_endpoint(number: u128) -> Endpoint {
    let text = format!("nats:{number:032x}");
    // 37 letters and digits are no bad endpoint.
    Endpoint::new(&text).unwrap_or_else(|_| unreachable!("{text} is an endpoint"))
}
