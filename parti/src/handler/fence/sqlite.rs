//! Fences for tables in SQLite: the token is compared in the transaction that writes.
//!
//! ```
//! use parti::fence::sqlite::{admit, prepare, rusqlite};
//! # use parti::fence::sqlite::AdmitError;
//! # fn main() -> Result<(), AdmitError> {
//! # let token = parti_core::Token::new(7);
//! let mut connection = rusqlite::Connection::open_in_memory()?;
//! prepare(&connection)?;
//! connection.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER)")?;
//!
//! let change = connection.transaction()?;
//! admit(&change, "orders/7", token)?; // a handler takes `write_as_owner`
//! change.execute("INSERT INTO orders (id, total) VALUES (1, 99)", [])?;
//! change.commit()?;
//! # Ok(())
//! # }
//! ```

use std::fmt;

use parti_core::Token;
pub use rusqlite;
use rusqlite::{Connection, Transaction, params};

use super::{ADMIT, Stale, TABLE};
use crate::handler::guard::Guard;

/// Why a token was not admitted. Roll the transaction back, as dropping it does.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdmitError {
    /// The ownership is over.
    Stale(Stale),
    /// The database failed.
    Database(rusqlite::Error),
}

impl fmt::Display for AdmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale(stale) => stale.fmt(f),
            Self::Database(error) => write!(f, "the fence in the database: {error}"),
        }
    }
}

impl std::error::Error for AdmitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Stale(stale) => Some(stale),
            Self::Database(error) => Some(error),
        }
    }
}

impl From<rusqlite::Error> for AdmitError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// Creates the table of tokens if there is none.
///
/// # Errors
/// When the database fails.
pub fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLE)
}

/// One transaction in the name of a partition's owner: its token is admitted, as [`admit`] does, `work`
/// writes, and all of it is committed. The resource is the partition's encoded key, so that no two
/// partitions share one. It blocks the thread for as long as the database takes.
///
/// # Errors
/// [`AdmitError::Stale`] when a later owner was admitted before; else what the database, or `work`, failed
/// with. Nothing was written, unless the commit itself failed.
pub fn write_as_owner<T>(
    connection: &mut Connection,
    guard: &Guard,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> Result<T, AdmitError> {
    let change = connection.transaction()?;
    admit(&change, guard.partition().encoded(), guard.token())?;
    let written = work(&change)?;
    change.commit()?;
    Ok(written)
}

/// Admits a token to a resource, such as an account that a partition has, for the rest of the transaction.
/// Call it first: its write takes the lock, so that what is read afterwards holds until the end.
///
/// # Errors
/// [`AdmitError::Stale`] when a larger token was admitted before. Nothing was changed.
pub fn admit(change: &Transaction<'_>, resource: &str, token: Token) -> Result<(), AdmitError> {
    let number = i64::try_from(token.get()).unwrap_or(i64::MAX);
    if change
        .prepare_cached(ADMIT)?
        .execute(params![resource, number])?
        == 1
    {
        return Ok(());
    }
    let sql = "SELECT token FROM parti_fence WHERE resource = $1";
    let newer: i64 = change.query_row(sql, params![resource], |row| row.get(0))?;
    Err(AdmitError::Stale(Stale {
        resource: resource.to_owned(),
        token,
        newer: Token::new(newer.unsigned_abs()),
    }))
}
