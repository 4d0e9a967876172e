//! When to try again: exponential backoff with jitter, and a budget for retries, as pure values.
//!
//! They are separate because everything that fails shares one idea of trying again. What always
//! holds: jitter is drawn from the un-jittered interval, so that it never compounds and never exceeds
//! the maximum (AWS Architecture Blog, "Exponential Backoff And Jitter"); after the last try there is
//! no pause.

use core::fmt;
use core::time::Duration;

use crate::model::rng::Rng;

/// The shortest pause of the core: a pause of nothing is none.
const SHORTEST: Duration = Duration::from_millis(1);

/// How a pause is drawn from its interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Jitter {
    /// Anything up to the interval: spreads a herd best.
    #[default]
    Full,
    /// From half the interval to the interval.
    Half,
    /// The interval itself.
    None,
}

/// When to try again and how often. A value that exists is coherent.
///
/// ```
/// use core::time::Duration;
/// use parti_core::{RetryPolicy, RetryPolicyError, Rng};
/// let policy = RetryPolicy::builder().initial(Duration::from_millis(20)).attempts(3).build()?;
/// let (mut backoff, mut rng) = (policy.backoff(), Rng::new(1));
/// assert!(backoff.next_pause(&mut rng).is_some_and(|pause| pause.as_millis() <= 20));
/// assert!(backoff.next_pause(&mut rng).is_some_and(|pause| pause.as_millis() <= 40));
/// assert_eq!(backoff.next_pause(&mut rng), None, "the third try was the last");
/// # Ok::<(), RetryPolicyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    initial: Duration,
    maximum: Duration,
    factor: u32,
    attempts: u32,
    jitter: Jitter,
}

/// Collects the parts of a [`RetryPolicy`].
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct RetryPolicyBuilder(RetryPolicy);

/// A retry policy that cannot work. Nothing was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryPolicyError {
    /// Nothing would ever be tried.
    ZeroAttempts,
    /// Failures would be repeated without a pause.
    ZeroInitial,
    /// Intervals would shrink to nothing.
    ZeroFactor,
    /// The first interval would be longer than the longest.
    MaximumBelowInitial {
        /// The first interval.
        initial: Duration,
        /// The longest interval.
        maximum: Duration,
    },
}

impl fmt::Display for RetryPolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroAttempts => {
                f.write_str("attempts = 0: use at least 1, the first try counts as one")
            }
            Self::ZeroInitial => f.write_str("initial = 0: use more, a pause must grow from it"),
            Self::ZeroFactor => f.write_str("factor = 0: use at least 1, 2 doubles each pause"),
            Self::MaximumBelowInitial { initial, maximum } => write!(
                f,
                "maximum = {maximum:?} is below initial = {initial:?}: use at least that"
            ),
        }
    }
}

impl core::error::Error for RetryPolicyError {}

impl Default for RetryPolicy {
    /// Five attempts, intervals from 100 ms, doubled each time, up to 5 s, full jitter.
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            maximum: Duration::from_secs(5),
            factor: 2,
            attempts: 5,
            jitter: Jitter::Full,
        }
    }
}

impl RetryPolicy {
    /// Begins with the default.
    pub fn builder() -> RetryPolicyBuilder {
        RetryPolicyBuilder(Self::default())
    }

    /// The default for a group that renews this often: its intervals are shorter where a whole lease
    /// would pass in the first pauses otherwise.
    pub(crate) fn for_interval(interval: Duration) -> Self {
        let usual = Self::default();
        Self {
            initial: (interval / 20).clamp(SHORTEST, usual.initial),
            maximum: (interval.saturating_mul(5) / 2).min(usual.maximum),
            ..usual
        }
    }

    /// The pauses of one run.
    #[must_use]
    pub const fn backoff(&self) -> Backoff {
        Backoff {
            policy: *self,
            tries: 0,
            limited: true,
        }
    }

    /// The pauses of something that is tried until it is clear, none longer than `most`.
    pub(crate) fn endless(&self, most: Duration) -> Backoff {
        let maximum = self.maximum.min(most);
        Backoff {
            policy: Self {
                initial: self.initial.min(maximum),
                maximum,
                ..*self
            },
            tries: 0,
            limited: false,
        }
    }

    /// The first interval.
    #[must_use]
    pub const fn initial(&self) -> Duration {
        self.initial
    }

    /// The longest interval.
    #[must_use]
    pub const fn maximum(&self) -> Duration {
        self.maximum
    }

    /// How much longer each interval is than the one before.
    #[must_use]
    pub const fn factor(&self) -> u32 {
        self.factor
    }

    /// How many tries there are at most, the first included.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How pauses are drawn.
    #[must_use]
    pub const fn jitter(&self) -> Jitter {
        self.jitter
    }

    /// The interval after so many failed tries, before jitter.
    fn interval(&self, failed: u32) -> Duration {
        let factor = self.factor.saturating_pow(failed);
        self.initial.saturating_mul(factor).min(self.maximum)
    }

    fn draw(&self, failed: u32, rng: &mut Rng) -> Duration {
        let interval = self.interval(failed);
        match self.jitter {
            Jitter::Full => rng.duration_below(interval),
            Jitter::Half => interval / 2 + rng.duration_below(interval / 2),
            Jitter::None => interval,
        }
    }
}

impl RetryPolicyBuilder {
    /// The first interval; default 100 ms.
    pub const fn initial(mut self, initial: Duration) -> Self {
        self.0.initial = initial;
        self
    }

    /// The longest interval; default 5 s.
    pub const fn maximum(mut self, maximum: Duration) -> Self {
        self.0.maximum = maximum;
        self
    }

    /// How much longer each interval is than the one before; default 2.
    pub const fn factor(mut self, factor: u32) -> Self {
        self.0.factor = factor;
        self
    }

    /// How many tries there are at most, the first included; default 5.
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// How pauses are drawn; default [`Jitter::Full`].
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.0.jitter = jitter;
        self
    }

    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// [`RetryPolicyError`] names the first that does not.
    pub fn build(self) -> Result<RetryPolicy, RetryPolicyError> {
        let policy = self.0;
        let (initial, maximum) = (policy.initial, policy.maximum);
        if policy.attempts == 0 {
            Err(RetryPolicyError::ZeroAttempts)
        } else if initial.is_zero() {
            Err(RetryPolicyError::ZeroInitial)
        } else if policy.factor == 0 {
            Err(RetryPolicyError::ZeroFactor)
        } else if maximum < initial {
            Err(RetryPolicyError::MaximumBelowInitial { initial, maximum })
        } else {
            Ok(policy)
        }
    }
}

/// The pauses of one run of tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    policy: RetryPolicy,
    tries: u32,
    limited: bool,
}

impl Backoff {
    /// A try has failed: how long to wait for the next, `None` when that was the last.
    #[must_use]
    pub fn next_pause(&mut self, rng: &mut Rng) -> Option<Duration> {
        if self.limited && self.tries + 1 >= self.policy.attempts {
            self.tries = self.policy.attempts;
            return None;
        }
        Some(self.next(rng))
    }

    /// How many tries have failed.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// The next pause of something that is tried until it is clear.
    pub(crate) fn next(&mut self, rng: &mut Rng) -> Duration {
        let pause = self.policy.draw(self.tries, rng);
        self.tries = self.tries.saturating_add(1);
        pause.max(SHORTEST)
    }

    pub(crate) const fn reset(&mut self) {
        self.tries = 0;
    }
}

/// How many retries a process may make beyond its ordinary requests. Answers earn, retries cost, so
/// that a store that fails every second request is not asked twice as often ("retry budget": Beyer et
/// al., Site Reliability Engineering, chapter 21).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    tenths: u32,
}

impl Budget {
    /// What a retry costs, in tenths of itself.
    const COST: u32 = 10;
    /// What an answer earns.
    const EARNED: u32 = 1;
    /// What there is at most, and at first.
    const MOST: u32 = 100;

    pub(crate) const fn full() -> Self {
        Self { tenths: Self::MOST }
    }

    /// The store answered.
    pub(crate) fn earn(&mut self) {
        self.tenths = (self.tenths + Self::EARNED).min(Self::MOST);
    }

    /// Whether there is not enough for a retry.
    pub(crate) const fn is_short(&self) -> bool {
        self.tenths < Self::COST
    }

    /// Pays for a retry, if there is enough.
    pub(crate) fn spend(&mut self) -> bool {
        let left = self.tenths.checked_sub(Self::COST);
        self.tenths = left.unwrap_or(self.tenths);
        left.is_some()
    }
}

#[cfg(test)]
mod tests;
