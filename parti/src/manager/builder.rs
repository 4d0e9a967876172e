//! How a manager is put together: what must be given is a parameter, what has a default a method.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parti_core::callbacks::Limits;
use parti_core::{AssignmentStrategy, Boot, Config, Core, Endpoint, PartitionSource, Store};
use tokio::sync::{broadcast, mpsc};
use tracing::{Instrument as _, Span};

use crate::error::LaunchError;
use crate::handler::PartitionHandler;
use crate::manager::Manager;
use crate::observe::health::VitalSigns;
use crate::observe::hooks::{self, HookEvent, Hooks};
use crate::observe::instrument::Instruments;
use crate::observe::meter;
use crate::observe::observer::Observer;
use crate::observe::subscription::{ManagerNotice, RING, Subscription};
use crate::shell::driver::{Driver, INBOX, Parts};
use crate::shell::partition_tasks::{PartitionTasks, Work};
use crate::shell::planted::Bugs;
use crate::shell::shared::Shared;
use crate::stores::local_store::LocalStore;
use crate::system::clock::Clock;
use crate::system::machine::{self, Machine};
use crate::system::random::Randomness;

/// How long a hook may take unless set.
const HOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Collects what a [`Manager`] needs; begun by [`Manager::builder`].
#[must_use = "a builder does nothing until `start`"]
pub struct ManagerBuilder {
    config: Config,
    source: Arc<dyn PartitionSource>,
    handling: Handling,
    store: StoreChoice,
    strategy: Arc<dyn AssignmentStrategy>,
    clock: Clock,
    machine: Option<Machine>,
    randomness: Randomness,
    bugs: Bugs,
    limits: Limits,
    hooks: Option<Arc<dyn Hooks>>,
    hook_timeout: Duration,
    metric_labels: Vec<(String, String)>,
    endpoint: Option<String>,
    notices: broadcast::Sender<Arc<ManagerNotice>>,
}

/// Who processes the partitions.
pub(crate) enum Handling {
    Handler(Arc<dyn PartitionHandler>),
    Tasks(Work),
}

impl Handling {
    fn prepares(&self) -> bool {
        match self {
            Self::Handler(handler) => handler.prepares(),
            Self::Tasks(_) => false,
        }
    }
}

/// Where the group keeps its records.
enum StoreChoice {
    Given(Arc<dyn Store>),
    #[cfg(feature = "nats")]
    Nats(Box<crate::stores::nats::Opening>),
    #[cfg(feature = "sqlite")]
    Sqlite(std::path::PathBuf),
}

impl ManagerBuilder {
    pub(crate) fn new(
        config: Config,
        source: Arc<dyn PartitionSource>,
        handling: Handling,
    ) -> Self {
        let limits = Limits {
            prepare: config.prepare_timeout(),
            ..Limits::new(config.drain_timeout())
        };
        Self {
            config,
            source,
            handling,
            store: StoreChoice::Given(Arc::new(LocalStore::new())),
            strategy: Arc::new(parti_strategy::Sticky::new()),
            clock: Clock::boot(),
            machine: None,
            randomness: Randomness::System,
            bugs: Bugs::default(),
            limits,
            hooks: None,
            hook_timeout: HOOK_TIMEOUT,
            metric_labels: Vec::new(),
            endpoint: None,
            notices: broadcast::Sender::new(RING),
        }
    }

    /// The store of the group, such as a clone of a [`LocalStore`] or an `Arc<dyn Store>` that is used
    /// elsewhere, too. The default is a [`LocalStore`] of its own: a group of one.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = StoreChoice::Given(Arc::new(store));
        self
    }

    /// Keeps the group's records on a NATS server, such as `nats://127.0.0.1:4222`, in a bucket
    /// named after the group. User and password, or a token, may stand in the address. For other
    /// logins and TLS see [`ManagerBuilder::nats_with`]; for a connection that exists already, make
    /// a [`NatsStore`](crate::nats::NatsStore) and pass it to [`ManagerBuilder::store`].
    #[cfg(feature = "nats")]
    pub fn nats(self, url: &str) -> Self {
        let connect = crate::nats::async_nats::ConnectOptions::new();
        self.nats_with(url, connect, crate::nats::NatsOptions::default())
    }

    /// As [`ManagerBuilder::nats`], with the client's own options for authentication, TLS and names,
    /// and with options for the bucket. The time-out of requests is the configuration's.
    ///
    /// ```no_run
    /// # use parti::{Config, Manager, PartitionHandler};
    /// # use parti::sources::StaticSource;
    /// # async fn example(handler: impl PartitionHandler) -> Result<(), Box<dyn std::error::Error>> {
    /// use parti::nats::NatsOptions;
    /// use parti::nats::async_nats::ConnectOptions;
    ///
    /// let connect = ConnectOptions::with_credentials_file("worker.creds")
    ///     .await?
    ///     .add_root_certificates("ca.pem".into());
    /// let config = Config::builder("orders").build()?;
    /// let source = StaticSource::numbered("orders", 64)?;
    /// let manager = Manager::builder(config, source, handler)
    ///     .nats_with("tls://nats.example:4222", connect, NatsOptions::default().replicas(3))
    ///     .start()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "nats")]
    pub fn nats_with(
        mut self,
        url: &str,
        connect: crate::nats::async_nats::ConnectOptions,
        options: crate::nats::NatsOptions,
    ) -> Self {
        let opening = crate::stores::nats::Opening {
            url: url.to_owned(),
            connect,
            options: options.request_timeout(self.config.request_timeout()),
            group: self.config.group().clone(),
        };
        self.store = StoreChoice::Nats(Box::new(opening));
        self
    }

    /// Keeps the group's records in a file that every worker process of this machine opens; it is created if
    /// there is none. See [`SqliteStore`](crate::store::SqliteStore). The time-out of requests is the
    /// configuration's.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(mut self, path: impl AsRef<std::path::Path>) -> Self {
        self.store = StoreChoice::Sqlite(path.as_ref().to_owned());
        self
    }

    /// How partitions are split; the default is [`Sticky`](crate::strategy::Sticky). All workers of a group
    /// should use the same.
    pub fn strategy(mut self, strategy: impl AssignmentStrategy) -> Self {
        self.strategy = Arc::new(strategy);
        self
    }

    /// How many `on_assigned`, and how many `on_revoked`, run at once; default 64, at least 1.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.limits.concurrency = concurrency;
        self
    }

    /// How long one call of `on_assigned` may take before it counts as failed and is dropped, and its
    /// place is free for the next; `None` is no limit. Default: 5 minutes.
    ///
    /// Whatever it is, a worker is not ready while a partition of its own has not begun within
    /// `drain_timeout`.
    pub fn assign_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limits.assign = limit.into();
        self
    }

    /// How often in a row `on_assigned` may fail for a partition before the leader is asked to give it
    /// to another worker; default 3, at least 1. Until somebody else has it, it is tried again here,
    /// after pauses from 1 s up to a minute.
    pub fn assign_attempts(mut self, attempts: u32) -> Self {
        self.limits.attempts = attempts;
        self
    }

    /// What watches the worker; the default is nobody.
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Some(Arc::new(hooks));
        self
    }

    /// How long one call of a hook may take before it is given up; default 5 s.
    pub fn hook_timeout(mut self, limit: Duration) -> Self {
        self.hook_timeout = limit;
        self
    }

    /// Adds a label to every metric of this manager, as to tell apart several managers of a group in
    /// one process. Its values must be few: never a partition or a session. A name that a metric has
    /// already, such as `group`, is refused by [`ManagerBuilder::start`].
    pub fn metric_label(mut self, name: &str, value: &str) -> Self {
        self.metric_labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Tells everybody who reads the group where this worker can be reached, such as
    /// `http://127.0.0.1:8080`. It is stored in clear with the session, at most 256 bytes without spaces;
    /// what it means is up to the program. What breaks that is refused by [`ManagerBuilder::start`].
    pub fn advertise(mut self, endpoint: &str) -> Self {
        self.endpoint = Some(endpoint.to_owned());
        self
    }

    /// The clock; the default is [`Clock::boot`].
    ///
    /// A test with paused time (`#[tokio::test(start_paused = true)]`) needs [`Clock::tokio`]: with the
    /// default, leases go on in real time while the runtime's timers jump. `tests/paused_time.rs` of
    /// this crate is a complete example.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Lets every random number of this worker follow from a seed, and plans be made on the runtime's own
    /// thread. In a test with paused time, [`Clock::tokio`] and one thread the same seed gives the same
    /// run. Give each worker another seed: workers of one seed cannot be told apart.
    pub fn deterministic(mut self, seed: u64) -> Self {
        self.randomness = Randomness::Seeded(seed);
        self
    }

    /// Runs driver and callbacks on a simulated machine, with its clock: a test can let this one worker stand
    /// still.
    pub fn machine(mut self, machine: &Machine) -> Self {
        self.clock = machine.clock();
        self.machine = Some(machine.clone());
        self
    }

    /// Plants a bug. **Not for production.**
    #[cfg(feature = "planted")]
    pub fn planted(mut self, bug: crate::shell::planted::ShellBug) -> Self {
        self.bugs = Bugs::one(bug);
        self
    }

    /// Reads the notices from the start on, those of the start included.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        let dropped = meter::dropped(&self.instruments(), "subscription");
        Subscription::new(Some(self.notices.subscribe()), dropped)
    }

    fn instruments(&self) -> Instruments {
        Instruments::new(self.config.group().as_str(), &self.metric_labels)
    }

    /// Starts the worker and answers once it holds an ID, within `startup_timeout`. Partitions come
    /// later: see [`Manager::wait_assigned`].
    ///
    /// # Errors
    /// [`LaunchError`]; nothing is held then.
    ///
    /// # Cancellation safety
    /// Dropping the future is like dropping the manager: its driver ends, and a session that was just
    /// claimed ends by itself after one lease. It may be bounded tighter by the caller. Bounded by
    /// `startup_timeout` for the claim, after the limits of the store's own opening: with
    /// `ManagerBuilder::nats` those of `NatsStore::connect`.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    pub async fn start(self) -> Result<Manager, LaunchError> {
        if let Some(name) = Instruments::taken(&self.metric_labels) {
            let name = name.to_owned();
            return Err(LaunchError::MetricLabel { name });
        }
        let endpoint = self.endpoint.as_deref().map(Endpoint::new).transpose();
        let endpoint = endpoint.map_err(LaunchError::Endpoint)?;
        let instruments = self.instruments();
        let span = tracing::info_span!("parti", group = %self.config.group());
        let store = self.store.open(&self.config).await?;
        let boot = Boot {
            prepares: self.handling.prepares(),
            ..boot(&self.clock, self.randomness, &*self.strategy, endpoint)
        };
        let prepares = boot.prepares;
        let core = Core::new(self.config.clone(), boot);
        let notices = self.notices;
        let dropped = meter::dropped(&instruments, "subscription");
        let clock = self.clock.clone();
        let vitals = Arc::new(VitalSigns::new(clock.now()));
        let status = core.status();
        let shared = Shared::new(
            clock,
            status.clone(),
            &notices,
            dropped,
            Arc::clone(&vitals),
        );
        let shared = Arc::new(shared);
        let hooks = self
            .hooks
            .map(|hooks| watch(hooks, self.hook_timeout, &instruments, &span));
        let config = &self.config;
        let signs = Arc::clone(&vitals);
        let observer = span.in_scope(|| Observer::new(config, &instruments, status, vitals, hooks));
        let (sender, inbox) = mpsc::channel(INBOX);
        let handler = match self.handling {
            Handling::Handler(handler) => handler,
            Handling::Tasks(work) => Arc::new(PartitionTasks::new(work, sender.clone())),
        };
        let asked = Arc::clone(&handler);
        signs.ask(move || asked.trouble());
        let config = self.config.clone();
        let parts = Parts {
            config: self.config,
            clock: self.clock,
            machine: self.machine.clone(),
            store: Arc::clone(&store),
            source: self.source,
            strategy: self.strategy,
            handler,
            limits: self.limits,
            observer,
            randomness: self.randomness,
            bugs: self.bugs,
        };
        let ends = (sender.clone(), inbox);
        let driver = Driver::new(core, parts, Arc::clone(&shared), notices, ends);
        let driver = machine::on(self.machine, driver.run());
        let driver = tokio::spawn(driver.instrument(span));
        let manager = Manager::new(config, shared, store, (sender, driver), prepares);
        manager.claimed().await?;
        Ok(manager)
    }
}

/// Begins to call hooks; events go into what is answered.
fn watch(
    hooks: Arc<dyn Hooks>,
    timeout: Duration,
    instruments: &Instruments,
    span: &Span,
) -> broadcast::Sender<Arc<HookEvent>> {
    let sender = broadcast::Sender::new(RING);
    let limits = hooks::Limits {
        timeout,
        dropped: meter::dropped(instruments, "hooks"),
        timed_out: meter::hook_failures(instruments, "timeout"),
        panicked: meter::hook_failures(instruments, "panic"),
    };
    let running = hooks::run(hooks, sender.subscribe(), limits);
    tokio::spawn(running.instrument(span.clone()));
    sender
}

impl StoreChoice {
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(unused_variables, reason = "only a file needs it")
    )]
    async fn open(self, config: &Config) -> Result<Arc<dyn Store>, LaunchError> {
        match self {
            Self::Given(store) => Ok(store),
            #[cfg(feature = "nats")]
            Self::Nats(opening) => opening.open().await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => crate::stores::sqlite::open(&path, config).await,
        }
    }
}

fn boot(
    clock: &Clock,
    randomness: Randomness,
    strategy: &dyn AssignmentStrategy,
    endpoint: Option<Endpoint>,
) -> Boot {
    let now = clock.now();
    Boot {
        now,
        wall_ms: randomness.wall_ms(now),
        seed: randomness.seed(),
        strategy: strategy.id(),
        software: concat!("parti/", env!("CARGO_PKG_VERSION")).to_owned(),
        endpoint,
        prepares: false,
    }
}

impl fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerBuilder")
            .field("config", &self.config)
            .field("strategy", &self.strategy.id())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
