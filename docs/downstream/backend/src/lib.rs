//! A store of one's own: a file that only grows, each commit one line of JSON, for processes of one machine.
//!
//! What conditions mean is left to `parti_core::kv`; here is what makes it a store: a lock around each
//! commit, a line that is there as a whole or not at all, and a file that may be gone.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parti::async_trait;
use parti::store::{Expect, Store, StoreError, StoreErrorKind as Kind, StoreInfo, StoreOp};
use parti::store::{StoreReply, Watch, WatchEvent, WatchScope, Write};
use parti_core::kv::{Following, Kv, Limits};

/// How long a commit waits for that of another process.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks at the file, or at its lock.
const LOOK: Duration = Duration::from_millis(5);

/// A line as it is stored: keys and their values, none for a deletion.
type Line = Vec<(String, Option<Vec<u8>>)>;

/// Records in a file. Clones share what they have read of it.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    path: PathBuf,
    replica: Mutex<Replica>,
}

/// What the file said up to an offset.
#[derive(Default)]
struct Replica {
    created: u64,
    offset: u64,
    kv: Kv,
}

impl Journal {
    /// The records of a file, which is created if there is none.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let (path, replica) = (path.as_ref().to_owned(), Mutex::default());
        let journal = Self(Arc::new(Inner { path, replica }));
        journal.execute(StoreOp::Create).await?;
        Ok(journal)
    }
}

#[async_trait]
impl Store for Journal {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || inner.execute(op)).await;
        done.unwrap_or_else(|error| Err(StoreError::new(Kind::Unknown, error.to_string())))
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        let replica = self.0.refreshed()?;
        let (following, created) = (replica.kv.watch(scope)?, replica.created);
        let inner = Arc::clone(&self.0);
        Ok(Box::new(Look {
            inner,
            following,
            created,
        }))
    }
}

impl Inner {
    fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        match op {
            StoreOp::Create => self.create().map_err(|error| failed(&error))?,
            StoreOp::Commit { writes } => return self.commit(&writes),
            StoreOp::Get { .. } | StoreOp::List { .. } | StoreOp::Info => {}
        }
        let mut replica = self.refreshed()?;
        let reply = replica.kv.execute(&op)?;
        Ok(match reply {
            // Nobody can know for how long: wall clocks can be set.
            StoreReply::Info(info) => StoreReply::Info(StoreInfo {
                age: Duration::ZERO,
                ..info
            }),
            reply => reply,
        })
    }

    /// Puts a file in place that has one line already, unless there is one.
    fn create(&self) -> io::Result<()> {
        let created = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let draft = self
            .path
            .with_extension(format!("{}-{created}", std::process::id()));
        std::fs::write(&draft, format!("{created}\n"))?;
        let linked = std::fs::hard_link(&draft, &self.path);
        std::fs::remove_file(&draft)?;
        linked.or_else(|error| match error.kind() {
            ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })
    }

    fn commit(&self, writes: &[Write]) -> Result<StoreReply, StoreError> {
        let mut file = self.file().map_err(|error| failed(&error))?;
        lock(&file)?;
        let mut replica = self.replica();
        replica.read(&file).map_err(|error| failed(&error))?;
        let applied = replica.kv.commit(writes)?;
        let line: Line = writes
            .iter()
            .map(|write| (write.key.clone(), write.value.clone()))
            .collect();
        let line = serde_json::to_string(&line)
            .map(|line| line + "\n")
            .unwrap_or_default();
        // A line that a crash cut short is written over.
        let end = replica.offset;
        let written = file
            .set_len(end)
            .and_then(|()| file.seek(SeekFrom::Start(end)))
            .and_then(|_| file.write_all(line.as_bytes()))
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            *replica = Replica::default();
            return Err(StoreError::new(Kind::Unknown, error.to_string()));
        }
        replica.offset += line.len() as u64;
        let revisions = parti_core::kv::revisions(&applied);
        Ok(StoreReply::Committed { revisions })
    }

    fn refreshed(&self) -> Result<MutexGuard<'_, Replica>, StoreError> {
        let mut replica = self.replica();
        let read = self.file().and_then(|file| replica.read(&file));
        read.map_err(|error| failed(&error))?;
        Ok(replica)
    }

    fn file(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(&self.path)
    }

    fn replica(&self) -> MutexGuard<'_, Replica> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replica {
    /// Takes in what was added, or all of it when it is another file.
    fn read(&mut self, file: &File) -> io::Result<()> {
        let mut lines = BufReader::new(file);
        let mut text = String::new();
        let length = lines.read_line(&mut text)? as u64;
        let created = text.trim_end().parse().map_err(io::Error::other)?;
        if created != self.created {
            let kv = Kv::new(created, Limits::default());
            *self = Self {
                created,
                offset: length,
                kv,
            };
        }
        lines.seek(SeekFrom::Start(self.offset))?;
        loop {
            text.clear();
            lines.read_line(&mut text)?;
            if !text.ends_with('\n') {
                return Ok(());
            }
            let line: Line = serde_json::from_str(&text)?;
            let expect = Expect::Any;
            let writes = line
                .into_iter()
                .map(|(key, value)| Write { key, value, expect });
            let applied = self.kv.commit(&writes.collect::<Vec<_>>());
            applied.map_err(io::Error::other)?;
            self.offset += text.len() as u64;
        }
    }
}

/// Nothing was written yet.
fn failed(error: &io::Error) -> StoreError {
    let kind = match error.kind() {
        ErrorKind::NotFound => Kind::Missing,
        _ => Kind::Unavailable,
    };
    StoreError::new(kind, error.to_string())
}

fn lock(file: &File) -> Result<(), StoreError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOOK),
            Err(error) => return Err(StoreError::new(Kind::Unavailable, error.to_string())),
        }
    }
}

struct Look {
    inner: Arc<Inner>,
    following: Following,
    created: u64,
}

#[async_trait]
impl Watch for Look {
    async fn next(&mut self) -> WatchEvent {
        loop {
            match self.inner.refreshed() {
                Ok(replica) if replica.created != self.created => {
                    return WatchEvent::Lost {
                        reason: "another file is in its place".to_owned(),
                    };
                }
                Ok(replica) => {
                    if let Some(event) = self.following.next(&replica.kv) {
                        return event;
                    }
                }
                Err(error) => {
                    return WatchEvent::Lost {
                        reason: error.message,
                    };
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
