//! Short words for the cases: requests, and answers taken apart with a reason when they are wrong.

use core::time::Duration;

use parti_core::{
    Entry, Expect, Revision, Store, StoreError, StoreErrorKind, StoreInfo, StoreOp, StoreReply,
    Watch, WatchEvent, WatchScope, Write,
};

use super::timer;

/// How often, and with which pause, a store that lags is asked again: five seconds in all.
const LAG_LOOKS: u32 = 500;
const LAG_LOOK: Duration = Duration::from_millis(10);

pub(super) fn put(key: &str, value: &str, expect: Expect) -> Write {
    Write {
        key: key.to_owned(),
        value: Some(value.as_bytes().to_vec()),
        expect,
    }
}

pub(super) fn tombstone(key: &str, expect: Expect) -> Write {
    Write {
        key: key.to_owned(),
        value: None,
        expect,
    }
}

/// A request. A cluster that has just been started may be without a leader for a moment; nothing was
/// done then, so it is asked again.
async fn execute(store: &dyn Store, op: StoreOp) -> Result<StoreReply, StoreError> {
    for _ in 0..LAG_LOOKS {
        match store.execute(op.clone()).await {
            Err(error) if error.kind == StoreErrorKind::Unavailable => {}
            other => return other,
        }
        timer::pause(LAG_LOOK).await;
    }
    store.execute(op).await
}

/// A commit that is asked for again while the store is out of reach.
pub(super) async fn try_commit(
    store: &dyn Store,
    writes: Vec<Write>,
) -> Result<Vec<Revision>, StoreError> {
    committed(execute(store, StoreOp::Commit { writes }).await)
}

/// A commit that is asked for once.
pub(super) async fn attempt(
    store: &dyn Store,
    writes: Vec<Write>,
) -> Result<Vec<Revision>, StoreError> {
    committed(store.execute(StoreOp::Commit { writes }).await)
}

fn committed(reply: Result<StoreReply, StoreError>) -> Result<Vec<Revision>, StoreError> {
    match reply? {
        StoreReply::Committed { revisions } => Ok(revisions),
        other @ (StoreReply::Entry(_) | StoreReply::Entries { .. } | StoreReply::Info(_)) => {
            Err(StoreError::new(
                StoreErrorKind::Rejected,
                format!("a commit was answered by {other:?}"),
            ))
        }
    }
}

pub(super) async fn commit(store: &dyn Store, writes: Vec<Write>) -> Result<Vec<Revision>, String> {
    let count = writes.len();
    let revisions = try_commit(store, writes)
        .await
        .map_err(|error| format!("commit: {error}"))?;
    if revisions.len() == count {
        Ok(revisions)
    } else {
        Err(format!(
            "{count} writes were answered by {} revisions",
            revisions.len()
        ))
    }
}

pub(super) async fn commit_one(store: &dyn Store, write: Write) -> Result<Revision, String> {
    let revisions = commit(store, vec![write]).await?;
    revisions
        .first()
        .copied()
        .ok_or_else(|| "no revision".to_owned())
}

/// The commit must fail in this way.
pub(super) async fn fails(
    store: &dyn Store,
    writes: Vec<Write>,
    kind: StoreErrorKind,
) -> Result<(), String> {
    match try_commit(store, writes).await {
        Err(error) if error.kind == kind => Ok(()),
        Err(error) => Err(format!("failed as \"{error}\", not as \"{kind}\"")),
        Ok(revisions) => Err(format!(
            "happened at {revisions:?}, must fail as \"{kind}\""
        )),
    }
}

pub(super) async fn get(store: &dyn Store, key: &str) -> Result<Option<Entry>, String> {
    let key = key.to_owned();
    match execute(store, StoreOp::Get { key: key.clone() }).await {
        Ok(StoreReply::Entry(entry)) => Ok(entry),
        other => Err(format!("get {key}: {other:?}")),
    }
}

/// The value of a key as text; `None` if it does not exist.
pub(super) async fn value(store: &dyn Store, key: &str) -> Result<Option<String>, String> {
    let entry = get(store, key).await?;
    let value = entry.and_then(|entry| entry.value);
    Ok(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

pub(super) async fn list(
    store: &dyn Store,
    prefix: &str,
) -> Result<(Vec<Entry>, Revision), String> {
    let prefix = prefix.to_owned();
    let op = StoreOp::List {
        prefix: prefix.clone(),
    };
    match execute(store, op).await {
        Ok(StoreReply::Entries {
            mut entries,
            last_revision,
        }) => {
            entries.retain(|entry| entry.value.is_some());
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            Ok((entries, last_revision))
        }
        other => Err(format!("list {prefix}: {other:?}")),
    }
}

/// A list that is known to include everything up to a revision. A replica may lag by a moment.
pub(super) async fn list_from(
    store: &dyn Store,
    prefix: &str,
    from: Revision,
) -> Result<(Vec<Entry>, Revision), String> {
    for _ in 0..LAG_LOOKS {
        let listed = list(store, prefix).await?;
        if listed.1 >= from {
            return Ok(listed);
        }
        timer::pause(LAG_LOOK).await;
    }
    Err(format!("no list of {prefix:?} includes {from}"))
}

pub(super) async fn info(store: &dyn Store) -> Result<StoreInfo, String> {
    match execute(store, StoreOp::Info).await {
        Ok(StoreReply::Info(info)) => Ok(info),
        other => Err(format!("info: {other:?}")),
    }
}

pub(super) async fn watch(store: &dyn Store, scope: WatchScope) -> Result<Box<dyn Watch>, String> {
    for _ in 0..LAG_LOOKS {
        match store.watch(scope.clone()).await {
            Ok(watch) => return Ok(watch),
            Err(error) if error.kind == StoreErrorKind::Unavailable => {}
            Err(error) => return Err(format!("watch: {error}")),
        }
        timer::pause(LAG_LOOK).await;
    }
    Err("watch: the store is out of reach".to_owned())
}

/// Everything up to and including the mark: the entries and the revision of the mark.
pub(super) async fn first_state(watch: &mut dyn Watch) -> Result<(Vec<Entry>, Revision), String> {
    let mut entries = Vec::new();
    loop {
        match watch.next().await {
            WatchEvent::Entry(entry) => entries.push(entry),
            WatchEvent::CaughtUp { revision } => return Ok((entries, revision)),
            WatchEvent::Lost { reason } => return Err(format!("the watch was lost: {reason}")),
        }
    }
}

/// The next entry with at least this revision; older ones may be repeated at any time.
pub(super) async fn entry_from(watch: &mut dyn Watch, from: Revision) -> Result<Entry, String> {
    loop {
        match watch.next().await {
            WatchEvent::Entry(entry) if entry.revision >= from => return Ok(entry),
            WatchEvent::Entry(_) => {}
            WatchEvent::CaughtUp { revision } => {
                return Err(format!("a second mark, at {revision}"));
            }
            WatchEvent::Lost { reason } => return Err(format!("the watch was lost: {reason}")),
        }
    }
}

pub(super) fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

/// Fails with what was seen unless it is what must be.
pub(super) fn expect_eq<T: PartialEq + core::fmt::Debug>(
    what: &str,
    seen: &T,
    wanted: &T,
) -> Result<(), String> {
    if seen == wanted {
        Ok(())
    } else {
        Err(format!("{what}: {seen:?}, not {wanted:?}"))
    }
}
