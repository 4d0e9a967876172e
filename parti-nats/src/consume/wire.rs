//! Requests of the consuming side: sent through the user's own context, answered within their time.
//!
//! It is separate so that one place says what each outcome leaves behind. What always holds: a write
//! that was handed over and not answered is unknown, never refused.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;

use crate::consume::condition::Condition;
use crate::consume::layout::LayoutError;
use crate::requests::api::{Outgoing, parse};
use crate::requests::replies::Replies;
use crate::wire::outcome::{Failure, code};
use crate::wire::random::random;

/// The body of a request without one: `null` is refused by some methods.
#[derive(Serialize)]
pub(crate) struct Nothing {}

/// The same, as a value.
pub(crate) const NOTHING: Nothing = Nothing {};

/// What became of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// It is stored under this revision.
    Stored {
        /// The revision.
        revision: u64,
    },
    /// The condition did not hold, or could not be checked; nothing was written.
    Refused,
    /// It may have been written, now or later.
    Unknown,
}

/// Why consuming cannot begin or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// A request failed; it may be tried again.
    #[error("{what}: {reason}")]
    Unavailable {
        /// What was asked.
        what: String,
        /// Why there was no answer.
        reason: String,
    },
    /// Something is wrong that trying again does not repair.
    #[error(transparent)]
    Condition(#[from] Condition),
    /// The stream's subjects do not tell partitions.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Two values that must agree do not.
    #[error("{what}: {found} found, {wanted} wanted")]
    Mismatch {
        /// What it is.
        what: String,
        /// What there is.
        found: String,
        /// What was asked for.
        wanted: String,
    },
}

/// The connection, and how long a request may take.
#[derive(Clone, Debug)]
pub struct Wire {
    context: Context,
    replies: Arc<Replies>,
    limit: Duration,
}

impl Wire {
    /// Over a user's context.
    #[must_use]
    pub fn new(context: Context, limit: Duration) -> Self {
        let replies = Arc::default();
        Self {
            context,
            replies,
            limit,
        }
    }

    /// The user's context.
    #[must_use]
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// How long a request may take.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        self.limit
    }

    /// Calls a method of the JetStream API, such as `STREAM.INFO.ORDERS`.
    pub(crate) async fn call(&self, method: &str, body: &impl Serialize) -> Result<Value, Failure> {
        let method = method.to_owned();
        let asking = self.context.request::<_, _, Value>(method, body);
        let answer = match timeout(self.limit, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(request_failure(&error, self.limit)),
            Err(_) => return Err(timed_out(self.limit)),
        };
        parse(answer.to_string().as_bytes())
    }

    /// Publishes to a stream and waits for the acknowledgement; the sequence.
    pub(crate) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<u64, Failure> {
        let outgoing = Outgoing {
            subject,
            headers,
            payload,
        };
        let client = self.context.client();
        let asking = self.replies.ask(&client, outgoing);
        let Ok(answer) = timeout(self.limit, asking).await else {
            self.replies.forget();
            return Err(timed_out(self.limit));
        };
        let acknowledged: Value = parse(&answer?.payload)?;
        let sequence = acknowledged["seq"].as_u64();
        sequence.ok_or_else(|| Failure::Malformed(acknowledged.to_string()))
    }

    /// Writes `payload` to a subject whose last sequence must be `expected`, zero for none.
    ///
    /// # Errors
    /// [`ConsumeError`] when the write can never succeed as it is.
    ///
    /// # Cancellation safety
    /// When the future is dropped the outcome is unknown. Bounded by the wire's limit.
    pub async fn write(
        &self,
        subject: &str,
        payload: Vec<u8>,
        expected: u64,
    ) -> Result<Wrote, ConsumeError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        let sent = self.publish(subject.to_owned(), headers, payload.into());
        match sent.await {
            Ok(revision) => Ok(Wrote::Stored { revision }),
            Err(failure) => unwritten(&failure, subject),
        }
    }

    /// Writes several messages of one stream, the first under the condition of [`Wire::write`], all or
    /// none; the revision is that of the first.
    ///
    /// # Errors
    /// [`ConsumeError`] when they can never be written as they are.
    ///
    /// # Cancellation safety
    /// When the future is dropped the outcome is unknown. Bounded by the wire's limit.
    pub(crate) async fn write_batch(
        &self,
        stream: &str,
        messages: Vec<(String, HeaderMap, Bytes)>,
        expected: u64,
    ) -> Result<Wrote, ConsumeError> {
        let count = messages.len() as u64;
        let batch = format!("{:016x}{:016x}", random(), random());
        let client = self.context.client();
        let mut numbered = (1_u64..).zip(messages);
        for (number, (subject, mut headers, payload)) in &mut numbered {
            headers.insert("Nats-Batch-Id", batch.as_str());
            headers.insert("Nats-Batch-Sequence", number.to_string());
            if number == 1 {
                headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
            }
            if number == count {
                headers.insert("Nats-Batch-Commit", "1");
                return match self.publish(subject, headers, payload).await {
                    Ok(last) => Ok(Wrote::Stored {
                        revision: last + 1 - count,
                    }),
                    Err(failure) => unwritten(&failure, stream),
                };
            }
            let sent = client.publish_with_headers(subject, headers, payload);
            // Without the last message the server drops the batch.
            if let Ok(Err(error)) = timeout(self.limit, sent).await {
                let reason = error.to_string();
                let what = format!("publishing to {stream}");
                return Err(Condition::Refused { what, reason }.into());
            }
        }
        Ok(Wrote::Unknown)
    }

    /// The last message of a subject, from the stream's leader: its sequence, headers and payload.
    pub(crate) async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<(u64, Value)>, Failure> {
        let body = serde_json::json!({ "last_by_subj": subject });
        match self.call(&format!("STREAM.MSG.GET.{stream}"), &body).await {
            Ok(answer) => {
                let message = answer["message"].clone();
                let sequence = message["seq"].as_u64();
                let sequence = sequence.ok_or_else(|| Failure::Malformed(answer.to_string()))?;
                Ok(Some((sequence, message)))
            }
            Err(failure) if failure.is_code(code::NO_MESSAGE) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// What a write leaves behind that was not acknowledged.
fn unwritten(failure: &Failure, subject: &str) -> Result<Wrote, ConsumeError> {
    tracing::debug!(%failure, subject, "a write was not acknowledged");
    if failure.is_limit() {
        return Err(beyond("writing", subject, failure));
    }
    match failure.kind() {
        parti_core::StoreErrorKind::Refused => Ok(Wrote::Refused),
        parti_core::StoreErrorKind::Unknown
        | parti_core::StoreErrorKind::Unavailable
        | parti_core::StoreErrorKind::Missing => Ok(Wrote::Unknown),
        parti_core::StoreErrorKind::Rejected => Err(refused("writing", subject, failure)),
    }
}

fn timed_out(after: Duration) -> Failure {
    Failure::TimedOut { after, hint: None }
}

fn request_failure(
    error: &async_nats::jetstream::context::RequestError,
    limit: Duration,
) -> Failure {
    use async_nats::jetstream::context::RequestErrorKind as Kind;
    match error.kind() {
        Kind::TimedOut => timed_out(limit),
        Kind::NoResponders => Failure::NoResponders,
        Kind::InvalidSubject => Failure::BadSubject(error.to_string()),
        Kind::Other => Failure::Broken(error.to_string()),
    }
}

/// A failed request as what it means for the caller.
pub(crate) fn fault(what: &str, stream: &str, failure: &Failure) -> ConsumeError {
    if failure.is_code(code::STREAM_NOT_FOUND) {
        let stream = stream.to_owned();
        return Condition::StreamMissing { stream }.into();
    }
    if failure.is_limit() {
        return beyond(what, stream, failure);
    }
    match failure.kind() {
        parti_core::StoreErrorKind::Rejected => refused(what, stream, failure),
        parti_core::StoreErrorKind::Refused
        | parti_core::StoreErrorKind::Unknown
        | parti_core::StoreErrorKind::Unavailable
        | parti_core::StoreErrorKind::Missing => ConsumeError::Unavailable {
            what: format!("{what} {stream}"),
            reason: failure.to_string(),
        },
    }
}

fn beyond(what: &str, of: &str, failure: &Failure) -> ConsumeError {
    let what = format!("{what} {of}");
    let reason = failure.to_string();
    Condition::LimitReached { what, reason }.into()
}

fn refused(what: &str, of: &str, failure: &Failure) -> ConsumeError {
    let what = format!("{what} {of}");
    let reason = failure.to_string();
    Condition::Refused { what, reason }.into()
}
