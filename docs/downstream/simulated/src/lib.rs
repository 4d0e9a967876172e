//! A meter per tenant: it reads the count once, keeps it in memory, and stores each step with its token.
//!
//! Where it is stored is a trait of two methods, so that the very same handler runs on SQLite in production
//! and on the simulator's resource in its test.

use std::time::Duration;

use parti::fence::sqlite::{prepare, rusqlite::Connection, write_as_owner};
use parti::{Guard, HandlerError, PartitionHandler, PartitionKey, RevokeCause, async_trait};

/// Where counts are kept. Both methods refuse a token smaller than one that was seen.
#[async_trait]
pub trait Ledger: Clone + Send + Sync + 'static {
    /// The count of the guard's partition.
    async fn read(&self, guard: &Guard) -> Result<u64, HandlerError>;

    /// Stores the count. An error means that it may have been stored.
    async fn store(&self, guard: &Guard, count: u64) -> Result<(), HandlerError>;
}

/// The handler: a task for each tenant.
pub struct Meter<L>(pub L);

#[async_trait]
impl<L: Ledger> PartitionHandler for Meter<L> {
    async fn on_assigned(&self, _: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        // The process may have stood still since it was called.
        if !guard.is_valid() {
            return Err(HandlerError::new("it is over before it began"));
        }
        // The read carries the token: from here on nothing of earlier owners is taken.
        let count = self.0.read(&guard).await?;
        tokio::spawn(measure(self.0.clone(), guard, count));
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
}

async fn measure(ledger: impl Ledger, guard: Guard, mut count: u64) {
    let mut is_stored = true;
    // The guard is asked right before each request: nothing may come between.
    while guard.is_valid() && !guard.is_revoking() {
        count += u64::from(is_stored);
        // Storing the same count again harms nobody; going on without knowing would.
        is_stored = ledger.store(&guard, count).await.is_ok();
        tokio::select! {
            () = guard.revoking() => {}
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
}

/// Counts in a SQLite file.
#[derive(Clone)]
pub struct Tables(pub String);

#[async_trait]
impl Ledger for Tables {
    async fn read(&self, guard: &Guard) -> Result<u64, HandlerError> {
        self.change(guard, None)
    }

    async fn store(&self, guard: &Guard, count: u64) -> Result<(), HandlerError> {
        self.change(guard, Some(count)).map(drop)
    }
}

impl Tables {
    /// Admits the token, stores a count if there is one, and answers what is stored.
    fn change(&self, guard: &Guard, count: Option<u64>) -> Result<u64, HandlerError> {
        let mut database = Connection::open(&self.0)?;
        prepare(&database)?;
        database.execute_batch("CREATE TABLE IF NOT EXISTS counts (tenant PRIMARY KEY, count)")?;
        let stored = write_as_owner(&mut database, guard, |change| {
            let sql = "INSERT INTO counts VALUES (?1, coalesce(?2, 0)) \
                ON CONFLICT DO UPDATE SET count = coalesce(?2, count) RETURNING count";
            let tenant = guard.partition().encoded();
            change.query_row(sql, (tenant, count), |row| row.get(0))
        })?;
        Ok(stored)
    }
}
