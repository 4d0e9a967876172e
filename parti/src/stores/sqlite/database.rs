//! One connection to the file of a store: opened when it is needed, given up when the file is another one.
//!
//! It is separate because the thread that writes and the one that reads have a connection each. What always
//! holds: nothing but [`Database::create`] makes a file, and a connection to a file that was deleted or
//! replaced is not used again.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parti_core::{StoreError, StoreErrorKind};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

/// Both tables may stand beside others in a file of the application's own. Another layout would be other
/// tables. The entries keep their row IDs: without, every search reads the large values that it passes.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS parti_bucket (
        name TEXT PRIMARY KEY, created INTEGER NOT NULL, last INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS parti_entry (
        bucket TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, value BLOB,
        at_ms INTEGER NOT NULL, PRIMARY KEY (bucket, key)
    ) STRICT;
    CREATE UNIQUE INDEX IF NOT EXISTS parti_revision ON parti_entry (bucket, revision);
";

/// Between two tries to be the one that creates the file.
const LOOK: Duration = Duration::from_millis(5);

/// A file with a store in it, and the connection to it if there is one.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    open: Option<(Identity, Connection)>,
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64);

impl Database {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// The connection to the file that is there now. It waits for locks until the deadline.
    ///
    /// # Errors
    /// `Missing` when there is no file; else as [`before`].
    pub(super) fn connection(&mut self, deadline: Instant) -> Result<&mut Connection, StoreError> {
        let Some(found) = Identity::of(&self.path) else {
            self.open = None;
            let message = format!("there is no file {}", self.path.display());
            return Err(StoreError::new(StoreErrorKind::Missing, message));
        };
        let (_, connection) = match self.open.take() {
            Some(open) if open.0 == found => self.open.insert(open),
            Some(_) | None => {
                let connection = open(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE);
                self.open.insert((found, connection.map_err(before)?))
            }
        };
        connection.busy_timeout(left(deadline)).map_err(before)?;
        Ok(connection)
    }

    /// Closes the connection, whose state is not known any more.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Creates what of file, tables and bucket is missing.
    ///
    /// # Errors
    /// As [`before`]. A part may be there; the next try completes it.
    pub(super) fn create(&mut self, bucket: &str, deadline: Instant) -> Result<(), StoreError> {
        // Two processes that find no file must not clean up after each other.
        let _alone = alone(&self.path, deadline)?;
        if Identity::of(&self.path).is_none() {
            self.open = None;
            // A log of the file that is gone would be taken for this one's.
            for rest in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(beside(&self.path, rest));
            }
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
            let connection = open(&self.path, flags).map_err(before)?;
            connection.busy_timeout(left(deadline)).map_err(before)?;
            prepare(&connection).map_err(before)?;
        }
        let connection = self.connection(deadline)?;
        prepare(connection).map_err(before)?;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let created = wall.map_or(0, |wall| i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX));
        insert(connection, bucket, created).map_err(before)
    }
}

impl Identity {
    #[cfg(unix)]
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::metadata(path).ok()?;
        Some(Self(found.dev(), found.ino()))
    }

    /// An open file cannot be replaced there.
    #[cfg(not(unix))]
    fn of(path: &Path) -> Option<Self> {
        path.exists().then_some(Self(0, 0))
    }
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // What is acknowledged survives a power failure, too.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// With a write-ahead log nobody who reads waits for anybody who writes, nor the other way round.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(TABLES)
}

fn insert(connection: &mut Connection, bucket: &str, created: i64) -> rusqlite::Result<()> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sql = "INSERT OR IGNORE INTO parti_bucket (name, created, last) VALUES (?1, ?2, 0)";
    if change.execute(sql, params![bucket, created])? == 1 {
        change.execute("DELETE FROM parti_entry WHERE bucket = ?1", params![bucket])?;
    }
    change.commit()
}

/// The lock of those that create. It ends with its process, whatever ends that.
fn alone(path: &Path, deadline: Instant) -> Result<File, StoreError> {
    let path = beside(path, "-create");
    let failed = |error: &dyn std::fmt::Display| {
        let message = format!("{}: {error}", path.display());
        StoreError::new(StoreErrorKind::Unavailable, message)
    };
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).open(&path);
    let file = file.map_err(|error| failed(&error))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOOK),
            Err(TryLockError::WouldBlock) => return Err(failed(&"another process holds it")),
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
    }
}

fn beside(path: &Path, rest: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(rest);
    name.into()
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// What a failure before the end of a transaction leaves behind: nothing was written.
pub(super) fn before(error: rusqlite::Error) -> StoreError {
    let code = error.sqlite_error_code();
    let message = error.to_string();
    let kind = match code {
        _ if message.contains("no such table") => StoreErrorKind::Missing,
        Some(
            ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::NotADatabase
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::TooBig,
        ) => StoreErrorKind::Rejected,
        Some(_) | None => StoreErrorKind::Unavailable,
    };
    StoreError::new(kind, format!("SQLite: {message}"))
}
