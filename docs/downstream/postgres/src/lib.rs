//! A store of one's own: PostgreSQL. A commit is one statement, and `LISTEN` says when to look again.
//!
//! It needs `parti-core` alone. One connection serves all; when it ends, the next request opens another. A
//! notification is only a hint, since one that is lost must not be missed: every watch also looks by itself.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parti_core::kv::{Kv, Limits};
use parti_core::{Entry, Expect, Revision, Store, StoreError, StoreErrorKind as Kind, StoreInfo};
use parti_core::{StoreOp, StoreReply, Watch, WatchEvent, WatchScope, Write};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Row, Socket};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks of a watch that heard nothing.
const LOOK: Duration = Duration::from_millis(500);

const TABLES: &str = include_str!("commit.sql");

/// The records of one group in a database. Clones share a connection.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    database: Config,
    bucket: String,
    client: Mutex<Option<Arc<Client>>>,
    /// Counts commits that were told of, and connections that ended.
    hints: watch::Sender<u64>,
}

impl Postgres {
    /// The records of a group; tables and group are created if they are not there.
    pub async fn open(mut database: Config, group: &str) -> Result<Self, StoreError> {
        let limit = format!("-c statement_timeout={} ", PATIENCE.as_millis());
        database.options(limit + "-c default_transaction_isolation=read\\ committed");
        let (bucket, hints) = (group.to_owned(), watch::Sender::new(0));
        let client = Mutex::default();
        let inner = Inner {
            database,
            bucket,
            client,
            hints,
        };
        let store = Self(Arc::new(inner));
        store.execute(StoreOp::Create).await?;
        Ok(store)
    }
}

#[async_trait]
impl Store for Postgres {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        match op {
            StoreOp::Commit { writes } => self.0.commit(&writes).await,
            StoreOp::Get { key } => {
                let (_, mut entries) = self.0.entries(0, Some(&[key])).await?;
                Ok(StoreReply::Entry(entries.pop()))
            }
            StoreOp::List { prefix } => {
                let (bucket, mut entries) = self.0.entries(0, None).await?;
                entries.retain(|entry| entry.value.is_some() && entry.key.starts_with(&prefix));
                let last_revision = bucket.revision;
                Ok(StoreReply::Entries {
                    entries,
                    last_revision,
                })
            }
            StoreOp::Create => self.0.create().await,
            StoreOp::Info => self.0.info().await,
        }
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        let hints = self.0.hints.subscribe();
        let mut look = Look {
            inner: Arc::clone(&self.0),
            hints,
            keys: match scope {
                WatchScope::All => None,
                WatchScope::Keys(keys) => Some(keys),
            },
            heard: 0,
            reading: None,
            seen: None,
            events: VecDeque::new(),
            lost: None,
        };
        look.refresh().await?;
        Ok(Box::new(look))
    }
}

/// The row of a group.
#[derive(Clone, Copy)]
struct Bucket {
    created: i64,
    revision: Revision,
}

impl Inner {
    async fn create(&self) -> Result<StoreReply, StoreError> {
        let client = self.client().await?;
        // Two that create tables at once would get in each other's way. All of it is one transaction.
        let tables = format!("SELECT pg_advisory_xact_lock(7012841); {TABLES}");
        let created = timeout(PATIENCE, client.batch_execute(&tables)).await;
        created.map_err(|_| late())?.map_err(failed)?;
        let row = "INSERT INTO parti_bucket SELECT $1, extract(epoch FROM clock_timestamp()) * 1000000000, 0
                   ON CONFLICT DO NOTHING";
        self.rows(row, &[(&self.bucket, Type::TEXT)]).await?;
        self.info().await
    }

    async fn info(&self) -> Result<StoreReply, StoreError> {
        let (bucket, _) = self.entries(i64::MAX, None).await?;
        let version = self
            .rows("SELECT current_setting('server_version')", &[])
            .await?;
        let Limits {
            max_batch,
            max_value,
        } = Limits::default();
        Ok(StoreReply::Info(StoreInfo {
            created: bucket.created.unsigned_abs(),
            // Nobody can know for how long: wall clocks can be set.
            age: Duration::ZERO,
            last_revision: bucket.revision,
            version: format!("PostgreSQL {}", version[0].get::<_, String>(0)),
            max_batch,
            max_value,
            faults: Vec::new(),
        }))
    }

    async fn commit(&self, writes: &[Write]) -> Result<StoreReply, StoreError> {
        // What needs no look at the database is what the specification says of an empty bucket.
        let expect = Expect::Any;
        let plain = writes.iter().map(|write| Write {
            expect,
            ..write.clone()
        });
        Kv::default().commit(&plain.collect::<Vec<_>>())?;
        let keys: Vec<&str> = writes.iter().map(|write| write.key.as_str()).collect();
        let values: Vec<Option<&[u8]>> =
            writes.iter().map(|write| write.value.as_deref()).collect();
        let expected = writes.iter().map(|write| match write.expect {
            Expect::Any => None,
            Expect::Absent => Some(-1),
            Expect::Revision(revision) => Some(number(revision)),
        });
        let expected: Vec<Option<i64>> = expected.collect();
        let arguments = [
            (&self.bucket as &(dyn ToSql + Sync), Type::TEXT),
            (&keys, Type::TEXT_ARRAY),
            (&values, Type::BYTEA_ARRAY),
            (&expected, Type::INT8_ARRAY),
        ];
        let sql = "SELECT parti_commit($1, $2, $3, $4)";
        let rows = self.rows(sql, &arguments).await?;
        match rows[0].get::<_, i64>(0) {
            -1 => Err(self.missing()),
            -2 => Err(StoreError::new(
                Kind::Refused,
                "a key was written meanwhile",
            )),
            before => {
                let revisions = (1..)
                    .take(writes.len())
                    .map(|n| revision(before + n))
                    .collect();
                Ok(StoreReply::Committed { revisions })
            }
        }
    }

    /// The row of the group and what was written after a revision, in its order, as of one moment.
    async fn entries(
        &self,
        after: i64,
        keys: Option<&[String]>,
    ) -> Result<(Bucket, Vec<Entry>), StoreError> {
        let sql = "SELECT b.created, b.revision, e.key, e.value, e.revision, e.at_ms
                   FROM parti_bucket b LEFT JOIN parti_entry e
                   ON e.bucket = b.name AND e.revision > $2 AND ($3::text[] IS NULL OR e.key = ANY ($3))
                   WHERE b.name = $1 ORDER BY e.revision";
        let values = [
            (&self.bucket as &(dyn ToSql + Sync), Type::TEXT),
            (&after, Type::INT8),
            (&keys, Type::TEXT_ARRAY),
        ];
        let rows = self.rows(sql, &values).await?;
        let first = rows.first().ok_or_else(|| self.missing())?;
        let bucket = Bucket {
            created: first.get(0),
            revision: revision(first.get(1)),
        };
        let entry = |row: &Row| {
            Some(Entry {
                key: row.get::<_, Option<String>>(2)?,
                value: row.get(3),
                revision: revision(row.get(4)),
                at_ms: row.get::<_, i64>(5).unsigned_abs(),
            })
        };
        Ok((bucket, rows.iter().filter_map(entry).collect()))
    }

    /// One statement, which is one transaction and one way to the server and back.
    async fn rows(
        &self,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, StoreError> {
        let client = self.client().await?;
        let Ok(rows) = timeout(PATIENCE, client.query_typed(sql, values)).await else {
            // Whatever is asked next would stand in line behind it.
            let mut slot = self.client.lock().await;
            slot.take_if(|stuck| Arc::ptr_eq(stuck, &client));
            return Err(late());
        };
        rows.map_err(failed)
    }

    /// The connection, or another one when it has ended. Nothing was sent before.
    async fn client(&self) -> Result<Arc<Client>, StoreError> {
        let unavailable = |why: String| StoreError::new(Kind::Unavailable, why);
        let open = async {
            let mut slot = self.client.lock().await;
            if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
                return Ok(Arc::clone(client));
            }
            let (client, connection) = self.database.connect(NoTls).await?;
            tokio::spawn(listen(connection, self.hints.clone()));
            client.batch_execute("LISTEN parti").await?;
            let client = slot.insert(Arc::new(client));
            Ok::<_, tokio_postgres::Error>(Arc::clone(client))
        };
        let opened = timeout(PATIENCE, open).await;
        let opened = opened.map_err(|_| unavailable("no connection in time".to_owned()))?;
        opened.map_err(|error| unavailable(error.to_string()))
    }

    fn missing(&self) -> StoreError {
        StoreError::new(Kind::Missing, format!("there is no bucket {}", self.bucket))
    }
}

/// Drives a connection to its end, and tells of every notification.
async fn listen(mut connection: Connection<Socket, NoTlsStream>, hints: watch::Sender<u64>) {
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            hints.send_modify(|count| *count += 1);
        }
    }
    hints.send_modify(|count| *count += 1);
}

fn late() -> StoreError {
    StoreError::new(Kind::Unknown, "no answer in time")
}

/// What an error leaves behind. One that the server sent for a statement says that it was undone.
fn failed(error: tokio_postgres::Error) -> StoreError {
    let kind = match error.code() {
        // There are no tables, so there is no bucket.
        Some(code) if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION].contains(code) => {
            Kind::Missing
        }
        // The server goes down: a commit that waited for its replicas may have been done.
        Some(code) if code.code().starts_with("57P") => Kind::Unknown,
        // Such as no permission.
        Some(code) if code.code().starts_with("42") => Kind::Rejected,
        Some(_) => Kind::Unavailable,
        None => Kind::Unknown,
    };
    let reason = error
        .as_db_error()
        .map_or_else(|| error.to_string(), ToString::to_string);
    StoreError::new(kind, reason)
}

fn revision(number: i64) -> Revision {
    Revision::new(number.unsigned_abs())
}

/// Ours all come from the database, where they are such numbers.
fn number(revision: Revision) -> i64 {
    i64::try_from(revision.get()).unwrap_or(i64::MAX)
}

/// A watch: a look whenever there is a hint, or nothing was heard for long.
type Reading = Pin<Box<dyn Future<Output = Result<(Bucket, Vec<Entry>), StoreError>> + Send>>;

struct Look {
    inner: Arc<Inner>,
    hints: watch::Receiver<u64>,
    /// The hints up to the last look.
    heard: u64,
    /// The read under way. A wait that is given up goes on with it the next time.
    reading: Option<Reading>,
    keys: Option<Vec<String>>,
    /// The group's row at the last look.
    seen: Option<Bucket>,
    events: VecDeque<WatchEvent>,
    lost: Option<String>,
}

impl Look {
    /// Nothing is changed before the answer is there, so that it may be dropped meanwhile.
    async fn refresh(&mut self) -> Result<(), StoreError> {
        let after = self.seen.map_or(0, |bucket| number(bucket.revision));
        let reading = self.reading.get_or_insert_with(|| {
            self.heard = *self.hints.borrow();
            let (inner, keys) = (Arc::clone(&self.inner), self.keys.clone());
            Box::pin(async move { inner.entries(after, keys.as_deref()).await })
        });
        let answer = reading.await;
        self.reading = None;
        let (bucket, mut entries) = answer?;
        let before = self.seen.replace(bucket);
        if before.is_none() {
            entries.retain(|entry| entry.value.is_some());
        }
        self.events
            .extend(entries.into_iter().map(WatchEvent::Entry));
        let revision = bucket.revision;
        match before {
            None => self.events.push_back(WatchEvent::CaughtUp { revision }),
            Some(before) if before.created == bucket.created && before.revision <= revision => {}
            Some(_) => {
                return Err(StoreError::new(
                    Kind::Missing,
                    "another history is in its place",
                ));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Watch for Look {
    async fn next(&mut self) -> WatchEvent {
        loop {
            if let Some(reason) = self.lost.clone() {
                return WatchEvent::Lost { reason };
            }
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            if self.reading.is_none() {
                let heard = self.heard;
                let hint = self.hints.wait_for(|count| *count != heard);
                // Without a hint in time, or without anybody who could give one, a look as well.
                let _ = timeout(LOOK, hint).await;
            }
            self.lost = self.refresh().await.err().map(|error| error.message);
        }
    }
}
