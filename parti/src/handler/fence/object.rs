//! A fence for one object in a store of objects, such as S3, by conditional writes (`If-Match` on the ETag).
//!
//! The store does not know tokens; it compares the version of the object. So each owner begins by writing
//! what is there once more with its token, which makes everything that older owners know out of date. After
//! that each write is one round trip.
//!
//! What always holds: the token is part of the content, as its first line. An ETag may be nothing but a hash
//! of the content: then the same content, written by another owner, would let an older one go on.
//!
//! ```
//! use std::sync::Arc;
//! use parti::fence::object::{FencedObject, object_store};
//! # use parti_core::Token;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), parti::fence::object::ObjectError> {
//! # let token = Token::new(7); // a handler has `guard.token()`
//! let store = Arc::new(object_store::memory::InMemory::new()); // or S3, Azure, Google
//! let mut state = FencedObject::take_over(store, "state/orders-7".into(), token).await?;
//! assert_eq!(state.found(), None);
//! state.write(b"12 orders").await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::Arc;

pub use object_store;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, UpdateVersion};
use parti_core::Token;

use super::Stale;

/// What the first line begins with; the token and the end of the line follow.
const LINE: &[u8] = b"parti-fence ";
/// How often one step is tried against others that do the same.
const TRIES: usize = 8;

/// Why an object was not written.
#[derive(Debug)]
#[non_exhaustive]
pub enum ObjectError {
    /// The ownership is over. Nothing was written.
    Stale(Stale),
    /// Somebody writes or deletes the object who does not go through a fence. Nothing was written.
    Unfenced(String),
    /// It may or may not be written, now or later. The next write finds out.
    Unknown(Error),
    /// The store did not take it. Nothing was written.
    Failed(Error),
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale(stale) => stale.fmt(f),
            Self::Unfenced(path) => write!(f, "{path} is written or deleted without a fence"),
            Self::Unknown(error) => write!(f, "it may or may not be written: {error}"),
            Self::Failed(error) => write!(f, "not written: {error}"),
        }
    }
}

impl std::error::Error for ObjectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Stale(stale) => Some(stale),
            Self::Unfenced(_) => None,
            Self::Unknown(error) | Self::Failed(error) => Some(error),
        }
    }
}

/// An object in the hands of one owner: make one for each ownership.
///
/// The store must support conditional writes, as S3, Azure, Google and [`object_store::memory`] do. Others
/// read the object with [`content`].
#[derive(Clone, Debug)]
pub struct FencedObject {
    store: Arc<dyn ObjectStore>,
    path: Path,
    token: Token,
    found: Option<Vec<u8>>,
    last: Last,
}

/// Which version of the object is there, as far as this owner knows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Last {
    /// None. An older owner may still make one, which the first write replaces.
    Absent,
    /// This one.
    At(UpdateVersion),
    /// Perhaps one of ours whose acknowledgement did not come.
    Unsure,
}

/// The object as it is there.
struct Found {
    version: UpdateVersion,
    token: Option<Token>,
    content: Vec<u8>,
}

impl FencedObject {
    /// Takes over an object, whose content stays. One that is not there is not made.
    ///
    /// # Errors
    /// [`ObjectError`]; nothing is held then.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave the object taken over, which keeps only older owners out. Bounded by
    /// the store's time-out for each request: two as a rule, 16 when others write meanwhile.
    pub async fn take_over(
        store: Arc<dyn ObjectStore>,
        path: Path,
        token: Token,
    ) -> Result<Self, ObjectError> {
        let (found, last) = (None, Last::Absent);
        let mut taken = Self {
            store,
            path,
            token,
            found,
            last,
        };
        for _ in 0..TRIES {
            let Some(found) = taken.look().await? else {
                taken.last = Last::Absent;
                return Ok(taken);
            };
            if found.token == Some(token) {
                taken.last = Last::At(found.version);
                taken.found = Some(found.content);
                return Ok(taken);
            }
            match taken.put(Last::At(found.version), &found.content).await {
                Ok(version) => {
                    taken.last = Last::At(version);
                    taken.found = Some(found.content);
                    return Ok(taken);
                }
                Err(Refusal::Conflict) => {}
                Err(Refusal::Other(error)) => return Err(error),
            }
        }
        Err(taken.unfenced())
    }

    /// The content at the take-over, without the fence's line.
    #[must_use]
    pub fn found(&self) -> Option<&[u8]> {
        self.found.as_deref()
    }

    /// Writes the object as a whole.
    ///
    /// # Errors
    /// [`ObjectError`], which says whether something was written.
    ///
    /// # Cancellation safety
    /// Dropping the future is as [`ObjectError::Unknown`]: the next write finds out. Bounded by the store's
    /// time-out for each request: one as a rule, three after an unknown outcome.
    pub async fn write(&mut self, content: &[u8]) -> Result<(), ObjectError> {
        for _ in 0..TRIES {
            let first = self.last == Last::Absent;
            let expected = match std::mem::replace(&mut self.last, Last::Unsure) {
                Last::Unsure => self.current(false).await?,
                known @ (Last::Absent | Last::At(_)) => known,
            };
            match self.put(expected, content).await {
                Ok(version) => {
                    self.last = Last::At(version);
                    return Ok(());
                }
                // A write of ours whose outcome was unknown, or what an older owner made before our first.
                Err(Refusal::Conflict) => self.last = self.current(first).await?,
                Err(Refusal::Other(error)) => return Err(error),
            }
        }
        Err(self.unfenced())
    }

    /// The version that is there if it is this owner's, or, before its first write, an older one's.
    async fn current(&self, first: bool) -> Result<Last, ObjectError> {
        match self.look().await? {
            Some(found) if first || found.token == Some(self.token) => Ok(Last::At(found.version)),
            // Whether it was ours that was deleted, nobody can tell.
            Some(_) | None => Err(self.unfenced()),
        }
    }

    async fn look(&self) -> Result<Option<Found>, ObjectError> {
        let answer = match self.store.get(&self.path).await {
            Ok(answer) => answer,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(ObjectError::Failed(error)),
        };
        let version = UpdateVersion {
            e_tag: answer.meta.e_tag.clone(),
            version: answer.meta.version.clone(),
        };
        let object = answer.bytes().await.map_err(ObjectError::Failed)?;
        let (token, content) = split(&object);
        if let Some(newer) = token.filter(|found| *found > self.token) {
            return Err(ObjectError::Stale(Stale {
                resource: self.path.to_string(),
                token: self.token,
                newer,
            }));
        }
        Ok(Some(Found {
            version,
            token,
            content: content.to_vec(),
        }))
    }

    async fn put(&self, expected: Last, content: &[u8]) -> Result<UpdateVersion, Refusal> {
        let mode = match expected {
            Last::At(version) => PutMode::Update(version),
            Last::Absent | Last::Unsure => PutMode::Create,
        };
        let mut object = LINE.to_vec();
        object.extend_from_slice(format!("{}\n", self.token).as_bytes());
        object.extend_from_slice(content);
        let options = PutOptions::from(mode);
        match self
            .store
            .put_opts(&self.path, object.into(), options)
            .await
        {
            Ok(written) => Ok(written.into()),
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => Err(Refusal::Conflict),
            // What the condition was about is gone.
            Err(Error::NotFound { .. }) => Err(Refusal::Other(self.unfenced())),
            Err(error) if is_final(&error) => Err(Refusal::Other(ObjectError::Failed(error))),
            Err(error) => Err(Refusal::Other(ObjectError::Unknown(error))),
        }
    }

    fn unfenced(&self) -> ObjectError {
        ObjectError::Unfenced(self.path.to_string())
    }
}

/// Why an object was not taken.
enum Refusal {
    /// Another version is there than was expected.
    Conflict,
    Other(ObjectError),
}

/// Whether the store will not do it later, either.
const fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::NotImplemented { .. }
            | Error::NotSupported { .. }
            | Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::InvalidPath { .. }
    )
}

/// What was written into an object, without the line of its fence.
#[must_use]
pub fn content(object: &[u8]) -> &[u8] {
    split(object).1
}

/// An object that was written without a fence has no token, and is content as a whole.
fn split(object: &[u8]) -> (Option<Token>, &[u8]) {
    let split = || {
        let rest = object.strip_prefix(LINE)?;
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        let token = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        Some((Token::new(token), &rest[end + 1..]))
    };
    split().map_or((None, object), |(token, content)| (Some(token), content))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    async fn taken(store: &Arc<InMemory>, token: u64) -> Result<FencedObject, ObjectError> {
        let store: Arc<dyn ObjectStore> = store.clone();
        FencedObject::take_over(store, "state".into(), Token::new(token)).await
    }

    async fn stored(store: &InMemory) -> Vec<u8> {
        let object = store.get(&"state".into()).await.expect("there");
        object.bytes().await.expect("read").to_vec()
    }

    /// An owner that wakes up must be told, and so must one that begins too late.
    #[tokio::test]
    async fn an_older_owner_is_refused_from_the_take_over_on() {
        let store = Arc::new(InMemory::new());
        let mut old = taken(&store, 1).await.expect("taken over");
        old.write(b"one").await.expect("written");
        let new = taken(&store, 2).await.expect("taken over");
        assert_eq!(new.found(), Some(&b"one"[..]));
        let refused = old.write(b"late").await;
        assert!(matches!(refused, Err(ObjectError::Stale(_))), "{refused:?}");
        let refused = taken(&store, 1).await;
        assert!(matches!(refused, Err(ObjectError::Stale(_))), "{refused:?}");
        assert_eq!(stored(&store).await, b"parti-fence 2\none");
    }

    /// The answer to a write is lost: the write was this owner's own, and must not stop it.
    #[tokio::test]
    async fn a_write_of_unknown_outcome_is_found_by_the_next_one() {
        let store = Arc::new(InMemory::new());
        let mut owner = taken(&store, 1).await.expect("taken over");
        owner.write(b"one").await.expect("written");
        owner.clone().write(b"two").await.expect("written");
        owner.write(b"three").await.expect("written");
        assert_eq!(content(&stored(&store).await), b"three");
        owner.last = Last::Unsure;
        owner.write(b"four").await.expect("written");
        assert_eq!(content(&stored(&store).await), b"four");
    }

    /// The first object of a partition may be made by an owner that is over, and must not stay.
    #[tokio::test]
    async fn what_an_older_owner_makes_before_the_first_write_is_replaced() {
        let store = Arc::new(InMemory::new());
        let mut old = taken(&store, 1).await.expect("taken over");
        let mut new = taken(&store, 2).await.expect("taken over");
        old.write(b"old").await.expect("written");
        new.write(b"new").await.expect("written");
        let refused = old.write(b"late").await;
        assert!(matches!(refused, Err(ObjectError::Stale(_))), "{refused:?}");
        assert_eq!(content(&stored(&store).await), b"new");
    }

    /// A fence that somebody walks around protects nothing, and those who run it have to hear of that.
    #[tokio::test]
    async fn writers_and_deleters_without_a_fence_are_named() {
        let store = Arc::new(InMemory::new());
        store
            .put(&"state".into(), b"plain".to_vec().into())
            .await
            .expect("written");
        let mut owner = taken(&store, 1).await.expect("taken over");
        assert_eq!(owner.found(), Some(&b"plain"[..]));
        store
            .put(&"state".into(), b"plain".to_vec().into())
            .await
            .expect("written");
        let refused = owner.write(b"one").await;
        assert!(
            matches!(refused, Err(ObjectError::Unfenced(_))),
            "{refused:?}"
        );
        let mut owner = taken(&store, 1).await.expect("taken over");
        store.delete(&"state".into()).await.expect("deleted");
        let refused = owner.write(b"one").await;
        assert!(
            matches!(refused, Err(ObjectError::Unfenced(_))),
            "{refused:?}"
        );
    }
}
