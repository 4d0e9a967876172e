//! A partition list that is kept in a store: in the group's own bucket as a rule.
//!
//! It is separate from the ready-made sources that only list: this one can be changed, from any
//! process. What always holds: a change is one conditional commit, so that concurrent changes
//! follow each other and none is lost; a list is read whole and of one change, or not at all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parti_core::{
    Partition, PartitionError, PartitionKey, PartitionSource, Revision, SourceError, Store, Watch,
    WatchEvent, WatchScope, source_key,
};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::system::random::random;

mod access;
mod error;

pub use error::KvSourceError;

/// The first and the longest pause before a watch is begun again.
const WATCH_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A partition list in a store, under `src` and, when it does not fit one value, `src.1` and so on.
///
/// Give one to every worker's [`Manager`](crate::Manager): changes are announced to the leader. Any
/// process that can write to the store may change the list with a source of its own.
///
/// A list that was never stored, was deleted, or cannot be read is an error and never an empty list:
/// the group goes on with the list it has. The first list is stored with [`KvSource::create`].
///
/// Each change is tried again after conflicts and outages, 20 times at most.
///
/// # Cancellation safety
/// Dropping the future of a change leaves it done or not done, never half done; look before you call
/// again. Each request to the store is bounded by 10 s, and by the store's own time-out.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use parti::{Partition, PartitionKey};
/// use parti::sources::KvSource;
/// use parti::store::LocalStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = KvSource::new(LocalStore::new());
/// source.create(vec![Partition::new(["orders", "0"])?]).await?;
/// source.add(vec![Partition::new(["orders", "1"])?.with_weight(3)]).await?;
/// source.remove(&[PartitionKey::new(["orders", "0"])?]).await?;
/// assert_eq!(source.partitions().await?.len(), 1);
/// # Ok(())
/// # }
/// ```
pub struct KvSource {
    store: Arc<dyn Store>,
    /// The last revision of the list that was read or announced.
    seen: AtomicU64,
    watch: Mutex<Option<Box<dyn Watch>>>,
}

impl KvSource {
    /// The list in this store. Nothing is read or written yet.
    ///
    /// For the group's own bucket, open it once and give it to the manager as well:
    /// `Manager::builder(config, KvSource::new(store.clone()), handler).store(store)`.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            seen: AtomicU64::new(0),
            watch: Mutex::new(None),
        }
    }

    /// The stored list, in the order in which it was stored.
    ///
    /// # Errors
    /// [`KvSourceError`]; [`KvSourceError::NotStored`] when there is none.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing; it can be called again. Bounded by five readings of the list
    /// if it is changed meanwhile, each request as the store bounds it, by 10 s at most.
    pub async fn partitions(&self) -> Result<Vec<Partition>, KvSourceError> {
        let stored = access::read(&*self.store).await?;
        stored.list.ok_or(KvSourceError::NotStored)
    }

    /// Stores the first list.
    ///
    /// # Errors
    /// [`KvSourceError::AlreadyStored`] when there is one; others as for every change.
    ///
    /// # Cancellation safety
    /// As [`KvSource`] says: done or not done.
    pub async fn create(&self, list: Vec<Partition>) -> Result<Vec<Partition>, KvSourceError> {
        self.change(|old| match old {
            None => Ok(list.clone()),
            Some(_) => Err(KvSourceError::AlreadyStored),
        })
        .await
    }

    /// Stores a list whatever was there before, nothing or an unreadable record included.
    ///
    /// # Errors
    /// [`KvSourceError`].
    ///
    /// # Cancellation safety
    /// As [`KvSource`] says: done or not done.
    pub async fn replace(&self, list: Vec<Partition>) -> Result<Vec<Partition>, KvSourceError> {
        access::change(&*self.store, access::Unreadable::Overwrite, |_| {
            Ok(list.clone())
        })
        .await
    }

    /// Adds partitions and answers with the new list.
    ///
    /// # Errors
    /// [`KvSourceError::AlreadyListed`] names one that is there already; others as for every change.
    ///
    /// # Cancellation safety
    /// As [`KvSource`] says: done or not done.
    pub async fn add(&self, new: Vec<Partition>) -> Result<Vec<Partition>, KvSourceError> {
        self.transform(|mut list| {
            let present: BTreeMap<_, _> = list.iter().map(|p| (p.key.clone(), ())).collect();
            if let Some(twice) = new.iter().find(|p| present.contains_key(&p.key)) {
                let key = twice.key.clone();
                return Err(KvSourceError::AlreadyListed { key });
            }
            list.extend(new.iter().cloned());
            Ok(list)
        })
        .await
    }

    /// Removes partitions and answers with the new list. Their owners are told to end.
    ///
    /// # Errors
    /// [`KvSourceError::NotListed`] names one that is not there; others as for every change.
    ///
    /// # Cancellation safety
    /// As [`KvSource`] says: done or not done.
    pub async fn remove(&self, keys: &[PartitionKey]) -> Result<Vec<Partition>, KvSourceError> {
        self.transform(|list| {
            let mut left = by_key(list);
            for key in keys {
                if left.remove(key).is_none() {
                    return Err(KvSourceError::NotListed { key: key.clone() });
                }
            }
            Ok(in_order(left))
        })
        .await
    }

    /// Gives partitions other weights and answers with the new list.
    ///
    /// # Errors
    /// [`KvSourceError::NotListed`] names one that is not there; others as for every change.
    ///
    /// # Cancellation safety
    /// As [`KvSource`] says: done or not done.
    pub async fn update_weights(
        &self,
        weights: &[(PartitionKey, u64)],
    ) -> Result<Vec<Partition>, KvSourceError> {
        self.transform(|list| {
            let mut changed = by_key(list);
            for (key, weight) in weights {
                match changed.get_mut(key) {
                    Some((_, partition)) => partition.weight = *weight,
                    None => return Err(KvSourceError::NotListed { key: key.clone() }),
                }
            }
            Ok(in_order(changed))
        })
        .await
    }

    /// Makes a new list out of the stored one and answers with it.
    ///
    /// `change` is called once for each try, with the list as it is then; it must not act on
    /// anything else. To leave the list as it is, return [`KvSourceError::declined`].
    ///
    /// # Errors
    /// [`KvSourceError`]; what `change` returned stays as it is.
    ///
    /// # Cancellation safety
    /// As [`KvSource`] says: done or not done. Bounded by 20 tries.
    pub async fn transform<F>(&self, mut change: F) -> Result<Vec<Partition>, KvSourceError>
    where
        F: FnMut(Vec<Partition>) -> Result<Vec<Partition>, KvSourceError> + Send,
    {
        self.change(|old| change(old.ok_or(KvSourceError::NotStored)?))
            .await
    }

    async fn change<F>(&self, change: F) -> Result<Vec<Partition>, KvSourceError>
    where
        F: FnMut(Option<Vec<Partition>>) -> Result<Vec<Partition>, KvSourceError> + Send,
    {
        access::change(&*self.store, access::Unreadable::Refuse, change).await
    }

    /// Whether a revision of the list is one that was neither read nor announced.
    fn is_news(&self, revision: Revision) -> bool {
        self.seen.fetch_max(revision.get(), Ordering::Relaxed) < revision.get()
    }
}

#[async_trait]
impl PartitionSource for KvSource {
    async fn list(&self) -> Result<Vec<Partition>, SourceError> {
        let stored = access::read(&*self.store).await.map_err(as_source_error)?;
        let newest = self
            .seen
            .fetch_max(stored.revision.get(), Ordering::Relaxed);
        if newest > stored.revision.get() {
            // A replica that lags would bring back partitions that were removed.
            let found = stored.revision;
            let reason = format!("the store answered with revision {found}, {newest} was seen");
            return Err(SourceError::Unavailable(reason));
        }
        let list = stored.list.ok_or(KvSourceError::NotStored);
        list.map_err(as_source_error)
    }

    async fn changed(&self) {
        let mut running = self.watch.lock().await;
        let mut pause = WATCH_PAUSES.0;
        loop {
            let watch = match &mut *running {
                Some(watch) => watch,
                None => {
                    let scope = WatchScope::Keys(vec![source_key(0)]);
                    match access::within_limit(self.store.watch(scope)).await {
                        Ok(watch) => running.insert(watch),
                        Err(error) => {
                            tracing::debug!(%error, "the partition list is not watched yet");
                            sleep(jittered(pause)).await;
                            pause = (pause * 2).min(WATCH_PAUSES.1);
                            continue;
                        }
                    }
                }
            };
            match watch.next().await {
                WatchEvent::Entry(entry) if self.is_news(entry.revision) => return,
                WatchEvent::Entry(_) | WatchEvent::CaughtUp { .. } => {}
                WatchEvent::Lost { reason } => {
                    tracing::debug!(reason, "the partition list is watched again");
                    *running = None;
                    // The history may be another one, whose revisions begin again.
                    self.seen.store(0, Ordering::Relaxed);
                    sleep(jittered(pause)).await;
                    pause = (pause * 2).min(WATCH_PAUSES.1);
                }
            }
        }
    }
}

impl Clone for KvSource {
    /// The same list, watched on its own.
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.store))
    }
}

impl fmt::Debug for KvSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvSource")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

fn as_source_error(error: KvSourceError) -> SourceError {
    if let KvSourceError::Invalid(error) = error {
        SourceError::Invalid(error)
    } else {
        SourceError::Unavailable(error.to_string())
    }
}

/// Partitions with their place in the list.
type Placed = BTreeMap<PartitionKey, (usize, Partition)>;

fn by_key(list: Vec<Partition>) -> Placed {
    let placed = list.into_iter().enumerate();
    placed
        .map(|(place, partition)| (partition.key.clone(), (place, partition)))
        .collect()
}

fn in_order(placed: Placed) -> Vec<Partition> {
    let mut list: Vec<_> = placed.into_values().collect();
    list.sort_unstable_by_key(|(place, _)| *place);
    list.into_iter().map(|(_, partition)| partition).collect()
}

/// Half of the pause and a random part of the other half.
fn jittered(pause: Duration) -> Duration {
    let half = pause / 2;
    let span = half.as_micros().max(1);
    let part = u64::try_from(random() % span).unwrap_or(0);
    half + Duration::from_micros(part)
}

/// A list that a table takes: no partition twice, weights that fit.
fn checked(list: Vec<Partition>) -> Result<Vec<Partition>, PartitionError> {
    parti_core::PartitionTable::new(list.clone())?;
    Ok(list)
}
