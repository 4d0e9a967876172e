//! The one table from what happened on the wire to what it leaves behind.
//!
//! It is separate because safety hangs on it: calling an unknown outcome "refused" or "not sent"
//! lets two writers believe they won. What always holds: only an answer of the server that proves
//! it, or never having handed anything over, counts as "nothing was written".

use std::fmt;
use std::time::Duration;

use parti_core::{StoreError, StoreErrorKind};

use crate::wire::version::MINIMUM_SERVER;

/// Error numbers of the server that something here depends on.
pub(crate) mod code {
    /// The stream name is taken by a stream with other settings.
    pub(crate) const NAME_IN_USE: u64 = 10058;
    /// There is no such stream.
    pub(crate) const STREAM_NOT_FOUND: u64 = 10059;
    /// Another consumer of the work queue has the subjects.
    #[cfg(feature = "jetstream")]
    pub(crate) const NOT_UNIQUE: u64 = 10100;
    /// There is no such consumer.
    #[cfg(feature = "jetstream")]
    pub(crate) const CONSUMER_NOT_FOUND: u64 = 10014;
    /// The stream has as many consumers as it may.
    #[cfg(feature = "jetstream")]
    pub(crate) const TOO_MANY_CONSUMERS: u64 = 10026;
    /// There is no such message.
    pub(crate) const NO_MESSAGE: u64 = 10037;
    /// JetStream is off for the account.
    pub(crate) const NOT_FOR_ACCOUNT: u64 = 10039;
    /// JetStream is off for the server.
    pub(crate) const NOT_ENABLED: u64 = 10076;
    /// The subject has another last sequence than expected; the text has the number.
    pub(crate) const WRONG_SEQUENCE: u64 = 10071;
    /// A batch that was abandoned because a message of it is missing.
    pub(crate) const INCOMPLETE_BATCH: u64 = 10176;
}

/// How a request can fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client had no connection; nothing was handed to it. With what the server said last of why,
    /// if it said something.
    NotConnected {
        /// Its words.
        why: Option<String>,
    },
    /// Part of a batch was handed over, but not the message that commits it.
    NotCommitted,
    /// The server that leads the stream is too old to check the conditions of a batch; nothing was
    /// handed over.
    TooOld {
        /// Its version.
        found: String,
    },
    /// The server that leads the stream has not heard most of the replicas: what it says may be old.
    Alone {
        /// For how long.
        since: Duration,
    },
    /// What has to be known before could not be asked; nothing was handed over.
    NotAsked(String),
    /// Handed over, and no answer within the time.
    TimedOut {
        /// The time.
        after: Duration,
        /// Something the server said that may explain it.
        hint: Option<String>,
    },
    /// The server knows nobody who listens on the subject.
    NoResponders,
    /// The connection broke or the client was closed after handing over.
    Broken(String),
    /// The client refused to send: larger than the server accepts.
    TooLarge(String),
    /// The client refused to send: not a subject.
    BadSubject(String),
    /// The server refused the subject for want of permission.
    Denied {
        /// The subject.
        subject: String,
    },
    /// The server answered with an error.
    Server {
        /// Its number.
        code: u64,
        /// Its words.
        description: String,
    },
    /// The server answered something that cannot be read.
    Malformed(String),
}

impl Failure {
    pub(crate) const fn is_code(&self, wanted: u64) -> bool {
        matches!(self, Self::Server { code, .. } if *code == wanted)
    }

    /// Whether a limit is reached that somebody set, or the resources of the server are; nothing was stored.
    #[cfg(feature = "jetstream")]
    pub(crate) fn is_limit(&self) -> bool {
        let Self::Server { code, description } = self else {
            return false;
        };
        match *code {
            // Resources, memory, storage, messages per subject; 10077 says in words which limit.
            code::TOO_MANY_CONSUMERS | 10023 | 10028 | 10047 | 10122 => true,
            10077 => description.contains("maximum"),
            _ => false,
        }
    }

    /// Whether the server has nothing more to say of a commit of so many writes: a message of it that
    /// is denied later would have left the batch incomplete.
    pub(crate) fn ends_the_matter(&self, writes: usize) -> bool {
        match self {
            Self::Server { code, .. } => *code != code::INCOMPLETE_BATCH,
            Self::Denied { .. } => writes == 1,
            Self::NotConnected { .. }
            | Self::NotAsked(_)
            | Self::Alone { .. }
            | Self::TooOld { .. }
            | Self::TooLarge(_)
            | Self::BadSubject(_) => true,
            Self::NotCommitted
            | Self::TimedOut { .. }
            | Self::NoResponders
            | Self::Broken(_)
            | Self::Malformed(_) => false,
        }
    }

    /// What the failure leaves behind.
    pub(crate) fn kind(&self) -> StoreErrorKind {
        match self {
            Self::NotConnected { .. }
            | Self::NotCommitted
            | Self::NotAsked(_)
            | Self::Alone { .. }
            | Self::TooOld { .. }
            | Self::NoResponders => StoreErrorKind::Unavailable,
            Self::TimedOut { .. } | Self::Broken(_) | Self::Malformed(_) => StoreErrorKind::Unknown,
            Self::TooLarge(_) | Self::BadSubject(_) | Self::Denied { .. } => {
                StoreErrorKind::Rejected
            }
            Self::Server { code, description } => kind_of(*code, description),
        }
    }

    /// The port's error, saying what was asked.
    pub(crate) fn during(self, what: &str) -> StoreError {
        StoreError::new(self.kind(), format!("{what}: {self}"))
    }
}

/// What an error number of the server leaves behind. The server numbers its errors once and keeps
/// them; a number that is not listed proves nothing, so it is `Unknown`.
fn kind_of(code: u64, description: &str) -> StoreErrorKind {
    match code {
        // A wrong last sequence. 10164 has no number in its text and also comes while another
        // write of the subject is in flight; 10163 says that the condition cannot be checked now.
        code::WRONG_SEQUENCE | 10163 | 10164 => StoreErrorKind::Refused,
        // A full bucket is found before anything is stored, the same on every replica. Any other
        // failure to store may be the leader's alone, and its followers may have stored it.
        10077 if description.contains("maximum") => StoreErrorKind::Unavailable,
        // The stream, its leader or its resources are not there, or a batch was abandoned: 10176
        // incomplete, 10210 and 10211 too many open. All are said before anything is stored.
        10002 | 10005 | 10007 | 10008 | 10009 | 10023 | 10028 | 10039 | 10047 | 10074 | 10076
        | 10118 | 10122 | 10167 | 10176 | 10194 | 10210 | 10211 => StoreErrorKind::Unavailable,
        code::STREAM_NOT_FOUND => StoreErrorKind::Missing,
        // The request is wrong: too large (10054 message, 10199 batch), batches switched off
        // (10174), a header the server does not take, a sealed stream, missing rights.
        10003 | 10025 | 10035 | 10052 | 10053 | 10054 | 10060 | 10097 | 10109 | 10110 | 10111
        | 10165 | 10166 | 10174 | 10175 | 10177 | 10179 | 10193 | 10199 | 10200 => {
            StoreErrorKind::Rejected
        }
        _ => StoreErrorKind::Unknown,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected { why: None } => f.write_str("no connection to the server"),
            Self::NotConnected { why: Some(why) } => {
                write!(f, "no connection to the server: {why}")
            }
            Self::NotCommitted => {
                f.write_str("the connection took too long to accept the batch; it was abandoned")
            }
            Self::TooOld { found } => write!(
                f,
                "the server that leads the stream has version {found}; at least {MINIMUM_SERVER} is needed"
            ),
            Self::Alone { since } => write!(
                f,
                "the server that leads the stream has heard no majority of the replicas for {since:?}; \
                 another one may lead"
            ),
            Self::NotAsked(why) => write!(
                f,
                "the leader of the stream could not be asked before: {why}"
            ),
            Self::TimedOut { after, hint: None } => write!(f, "no answer within {after:?}"),
            Self::TimedOut {
                after,
                hint: Some(hint),
            } => write!(f, "no answer within {after:?} ({hint})"),
            Self::NoResponders => f.write_str(
                "nobody answers: the stream has no leader, is gone, or JetStream is off",
            ),
            Self::Broken(why) => write!(f, "the connection broke: {why}"),
            Self::TooLarge(why) => write!(f, "too large to send: {why}"),
            Self::BadSubject(why) => write!(f, "not a subject: {why}"),
            Self::Denied { subject } => {
                write!(f, "the server's permissions do not allow {subject:?}")
            }
            Self::Server { code, description } => write!(f, "{description} (error {code})"),
            Self::Malformed(why) => write!(f, "an answer that cannot be read: {why}"),
        }
    }
}

/// A request that can never succeed as it is.
pub(crate) fn rejected(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Rejected, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u64) -> Failure {
        Failure::Server {
            code,
            description: "words".to_owned(),
        }
    }

    /// Whatever was handed over and not answered may still be written; saying otherwise would let
    /// a second writer go ahead.
    #[test]
    fn a_failure_on_the_wire_leaves_exactly_this_behind() {
        let text = || "why".to_owned();
        let timed_out = Failure::TimedOut {
            after: Duration::from_secs(1),
            hint: None,
        };
        let denied = Failure::Denied { subject: text() };
        let cases = [
            (
                Failure::NotConnected { why: None },
                StoreErrorKind::Unavailable,
            ),
            (Failure::NotCommitted, StoreErrorKind::Unavailable),
            (Failure::NoResponders, StoreErrorKind::Unavailable),
            (Failure::NotAsked(text()), StoreErrorKind::Unavailable),
            (
                Failure::Alone {
                    since: Duration::MAX,
                },
                StoreErrorKind::Unavailable,
            ),
            (
                Failure::TooOld { found: text() },
                StoreErrorKind::Unavailable,
            ),
            (timed_out, StoreErrorKind::Unknown),
            (Failure::Broken(text()), StoreErrorKind::Unknown),
            (Failure::Malformed(text()), StoreErrorKind::Unknown),
            (Failure::TooLarge(text()), StoreErrorKind::Rejected),
            (Failure::BadSubject(text()), StoreErrorKind::Rejected),
            (denied, StoreErrorKind::Rejected),
        ];
        for (failure, kind) in cases {
            assert_eq!(failure.kind(), kind, "{failure:?}");
        }
    }

    /// Each number of the server stands for one consequence; a number nobody thought of must not
    /// count as "nothing was written".
    #[test]
    fn an_error_number_leaves_exactly_this_behind() {
        let cases = [
            (10071, StoreErrorKind::Refused),
            (10164, StoreErrorKind::Refused),
            (10163, StoreErrorKind::Refused),
            (10008, StoreErrorKind::Unavailable),
            (10023, StoreErrorKind::Unavailable),
            (10039, StoreErrorKind::Unavailable),
            (10047, StoreErrorKind::Unavailable),
            (10059, StoreErrorKind::Missing),
            (10076, StoreErrorKind::Unavailable),
            (10077, StoreErrorKind::Unknown),
            (10176, StoreErrorKind::Unavailable),
            (10210, StoreErrorKind::Unavailable),
            (10054, StoreErrorKind::Rejected),
            (10109, StoreErrorKind::Rejected),
            (10174, StoreErrorKind::Rejected),
            (10199, StoreErrorKind::Rejected),
            (0, StoreErrorKind::Unknown),
            (10001, StoreErrorKind::Unknown),
            (99_999, StoreErrorKind::Unknown),
        ];
        for (code, kind) in cases {
            assert_eq!(server(code).kind(), kind, "{code}");
        }
        let full = Failure::Server {
            code: 10077,
            description: "maximum bytes exceeded".to_owned(),
        };
        assert_eq!(full.kind(), StoreErrorKind::Unavailable);
    }

    /// A reason without the number or the request cannot be looked up.
    #[test]
    fn the_error_of_the_port_says_what_was_asked_and_why_it_failed() {
        let error = server(10059).during("commit of head");
        assert_eq!(error.kind, StoreErrorKind::Missing);
        assert_eq!(error.message, "commit of head: words (error 10059)");
    }
}
