//! A group of workers in one process, their endpoint, and the faults that happen to them.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parti::events::{HookEvent, hook_channel};
use parti::health::Health;
use parti::prometheus::Exporter;
use parti::sources::StaticSource;
use parti::{
    Config, Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preset, RevokeCause,
    State, StopMode,
};

use crate::endpoint::{Server, serve};
use crate::faulty::FaultyStore;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// How long anything may take before the show is broken off.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// What to show.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) workers: u32,
    pub(crate) partitions: u32,
    /// Whether to print what happens.
    pub(crate) loud: bool,
}

/// Workers by slot; an empty slot has crashed.
type Slots = Arc<Mutex<Vec<Option<Arc<Manager>>>>>;

pub(crate) struct Show {
    options: Options,
    store: FaultyStore,
    slots: Slots,
    server: Server,
}

/// Work that does nothing: this is about watching it.
struct Work;

#[parti::async_trait]
impl PartitionHandler for Work {
    async fn on_assigned(&self, _: &PartitionKey, _: Guard) -> Result<(), HandlerError> {
        Ok(())
    }
    async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
}

impl Show {
    /// Installs the exporter, serves the endpoint and starts the workers.
    pub(crate) async fn open(options: Options) -> Result<Self, Failure> {
        // The exporter comes first: a manager looks up its instruments when it is built.
        let exporter = Exporter::install()?;
        let slots = Slots::default();
        let probed = Arc::clone(&slots);
        // A real process has one worker; this one has several and is probed for the first.
        let health = move || first_health(&probed);
        let server = serve(options.listen, exporter, health).await?;
        let store = FaultyStore::new();
        let show = Self {
            options,
            store,
            slots,
            server,
        };
        for slot in 0..show.options.workers {
            show.start(slot).await?;
        }
        Ok(show)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Starts a worker in a slot.
    pub(crate) async fn start(&self, slot: u32) -> Result<(), Failure> {
        let config = Config::builder("observed").preset(Preset::Fast);
        let config = config.expected_workers(self.options.workers).build()?;
        let source = StaticSource::numbered("orders", self.options.partitions)?;
        let (hooks, mut events) = hook_channel(256);
        let loud = self.options.loud;
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if loud {
                    println!("  worker in slot {slot}: {}", describe(&event));
                }
            }
        });
        let worker = Manager::builder(config, source, Work)
            .store(self.store.clone())
            .hooks(hooks)
            // Several workers in one process have to be told apart.
            .metric_label("slot", &slot.to_string())
            .start()
            .await?;
        let mut slots = lock(&self.slots);
        let index = slot as usize;
        if slots.len() <= index {
            slots.resize(index + 1, None);
        }
        slots[index] = Some(Arc::new(worker));
        Ok(())
    }

    /// A worker disappears without a word.
    pub(crate) fn crash(&self, slot: u32) {
        let worker = lock(&self.slots)
            .get_mut(slot as usize)
            .and_then(Option::take);
        drop(worker);
    }

    /// Begins or ends an outage of the store.
    pub(crate) fn set_outage(&self, down: bool) {
        self.store.set_down(down);
    }

    /// Waits until every partition has one owner again and everybody is at rest.
    pub(crate) async fn settled(&self) -> Result<(), Failure> {
        let all = self.options.partitions as usize;
        self.until("all partitions are owned", |workers| {
            let owned: usize = workers.iter().map(|worker| worker.assignment().len()).sum();
            owned == all && workers.iter().all(|worker| worker.state() == State::Stable)
        })
        .await
    }

    /// Waits until a condition holds for the workers that live.
    pub(crate) async fn until(
        &self,
        what: &str,
        holds: impl Fn(&[Arc<Manager>]) -> bool,
    ) -> Result<(), Failure> {
        let waiting = async {
            loop {
                let workers: Vec<_> = lock(&self.slots).iter().flatten().cloned().collect();
                if holds(&workers) {
                    return;
                }
                drop(workers);
                tokio::time::sleep(LOOK).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.map_err(|_| format!("not within {PATIENCE:?}: {what}").into())
    }

    /// Stops the workers.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        let workers: Vec<_> = lock(&self.slots).iter().flatten().cloned().collect();
        for worker in workers {
            worker.stop(StopMode::Now).await?;
        }
        Ok(())
    }
}

fn lock(slots: &Slots) -> MutexGuard<'_, Vec<Option<Arc<Manager>>>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

fn first_health(slots: &Slots) -> Health {
    let first = lock(slots).iter().flatten().next().cloned();
    first.map_or_else(Health::default, |worker| worker.health())
}

fn describe(event: &HookEvent) -> String {
    match event {
        HookEvent::State(change) => format!("{} -> {}", change.from, change.to),
        HookEvent::Assignment(change) => format!(
            "has {} partitions (+{} -{}), because of {}",
            change.assigned.len(),
            change.added.len(),
            change.removed.len(),
            change.cause
        ),
        HookEvent::Leadership(change) => format!("{change:?}"),
        HookEvent::Degraded(change) => format!("{change:?}"),
        HookEvent::Error(trouble) => format!("dealt with {}", trouble.code()),
        HookEvent::Missed(count) => format!("missed {count} events"),
        other => format!("{other:?}"),
    }
}
