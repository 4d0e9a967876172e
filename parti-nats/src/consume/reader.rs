//! A reader: a consumer that is made to be thrown away.
//!
//! It is separate because it is the only thing here that reads messages. It acknowledges nothing and
//! remembers nothing: where to go on stands in the cursor, and what was delivered is known to the caller.
//! What always holds: messages come in the order of the stream and without a gap, or the reader ends; its
//! name is never used again.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Message, Request, Subscriber};
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::consume::intake::Numbers;
use crate::consume::wire::{ConsumeError, NOTHING, Wire, fault};
use crate::wire::message::number;

/// How long the server keeps a reader that nobody uses.
const UNUSED: Duration = Duration::from_secs(30);
/// How long one pull may wait.
const EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says on a waiting pull that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A server that was silent for so long is not there: a lost node gives neither an error nor a heartbeat.
const SILENCE: Duration = Duration::from_millis(2500);
/// How often to look whether the client is on another connection, on which the pulls are gone.
const LOOKS: Duration = Duration::from_millis(100);

/// What a reader reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderSpec {
    /// The stream.
    pub stream: String,
    /// Its name, never used before.
    pub name: String,
    /// The subjects; none overlaps another.
    pub filters: Vec<String>,
    /// The first sequence to deliver.
    pub from: u64,
}

/// One message of the stream.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// As it came.
    pub message: Message,
    /// Its stream sequence.
    pub sequence: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub published: u64,
    /// How many of the reader's messages follow it in the stream.
    pub pending: u64,
}

/// What [`Reader::next`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Messages.
    Messages,
    /// The server is there and has nothing.
    Idle,
}

/// Why a reader delivers no more. Make another from where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReaderEnd {
    /// The consumer is gone: deleted, its node restarted, or its stream deleted.
    Gone {
        /// The server's words.
        reason: String,
    },
    /// The server says nothing any more.
    Silent,
    /// The client has another connection.
    Reconnected,
    /// A message is missing, or the consumer began again.
    Gap {
        /// The number that should have come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The client was closed.
    Closed,
}

impl fmt::Display for ReaderEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone { reason } => write!(f, "the reader is gone: {reason}"),
            Self::Silent => write!(f, "the server was silent for {SILENCE:?}"),
            Self::Reconnected => f.write_str("the client connected again"),
            Self::Gap { expected, found } => {
                write!(f, "message {found} of the reader came, {expected} was due")
            }
            Self::Closed => f.write_str("the client was closed"),
        }
    }
}

/// A throw-away consumer and the pulls on it.
#[derive(Debug)]
pub struct Reader {
    wire: Wire,
    spec: ReaderSpec,
    inbox: String,
    messages: Subscriber,
    pulls: u64,
    outstanding: u64,
    numbers: Numbers,
    connection: u64,
    heard: Instant,
}

impl Reader {
    /// Creates the consumer.
    ///
    /// # Errors
    /// [`ConsumeError`]; a consumer that was created all the same ends by itself, so try again with
    /// another name.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave a consumer that ends by itself. Bounded by the wire's limit, twice.
    pub async fn create(wire: &Wire, spec: ReaderSpec) -> Result<Self, ConsumeError> {
        let client = wire.context().client();
        let connection = client.statistics().connects.load(Ordering::Relaxed);
        let mut config = json!({
            "name": spec.name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": spec.from.max(1),
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": true,
            "num_replicas": 1,
            "inactive_threshold": nanos(UNUSED),
        });
        match spec.filters.as_slice() {
            [filter] => config["filter_subject"] = json!(filter),
            filters => config["filter_subjects"] = json!(filters),
        }
        let body = json!({ "stream_name": spec.stream, "action": "create", "config": config });
        let method = format!("CONSUMER.CREATE.{}.{}", spec.stream, spec.name);
        let made = wire.call(&method, &body).await;
        made.map_err(|failure| fault("creating a reader of", &spec.stream, &failure))?;
        let mut reader = Self::attach(wire, spec).await?;
        reader.connection = connection;
        Ok(reader)
    }

    /// Reads with a consumer that was created.
    pub(crate) async fn attach(wire: &Wire, spec: ReaderSpec) -> Result<Self, ConsumeError> {
        let client = wire.context().client();
        let connection = client.statistics().connects.load(Ordering::Relaxed);
        let inbox = client.new_inbox();
        let subscribed = client.subscribe(format!("{inbox}.*")).await;
        let messages = subscribed.map_err(|error| ConsumeError::Unavailable {
            what: "subscribing to an inbox".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            wire: wire.clone(),
            spec,
            inbox,
            messages,
            pulls: 0,
            outstanding: 0,
            numbers: Numbers::default(),
            connection,
            heard: Instant::now(),
        })
    }

    /// What it reads.
    #[must_use]
    pub const fn spec(&self) -> &ReaderSpec {
        &self.spec
    }

    /// How many messages were asked for and have not come.
    #[must_use]
    pub const fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Asks for so many more messages.
    ///
    /// # Errors
    /// [`ReaderEnd::Closed`].
    ///
    /// # Cancellation safety
    /// When the future is dropped it was asked for or not. There is no deadline: it waits for the client.
    pub async fn pull(&mut self, batch: u64) -> Result<(), ReaderEnd> {
        self.pulls += 1;
        let body = json!({
            "batch": batch,
            "expires": nanos(EXPIRES),
            "idle_heartbeat": nanos(HEARTBEAT),
        });
        let inbox = format!("{}.{}", self.inbox, self.pulls);
        let request = Request::new().payload(body.to_string().into()).inbox(inbox);
        let method = format!("CONSUMER.MSG.NEXT.{}.{}", self.spec.stream, self.spec.name);
        if self.outstanding == 0 {
            self.heard = Instant::now();
        }
        self.outstanding += batch;
        let sent = self.wire.context().send_request(method, request).await;
        sent.map_err(|_| ReaderEnd::Closed)
    }

    /// Waits for messages and appends those that are there, at most `most`.
    ///
    /// # Errors
    /// [`ReaderEnd`]: make another reader. What was appended before counts.
    ///
    /// # Cancellation safety
    /// Dropping the future loses nothing; it can be called again. There is no deadline while the server says
    /// that it is alive; [`ReaderEnd::Silent`] otherwise.
    pub async fn next(&mut self, most: usize, into: &mut Vec<Delivery>) -> Result<Step, ReaderEnd> {
        loop {
            let message = match timeout(LOOKS, self.messages.next()).await {
                Ok(message) => message.ok_or(ReaderEnd::Closed)?,
                Err(_) => {
                    self.alive()?;
                    continue;
                }
            };
            self.heard = Instant::now();
            let before = into.len();
            self.take(message, into)?;
            while into.len() - before < most {
                let Some(message) = self.messages.next().now_or_never() else {
                    break;
                };
                self.take(message.ok_or(ReaderEnd::Closed)?, into)?;
            }
            let any = into.len() > before;
            return Ok(if any { Step::Messages } else { Step::Idle });
        }
    }

    fn alive(&self) -> Result<(), ReaderEnd> {
        let client = self.wire.context().client();
        let connection = client.statistics().connects.load(Ordering::Relaxed);
        if connection != self.connection {
            return Err(ReaderEnd::Reconnected);
        }
        let silent = self.outstanding > 0 && self.heard.elapsed() > SILENCE;
        if silent {
            Err(ReaderEnd::Silent)
        } else {
            Ok(())
        }
    }

    fn take(&mut self, message: Message, into: &mut Vec<Delivery>) -> Result<(), ReaderEnd> {
        if let Some(status) = message.status {
            return self.status(status.as_u16(), &message);
        }
        let Some(place) = message.reply.as_ref().and_then(|reply| Place::parse(reply)) else {
            return Ok(());
        };
        self.numbers.next(place.number)?;
        self.outstanding = self.outstanding.saturating_sub(1);
        into.push(Delivery {
            message,
            sequence: place.sequence,
            published: place.published,
            pending: place.pending,
        });
        Ok(())
    }

    fn status(&mut self, status: u16, message: &Message) -> Result<(), ReaderEnd> {
        let words = message.description.as_deref().unwrap_or_default();
        let left = message.headers.as_ref();
        let left = left.and_then(|headers| number(headers, "Nats-Pending-Messages"));
        match (status, left) {
            (100, _) => Ok(()),
            // A pull that ended: what it did not bring is not to come.
            (404 | 408 | 409, Some(left)) => {
                self.outstanding = self.outstanding.saturating_sub(left);
                Ok(())
            }
            (404 | 408, None) => {
                self.outstanding = 0;
                Ok(())
            }
            _ => Err(ReaderEnd::Gone {
                reason: format!("status {status} {words}"),
            }),
        }
    }

    /// Deletes the consumer.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave the consumer, which ends by itself. Bounded by the wire's limit.
    pub async fn delete(self) {
        let method = format!("CONSUMER.DELETE.{}.{}", self.spec.stream, self.spec.name);
        if let Err(error) = self.wire.call(&method, &NOTHING).await {
            tracing::debug!(%error, reader = self.spec.name, "a reader is left to end by itself");
        }
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What the reply subject of a message says.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    sequence: u64,
    number: u64,
    published: u64,
    pending: u64,
}

impl Place {
    /// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`
    /// or its longer form with domain and account after `ACK` and perhaps a token at the end.
    fn parse(reply: &str) -> Option<Self> {
        let rest = reply.strip_prefix("$JS.ACK.")?;
        let skipped = match rest.bytes().filter(|byte| *byte == b'.').count() {
            6 => 3,
            8.. => 5,
            _ => return None,
        };
        let mut numbers = rest.split('.').skip(skipped).map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self {
            sequence: next()?,
            number: next()?,
            published: next()?,
            pending: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A misread number looks like a gap, or hides one.
    #[test]
    fn the_place_of_a_message_is_read_from_both_forms_of_its_reply() {
        let place = Place {
            sequence: 30,
            number: 4,
            published: 1_795_511_781_692_304_967,
            pending: 2,
        };
        for reply in [
            "$JS.ACK.ORDERS.c.1.30.4.1795511781692304967.2",
            "$JS.ACK.hub.ACC.ORDERS.c.1.30.4.1795511781692304967.2",
            "$JS.ACK._.ACC.ORDERS.c.1.30.4.1795511781692304967.2.tok",
        ] {
            assert_eq!(Place::parse(reply).as_ref(), Some(&place), "{reply}");
        }
        for reply in [
            "$JS.ACK.ORDERS.c.1.30.4.1",
            "$JS.ACK.O.c.1.x.4.1.2",
            "_INBOX.x",
        ] {
            assert_eq!(Place::parse(reply), None, "{reply}");
        }
    }
}
