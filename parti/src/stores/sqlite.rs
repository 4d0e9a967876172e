//! The store port on a file: for groups whose worker processes run on one machine, without a server.
//!
//! Two threads of each store have a connection each: one writes, one reads and looks for what other processes
//! have written. What always holds: a process that stands still while it writes makes others wait, and nobody
//! who reads; those that wait are told in time that nothing was written.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parti_core::{
    Config, GroupName, Revision, Store, StoreError, StoreErrorKind, StoreOp, StoreReply, Watch,
    WatchScope,
};
use tokio::sync::{oneshot, watch};

use crate::error::LaunchError;

mod database;
mod following;
mod requests;

use database::Database;
use following::SqliteWatch;
use requests::Changes;

/// How a store on a file is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    request_timeout: Duration,
    poll_interval: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(2),
            poll_interval: Duration::from_millis(20),
        }
    }
}

impl SqliteOptions {
    /// How long a request waits for another process to end its own; default 2 s. Then it fails as not
    /// executed. A manager that opens the file itself sets its own `request_timeout`.
    #[must_use]
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How often a store that is watched looks for what other processes have written; default 20 ms. One look
    /// costs a few microseconds. Shorter makes a handoff faster by as much, longer saves that little.
    #[must_use]
    pub const fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }
}

/// A store in a file of this machine, by `SQLite`. Clones share it; every process opens the file itself.
///
/// The file may hold several groups and tables of the application's own. It must not be on a file system of
/// the network: locks and shared memory do not work there. Beside it are the log `-wal`, `-shm` and
/// `-create`; to delete the store, delete all of them or only the file itself.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use parti::GroupName;
/// use parti::store::{SqliteOptions, SqliteStore};
///
/// let group = GroupName::new("orders")?;
/// let store = SqliteStore::open("orders.db", &group, SqliteOptions::default()).await?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

struct Inner {
    path: PathBuf,
    writes: Sender<Job>,
    reads: Sender<Job>,
    /// Told when something was written, by whatever process.
    changed: Arc<watch::Sender<()>>,
    request_timeout: Duration,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.0.path)
            .finish_non_exhaustive()
    }
}

/// What a thread is asked to do.
enum Job {
    Execute {
        op: StoreOp,
        deadline: Instant,
        answer: oneshot::Sender<Result<StoreReply, StoreError>>,
    },
    Changes {
        scope: WatchScope,
        after: Revision,
        deadline: Instant,
        answer: oneshot::Sender<Result<Changes, StoreError>>,
    },
    /// This process has written something.
    Look,
}

impl SqliteStore {
    /// Opens the store of a group in a file, and creates what is missing of either.
    ///
    /// # Errors
    /// [`StoreError`]: `Rejected` when the file is no database or may not be written, `Unavailable` when it
    /// cannot be opened or another process held it for longer than a request may take.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave a file without content, which harms nobody. Bounded by the time-out of
    /// requests, as far as the disk is.
    pub async fn open(
        path: impl AsRef<Path>,
        group: &GroupName,
        options: SqliteOptions,
    ) -> Result<Self, StoreError> {
        let store = Self::begin(path.as_ref(), group, options)?;
        store.execute(StoreOp::Create).await?;
        Ok(store)
    }

    /// As [`SqliteStore::open`], for programs that only look: nothing is created.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; `Missing` when there is no such file, or no such group in it.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves nothing behind. Bounded by the time-out of requests.
    pub async fn existing(
        path: impl AsRef<Path>,
        group: &GroupName,
        options: SqliteOptions,
    ) -> Result<Self, StoreError> {
        let store = Self::begin(path.as_ref(), group, options)?;
        store.execute(StoreOp::Info).await?;
        Ok(store)
    }

    /// The groups that have a store in a file, by name.
    ///
    /// # Errors
    /// As [`SqliteStore::existing`].
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing. Bounded by the time-out of requests.
    pub async fn groups(
        path: impl AsRef<Path>,
        options: SqliteOptions,
    ) -> Result<Vec<GroupName>, StoreError> {
        let (path, limit) = (path.as_ref().to_owned(), options.request_timeout);
        let (sender, groups) = oneshot::channel();
        spawn("parti-sqlite-list", move || {
            let mut database = Database::new(path);
            let connection = database.connection(Instant::now() + limit);
            let _ = sender.send(connection.and_then(|connection| requests::buckets(connection)));
        })?;
        let ended = |_| Err(StoreError::new(StoreErrorKind::Unavailable, "it has ended"));
        groups.await.unwrap_or_else(ended)
    }

    /// The threads; the file is not looked at yet.
    fn begin(path: &Path, group: &GroupName, options: SqliteOptions) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let bucket = group.as_str().to_owned();
        let changed = Arc::new(watch::Sender::new(()));
        let (reads, jobs) = channel();
        let reader = Reader {
            database: Database::new(path.clone()),
            bucket: bucket.clone(),
            poll_interval: options.poll_interval,
            request_timeout: options.request_timeout,
            changed: Arc::clone(&changed),
            seen: None,
        };
        spawn("parti-sqlite-read", move || reader.run(&jobs))?;
        let (writes, jobs) = channel();
        let (database, look) = (Database::new(path.clone()), reads.clone());
        spawn("parti-sqlite-write", move || {
            write(database, &bucket, &jobs, &look);
        })?;
        Ok(Self(Arc::new(Inner {
            path,
            writes,
            reads,
            changed,
            request_timeout: options.request_timeout,
        })))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        let lane = match op {
            StoreOp::Commit { .. } | StoreOp::Create => &self.0.writes,
            StoreOp::Get { .. } | StoreOp::List { .. } | StoreOp::Info => &self.0.reads,
        };
        let deadline = self.0.deadline();
        ask(lane, |answer| Job::Execute {
            op,
            deadline,
            answer,
        })
        .await
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        Ok(Box::new(
            SqliteWatch::begin(Arc::clone(&self.0), scope).await?,
        ))
    }
}

impl Inner {
    fn deadline(&self) -> Instant {
        Instant::now() + self.request_timeout
    }

    async fn changes(&self, scope: WatchScope, after: Revision) -> Result<Changes, StoreError> {
        let deadline = self.deadline();
        ask(&self.reads, |answer| Job::Changes {
            scope,
            after,
            deadline,
            answer,
        })
        .await
    }
}

/// Opens the store of a manager.
pub(crate) async fn open(path: &Path, config: &Config) -> Result<Arc<dyn Store>, LaunchError> {
    let options = SqliteOptions::default().request_timeout(config.request_timeout());
    match SqliteStore::open(path, config.group(), options).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(LaunchError::Store(Arc::new(error))),
    }
}

/// Hands a job to a thread and waits for its answer.
async fn ask<T>(
    lane: &Sender<Job>,
    job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
) -> Result<T, StoreError> {
    let ended = |kind| StoreError::new(kind, "the thread of the store has ended");
    let (answer, reply) = oneshot::channel();
    let sent = lane.send(job(answer));
    sent.map_err(|_| ended(StoreErrorKind::Unavailable))?;
    reply
        .await
        .unwrap_or_else(|_| Err(ended(StoreErrorKind::Unknown)))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    let failed = |error| StoreError::new(StoreErrorKind::Unavailable, format!("{name}: {error}"));
    spawned.map(drop).map_err(failed)
}

/// The thread that writes, until nobody can ask it any more.
fn write(mut database: Database, bucket: &str, jobs: &Receiver<Job>, look: &Sender<Job>) {
    for job in jobs {
        let Job::Execute {
            op,
            deadline,
            answer,
        } = job
        else {
            continue;
        };
        // What nobody waits for any more is not begun: it would keep those that do.
        if answer.is_closed() {
            continue;
        }
        let outcome = carry_out(&mut database, bucket, op, deadline);
        if outcome
            .as_ref()
            .is_err_and(|error| error.kind == StoreErrorKind::Unknown)
        {
            database.close();
        }
        // Nobody reads any more when the store is being dropped.
        let _ = look.send(Job::Look);
        let _ = answer.send(outcome);
    }
}

fn carry_out(
    database: &mut Database,
    bucket: &str,
    op: StoreOp,
    deadline: Instant,
) -> Result<StoreReply, StoreError> {
    match op {
        StoreOp::Commit { writes } => {
            requests::commit(database.connection(deadline)?, bucket, &writes)
        }
        StoreOp::Create => {
            database.create(bucket, deadline)?;
            requests::info(database.connection(deadline)?, bucket)
        }
        StoreOp::Get { key } => requests::get(database.connection(deadline)?, bucket, &key),
        StoreOp::List { prefix } => requests::list(database.connection(deadline)?, bucket, &prefix),
        StoreOp::Info => requests::info(database.connection(deadline)?, bucket),
    }
}

/// The thread that reads, and that looks for what others have written as long as anybody watches.
struct Reader {
    database: Database,
    bucket: String,
    poll_interval: Duration,
    request_timeout: Duration,
    changed: Arc<watch::Sender<()>>,
    /// What the file's own counter of changes was; `None` if it could not be read.
    seen: Option<i64>,
}

impl Reader {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let is_watched = self.changed.receiver_count() > 0;
            let job = if is_watched {
                jobs.recv_timeout(self.poll_interval)
            } else {
                jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match job {
                Ok(job) => self.serve(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if is_watched && self.has_changed() {
                self.changed.send_replace(());
            }
        }
    }

    fn serve(&mut self, job: Job) {
        match job {
            Job::Execute {
                op,
                deadline,
                answer,
            } if !answer.is_closed() => {
                let _ = answer.send(carry_out(&mut self.database, &self.bucket, op, deadline));
            }
            Job::Changes {
                scope,
                after,
                deadline,
                answer,
            } if !answer.is_closed() => {
                let connection = self.database.connection(deadline);
                let changes = connection.and_then(|connection| {
                    requests::changes(connection, &self.bucket, &scope, after)
                });
                let _ = answer.send(changes);
            }
            Job::Execute { .. } | Job::Changes { .. } | Job::Look => {}
        }
    }

    /// Whether another connection has written since the last look, or the file cannot be looked at: those who
    /// watch will see why.
    fn has_changed(&mut self) -> bool {
        let deadline = Instant::now() + self.request_timeout;
        let counter = self
            .database
            .connection(deadline)
            .ok()
            .and_then(|connection| {
                let row = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
                connection
                    .pragma_query_value(None, "data_version", row)
                    .ok()
            });
        let before = std::mem::replace(&mut self.seen, counter);
        counter.is_none() || before != counter
    }
}
