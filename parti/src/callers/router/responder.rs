//! The handler of a worker that answers requests: it opens and closes partitions, and lets another handler
//! do what is to be done beside that.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use parti_core::{Endpoint, GroupName, PartitionKey, RevokeCause};
use parti_nats::async_nats::Client;
use parti_nats::route::{Bytes, Listening, unique_endpoint};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::error::ListenError;
use super::serving::{Request, Serving, listen};
use crate::handler::guard::Guard;
use crate::handler::{HandlerError, PartitionHandler, Preparation};
use crate::observe::directory::Directory;
use crate::system::random::random;

/// How many requests a worker has at a time, unless the builder says otherwise.
const MAX_REQUESTS: usize = 4096;
/// For how long a worker that ends still refuses those that have not heard of it.
const LINGER: Duration = Duration::from_millis(250);
/// How long the end may take after that: a client without a connection takes in nothing.
const CLOSING: Duration = Duration::from_secs(5);

/// Puts a [`Responder`] together.
pub struct ResponderBuilder {
    client: Client,
    group: GroupName,
    endpoint: Endpoint,
    max_requests: usize,
    directory: Option<Arc<Directory>>,
    beside: Option<Arc<dyn PartitionHandler>>,
}

impl ResponderBuilder {
    /// The address at which it answers, instead of one that is made up: what the worker advertises, as the
    /// one at which it serves HTTP. **No two processes may ever have the same.**
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// How many requests there may be at a time, those that wait for their partition included (4096). What
    /// comes beyond is refused, and its caller tries again.
    #[must_use]
    pub fn max_requests(mut self, max_requests: usize) -> Self {
        self.max_requests = max_requests.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self
    }

    /// Lets refusals name the owner, as far as it is known here. Callers whose directory is behind are faster
    /// then; it costs this worker a [`Directory`].
    #[must_use]
    pub fn directory(mut self, directory: Arc<Directory>) -> Self {
        self.directory = Some(directory);
        self
    }

    /// What is to be done with partitions beside answering: its `on_assigned` has ended before the first
    /// request comes, and its `on_revoked` begins after the last one has ended.
    #[must_use]
    pub fn beside(mut self, handler: impl PartitionHandler) -> Self {
        self.beside = Some(Arc::new(handler));
        self
    }

    /// Begins to listen, and answers each request for an owned partition with what `answer` makes of it.
    /// Requests run side by side, also those of one partition.
    ///
    /// A future that is not ready when the guard becomes invalid is dropped. One that panics is a failure
    /// that the caller is told.
    ///
    /// # Errors
    /// [`ListenError`] when the client is closed.
    ///
    /// # Cancellation safety
    /// Dropping the future ends the listening. Bounded by the client, which waits for a connection.
    pub async fn on_request<W, F, R>(self, answer: W) -> Result<Responder, ListenError>
    where
        W: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<R, HandlerError>> + Send + 'static,
        R: Into<Bytes>,
    {
        let Self {
            client,
            group,
            endpoint,
            max_requests,
            directory,
            beside,
        } = self;
        let listening = Listening::begin(client.clone(), &group, &endpoint).await;
        let listening = listening.map_err(|reason| ListenError { reason })?;
        let service = Arc::new(move |request| {
            let answering = answer(request);
            async move { answering.await.map(Into::into) }.boxed()
        });
        let serving = Arc::new(Serving::new(service, max_requests, directory));
        let end = Arc::new(Notify::new());
        let task = tokio::spawn(listen(Arc::clone(&serving), listening, Arc::clone(&end)));
        Ok(Responder(Arc::new(Inner {
            client,
            endpoint,
            serving,
            beside,
            end,
            task: Mutex::new(Some(task)),
        })))
    }
}

impl fmt::Debug for ResponderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponderBuilder")
            .field("group", &self.group)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Answers requests for the partitions of its worker. Cheap to clone; give a clone to
/// [`Manager::builder`](crate::Manager::builder) as the handler, and its [`Responder::endpoint`] to
/// [`ManagerBuilder::advertise`](crate::ManagerBuilder::advertise).
///
/// When the worker ends, stop the manager first, then call [`Responder::close`].
#[derive(Clone)]
pub struct Responder(Arc<Inner>);

struct Inner {
    client: Client,
    endpoint: Endpoint,
    serving: Arc<Serving>,
    beside: Option<Arc<dyn PartitionHandler>>,
    end: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Responder {
    /// Begins one: over which connection, for which group. Give it a connection of its own, beside that of
    /// the manager, where requests are many: renewals must not wait behind them.
    #[must_use]
    pub fn builder(client: Client, group: &GroupName) -> ResponderBuilder {
        ResponderBuilder {
            client,
            group: group.clone(),
            endpoint: unique_endpoint(random()),
            max_requests: MAX_REQUESTS,
            directory: None,
            beside: None,
        }
    }

    /// Where it answers: to be advertised.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Ends it: callers that have not heard yet are refused for a quarter of a second, so that they look
    /// again; then nothing is received any more, and what has been is answered. Call it when the manager
    /// has stopped. A further call does nothing.
    ///
    /// # Cancellation safety
    /// Dropping the future ends it at once; requests on their way have no answer then. Bounded by six
    /// seconds: where the server is out of reach, nobody hears it anyway.
    pub async fn close(&self) {
        let task = self.0.take();
        let Some(mut task) = task else { return };
        // Aborted with this future.
        let _ended = AbortOnDrop(task.abort_handle());
        let closing = async {
            if timeout(LINGER, &mut task).await.is_err() {
                self.0.end.notify_one();
                // It panics only with a defect of ours, and nobody could do more about it.
                let _ = task.await;
            }
            // Without a connection there is nobody to hear the answers.
            let _ = self.0.client.flush().await;
        };
        let _ = timeout(LINGER + CLOSING, closing).await;
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    fn take(&self) -> Option<JoinHandle<()>> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.take()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.take() {
            task.abort();
        }
    }
}

#[async_trait]
impl PartitionHandler for Responder {
    async fn on_assigned(
        &self,
        partition: &PartitionKey,
        guard: Guard,
    ) -> Result<(), HandlerError> {
        if let Some(beside) = &self.0.beside {
            beside.on_assigned(partition, guard.clone()).await?;
        }
        self.0.serving.open(guard);
        Ok(())
    }

    fn prepares(&self) -> bool {
        let beside = self.0.beside.as_ref();
        beside.is_some_and(|beside| beside.prepares())
    }

    async fn on_prepare(
        &self,
        partition: &PartitionKey,
        preparation: Preparation,
    ) -> Result<(), HandlerError> {
        match &self.0.beside {
            Some(beside) => beside.on_prepare(partition, preparation).await,
            None => Ok(()),
        }
    }

    async fn on_prepare_cancelled(&self, partition: &PartitionKey, preparation: Preparation) {
        if let Some(beside) = &self.0.beside {
            beside.on_prepare_cancelled(partition, preparation).await;
        }
    }

    async fn on_revoked(&self, partition: &PartitionKey, guard: Guard, cause: RevokeCause) {
        if let Some(open) = self.0.serving.close(partition, guard.token()) {
            open.ended().await;
        }
        if let Some(beside) = &self.0.beside {
            beside.on_revoked(partition, guard, cause).await;
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("endpoint", &self.0.endpoint)
            .field("serving", &self.0.serving)
            .finish_non_exhaustive()
    }
}
