//! What a caller holds: a directory, a connection, and the course of each call carried out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parti_core::{GroupName, PartitionKey, Token};
use parti_nats::async_nats::Client;
use parti_nats::route::{Ask, Asking, Bytes};
use parti_nats::{NatsOptions, NatsStore, OpenError};
use tokio::time::{Instant, timeout};

use super::course::{Candidate, Course, Next, Seen, Then};
use super::error::RouteError;
use super::limits::Limits;
use crate::observe::directory::Directory;

/// Sends requests to the owners of partitions. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    asking: Arc<Asking>,
    directory: Arc<Directory>,
    limits: Limits,
}

/// What an owner answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    token: Token,
    payload: Bytes,
}

impl Answer {
    /// The fencing token in whose name the request was handled. Of two answers of a partition the one with
    /// the larger token is of the later owner.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.token
    }

    /// What the owner's handler made of it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl Router {
    /// Over a connection, by a directory of the same group.
    #[must_use]
    pub fn new(client: Client, group: &GroupName, directory: Arc<Directory>) -> Self {
        Self {
            asking: Arc::new(Asking::new(client, group.clone())),
            directory,
            limits: Limits::default(),
        }
    }

    /// Connects to a NATS server, with one connection for the directory and one for the requests. A group
    /// that does not exist is not created, it is an error.
    ///
    /// # Errors
    /// Why the bucket could not be opened; nothing is left behind.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves nothing behind. It is bounded by the limits of `NatsStore::connect`.
    pub async fn nats(url: &str, group: &GroupName) -> Result<Self, OpenError> {
        let options = || NatsOptions::default().read_only();
        let (store, requests) = tokio::try_join!(
            NatsStore::connect(url, group, options()),
            NatsStore::connect(url, group, options()),
        )?;
        let client = requests.client().clone();
        Ok(Self::new(client, group, Arc::new(Directory::open(store))))
    }

    /// With other bounds. The clone goes on with its own.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What it knows of the group.
    #[must_use]
    pub const fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Sends a request to the owner of a partition and waits for its answer. When the partition moves, the
    /// next owner is asked.
    ///
    /// # Errors
    /// [`RouteError`]; [`RouteError::may_be_handled`] says what is left behind.
    ///
    /// # Cancellation safety
    /// Dropping the future abandons the answer, not a request that was sent. Bounded by
    /// [`Limits::within`].
    pub async fn call(
        &self,
        partition: &PartitionKey,
        payload: impl Into<Bytes>,
    ) -> Result<Answer, RouteError> {
        let (begun, payload) = (Instant::now(), payload.into());
        let mut course = Course::new(partition.clone(), self.limits.clone());
        loop {
            let seen = self.seen(partition);
            match course.next(begun.elapsed(), &seen) {
                Next::Ask {
                    candidate,
                    within,
                    hold,
                } => {
                    let Candidate { endpoint, token } = &candidate;
                    let ask = Ask {
                        partition: partition.clone(),
                        token: *token,
                        hold,
                        payload: payload.clone(),
                    };
                    let heard = self.asking.ask(endpoint, &ask, within).await;
                    match course.heard(&candidate, heard) {
                        Then::Done { token, payload } => return Ok(Answer { token, payload }),
                        Then::Fail(error) => return Err(error),
                        Then::GoOn { pause } if pause.is_zero() => {}
                        Then::GoOn { pause } => {
                            self.changes(partition, &seen, pause).await;
                        }
                    }
                }
                Next::Wait(at_most) => {
                    if !self.changes(partition, &seen, at_most).await {
                        course.waited();
                    }
                }
                Next::GiveUp(error) => return Err(error),
            }
        }
    }

    fn seen(&self, partition: &PartitionKey) -> Seen {
        match self.directory.owner_of(partition) {
            Some(owner) => Seen::Owner {
                worker: owner.worker,
                endpoint: owner.endpoint,
                token: owner.token,
            },
            None if self.directory.as_of().is_none() => Seen::Unread,
            None => Seen::Nobody,
        }
    }

    /// Whether the directory says something else within this time.
    async fn changes(&self, partition: &PartitionKey, seen: &Seen, at_most: Duration) -> bool {
        let known = seen.token();
        let other = |directory: &Directory| {
            let owner = directory.owner_of(partition);
            owner.map(|owner| owner.token) != known
        };
        let waited = timeout(at_most, self.directory.wait_for(other)).await;
        waited.is_ok()
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("directory", &self.directory)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
