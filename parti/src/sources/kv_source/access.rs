//! Reading and changing a stored list: pieces, conditions, outcomes.
//!
//! It is separate because the outcome of a write can be unknown. What always holds: every try of a
//! change expects the revision it read, so of all tries at most one happens; a try whose outcome
//! was unclear is recognised by its name, also under later changes of others; and nothing is said to
//! have failed as long as such a try may be stored.

use std::future::Future;
use std::time::Duration;

use parti_core::{
    EARLIER_MAX, Entry, Expect, Nonce, Partition, PieceError, Record, Revision,
    SOURCE_PARTS_PREFIX, SourcePart, Store, StoreError, StoreErrorKind, StoreInfo, StoreOp,
    StoreReply, Write, joined, pieces, source_key, wire,
};
use tokio::time::{sleep, timeout};

use super::{KvSourceError, checked, jittered};
use crate::system::random::random;

/// How long one answer of the store is waited for.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// How often a change is tried.
const TRIES: u32 = 20;
/// How often a list in pieces is read until they fit together.
const READS: u32 = 5;
/// The first and the longest pause between tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// What is stored.
pub(super) struct Stored {
    /// The last write of the first piece, a deletion included.
    pub(super) revision: Revision,
    pub(super) list: Option<Vec<Partition>>,
    /// The change that made the list and some before it, newest first.
    changes: Vec<Nonce>,
    /// The pieces after the first, also those that a list which cannot be read has left.
    rest: Vec<String>,
}

/// A try whose outcome is not known.
struct Unclear {
    name: Nonce,
    /// What it expected to find, and the change that had made that.
    expected: Revision,
    after: Option<Nonce>,
    error: StoreError,
}

impl Unclear {
    /// Whether it is certain that it was not stored and will not be: another write came first, and
    /// what is stored names every change since the one this try would have followed.
    fn is_ruled_out(&self, stored: &Stored) -> bool {
        let whole = self
            .after
            .is_some_and(|after| stored.changes.contains(&after));
        stored.revision != self.expected && whole && !stored.changes.contains(&self.name)
    }
}

/// What a change does when the stored list cannot be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    Refuse,
    Overwrite,
}

/// Reads the list; again for some times when it is changed meanwhile.
pub(super) async fn read(store: &dyn Store) -> Result<Stored, KvSourceError> {
    let mut reads = 1;
    loop {
        match read_once(store).await {
            Err(KvSourceError::Pieces(_)) if reads < READS => reads += 1,
            other => return other,
        }
        sleep(jittered(PAUSES.0 * reads)).await;
    }
}

async fn read_once(store: &dyn Store) -> Result<Stored, KvSourceError> {
    let key = source_key(0);
    let Some(entry) = get(store, &key).await? else {
        return Ok(Stored::nothing(Revision::ZERO, Vec::new()));
    };
    let Some(first) = part(&entry)? else {
        return Ok(Stored::nothing(entry.revision, Vec::new()));
    };
    let mut changes = vec![first.change];
    changes.extend(&first.earlier);
    let parts = first.parts;
    let rest = if parts > 1 {
        rest(store, parts).await?
    } else {
        Vec::new()
    };
    let list = checked(joined(first, rest).map_err(KvSourceError::Pieces)?)?;
    Ok(Stored {
        revision: entry.revision,
        list: Some(list),
        changes,
        rest: (1..parts).map(source_key).collect(),
    })
}

impl Stored {
    const fn nothing(revision: Revision, rest: Vec<String>) -> Self {
        Self {
            revision,
            list: None,
            changes: Vec::new(),
            rest,
        }
    }
}

/// Changes the list; `change` is asked again at each try.
pub(super) async fn change<F>(
    store: &dyn Store,
    unreadable: Unreadable,
    mut change: F,
) -> Result<Vec<Partition>, KvSourceError>
where
    F: FnMut(Option<Vec<Partition>>) -> Result<Vec<Partition>, KvSourceError>,
{
    let mut unclear: Vec<Unclear> = Vec::new();
    // The last failure of the store; none when somebody else was first.
    let mut last: Option<StoreError> = None;
    let mut pause = PAUSES.0;
    for tries in 1..=TRIES {
        if tries > 1 {
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        let (stored, limits) = match situation(store, unreadable).await {
            Ok(found) => found,
            Err(KvSourceError::Store(error)) if error.kind != StoreErrorKind::Rejected => {
                last = Some(error);
                continue;
            }
            Err(error) => return Err(unsettled(unclear, tries, error)),
        };
        if let Some(list) = own(&stored, &unclear) {
            return Ok(list);
        }
        unclear.retain(|old| !old.is_ruled_out(&stored));
        let new = match change(stored.list.clone()).and_then(|list| Ok(checked(list)?)) {
            Ok(new) if stored.list.as_ref() == Some(&new) => return Ok(new),
            Ok(new) => new,
            Err(error) => return Err(unsettled(unclear, tries, error)),
        };
        let name = Nonce::new(random());
        match commit(store, &limits, &stored, &new, name).await {
            Ok(()) => return Ok(new),
            Err(KvSourceError::Store(error)) => match error.kind {
                StoreErrorKind::Refused => last = None,
                StoreErrorKind::Unavailable | StoreErrorKind::Missing => last = Some(error),
                StoreErrorKind::Unknown => {
                    unclear.push(Unclear {
                        name,
                        expected: stored.revision,
                        after: stored.changes.first().copied(),
                        error: error.clone(),
                    });
                    last = Some(error);
                }
                StoreErrorKind::Rejected => {
                    let error = KvSourceError::Store(error);
                    return settled(store, unclear, tries, error).await;
                }
            },
            Err(error) => return settled(store, unclear, tries, error).await,
        }
    }
    let error = last.map_or(
        KvSourceError::Conflict { tries: TRIES },
        KvSourceError::Store,
    );
    settled(store, unclear, TRIES, error).await
}

/// What became of a change that is given up: one more look finds out whether an unclear try was stored.
async fn settled(
    store: &dyn Store,
    mut unclear: Vec<Unclear>,
    tries: u32,
    error: KvSourceError,
) -> Result<Vec<Partition>, KvSourceError> {
    if !unclear.is_empty()
        && let Ok(stored) = read(store).await
    {
        if let Some(list) = own(&stored, &unclear) {
            return Ok(list);
        }
        unclear.retain(|old| !old.is_ruled_out(&stored));
    }
    Err(unsettled(unclear, tries, error))
}

/// The error, unless a try may be stored all the same.
fn unsettled(mut unclear: Vec<Unclear>, tries: u32, error: KvSourceError) -> KvSourceError {
    match (unclear.pop(), error) {
        (None, error) => error,
        (Some(_), KvSourceError::Store(last)) => KvSourceError::Unsettled { tries, last },
        (Some(Unclear { error: last, .. }), _) => KvSourceError::Unsettled { tries, last },
    }
}

/// The stored list, when one of these tries is in it.
fn own(stored: &Stored, unclear: &[Unclear]) -> Option<Vec<Partition>> {
    let is_stored = |old: &Unclear| stored.changes.contains(&old.name);
    let own = unclear.iter().any(is_stored);
    stored.list.clone().filter(|_| own)
}

/// What is stored, and the limits of the store.
async fn situation(
    store: &dyn Store,
    unreadable: Unreadable,
) -> Result<(Stored, StoreInfo), KvSourceError> {
    let mut stored = match read(store).await {
        Err(KvSourceError::Store(error)) => return Err(KvSourceError::Store(error)),
        Err(_) if unreadable == Unreadable::Overwrite => {
            let entry = get(store, &source_key(0)).await?;
            let revision = entry.map_or(Revision::ZERO, |entry| entry.revision);
            Stored::nothing(revision, Vec::new())
        }
        read => read?,
    };
    if stored.list.is_none() {
        // Nothing says how many pieces there were.
        let pieces = further_pieces(store).await?;
        stored.rest = pieces.into_iter().map(|entry| entry.key).collect();
    }
    Ok((stored, info(store).await?))
}

async fn commit(
    store: &dyn Store,
    limits: &StoreInfo,
    stored: &Stored,
    list: &[Partition],
    name: Nonce,
) -> Result<(), KvSourceError> {
    let (max_value, max_batch) = (limits.max_value, limits.max_batch);
    let earlier = &stored.changes[..stored.changes.len().min(EARLIER_MAX)];
    let parts = pieces(list, name, earlier, max_value).map_err(KvSourceError::Pieces)?;
    let written: Vec<String> = parts.iter().map(|part| source_key(part.index)).collect();
    // The first piece carries the condition: every change writes it.
    let condition = match stored.revision {
        Revision::ZERO => Expect::Absent,
        revision => Expect::Revision(revision),
    };
    let mut writes: Vec<Write> = parts
        .into_iter()
        .map(|part| Write {
            key: source_key(part.index),
            expect: if part.index == 0 {
                condition
            } else {
                Expect::Any
            },
            value: Some(wire::encode(&Record::Source(part))),
        })
        .collect();
    if writes.len() > max_batch {
        return Err(KvSourceError::TooLarge {
            partitions: list.len(),
            writes: writes.len(),
            max_batch,
        });
    }
    // As many as there is room for: the first piece says how many count.
    let room = max_batch - writes.len();
    let left = stored.rest.iter().filter(|key| !written.contains(key));
    writes.extend(left.take(room).map(|key| Write {
        key: key.clone(),
        value: None,
        expect: Expect::Any,
    }));
    match execute(store, StoreOp::Commit { writes }).await? {
        StoreReply::Committed { .. } => Ok(()),
        StoreReply::Entry(_) | StoreReply::Entries { .. } | StoreReply::Info(_) => {
            Err(unexpected())
        }
    }
}

async fn further_pieces(store: &dyn Store) -> Result<Vec<Entry>, KvSourceError> {
    let prefix = SOURCE_PARTS_PREFIX.to_owned();
    match execute(store, StoreOp::List { prefix }).await? {
        StoreReply::Entries { entries, .. } => Ok(entries),
        StoreReply::Committed { .. } | StoreReply::Entry(_) | StoreReply::Info(_) => {
            Err(unexpected())
        }
    }
}

async fn rest(store: &dyn Store, parts: u32) -> Result<Vec<SourcePart>, KvSourceError> {
    let entries = further_pieces(store).await?;
    let mut rest = Vec::new();
    for index in 1..parts {
        let key = source_key(index);
        let Some(entry) = entries.iter().find(|entry| entry.key == key) else {
            return Err(KvSourceError::Pieces(PieceError::Missing { index }));
        };
        rest.extend(part(entry)?);
    }
    Ok(rest)
}

/// The piece in an entry; `None` when it was deleted.
fn part(entry: &Entry) -> Result<Option<SourcePart>, KvSourceError> {
    let Some(value) = &entry.value else {
        return Ok(None);
    };
    let unreadable = |reason| KvSourceError::Unreadable {
        key: entry.key.clone(),
        reason,
    };
    match wire::decode(value) {
        Ok(Record::Source(part)) => Ok(Some(part)),
        Ok(
            Record::Head(_)
            | Record::Session(_)
            | Record::Assignment(_)
            | Record::Audit(_)
            | Record::Control(_)
            | Record::Parked(_)
            | Record::Suspicion(_)
            | Record::Manifest(_)
            | Record::Piece(_),
        ) => Err(unreadable("it is a record of another kind".to_owned())),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

async fn get(store: &dyn Store, key: &str) -> Result<Option<Entry>, KvSourceError> {
    let key = key.to_owned();
    let StoreReply::Entry(entry) = execute(store, StoreOp::Get { key }).await? else {
        return Err(unexpected());
    };
    Ok(entry)
}

async fn info(store: &dyn Store) -> Result<StoreInfo, KvSourceError> {
    let StoreReply::Info(info) = execute(store, StoreOp::Info).await? else {
        return Err(unexpected());
    };
    Ok(info)
}

async fn execute(store: &dyn Store, op: StoreOp) -> Result<StoreReply, KvSourceError> {
    within_limit(store.execute(op))
        .await
        .map_err(KvSourceError::Store)
}

/// Waits for an answer of the store. A backend that forgets its own time-out must not hang a caller.
pub(super) async fn within_limit<T>(
    asking: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let answer = timeout(REQUEST_MAX, asking).await;
    answer.unwrap_or_else(|_| {
        let message = format!("no answer within {REQUEST_MAX:?}");
        Err(StoreError::new(StoreErrorKind::Unknown, message))
    })
}

/// A backend that answers another question than was asked.
fn unexpected() -> KvSourceError {
    let message = "the store answered another question";
    KvSourceError::Store(StoreError::new(StoreErrorKind::Rejected, message))
}
