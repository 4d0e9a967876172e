//! Fences: what a worker writes to refuses those that owned a partition before.
//!
//! A process can stand still between the check of its guard and the write that follows, and go on when its
//! partition has another owner. Only what it writes to can refuse it then, by comparing
//! [`Guard::token`](crate::Guard::token) with the largest it has seen. What always holds: comparing and
//! writing are one step, which nobody can get in between, and cost no round trip of their own.
//!
//! | what is written to | fence | how |
//! |---|---|---|
//! | tables in SQLite | `sqlite::admit` (feature `sqlite`) | one more statement in the transaction |
//! | tables in PostgreSQL | [`TABLE`] and [`ADMIT`] | the same statement, alone or in front of another |
//! | keys, subjects on NATS | `nats::FencedSubject` (feature `jetstream`) | the sequence of the last write |
//! | an object, as on S3 | `object::FencedObject` (feature `objects`) | the version of the last write |
//! | a file | [`file::FencedFile`] | a token beside the file, under a lock |
//!
//! All of them are put through the same test: a writer is stopped at any moment, another one takes over, the
//! first goes on; no write of a smaller token comes after one of a larger.

use std::fmt;

use parti_core::Token;

pub mod file;
#[cfg(feature = "jetstream")]
pub mod nats;
#[cfg(feature = "objects")]
pub mod object;
#[cfg(feature = "sqlite")]
pub mod sqlite;

/// The table of the largest tokens, in SQL that SQLite and PostgreSQL understand.
pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS parti_fence \
    (resource TEXT PRIMARY KEY, token BIGINT NOT NULL)";

/// Admits to the resource `$1` the token `$2`, in the transaction that writes: it changes one row, or none
/// when a larger token was there. Then the transaction has to be rolled back.
///
/// In PostgreSQL the row stays locked until the end of the transaction, so that nobody gets in between. There
/// it can also stand in front of the statement that writes, which is one way to the server and back, and
/// leaves no lock with a process that stands still. No row written means stale:
///
/// ```
/// let sql = format!(
///     "WITH admitted AS ({} RETURNING token) INSERT INTO orders (id, total) SELECT $3, $4 FROM admitted",
///     parti::fence::ADMIT,
/// );
/// # assert!(sql.contains("$1, $2"));
/// ```
pub const ADMIT: &str = "INSERT INTO parti_fence (resource, token) VALUES ($1, $2) \
    ON CONFLICT (resource) DO UPDATE SET token = excluded.token \
    WHERE parti_fence.token <= excluded.token";

/// A write in the name of an ownership that is over: somebody with a larger token has written. This one was
/// not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// What was to be written.
    pub resource: String,
    /// The token of the write.
    pub token: Token,
    /// The larger one.
    pub newer: Token,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resource,
            token,
            newer,
        } = self;
        write!(f, "{resource}: token {token} is over, {newer} has written")
    }
}

impl std::error::Error for Stale {}
