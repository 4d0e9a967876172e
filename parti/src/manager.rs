//! The manager: a worker of a group as seen by the program it runs in.
//!
//! It is separate from the driver because it holds no state of its own: it reads what the driver
//! publishes and sends it requests. What always holds: no method waits for a callback of the user,
//! and after the end each one says so.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt as _;
use parti_core::{Config, PartitionSource, State, Status, StopMode, Store, Version, WorkerId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::{Ended, LaunchError, RequestError, StopError, StopFailure, StopReport};
use crate::handler::guard::Guard;
use crate::handler::{HandlerError, PartitionHandler};
use crate::manager::builder::{Handling, ManagerBuilder};
use crate::observe::health::{Health, judge};
use crate::observe::subscription::Subscription;
use crate::shell::driver::{Input, Request};
use crate::shell::shared::{Outcome, Shared};

pub(crate) mod builder;
mod history;

/// One worker of a group: it holds an ID, takes part in elections, and calls its
/// [`PartitionHandler`] as partitions come and go.
///
/// End it with [`Manager::stop`]. Dropping it instead is like a crash: the driver ends, every guard
/// is invalid at once, callbacks that run are dropped and `on_revoked` is not called. The session
/// stays in the store, and the group gives the partitions to others once its lease is over.
///
/// ```
/// # use async_trait::async_trait;
/// use parti::{Config, Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preset, RevokeCause};
/// use parti::StopMode;
/// use parti::sources::StaticSource;
///
/// struct Print;
///
/// #[async_trait]
/// impl PartitionHandler for Print {
///     async fn on_assigned(&self, partition: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
///         println!("{partition} is mine, token {}", guard.token());
///         Ok(())
///     }
///     async fn on_revoked(&self, partition: &PartitionKey, guard: Guard, cause: RevokeCause) {
///         println!("{partition} with token {} ends: {cause}", guard.token());
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::builder("orders").preset(Preset::Fast).expected_workers(1).build()?;
/// let source = StaticSource::numbered("orders", 8)?;
/// let manager = Manager::builder(config, source, Print).start().await?;
/// manager.wait_assigned().await?;
/// assert_eq!(manager.assignment().len(), 8);
/// manager.stop(StopMode::Handoff).await?;
/// # Ok(())
/// # }
/// ```
pub struct Manager {
    config: Config,
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    inbox: mpsc::Sender<Input>,
    driver: JoinHandle<()>,
    /// Whether its handler prepares for partitions.
    prepares: bool,
}

impl Manager {
    /// Begins a worker: what it is called and how fast it is, which partitions there are, and what
    /// to do with them.
    pub fn builder(
        config: Config,
        source: impl PartitionSource,
        handler: impl PartitionHandler,
    ) -> ManagerBuilder {
        let handling = Handling::Handler(Arc::new(handler));
        ManagerBuilder::new(config, Arc::new(source), handling)
    }

    /// As [`Manager::builder`], with one task per partition instead of a handler: what most workers need.
    ///
    /// `work` is called with the guard of each partition that becomes this worker's, and what it answers
    /// runs until the partition is revoked. [`Guard::revoking`] and [`Guard::is_revoking`] tell it to
    /// finish; the next owner begins only when it has ended, or after `drain_timeout`. When the guard is
    /// invalid, it is dropped where it waits.
    ///
    /// Work that fails, panics or returns before is told
    /// ([`ManagerNotice::TaskEnded`](crate::events::ManagerNotice::TaskEnded), a warning in the log, and
    /// `parti_task_ends_total`) and begun again, with the same guard, after pauses from 1 s up to a minute.
    /// Where nothing is left to do, wait for [`Guard::revoking`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// use parti::sources::StaticSource;
    /// use parti::{Config, Manager, Preset};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::builder("orders").preset(Preset::Fast).expected_workers(1).build()?;
    /// let source = StaticSource::numbered("orders", 8)?;
    /// let manager = Manager::with_tasks(config, source, |guard| async move {
    ///     while !guard.is_revoking() {
    ///         // One piece of work. Pass the token to whatever it writes to.
    ///         println!("{} with token {}", guard.partition(), guard.token());
    ///         tokio::select! {
    ///             () = guard.revoking() => {}
    ///             () = tokio::time::sleep(Duration::from_secs(1)) => {}
    ///         }
    ///     }
    ///     Ok(())
    /// });
    /// let manager = manager.start().await?;
    /// manager.run_until(manager.wait_assigned()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_tasks<W, F>(config: Config, source: impl PartitionSource, work: W) -> ManagerBuilder
    where
        W: Fn(Guard) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let work = Arc::new(move |guard| work(guard).boxed());
        ManagerBuilder::new(config, Arc::new(source), Handling::Tasks(work))
    }

    pub(crate) fn new(
        config: Config,
        shared: Arc<Shared>,
        store: Arc<dyn Store>,
        (inbox, driver): (mpsc::Sender<Input>, JoinHandle<()>),
        prepares: bool,
    ) -> Self {
        Self {
            config,
            shared,
            store,
            inbox,
            driver,
            prepares,
        }
    }

    /// The configuration it was built with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The ID this worker holds; `None` while it has lost one and looks for another, and after the
    /// end.
    #[must_use]
    pub fn worker_id(&self) -> Option<WorkerId> {
        let held = self.shared.status.borrow().worker.clone();
        held.filter(|_| self.shared.ended().is_none())
    }

    /// Whether this worker leads the group. Nothing may depend on there being only one that
    /// believes so.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.shared.ended().is_none() && self.shared.status.borrow().is_leader
    }

    /// Where this worker stands; [`State::Shutdown`] after the end.
    #[must_use]
    pub fn state(&self) -> State {
        let state = self.shared.status.borrow().state;
        self.shared.ended().map_or(state, |_| State::Shutdown)
    }

    /// A full look at where this worker stands, as of the last thing that happened to it.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// The guards of the partitions this worker has, by key, those being drained included.
    #[must_use]
    pub fn assignment(&self) -> Vec<Guard> {
        self.shared.holdings().values().cloned().collect()
    }

    /// Reads the notices from now on. Any number of readers; none can slow down the worker.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        let sender = self.shared.notices.upgrade();
        let dropped = self.shared.dropped.clone();
        Subscription::new(sender.map(|sender| sender.subscribe()), dropped)
    }

    /// What is wrong with this worker right now; for probes, see [`Health::is_live`] and
    /// [`Health::is_ready`]. It never waits, neither for the store nor for the driver.
    #[must_use]
    pub fn health(&self) -> Health {
        health_of(&self.config, &self.shared)
    }

    /// As [`Manager::health`], for what answers probes elsewhere: it may be kept after the manager is gone,
    /// and says so then.
    pub fn health_reader(&self) -> impl Fn() -> Health + Clone + Send + Sync + 'static {
        let (config, shared) = (self.config.clone(), Arc::clone(&self.shared));
        move || health_of(&config, &shared)
    }

    /// Waits until this worker stands at `state`. A state it only passes through may be missed.
    ///
    /// # Errors
    /// [`Ended`] when the manager ends first. Waiting for [`State::Shutdown`] succeeds then.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing; it can be called again. There is no deadline: it ends with
    /// the manager.
    pub async fn wait_for(&self, state: State) -> Result<(), Ended> {
        match self.wait_until(|status| status.state == state).await {
            Err(_) if state == State::Shutdown => Ok(()),
            result => result,
        }
    }

    /// Waits until this worker has taken in its first assignment, which may be an empty one. The
    /// callbacks of its partitions have been called or will be.
    ///
    /// # Errors
    /// [`Ended`] when the manager ends first.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing; it can be called again. There is no deadline: it ends with
    /// the manager.
    pub async fn wait_assigned(&self) -> Result<(), Ended> {
        self.wait_until(|status| status.applied > Version::ZERO)
            .await
    }

    /// Has the leader list the partitions again, wherever it is. Answers with the version that
    /// contains the result.
    ///
    /// # Errors
    /// [`RequestError::Failed`] says why there is none; the assignment in force stays.
    ///
    /// # Cancellation safety
    /// Dropping the future abandons the answer, not the request. There is no deadline, since a request
    /// waits for a leader: bound it yourself.
    pub async fn refresh(&self) -> Result<Version, RequestError> {
        self.request(Request::Refresh).await
    }

    /// Has the leader rebalance now, without window or cooldown, wherever it is. Answers with the
    /// version that contains the result.
    ///
    /// # Errors
    /// [`RequestError::Failed`] says why there is none; the assignment in force stays.
    ///
    /// # Cancellation safety
    /// Dropping the future abandons the answer, not the request. There is no deadline, since a request
    /// waits for a leader: bound it yourself.
    pub async fn trigger_rebalance(&self) -> Result<Version, RequestError> {
        self.request(Request::Trigger).await
    }

    /// Leaves the group, for good, and answers when nothing is held any more. May be called again
    /// meanwhile, as to hurry with [`StopMode::Now`]; every call gets the answer.
    ///
    /// The report names what has no owner now because this worker was the last of its group.
    ///
    /// # Errors
    /// [`StopError`] lists every step that failed, and what nobody in a group that goes on may own
    /// ([`StopFailure::NobodyToTake`]). The manager has stopped all the same.
    ///
    /// # Cancellation safety
    /// Dropping the future abandons the answer, not the stop; a further call gets it. Bounded by
    /// `shutdown_timeout`, three `drain_timeout`s for the callbacks, and one lease, and for a handoff of a
    /// handler that prepares `prepare_timeout`; then the driver is
    /// ended with [`StopFailure::Hung`].
    pub async fn stop(&self, mode: StopMode) -> Result<StopReport, StopError> {
        let config = &self.config;
        let drains = config.drain_timeout().saturating_mul(3);
        let limit = config.shutdown_bound(self.prepares && mode == StopMode::Handoff);
        let limit = limit.saturating_add(drains);
        let limit = limit.saturating_add(config.lease());
        let stopping = async {
            // A driver that takes in nothing more has ended; its outcome says how.
            let _ = self.inbox.send(Input::Stop { mode }).await;
            self.outcome().await
        };
        let Ok(outcome) = tokio::time::timeout(limit, stopping).await else {
            // Before the task: a step of it that is under way ends with the guards invalid.
            self.shared.fail(format!("a stop hung for {limit:?}"));
            self.driver.abort();
            let failures = vec![StopFailure::Hung { after: limit }];
            return Err(StopError { failures });
        };
        let mut failures = outcome.failures;
        match outcome.ended {
            Ended::Stopped => {}
            ended @ (Ended::StartFailed(_) | Ended::HistoryLost(_) | Ended::Failed(_)) => {
                failures.push(StopFailure::Ended(ended));
            }
        }
        if failures.is_empty() {
            let left_unowned = outcome.left_unowned;
            Ok(StopReport { left_unowned })
        } else {
            Err(StopError { failures })
        }
    }

    /// Waits for the end of this worker, and says why it ended: it was stopped, or could not go on.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing; it can be called again. There is no deadline: it waits for
    /// the end.
    pub async fn closed(&self) -> Ended {
        self.outcome().await.ended
    }

    /// Goes on until `shutdown` is ready, then leaves the group as [`Manager::stop`] with
    /// [`StopMode::Handoff`] does. What `shutdown` answers is not looked at.
    ///
    /// ```no_run
    /// # async fn run(manager: parti::Manager) -> Result<(), parti::StopError> {
    /// manager.run_until(tokio::signal::ctrl_c()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StopError`] as of [`Manager::stop`]; it comes before `shutdown` is ready when the worker ends by
    /// itself, with [`StopFailure::Ended`].
    ///
    /// # Cancellation safety
    /// Dropping the future before `shutdown` is ready changes nothing; afterwards it abandons the answer,
    /// not the stop. There is no deadline until then, and that of [`Manager::stop`] from then on.
    pub async fn run_until(&self, shutdown: impl Future) -> Result<StopReport, StopError> {
        self.run_until_with(shutdown, StopMode::Handoff).await
    }

    /// As [`Manager::run_until`], for one that leaves in another way, such as [`StopMode::Restart`] where a
    /// replacement of the same name comes back at once.
    ///
    /// # Errors
    /// As of [`Manager::run_until`].
    ///
    /// # Cancellation safety
    /// As [`Manager::run_until`].
    pub async fn run_until_with(
        &self,
        shutdown: impl Future,
        mode: StopMode,
    ) -> Result<StopReport, StopError> {
        tokio::select! {
            _ = shutdown => {}
            _ = self.closed() => {}
        }
        self.stop(mode).await
    }

    /// Waits until an ID is held.
    pub(crate) async fn claimed(&self) -> Result<(), LaunchError> {
        let claimed = self.wait_until(|status| status.worker.is_some());
        claimed.await.map_err(|ended| match ended {
            Ended::StartFailed(error) => LaunchError::Start(error),
            other @ (Ended::Stopped | Ended::HistoryLost(_) | Ended::Failed(_)) => {
                LaunchError::Ended(other)
            }
        })
    }

    async fn wait_until(&self, reached: impl FnMut(&Status) -> bool) -> Result<(), Ended> {
        let mut status = self.shared.status.subscribe();
        tokio::select! {
            biased;
            outcome = self.outcome() => Err(outcome.ended),
            // The sender lives as long as this manager.
            _ = status.wait_for(reached) => Ok(()),
        }
    }

    async fn request(&self, kind: Request) -> Result<Version, RequestError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.inbox.send(Input::Request { kind, reply }).await;
        if sent.is_ok()
            && let Ok(result) = answer.await
        {
            return result;
        }
        Err(RequestError::Ended(self.outcome().await.ended))
    }

    /// Waits for the end.
    async fn outcome(&self) -> Outcome {
        let mut outcome = self.shared.outcome.subscribe();
        let ended = outcome.wait_for(Option::is_some).await;
        // The sender lives as long as this manager, and what was waited for is there.
        let ended = ended.ok().and_then(|outcome| outcome.clone());
        ended.unwrap_or_else(|| Outcome::of(Ended::Stopped, Vec::new()))
    }
}

fn health_of(config: &Config, shared: &Shared) -> Health {
    let (status, vitals) = (shared.status.borrow().clone(), shared.vitals());
    let (ended, now) = (shared.ended(), shared.clock.now());
    judge(config, now, ended.as_ref(), &status, &vitals)
}

impl Drop for Manager {
    fn drop(&mut self) {
        // Guards are invalid from here on, also if the runtime takes its time to end the task.
        self.shared.fail("the manager was dropped");
        self.driver.abort();
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("group", self.config.group())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
