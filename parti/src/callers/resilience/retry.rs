//! Trying again for async callers: the core's policy with a timer.
//!
//! It is separate because the policy is pure and this is not. What always holds: only what failed is
//! tried again, there is no pause after the last try, and an open circuit ends it.

use std::fmt;
use std::future::Future;

use parti_core::{CallEnd, Judged, RetryPolicy, Rng};

use crate::system::random::random;

/// Why something has no result after all its tries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryError<E> {
    /// It failed as often as it may be tried.
    Exhausted {
        /// How many tries there were.
        tries: u32,
        /// The last error.
        last: E,
    },
    /// Another try would be of no use: it was refused, can never succeed, or a circuit is open.
    Permanent {
        /// How many tries there were.
        tries: u32,
        /// The error.
        error: E,
    },
}

impl<E> RetryError<E> {
    /// The error of the last try.
    pub fn into_inner(self) -> E {
        match self {
            Self::Exhausted { last, .. } => last,
            Self::Permanent { error, .. } => error,
        }
    }
}

impl<E: fmt::Display> fmt::Display for RetryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted { tries, last } => write!(f, "failed {tries} times, last: {last}"),
            Self::Permanent { error, .. } => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for RetryError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Exhausted { last, .. } => Some(last),
            Self::Permanent { error, .. } => Some(error),
        }
    }
}

/// Tries until it succeeds, as often as the policy allows. Only errors that say
/// [`CallEnd::Failed`] are worth another try.
///
/// A step whose outcome may be unknown must be safe to repeat.
///
/// ```
/// use parti::resilience::{RetryPolicy, retry};
/// use parti::store::{StoreError, StoreErrorKind};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut tries = 0;
/// let result = retry(RetryPolicy::default(), || {
///     tries += 1;
///     let up = tries == 2;
///     async move { up.then_some(7).ok_or(StoreError::new(StoreErrorKind::Unavailable, "down")) }
/// });
/// assert_eq!(result.await?, 7);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`RetryError`] with the error of the last try.
///
/// # Cancellation safety
/// Dropping the future drops the try under way, and there is no other. There is no deadline but the
/// tries and pauses of the policy: give each try its own.
///
/// # Panics
/// Outside a tokio runtime with time enabled.
pub async fn retry<T, E, F>(
    policy: RetryPolicy,
    mut step: impl FnMut() -> F,
) -> Result<T, RetryError<E>>
where
    E: Judged,
    F: Future<Output = Result<T, E>>,
{
    let (mut backoff, mut rng) = (policy.backoff(), Rng::new(random()));
    loop {
        let error = match step().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if error.call_end() != CallEnd::Failed {
            let tries = backoff.tries() + 1;
            return Err(RetryError::Permanent { tries, error });
        }
        let Some(pause) = backoff.next_pause(&mut rng) else {
            let (tries, last) = (backoff.tries(), error);
            return Err(RetryError::Exhausted { tries, last });
        };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests;
