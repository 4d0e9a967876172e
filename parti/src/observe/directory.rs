//! A read-only view of a group: who leads, who works, who owns which partition, what is held up by whom.
//!
//! For programs that call the owner of a partition, and for people who look at a group. It costs the
//! store one watch and a small request every five seconds; it takes no worker ID and writes nothing.
//!
//! ```no_run
//! use parti::directory::Directory;
//! use parti::{GroupName, PartitionKey};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let directory = Directory::nats("nats://127.0.0.1:4222", &GroupName::new("orders")?).await?;
//! directory.wait_for(|directory| directory.as_of().is_some()).await;
//! let key = PartitionKey::new(["orders", "7"])?;
//! match directory.owner_of(&key) {
//!     Some(owner) => println!("{key}: {} at {:?}", owner.worker, owner.endpoint),
//!     None => println!("{key}: {:?}", directory.explain(&key).to_string()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What a reader costs
//! Every write of the group is sent to every reader: a renewal of about 200 bytes from each worker in each
//! heartbeat interval, and a worker's whole assignment when it changes. A group of 100 workers with a
//! heartbeat of 2 s sends each reader 50 messages a second.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, OptionFuture};
use futures_util::{FutureExt as _, Stream, StreamExt};
#[doc(inline)]
pub use parti_core::directory::{
    AsOf, Change, Handoff, HoldUp, Leading, Loss, Owners, Ownership, PartitionState, PartitionView,
    Request, SessionState, View, WorkerView,
};
use parti_core::directory::{Asked, Directory as Known};
#[doc(inline)]
pub use parti_core::{Endpoint, EndpointError, Unreadable, Verb};
use parti_core::{
    Explanation, PartitionKey, Store, StoreError, StoreErrorKind, StoreOp, StoreReply, Watch,
    WatchEvent, WatchScope,
};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant as Timer, sleep, sleep_until, timeout};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::system::clock::Clock;

/// How often the store is asked how far it has got.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long an answer or a watch may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(250);
/// How many changes a slow reader may be behind before it loses some.
const RING: usize = 4096;
/// How many events are taken in before readers see them.
const BATCH: usize = 1024;

/// A read-only view of a group, kept up to date by a task of its own. Dropping it ends the task.
pub struct Directory {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    clock: Clock,
    owners: ArcSwap<Owners>,
    known: Mutex<Known>,
    changes: broadcast::Sender<Change>,
    tick: watch::Sender<()>,
}

impl Directory {
    /// Begins to read the group whose records are in a store. It answers at once and knows nothing at
    /// first: see [`Directory::as_of`]. When the store is out of reach it keeps what it knew and tries
    /// again.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    #[must_use]
    pub fn open(store: impl Store) -> Self {
        let shared = Arc::new(Shared {
            clock: Clock::boot(),
            owners: ArcSwap::default(),
            known: Mutex::default(),
            changes: broadcast::Sender::new(RING),
            tick: watch::Sender::new(()),
        });
        let store: Arc<dyn Store> = Arc::new(store);
        let task = tokio::spawn(read(store, Arc::clone(&shared))).abort_handle();
        Self { shared, task }
    }

    /// Connects to a NATS server, as [`ManagerBuilder::nats`](crate::ManagerBuilder::nats) does, and begins
    /// to read a group. A bucket that does not exist is not created, it is an error; for other logins and
    /// options make a [`NatsStore`](crate::nats::NatsStore) and use [`Directory::open`].
    ///
    /// # Errors
    /// Why the store could not be opened; nothing is left behind.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves nothing behind. It is bounded by the limits of `NatsStore::connect`.
    #[cfg(feature = "nats")]
    pub async fn nats(
        url: &str,
        group: &parti_core::GroupName,
    ) -> Result<Self, crate::nats::OpenError> {
        let options = crate::nats::NatsOptions::default().read_only();
        let store = crate::nats::NatsStore::connect(url, group, options).await?;
        Ok(Self::open(store))
    }

    /// Whose a partition is; `None` if it is nobody's, on its way, or not known. Without a lock: it reads
    /// a snapshot that is replaced as a whole.
    #[must_use]
    pub fn owner_of(&self, partition: &PartitionKey) -> Option<Ownership> {
        self.shared.owners.load().owner_of(partition)
    }

    /// The present snapshot of all owners, which never changes.
    #[must_use]
    pub fn owners(&self) -> Arc<Owners> {
        self.shared.owners.load_full()
    }

    /// Everything that is known. It takes a lock, and time for each partition: for people, not for
    /// each request.
    #[must_use]
    pub fn view(&self) -> View {
        let now = self.shared.clock.now();
        self.shared.known().view(now)
    }

    /// Why a partition is where it is, from what is known; as [`Manager::explain`](crate::Manager::explain).
    #[must_use]
    pub fn explain(&self, partition: &PartitionKey) -> Explanation {
        self.shared.known().history().explain(partition)
    }

    /// How far the view may be behind: everything the store had taken so long ago is in it. `None`: it has
    /// never been complete, or its history was lost. It grows while the store is out of reach.
    #[must_use]
    pub fn as_of(&self) -> Option<Duration> {
        let complete = self.shared.known().as_of().complete;
        complete.map(|complete| self.shared.clock.now().since(complete))
    }

    /// What changes from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes {
            changes: BroadcastStream::new(self.shared.changes.subscribe()),
            lost: 0,
        }
    }

    /// Waits until something holds; it is asked now and after each change.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing. There is no deadline: bound it yourself.
    pub async fn wait_for(&self, mut holds: impl FnMut(&Self) -> bool) {
        let mut tick = self.shared.tick.subscribe();
        loop {
            tick.mark_unchanged();
            // The sender lives as long as `self`.
            if holds(self) || tick.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("owned", &self.owners().len())
            .field("as_of", &self.as_of())
            .finish_non_exhaustive()
    }
}

/// Changes as they are seen, in order, as a [`Stream`]. It ends when its directory is dropped.
#[derive(Debug)]
pub struct Changes {
    changes: BroadcastStream<Change>,
    lost: u64,
}

impl Changes {
    /// The next change, or `None` when the directory was dropped.
    ///
    /// # Cancellation safety
    /// Dropping the future loses no change. There is no deadline: it ends with the directory.
    pub async fn next(&mut self) -> Option<Change> {
        StreamExt::next(self).await
    }

    /// How many changes this reader was too slow for. After a loss, read [`Directory::owners`] or
    /// [`Directory::view`] again.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}

impl Stream for Changes {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(self.changes.poll_next_unpin(cx)) {
                Some(Ok(change)) => return Poll::Ready(Some(change)),
                Some(Err(BroadcastStreamRecvError::Lagged(missed))) => self.lost += missed,
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Shared {
    /// What is known. A panic of a reader in between leaves nothing half done: readers change nothing.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, and shows it to readers.
    fn update(&self, change: impl FnOnce(&mut Known) -> Vec<Change>) {
        let mut known = self.known();
        let changes = change(&mut known);
        self.owners.store(Arc::new(known.owners().clone()));
        drop(known);
        for change in changes {
            // Nobody has to listen.
            let _ = self.changes.send(change);
        }
        self.tick.send_replace(());
    }
}

/// Reads a group for ever, watch after watch.
async fn read(store: Arc<dyn Store>, shared: Arc<Shared>) {
    loop {
        let (asked, answer) = ask(Arc::clone(&store), &shared).await;
        if !answered(&shared, asked, answer) {
            sleep(PAUSE).await;
            continue;
        }
        let began = shared.clock.now();
        if let Ok(Ok(watch)) = timeout(LIMIT, store.watch(WatchScope::All)).await {
            shared.known().begin(began);
            follow(&store, &shared, watch).await;
        }
        sleep(PAUSE).await;
    }
}

/// Follows one watch until it is lost, or the history is.
async fn follow(store: &Arc<dyn Store>, shared: &Arc<Shared>, mut watch: Box<dyn Watch>) {
    let mut next_ask = Timer::now() + ASK_EVERY;
    let mut asking: Option<BoxFuture<'_, (Asked, Answer)>> = None;
    loop {
        tokio::select! {
            event = watch.next() => {
                let mut events = vec![event];
                while events.len() < BATCH
                    && !matches!(events.last(), Some(WatchEvent::Lost { .. }))
                    && let Some(event) = watch.next().now_or_never()
                {
                    events.push(event);
                }
                let lost = matches!(events.last(), Some(WatchEvent::Lost { .. }));
                let now = shared.clock.now();
                shared.update(|known| take_in(known, now, events));
                if lost {
                    return;
                }
            }
            Some((asked, answer)) = OptionFuture::from(asking.as_mut()) => {
                asking = None;
                next_ask = Timer::now() + ASK_EVERY;
                let before = shared.known().as_of().complete;
                answered(shared, asked, answer);
                if before.is_some() && shared.known().as_of().complete.is_none() {
                    return;
                }
            }
            () = sleep_until(next_ask), if asking.is_none() => {
                asking = Some(ask(Arc::clone(store), shared).boxed());
            }
        }
    }
}

fn take_in(known: &mut Known, now: parti_core::Instant, events: Vec<WatchEvent>) -> Vec<Change> {
    let events = events.into_iter().map(|event| match event {
        WatchEvent::Entry(entry) => known.put(now, &entry),
        WatchEvent::CaughtUp { revision } => known.caught_up(now, revision),
        WatchEvent::Lost { .. } => Vec::new(),
    });
    events.flatten().collect()
}

type Answer = Option<Result<StoreReply, StoreError>>;

/// Asks the store about itself; no answer if it takes too long.
async fn ask(store: Arc<dyn Store>, shared: &Shared) -> (Asked, Answer) {
    let asked = shared.known().ask(shared.clock.now());
    let answer = timeout(LIMIT, store.execute(StoreOp::Info)).await;
    (asked, answer.ok())
}

/// Takes in what the store said about itself. Whether it is there.
fn answered(shared: &Shared, asked: Asked, answer: Answer) -> bool {
    let now = shared.clock.now();
    match answer {
        Some(Ok(StoreReply::Info(info))) => {
            shared.update(|known| known.informed(now, asked, &info).into_iter().collect());
            true
        }
        Some(Err(error)) if error.kind == StoreErrorKind::Missing => {
            shared.update(|known| known.missing(now).into_iter().collect());
            false
        }
        Some(Ok(_) | Err(_)) | None => false,
    }
}
