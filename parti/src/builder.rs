//! How a manager is put together: what must be given is a parameter, what has a default a method.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parti_core::{AssignmentStrategy, Boot, Config, Core, PartitionSource, Store};
use tokio::sync::{broadcast, mpsc};
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::driver::{Driver, INBOX, Parts};
use crate::error::LaunchError;
use crate::guard::Lease;
use crate::handler::PartitionHandler;
use crate::local_store::LocalStore;
use crate::manager::Manager;
use crate::shared::Shared;
use crate::subscription::{ManagerNotice, RING, Subscription};

/// How many callbacks of a kind run at once unless set.
const CONCURRENCY: usize = 64;

/// Collects what a [`Manager`] needs; begun by [`Manager::builder`].
#[must_use = "a builder does nothing until `start`"]
pub struct ManagerBuilder {
    config: Config,
    source: Arc<dyn PartitionSource>,
    handler: Arc<dyn PartitionHandler>,
    store: StoreChoice,
    strategy: Arc<dyn AssignmentStrategy>,
    clock: Clock,
    concurrency: usize,
    notices: broadcast::Sender<Arc<ManagerNotice>>,
}

/// Where the group keeps its records.
enum StoreChoice {
    Given(Arc<dyn Store>),
    #[cfg(feature = "nats")]
    Nats {
        url: String,
        config: Box<Config>,
    },
}

impl ManagerBuilder {
    pub(crate) fn new(
        config: Config,
        source: Arc<dyn PartitionSource>,
        handler: Arc<dyn PartitionHandler>,
    ) -> Self {
        Self {
            config,
            source,
            handler,
            store: StoreChoice::Given(Arc::new(LocalStore::new())),
            strategy: Arc::new(parti_strategy::Sticky::new()),
            clock: Clock::boot(),
            concurrency: CONCURRENCY,
            notices: broadcast::Sender::new(RING),
        }
    }

    /// The store of the group. The default is a [`LocalStore`] of its own: a group of one.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = StoreChoice::Given(store);
        self
    }

    /// Keeps the group's records on a NATS server, such as `nats://127.0.0.1:4222`, in a bucket
    /// named after the group. For TLS, credentials or a connection that exists already, make a
    /// [`NatsStore`](crate::NatsStore) and pass it to [`ManagerBuilder::store`].
    #[cfg(feature = "nats")]
    pub fn nats(mut self, url: &str) -> Self {
        let (url, config) = (url.to_owned(), Box::new(self.config.clone()));
        self.store = StoreChoice::Nats { url, config };
        self
    }

    /// How partitions are split; the default is [`Sticky`](crate::Sticky). All workers of a group
    /// should use the same.
    pub fn strategy(mut self, strategy: impl AssignmentStrategy) -> Self {
        self.strategy = Arc::new(strategy);
        self
    }

    /// How many `on_assigned`, and how many `on_revoked`, run at once; default 64, at least 1.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
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

    /// Reads the notices from the start on, those of the start included.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription::new(Some(self.notices.subscribe()))
    }

    /// Starts the worker and answers once it holds an ID, within `startup_timeout`. Partitions come
    /// later: see [`Manager::wait_assigned`].
    ///
    /// # Errors
    /// [`LaunchError`]; nothing is held then.
    ///
    /// # Cancellation safety
    /// Dropping the future is like dropping the manager.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    pub async fn start(self) -> Result<Manager, LaunchError> {
        let store = self.store.open().await?;
        let core = Core::new(self.config.clone(), boot(&self.clock, &*self.strategy));
        let lease = Arc::new(Lease::new(self.clock.clone()));
        let notices = self.notices;
        let shared = Arc::new(Shared::new(lease, core.status(), &notices));
        let (sender, inbox) = mpsc::channel(INBOX);
        let config = self.config.clone();
        let parts = Parts {
            config: self.config,
            clock: self.clock,
            store: Arc::clone(&store),
            source: self.source,
            strategy: self.strategy,
            handler: self.handler,
            concurrency: self.concurrency,
        };
        let ends = (sender.clone(), inbox);
        let driver = Driver::new(core, parts, Arc::clone(&shared), notices, ends);
        let span = tracing::info_span!("parti", group = %config.group());
        let driver = tokio::spawn(driver.run().instrument(span));
        let manager = Manager::new(config, shared, store, sender, driver);
        manager.claimed().await?;
        Ok(manager)
    }
}

impl StoreChoice {
    async fn open(self) -> Result<Arc<dyn Store>, LaunchError> {
        match self {
            Self::Given(store) => Ok(store),
            #[cfg(feature = "nats")]
            Self::Nats { url, config } => crate::nats::open(&url, &config).await,
        }
    }
}

fn boot(clock: &Clock, strategy: &dyn AssignmentStrategy) -> Boot {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall_ms = wall.map_or(0, |wall| {
        u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
    });
    Boot {
        now: clock.now(),
        wall_ms,
        seed: seed(wall_ms),
        strategy: strategy.id(),
        software: concat!("parti/", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// A seed no other process has. Where the system has no randomness to give, the time and the
/// process ID have to do.
fn seed(wall_ms: u64) -> u128 {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u128::from_le_bytes(bytes),
        Err(_) => (u128::from(wall_ms) << 64) | u128::from(std::process::id()),
    }
}

impl fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerBuilder")
            .field("config", &self.config)
            .field("strategy", &self.strategy.id())
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
