//! What handlers write to: storage behind the partitions, which compares fencing tokens or does not.
//!
//! It is separate because it outlives every process. What always holds: requests of one process arrive in
//! the order in which they were sent, as on one connection, but perhaps much later, and even when the
//! process has ended.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parti::{Guard, PartitionKey, Token};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::judge::Property;
use super::process::{Process, Shared, locked};
use crate::simulator::{Dice, Purpose};

/// How long a handler waits for an answer.
const ANSWER: Duration = Duration::from_secs(1);
/// How long a request or an answer takes, at most.
const USUAL: Duration = Duration::from_millis(5);
/// How late a request can be.
const LATE: Duration = Duration::from_secs(4);

/// Whether a resource compares tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fencing {
    /// A request with a smaller token than the largest one seen for its partition is refused.
    Checked,
    /// Everything is carried out: storage that cannot compare a number.
    Ignored,
}

/// Storage of one value per partition that lives outside the workers.
#[derive(Clone, Debug)]
pub struct Resource {
    name: String,
    fencing: Fencing,
    values: BTreeMap<PartitionKey, Stored>,
    accepted: Vec<Accepted>,
    refused: u64,
}

/// What a resource keeps for a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The value; zero if none was written.
    pub value: u64,
    /// The largest token seen with a request.
    pub token: Token,
}

/// A write that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// When, from the beginning of the run.
    pub at: Duration,
    /// The number of the process that sent it. It may have been dead by then.
    pub process: u64,
    /// The partition.
    pub partition: PartitionKey,
    /// The token it came with.
    pub token: Token,
    /// The value.
    pub value: u64,
}

/// Why a request to a resource has no good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// There was no answer within a second. It was carried out, or will be, or never.
    Unknown,
    /// The token is smaller than one that the resource has seen.
    Refused {
        /// The largest one.
        newest: Token,
    },
    /// The scenario has no resource of this name.
    NoSuchResource {
        /// The name.
        name: String,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no answer: whether it was carried out is not known"),
            Self::Refused { newest } => write!(f, "refused: the newest token is {newest}"),
            Self::NoSuchResource { name } => {
                write!(f, "no resource is called {name}: add it to the scenario")
            }
        }
    }
}

impl core::error::Error for WriteError {}

impl Resource {
    /// An empty one.
    #[must_use]
    pub fn new(name: &str, fencing: Fencing) -> Self {
        Self {
            name: name.to_owned(),
            fencing,
            values: BTreeMap::new(),
            accepted: Vec::new(),
            refused: 0,
        }
    }

    /// The name that requests use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is kept for a partition.
    #[must_use]
    pub fn stored(&self, partition: &PartitionKey) -> Stored {
        self.values.get(partition).copied().unwrap_or_default()
    }

    /// Every write that was carried out, in order.
    #[must_use]
    pub fn accepted(&self) -> &[Accepted] {
        &self.accepted
    }

    /// How many requests were refused for their token.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Carries out a request. The second answer is a larger token that was written before it.
    fn execute(
        &mut self,
        (at, process): (Duration, u64),
        request: &Request,
    ) -> (Result<Stored, WriteError>, Option<Token>) {
        let Request {
            partition, token, ..
        } = request;
        let stored = self.values.entry(partition.clone()).or_default();
        let newest = stored.token;
        if self.fencing == Fencing::Checked && *token < newest {
            self.refused += 1;
            return (Err(WriteError::Refused { newest }), None);
        }
        stored.token = newest.max(*token);
        let mut overwrites = None;
        if let Some(value) = request.value {
            stored.value = value;
            overwrites = (*token < newest).then_some(newest);
            self.accepted.push(Accepted {
                at,
                process,
                partition: partition.clone(),
                token: *token,
                value,
            });
        }
        (Ok(*stored), overwrites)
    }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Request {
    resource: String,
    partition: PartitionKey,
    token: Token,
    /// The value to write; reads have none.
    value: Option<u64>,
    arrives: Instant,
    answer: oneshot::Sender<Result<Stored, WriteError>>,
}

/// The way of one process to all resources.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    requests: mpsc::UnboundedSender<Request>,
    dice: Dice,
    /// How many requests were sent.
    sent: Arc<AtomicU64>,
}

impl Connection {
    /// Opens it: what is sent is carried out by a task that goes on when the process has ended.
    pub(super) fn open(shared: Shared, process: u64, seed: u64) -> Self {
        let (requests, queue) = mpsc::unbounded_channel();
        tokio::spawn(carry_out(shared, process, queue));
        Self {
            requests,
            dice: Dice::new(seed),
            sent: Arc::default(),
        }
    }

    async fn ask(
        &self,
        process: &Process,
        resource: &str,
        guard: &Guard,
        value: Option<u64>,
    ) -> Result<Stored, WriteError> {
        let now = Instant::now();
        let late_ppm = {
            let mut watched = locked(&process.shared);
            watched
                .judge
                .on_sent(process.number, guard, resource, value.is_some());
            watched.handlers.late_write_ppm
        };
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let roll = self
            .dice
            .roll(Purpose::RequestDelay, process.number, number);
        let late = roll.ppm(late_ppm);
        let delay = roll.again().duration(if late { LATE } else { USUAL });
        let (answer, answered) = oneshot::channel();
        let request = Request {
            resource: resource.to_owned(),
            partition: guard.partition().clone(),
            token: guard.token(),
            value,
            arrives: now + delay,
            answer,
        };
        let _ = self.requests.send(request);
        match timeout_at(now + ANSWER, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(WriteError::Unknown),
        }
    }
}

/// Carries out the requests of a process, each when it arrives, until there are no more.
async fn carry_out(shared: Shared, process: u64, mut queue: mpsc::UnboundedReceiver<Request>) {
    let begun = locked(&shared).judge.begun;
    while let Some(request) = queue.recv().await {
        sleep_until(request.arrives).await;
        let mut watched = locked(&shared);
        let mut resources = watched.resources.iter_mut();
        let Some(resource) = resources.find(|resource| resource.name == request.resource) else {
            let name = request.resource;
            let _ = request
                .answer
                .send(Err(WriteError::NoSuchResource { name }));
            continue;
        };
        let (answer, overwrites) = resource.execute((begun.elapsed(), process), &request);
        if let Some(newest) = overwrites {
            let (partition, token) = (&request.partition, request.token);
            let name = &request.resource;
            let what =
                format!("{name}: process {process} writes {partition} with {token} after {newest}");
            watched.judge.violate(Property::FencedWrite, what);
        }
        drop(watched);
        let _ = request.answer.send(answer);
    }
}

impl Process {
    /// Writes the value of a guard's partition to a resource of the scenario, with the guard's token. Ask the
    /// guard right before: a request that is sent with an invalid one is a violation.
    ///
    /// # Errors
    /// [`WriteError`]; with [`WriteError::Unknown`] the value may be stored, also later.
    ///
    /// # Cancellation safety
    /// A request that was sent is carried out, though the future is dropped. Bounded by one second.
    pub async fn write(
        &self,
        resource: &str,
        guard: &Guard,
        value: u64,
    ) -> Result<Stored, WriteError> {
        self.connection
            .ask(self, resource, guard, Some(value))
            .await
    }

    /// Reads the value of a guard's partition. A resource that compares tokens takes nothing of earlier
    /// owners from then on.
    ///
    /// # Errors
    /// As [`Process::write`].
    ///
    /// # Cancellation safety
    /// As [`Process::write`].
    pub async fn read(&self, resource: &str, guard: &Guard) -> Result<Stored, WriteError> {
        self.connection.ask(self, resource, guard, None).await
    }
}
