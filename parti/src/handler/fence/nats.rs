//! A fence for one subject on NATS, as a key of a bucket or a subject of a stream is.
//!
//! The server does not know tokens; it compares the sequence of the subject's last message. So each owner
//! begins by writing a message with its token, which makes everything that older owners know out of date.
//! After that each write is one round trip.

use std::error::Error as StdError;
use std::fmt;

use parti_core::Token;
use parti_nats::async_nats::HeaderMap;
use parti_nats::async_nats::jetstream::Context;
use parti_nats::async_nats::jetstream::context::PublishErrorKind;
use parti_nats::async_nats::jetstream::message::PublishMessage;
use parti_nats::async_nats::jetstream::stream::LastRawMessageErrorKind;

use super::Stale;

/// The header that names the token of a message.
pub const TOKEN: &str = "Parti-Token";
/// The header of a message that begins an ownership of a stream's subject, and says nothing else.
pub const TAKEN_OVER: &str = "Parti-Taken-Over";

/// How a key of a bucket says that it was deleted.
const OPERATION: &str = "KV-Operation";
/// How often one step is tried against others that do the same.
const TRIES: usize = 8;

/// Why a message was not written.
#[derive(Debug)]
#[non_exhaustive]
pub enum SubjectError {
    /// The ownership is over. Nothing was written.
    Stale(Stale),
    /// Somebody writes to the subject who does not go through a fence. Nothing was written.
    Unfenced(String),
    /// It may or may not be written, now or later. The next write finds out.
    Unknown(Box<dyn StdError + Send + Sync>),
    /// The server did not take it. Nothing was written.
    Failed(Box<dyn StdError + Send + Sync>),
}

impl fmt::Display for SubjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale(stale) => stale.fmt(f),
            Self::Unfenced(subject) => write!(f, "{subject} is written to without a fence"),
            Self::Unknown(error) => write!(f, "it may or may not be written: {error}"),
            Self::Failed(error) => write!(f, "not written: {error}"),
        }
    }
}

impl StdError for SubjectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Stale(stale) => Some(stale),
            Self::Unfenced(_) => None,
            Self::Unknown(error) | Self::Failed(error) => Some(&**error),
        }
    }
}

/// A subject in the hands of one owner: make one for each ownership.
///
/// The stream must keep the last message of the subject: a limit of age that removes it takes the token
/// along.
#[derive(Clone, Debug)]
pub struct FencedSubject {
    context: Context,
    stream: String,
    subject: String,
    token: Token,
    last: Last,
}

/// What the last message of the subject is, as far as this owner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// This one.
    At(u64),
    /// Perhaps one of ours whose acknowledgement did not come.
    Unsure,
}

/// How an ownership begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// The value that is there is written again.
    SameValue,
    /// A message without content is written.
    Mark,
}

/// The last message of a subject.
struct Found {
    sequence: u64,
    token: Option<Token>,
    headers: HeaderMap,
    payload: Vec<u8>,
}

impl FencedSubject {
    /// Takes over a key of a bucket. Its value stays, at another revision.
    ///
    /// # Errors
    /// [`SubjectError`]; nothing is held then.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave the key taken over, which keeps only older owners out. Bounded by the
    /// context's time-out for each request: two as a rule, 16 when others write meanwhile.
    pub async fn key(
        context: Context,
        bucket: &str,
        key: &str,
        token: Token,
    ) -> Result<Self, SubjectError> {
        let (stream, subject) = (format!("KV_{bucket}"), format!("$KV.{bucket}.{key}"));
        Self::take_over(context, stream, subject, token, Beginning::SameValue).await
    }

    /// Takes over a subject of a stream. A message without content, whose header is [`TAKEN_OVER`], says so
    /// to those that read the stream.
    ///
    /// # Errors
    /// [`SubjectError`]; nothing is held then.
    ///
    /// # Cancellation safety
    /// As [`FencedSubject::key`].
    pub async fn subject(
        context: Context,
        stream: &str,
        subject: &str,
        token: Token,
    ) -> Result<Self, SubjectError> {
        let (stream, subject) = (stream.to_owned(), subject.to_owned());
        Self::take_over(context, stream, subject, token, Beginning::Mark).await
    }

    async fn take_over(
        context: Context,
        stream: String,
        subject: String,
        token: Token,
        beginning: Beginning,
    ) -> Result<Self, SubjectError> {
        let mut taken = Self {
            context,
            stream,
            subject,
            token,
            last: Last::Unsure,
        };
        for _ in 0..TRIES {
            let found = taken.look().await?;
            taken.last = Last::At(found.sequence);
            if found.token == Some(token) {
                return Ok(taken);
            }
            let (payload, headers) = match beginning {
                Beginning::SameValue => (found.payload, kept(&found.headers)),
                Beginning::Mark => (Vec::new(), mark()),
            };
            match taken.publish(found.sequence, payload, headers).await {
                Ok(sequence) => {
                    taken.last = Last::At(sequence);
                    return Ok(taken);
                }
                Err(Refusal::Conflict) => {}
                Err(Refusal::Other(error)) => return Err(error),
            }
        }
        Err(SubjectError::Unfenced(taken.subject))
    }

    /// Writes a message, or the value of the key, and answers its sequence, or revision.
    ///
    /// # Errors
    /// [`SubjectError`], which says whether something was written.
    ///
    /// # Cancellation safety
    /// Dropping the future is as [`SubjectError::Unknown`]: the next write finds out. Bounded by the
    /// context's time-out for each request: one as a rule, two after an unknown outcome.
    pub async fn write(&mut self, payload: Vec<u8>) -> Result<u64, SubjectError> {
        for _ in 0..TRIES {
            let expected = match std::mem::replace(&mut self.last, Last::Unsure) {
                Last::At(sequence) => sequence,
                Last::Unsure => self.own().await?,
            };
            match self
                .publish(expected, payload.clone(), HeaderMap::new())
                .await
            {
                Ok(sequence) => {
                    self.last = Last::At(sequence);
                    return Ok(sequence);
                }
                // A message of ours whose outcome was unknown may have come in between.
                Err(Refusal::Conflict) => self.last = Last::At(self.own().await?),
                Err(Refusal::Other(error)) => return Err(error),
            }
        }
        Err(SubjectError::Unfenced(self.subject.clone()))
    }

    /// The sequence of the last message if it is this owner's.
    async fn own(&self) -> Result<u64, SubjectError> {
        let found = self.look().await?;
        match found.token {
            Some(token) if token == self.token => Ok(found.sequence),
            Some(_) | None => Err(SubjectError::Unfenced(self.subject.clone())),
        }
    }

    /// The last message of the subject, from the stream's leader.
    async fn look(&self) -> Result<Found, SubjectError> {
        let stream = self.context.get_stream_no_info(&self.stream).await;
        let stream = stream.map_err(|error| SubjectError::Failed(error.into()))?;
        let message = match stream.get_last_raw_message_by_subject(&self.subject).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(Found {
                    sequence: 0,
                    token: None,
                    headers: HeaderMap::new(),
                    payload: Vec::new(),
                });
            }
            Err(error) => return Err(SubjectError::Failed(error.into())),
        };
        let token = message
            .headers
            .get(TOKEN)
            .and_then(|token| token.as_str().parse().ok());
        let token = token.map(Token::new);
        if let Some(newer) = token.filter(|found| *found > self.token) {
            return Err(SubjectError::Stale(Stale {
                resource: self.subject.clone(),
                token: self.token,
                newer,
            }));
        }
        Ok(Found {
            sequence: message.sequence,
            token,
            headers: message.headers,
            payload: message.payload.to_vec(),
        })
    }

    async fn publish(
        &self,
        expected: u64,
        payload: Vec<u8>,
        mut headers: HeaderMap,
    ) -> Result<u64, Refusal> {
        headers.insert(TOKEN, self.token.to_string().as_str());
        let message = PublishMessage::build()
            .payload(payload.into())
            .headers(headers)
            .expected_last_subject_sequence(expected);
        let sent = self
            .context
            .send_publish(self.subject.clone(), message)
            .await;
        let sent = sent.map_err(|error| Refusal::Other(SubjectError::Failed(error.into())))?;
        match sent.await {
            Ok(ack) => Ok(ack.sequence),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                Err(Refusal::Conflict)
            }
            Err(error) => Err(Refusal::Other(match error.kind() {
                PublishErrorKind::StreamNotFound | PublishErrorKind::MaxPayloadExceeded => {
                    SubjectError::Failed(error.into())
                }
                PublishErrorKind::WrongLastMessageId
                | PublishErrorKind::WrongLastSequence
                | PublishErrorKind::TimedOut
                | PublishErrorKind::BrokenPipe
                | PublishErrorKind::MaxAckPending
                | PublishErrorKind::Other => SubjectError::Unknown(error.into()),
            })),
        }
    }
}

/// Why a message was not taken.
enum Refusal {
    /// It is not the one that follows what was expected.
    Conflict,
    Other(SubjectError),
}

/// What must be said again with the same value: whether it is none.
fn kept(found: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(operation) = found.get(OPERATION) {
        headers.insert(OPERATION, operation.as_str());
    }
    headers
}

fn mark() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TAKEN_OVER, "1");
    headers
}
