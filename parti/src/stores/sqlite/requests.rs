//! Requests of the port as statements on a connection, each in one transaction.
//!
//! It is separate from the threads that run it. What always holds: conditions are compared in the transaction
//! that writes, and an error before its end says that nothing was written.

use std::time::Duration;

use parti_core::kv::is_valid_key;
use parti_core::{
    Entry, Expect, GroupName, Revision, StoreError, StoreErrorKind, StoreFault, StoreInfo,
    StoreReply, WatchScope, Write,
};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::database::before;

const MAX_BATCH: usize = 10_000;
const MAX_VALUE: usize = 4 << 20;

/// Above everything that a key begins with.
const AFTER_EVERY_KEY: char = char::MAX;

/// The row of a bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    created: i64,
    last: i64,
}

/// What changed in a scope, and how far that goes.
#[derive(Debug)]
pub(super) struct Changes {
    /// Which history it is.
    pub(super) created: u64,
    /// No write up to this revision is missing.
    pub(super) last: Revision,
    /// In the order of their revisions.
    pub(super) entries: Vec<Entry>,
}

/// Writes all or nothing.
///
/// # Errors
/// As the port says. `Unknown` only when the end of the transaction failed.
pub(super) fn commit(
    connection: &mut Connection,
    bucket: &str,
    writes: &[Write],
) -> Result<StoreReply, StoreError> {
    check(writes)?;
    // The lock for writing first: what is read afterwards holds until the end.
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let change = change.map_err(before)?;
    let mut last = find(&change, bucket)?.last;
    for write in writes {
        expect(&change, bucket, write)?;
    }
    let mut revisions = Vec::with_capacity(writes.len());
    for write in writes {
        last = last.saturating_add(1);
        put(&change, bucket, write, last).map_err(before)?;
        revisions.push(revision(last));
    }
    let sql = "UPDATE parti_bucket SET last = ?2 WHERE name = ?1";
    let updated = change.prepare_cached(sql);
    let updated = updated.and_then(|mut update| update.execute(params![bucket, last]));
    updated.map_err(before)?;
    match change.commit() {
        Ok(()) => Ok(StoreReply::Committed { revisions }),
        Err(error) => Err(StoreError::new(
            StoreErrorKind::Unknown,
            format!("SQLite, at the end of a commit: {error}"),
        )),
    }
}

/// What needs no look at the store.
fn check(writes: &[Write]) -> Result<(), StoreError> {
    let rejected = |message| Err(StoreError::new(StoreErrorKind::Rejected, message));
    if writes.is_empty() || writes.len() > MAX_BATCH {
        let count = writes.len();
        return rejected(format!(
            "a commit of {count} writes; 1 to {MAX_BATCH} are allowed"
        ));
    }
    let mut keys: Vec<&str> = writes.iter().map(|write| write.key.as_str()).collect();
    keys.sort_unstable();
    if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
        return rejected(format!("a commit writes {:?} twice", pair[0]));
    }
    if let Some(key) = keys.iter().find(|key| !is_valid_key(key)) {
        return rejected(format!("{key:?} is not a valid key"));
    }
    let bytes = |write: &Write| write.value.as_ref().map_or(0, Vec::len);
    match writes.iter().find(|write| bytes(write) > MAX_VALUE) {
        None => Ok(()),
        Some(write) => {
            let (key, bytes) = (&write.key, bytes(write));
            rejected(format!(
                "{bytes} bytes for {key}; at most {MAX_VALUE} are allowed"
            ))
        }
    }
}

fn expect(change: &Transaction<'_>, bucket: &str, write: &Write) -> Result<(), StoreError> {
    let sql = "SELECT revision, value IS NULL FROM parti_entry WHERE bucket = ?1 AND key = ?2";
    let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?));
    let found = change
        .prepare_cached(sql)
        .and_then(|mut select| select.query_row(params![bucket, write.key], row).optional());
    let found = found.map_err(before)?;
    let holds = match write.expect {
        Expect::Any => true,
        Expect::Absent => found.is_none_or(|(_, is_tombstone)| is_tombstone),
        Expect::Revision(wanted) => {
            found.map_or(Revision::ZERO, |(found, _)| revision(found)) == wanted
        }
    };
    if holds {
        return Ok(());
    }
    let (key, wanted) = (&write.key, write.expect);
    let message = format!("{key} is at {found:?}, expected {wanted:?}");
    Err(StoreError::new(StoreErrorKind::Refused, message))
}

fn put(change: &Transaction<'_>, bucket: &str, write: &Write, at: i64) -> rusqlite::Result<usize> {
    let sql = "INSERT INTO parti_entry (bucket, key, revision, value, at_ms)
               VALUES (?1, ?2, ?3, ?4, CAST(unixepoch('subsec') * 1000 AS INTEGER))
               ON CONFLICT (bucket, key) DO UPDATE
               SET revision = excluded.revision, value = excluded.value, at_ms = excluded.at_ms";
    let mut put = change.prepare_cached(sql)?;
    put.execute(params![bucket, write.key, at, write.value])
}

/// The buckets of the file whose names are those of groups, by name.
pub(super) fn buckets(connection: &Connection) -> Result<Vec<GroupName>, StoreError> {
    let sql = "SELECT name FROM parti_bucket ORDER BY name";
    let names = connection.prepare(sql).and_then(|mut select| {
        let names = select.query_map([], |row| row.get::<_, String>(0))?;
        names.collect::<rusqlite::Result<Vec<_>>>()
    });
    let names = names.map_err(before)?.into_iter();
    Ok(names
        .filter_map(|name| GroupName::new(&name).ok())
        .collect())
}

/// The last write of a key.
pub(super) fn get(
    connection: &Connection,
    bucket: &str,
    key: &str,
) -> Result<StoreReply, StoreError> {
    find(connection, bucket)?;
    let found = newer(connection, bucket, key, Revision::ZERO).map_err(before)?;
    Ok(StoreReply::Entry(found))
}

/// The living keys with a prefix.
pub(super) fn list(
    connection: &mut Connection,
    bucket: &str,
    prefix: &str,
) -> Result<StoreReply, StoreError> {
    let look = connection.transaction().map_err(before)?;
    let last = revision(find(&look, bucket)?.last);
    let sql = "SELECT key, revision, value, at_ms FROM parti_entry
               WHERE bucket = ?1 AND key >= ?2 AND key < ?3 AND value IS NOT NULL";
    let end = format!("{prefix}{AFTER_EVERY_KEY}");
    let entries = look.prepare_cached(sql).and_then(|mut select| {
        let rows = select.query_map(params![bucket, prefix, end], entry)?;
        rows.collect()
    });
    Ok(StoreReply::Entries {
        entries: entries.map_err(before)?,
        last_revision: last,
    })
}

/// What was written in a scope after a revision.
pub(super) fn changes(
    connection: &mut Connection,
    bucket: &str,
    scope: &WatchScope,
    after: Revision,
) -> Result<Changes, StoreError> {
    let look = connection.transaction().map_err(before)?;
    let Bucket { created, last } = find(&look, bucket)?;
    let entries = match scope {
        WatchScope::All => all_newer(&look, bucket, after),
        WatchScope::Keys(keys) => {
            let found = keys
                .iter()
                .filter_map(|key| newer(&look, bucket, key, after).transpose());
            found
                .collect::<rusqlite::Result<Vec<_>>>()
                .map(|mut found| {
                    found.sort_by_key(|entry| entry.revision);
                    found.dedup();
                    found
                })
        }
    };
    Ok(Changes {
        created: created.unsigned_abs(),
        last: revision(last),
        entries: entries.map_err(before)?,
    })
}

fn all_newer(look: &Connection, bucket: &str, after: Revision) -> rusqlite::Result<Vec<Entry>> {
    let sql = "SELECT key, revision, value, at_ms FROM parti_entry
               WHERE bucket = ?1 AND revision > ?2 ORDER BY revision";
    let mut select = look.prepare_cached(sql)?;
    let rows = select.query_map(params![bucket, number(after)], entry)?;
    rows.collect()
}

fn newer(
    look: &Connection,
    bucket: &str,
    key: &str,
    after: Revision,
) -> rusqlite::Result<Option<Entry>> {
    let sql = "SELECT key, revision, value, at_ms FROM parti_entry
               WHERE bucket = ?1 AND key = ?2 AND revision > ?3";
    let mut select = look.prepare_cached(sql)?;
    select
        .query_row(params![bucket, key, number(after)], entry)
        .optional()
}

/// Facts about the bucket.
pub(super) fn info(connection: &Connection, bucket: &str) -> Result<StoreReply, StoreError> {
    let Bucket { created, last } = find(connection, bucket)?;
    let mode = |row: &Row<'_>| row.get::<_, String>(0);
    let mode = connection
        .pragma_query_value(None, "journal_mode", mode)
        .map_err(before)?;
    let is_log = mode == "wal";
    let fault = (!is_log).then(|| StoreFault {
        setting: "journal_mode".to_owned(),
        found: mode,
        needed: "wal".to_owned(),
    });
    Ok(StoreReply::Info(StoreInfo {
        created: created.unsigned_abs(),
        // It has only the wall clock, which can be set.
        age: Duration::ZERO,
        last_revision: revision(last),
        version: format!("SQLite {}", rusqlite::version()),
        max_batch: MAX_BATCH,
        max_value: MAX_VALUE,
        faults: fault.into_iter().collect(),
    }))
}

fn find(connection: &Connection, bucket: &str) -> Result<Bucket, StoreError> {
    let sql = "SELECT created, last FROM parti_bucket WHERE name = ?1";
    let row = |row: &Row<'_>| {
        let (created, last) = (row.get(0)?, row.get(1)?);
        Ok(Bucket { created, last })
    };
    let found = connection.prepare_cached(sql);
    let found = found.and_then(|mut select| select.query_row(params![bucket], row).optional());
    found.map_err(before)?.ok_or_else(|| {
        let message = format!("there is no bucket {bucket} in the file");
        StoreError::new(StoreErrorKind::Missing, message)
    })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        key: row.get(0)?,
        revision: revision(row.get(1)?),
        value: row.get(2)?,
        at_ms: row.get::<_, i64>(3)?.unsigned_abs(),
    })
}

/// Revisions are counted from one by this store.
const fn revision(number: i64) -> Revision {
    Revision::new(number.unsigned_abs())
}

fn number(revision: Revision) -> i64 {
    i64::try_from(revision.get()).unwrap_or(i64::MAX)
}
