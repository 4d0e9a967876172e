//! Which version the server has that leads the stream: it is the one that checks conditions.
//!
//! It is separate because the connection may end at another server, and the lead may move while
//! workers run. What always holds: a batch is sent only after the leader has said, on this connection and
//! a moment ago, that it is new enough.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::version::is_good_enough;

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
    history: Option<History>,
}

/// Which history the stream has, and how many replicas keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct History {
    /// When it was created, in nanoseconds.
    pub(crate) created: u64,
    /// How many replicas there are.
    pub(crate) replicas: usize,
}

impl StreamLeader {
    /// An answer of the leader came.
    pub(crate) fn saw(&self, version: Option<&str>, history: Option<History>, connection: u64) {
        let version = version.unwrap_or("older than 2.11").to_owned();
        let mut said = self.said();
        let before = said.as_ref().map(|said| said.version.as_str());
        if !is_good_enough(&version) && before != Some(&version) {
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
            history,
        });
    }

    /// The history that the leader told last, however long ago that was.
    pub(crate) fn history(&self) -> Option<History> {
        self.said().as_ref().and_then(|said| said.history)
    }

    /// Whether a leader that is new enough has said so a moment ago, on this connection.
    pub(crate) fn is_known_good(&self, connection: u64) -> bool {
        self.said().as_ref().is_some_and(|said| {
            said.at.elapsed() < FRESH
                && said.connection == connection
                && is_good_enough(&said.version)
        })
    }

    /// A panic leaves the value whole, so a poisoned lock is usable.
    fn said(&self) -> MutexGuard<'_, Option<Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
