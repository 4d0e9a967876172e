//! Which version the server has that leads the stream: it is the one that checks conditions.
//!
//! It is separate because the connection may end at another server, and the lead may move while
//! workers run. What always holds: a batch is sent only after the leader has said, on this connection and
//! a moment ago, that it is new enough.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::opening::bucket;
use crate::opening::version::check_version;
use crate::requests::api::{Api, connection};
use crate::requests::outcome::Failure;

/// For how long an answer counts: the lead moves in seconds, not in milliseconds.
const FRESH: Duration = Duration::from_secs(1);

/// What the stream's leader said last.
#[derive(Debug, Default)]
pub(crate) struct StreamLeader(Mutex<Option<Said>>);

#[derive(Clone, Debug)]
struct Said {
    version: String,
    at: Instant,
    connection: u64,
}

impl StreamLeader {
    /// An answer of the leader came.
    pub(crate) fn saw(&self, version: Option<&str>, connection: u64) {
        let version = version.unwrap_or("older than 2.11").to_owned();
        let mut said = self.said();
        let before = said.as_ref().map(|said| said.version.as_str());
        if check_version(&version).is_err() && before != Some(&version) {
            tracing::error!(
                version,
                "the server that leads the stream is too old to check the conditions of a batch"
            );
        }
        let at = Instant::now();
        *said = Some(Said {
            version,
            at,
            connection,
        });
    }

    /// Asks again unless the answer is fresh; refuses a leader that is too old.
    pub(crate) async fn check(
        &self,
        api: &Api,
        deadline: tokio::time::Instant,
    ) -> Result<(), Failure> {
        let fresh = |said: &Said| {
            said.at.elapsed() < FRESH
                && said.connection == connection(api)
                && check_version(&said.version).is_ok()
        };
        if self.said().as_ref().is_some_and(fresh) {
            return Ok(());
        }
        let info = bucket::info(api, deadline).await.map_err(unsent)?;
        match info.leader_version() {
            Some(version) if check_version(version).is_ok() => Ok(()),
            version => Err(Failure::TooOld {
                found: version.unwrap_or("older than 2.11").to_owned(),
            }),
        }
    }

    /// A panic leaves the value whole, so a poisoned lock is usable.
    fn said(&self) -> MutexGuard<'_, Option<Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question before a commit failed: nothing of the commit was sent.
pub(crate) fn unsent(failure: Failure) -> Failure {
    match failure {
        Failure::TimedOut { .. } | Failure::Broken(_) | Failure::Malformed(_) => {
            Failure::NotAsked(failure.to_string())
        }
        other @ (Failure::NotConnected { .. }
        | Failure::NotCommitted
        | Failure::TooOld { .. }
        | Failure::NotAsked(_)
        | Failure::NoResponders
        | Failure::TooLarge(_)
        | Failure::BadSubject(_)
        | Failure::Denied { .. }
        | Failure::Server { .. }) => other,
    }
}
