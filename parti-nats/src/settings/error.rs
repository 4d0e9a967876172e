//! Why a store could not be opened.
//!
//! It is separate from the errors of the store port: these are for the person who starts the
//! process and say what was found and what is needed. None of them holds a password, token or key.

use std::time::Duration;

use crate::settings::options::ApiPrefix;
use crate::wire::outcome::{Failure, code};
use crate::wire::version::{MINIMUM_SERVER, ServerVersion, is_good_enough};

/// Why [`NatsStore::connect`](crate::NatsStore::connect) and its siblings failed.
///
/// Nothing is left behind unless the variant says so: the connection is closed, unless it was
/// given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A setting cannot work. Nothing was tried.
    #[error("{option} is {found}; needed: {needed}")]
    InvalidOption {
        /// The setting.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        needed: String,
    },
    /// The server's address cannot be read. Nothing was tried.
    #[error("the server address {address} is not one; use nats://host:port, several with commas")]
    InvalidAddress {
        /// The address; withheld when it may hold a password.
        address: String,
    },
    /// No server at the address answered.
    #[error("no NATS server at {address}: {reason}")]
    Unreachable {
        /// The address without user and password.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The server did not accept the credentials.
    #[error("the NATS server at {address} refused the credentials: {reason}")]
    Unauthorized {
        /// The address without user and password.
        address: String,
        /// What the server or the client said.
        reason: String,
    },
    /// The server is too old to check the conditions of a batch.
    #[error("the NATS server has version {found}; at least {needed} is needed")]
    ServerTooOld {
        /// The version found.
        found: String,
        /// The oldest good one.
        needed: ServerVersion,
    },
    /// JetStream is switched off for the server or the account.
    #[error(
        "JetStream is off: {reason}; switch it on for the server and the account, or, behind a leaf \
         node whose server has none, name the domain that has it with NatsOptions::domain"
    )]
    JetStreamOff {
        /// What the server said.
        reason: String,
    },
    /// There is no bucket of the group, and it was not to be created. Nothing was left behind.
    #[error("there is no bucket {bucket} in the JetStream of this account")]
    NoBucket {
        /// The bucket.
        bucket: String,
    },
    /// The bucket exists, and one of its settings makes it unfit. It was left as it is.
    #[error("bucket {bucket} has {setting} = {found}; needed: {needed}")]
    BucketMismatch {
        /// The bucket.
        bucket: String,
        /// The setting of its stream.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        needed: String,
    },
    /// Workers of the group are at work in another JetStream, as leaf nodes make it: here would be a second
    /// group of its name, and partitions would have two owners. The bucket may have been created; nothing
    /// else was written, and the other group goes on.
    #[error(
        "the group is at work in a JetStream {}, and this process uses one {}: name the right one with \
         NatsOptions::domain in every process (a JetStream without a domain is given one by its server)",
        jetstream(other.as_deref().unwrap_or_default()),
        jetstream(own.as_deref().unwrap_or_default())
    )]
    GroupElsewhere {
        /// The domain of the JetStream that this process uses, if it has one.
        own: Option<String>,
        /// The domain of the JetStream in which the group is at work, if it has one.
        other: Option<String>,
    },
    /// The account may not use a subject that is needed. The bucket may have been created.
    #[error("the server's permissions do not allow {subject:?}, needed to {purpose}")]
    Denied {
        /// The subject.
        subject: String,
        /// What it is needed for.
        purpose: String,
    },
    /// No answer in time. The bucket may have been created; opening again is safe.
    #[error("no answer within {after:?} when trying to {purpose}{hint}")]
    TimedOut {
        /// What was tried.
        purpose: String,
        /// The time.
        after: Duration,
        /// Something that may explain it, or nothing.
        hint: String,
    },
    /// The server refused for another reason. Opening again is safe.
    #[error("the server did not {purpose}: {reason}")]
    Refused {
        /// What was tried.
        purpose: String,
        /// What the server said.
        reason: String,
    },
}

/// Refuses a server that is too old, or whose version cannot be read.
pub(crate) fn ensure_version(found: &str) -> Result<(), OpenError> {
    if is_good_enough(found) {
        return Ok(());
    }
    Err(OpenError::ServerTooOld {
        found: found.to_owned(),
        needed: MINIMUM_SERVER,
    })
}

/// A JetStream by its domain, which is empty without one.
pub(crate) fn jetstream(domain: &str) -> String {
    match domain {
        "" => "without a domain".to_owned(),
        domain => format!("of domain {domain:?}"),
    }
}

impl OpenError {
    /// A failed request of the opening, named by its purpose.
    pub(crate) fn from_failure(failure: Failure, purpose: &str, api: &ApiPrefix) -> Self {
        let purpose = purpose.to_owned();
        match failure {
            Failure::TimedOut { after, hint } => Self::TimedOut {
                purpose,
                after,
                hint: hint.map_or_else(String::new, |hint| format!(" ({hint})")),
            },
            Failure::Denied { subject } => Self::Denied { subject, purpose },
            Failure::NoResponders => Self::JetStreamOff {
                reason: format!(
                    "nobody answers at {} (domain or API prefix: {api})",
                    api.method(">")
                ),
            },
            Failure::Server { code, description }
                if code == code::NOT_ENABLED || code == code::NOT_FOR_ACCOUNT =>
            {
                Self::JetStreamOff {
                    reason: format!("{description} (error {code})"),
                }
            }
            other @ (Failure::NotConnected { .. }
            | Failure::NotCommitted
            | Failure::NotAsked(_)
            | Failure::Alone { .. }
            | Failure::TooOld { .. }
            | Failure::Broken(_)
            | Failure::TooLarge(_)
            | Failure::BadSubject(_)
            | Failure::Server { .. }
            | Failure::Malformed(_)) => Self::Refused {
                purpose,
                reason: other.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 2.12.0 checks conditions wrongly: a group on it has no exclusion at all.
    #[test]
    fn an_old_or_unreadable_version_is_refused_with_both_versions() {
        for found in ["2.12.0", "2.10.26", "unknown"] {
            let error = ensure_version(found).expect_err(found).to_string();
            assert!(error.contains(found) && error.contains("2.12.1"), "{error}");
        }
        assert_eq!(ensure_version("2.12.1"), Ok(()));
    }
}
