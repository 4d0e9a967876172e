//! The circuit breaker as a pure value: what has happened goes in, whether to ask comes out.
//!
//! It is separate because it has two users, the core for its store and the shell for any other call,
//! and because a rule about time is best tested without any. What always holds: in half-open at most
//! one permit is out, and an answer to a permit of an earlier state changes nothing.

use core::fmt;
use core::time::Duration;

use crate::model::time::Instant;
use crate::ports::store::{StoreError, StoreErrorKind};

/// Where a circuit stands.
///
/// Closed: a circuit has these three states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum CircuitState {
    /// Calls pass.
    #[default]
    Closed,
    /// One call at a time passes, to see whether the trouble is over.
    HalfOpen,
    /// No call passes.
    Open,
}

impl CircuitState {
    /// The state as one lower-case word, for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

impl fmt::Display for CircuitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which of the core's two ways to the store a circuit guards.
///
/// Closed: requests and the watch are all that the core asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Circuit {
    /// Requests: reads and commits.
    Store,
    /// The watch.
    Watch,
}

impl Circuit {
    /// The circuit as one lower-case word, for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Watch => "watch",
        }
    }
}

impl fmt::Display for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A circuit as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CircuitStatus {
    /// Where it stands.
    pub state: CircuitState,
    /// Since when, on the local clock.
    pub since: Instant,
    /// How often it has opened.
    pub opened: u64,
}

/// When a circuit opens and closes. A value that exists is coherent.
///
/// ```
/// use core::time::Duration;
/// use parti_core::{BreakerError, BreakerSettings};
/// let settings = BreakerSettings::new(5, 2, Duration::from_secs(1))?;
/// assert_eq!(settings.failure_threshold(), 5);
/// assert!(BreakerSettings::new(0, 2, Duration::from_secs(1)).is_err());
/// # Ok::<(), BreakerError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    failure_threshold: u32,
    success_threshold: u32,
    timeout: Duration,
}

/// Settings of a circuit breaker that cannot work. Nothing was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerError {
    /// It would open without a failure.
    ZeroFailureThreshold,
    /// It would close without a success.
    ZeroSuccessThreshold,
    /// It would never be open.
    ZeroTimeout,
}

impl fmt::Display for BreakerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroFailureThreshold => {
                "failure_threshold = 0: use at least 1, or the circuit opens without a failure"
            }
            Self::ZeroSuccessThreshold => {
                "success_threshold = 0: use at least 1, or the circuit closes without a success"
            }
            Self::ZeroTimeout => "timeout = 0: use more, or the circuit is never open",
        })
    }
}

impl core::error::Error for BreakerError {}

impl BreakerSettings {
    /// Opens after `failure_threshold` failures in a row, tries again after `timeout`, closes after
    /// `success_threshold` successes in a row.
    ///
    /// # Errors
    /// [`BreakerError`] when one of them is zero.
    pub const fn new(
        failure_threshold: u32,
        success_threshold: u32,
        timeout: Duration,
    ) -> Result<Self, BreakerError> {
        if failure_threshold == 0 {
            return Err(BreakerError::ZeroFailureThreshold);
        }
        if success_threshold == 0 {
            return Err(BreakerError::ZeroSuccessThreshold);
        }
        if timeout.is_zero() {
            return Err(BreakerError::ZeroTimeout);
        }
        Ok(Self {
            failure_threshold,
            success_threshold,
            timeout,
        })
    }

    /// How many failures in a row open it.
    #[must_use]
    pub const fn failure_threshold(&self) -> u32 {
        self.failure_threshold
    }

    /// How many successes in a row close it.
    #[must_use]
    pub const fn success_threshold(&self) -> u32 {
        self.success_threshold
    }

    /// How long it is open before a call is tried again.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// The circuit let a call not pass. Nothing was begun.
///
/// Closed: since when it is open and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitOpen {
    /// Since when it has not been closed, on the clock of the breaker.
    pub since: Instant,
    /// From when on a call may pass; `None` while a probe is out whose answer decides.
    pub until: Option<Instant>,
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until {
            Some(until) => write!(
                f,
                "the circuit has been open since {} and is until {until}",
                self.since
            ),
            None => write!(
                f,
                "the circuit has been open since {} and is until its probe has succeeded",
                self.since
            ),
        }
    }
}

impl core::error::Error for CircuitOpen {}

/// How a call that had passed came out, as far as a circuit cares.
///
/// Closed: a call succeeds, fails, or says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallEnd {
    /// The other side answered; a refusal is an answer.
    Succeeded,
    /// No answer, or one that says that the other side is not well.
    Failed,
    /// It says nothing about the other side: the call was dropped, or can never succeed.
    Abandoned,
}

/// Errors that know what they say about the other side.
pub trait Judged {
    /// What the error says about the other side. Only [`CallEnd::Failed`] is worth another try.
    fn call_end(&self) -> CallEnd;
}

impl Judged for StoreError {
    fn call_end(&self) -> CallEnd {
        match self.kind {
            // The store answered; what it says is another's business.
            StoreErrorKind::Refused | StoreErrorKind::Missing => CallEnd::Succeeded,
            StoreErrorKind::Unknown | StoreErrorKind::Unavailable => CallEnd::Failed,
            StoreErrorKind::Rejected => CallEnd::Abandoned,
        }
    }
}

/// The right to make one call; to be handed back with [`Breaker::settle`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a probe that is not settled keeps the circuit half-open"]
pub struct Permit {
    generation: u64,
}

/// A circuit breaker without a clock.
///
/// ```
/// use core::time::Duration;
/// use parti_core::{Breaker, BreakerSettings, CallEnd, CircuitState, Instant};
/// let mut breaker = Breaker::new(BreakerSettings::new(1, 1, Duration::from_secs(2))?);
/// let at = Instant::from_millis;
/// let permit = breaker.admit(at(0)).expect("closed");
/// breaker.settle(at(5), permit, CallEnd::Failed);
/// assert!(breaker.admit(at(6)).is_err());
/// let probe = breaker.admit(at(2_005)).expect("half-open");
/// breaker.settle(at(2_006), probe, CallEnd::Succeeded);
/// assert_eq!(breaker.state(), CircuitState::Closed);
/// # Ok::<(), parti_core::BreakerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    phase: Phase,
    /// Rises with every change of the state.
    generation: u64,
    opened: u64,
    changed_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed {
        failures: u32,
    },
    Open {
        since: Instant,
        until: Instant,
    },
    HalfOpen {
        since: Instant,
        successes: u32,
        probing: bool,
    },
}

impl Breaker {
    /// A closed circuit.
    #[must_use]
    pub const fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            phase: Phase::Closed { failures: 0 },
            generation: 0,
            opened: 0,
            changed_at: Instant::ORIGIN,
        }
    }

    /// Asks for a call. An open circuit whose timeout is over becomes half-open and lets it pass.
    ///
    /// # Errors
    /// [`CircuitOpen`] says since when and until when.
    pub fn admit(&mut self, now: Instant) -> Result<Permit, CircuitOpen> {
        self.check(now)?;
        if let Phase::Open { since, .. } = self.phase {
            let half_open = Phase::HalfOpen {
                since,
                successes: 0,
                probing: false,
            };
            self.change(now, half_open);
        }
        if let Phase::HalfOpen { probing, .. } = &mut self.phase {
            *probing = true;
        }
        Ok(Permit {
            generation: self.generation,
        })
    }

    /// Whether [`Breaker::admit`] would let a call pass; nothing changes.
    ///
    /// # Errors
    /// As [`Breaker::admit`].
    pub fn check(&self, now: Instant) -> Result<(), CircuitOpen> {
        match self.phase {
            Phase::Closed { .. } => Ok(()),
            Phase::Open { since, until } if now < until => Err(CircuitOpen {
                since,
                until: Some(until),
            }),
            Phase::HalfOpen {
                since,
                probing: true,
                ..
            } => Err(CircuitOpen { since, until: None }),
            Phase::Open { .. } | Phase::HalfOpen { probing: false, .. } => Ok(()),
        }
    }

    /// A call that had passed has ended. One of an earlier state changes nothing.
    pub fn settle(&mut self, now: Instant, permit: Permit, end: CallEnd) {
        if permit.generation != self.generation {
            return;
        }
        match (&mut self.phase, end) {
            (Phase::Closed { failures }, CallEnd::Succeeded) => *failures = 0,
            (Phase::Closed { failures }, CallEnd::Failed) => {
                *failures += 1;
                if *failures >= self.settings.failure_threshold {
                    self.open(now, now);
                }
            }
            (Phase::Closed { .. } | Phase::Open { .. }, _) => {}
            (Phase::HalfOpen { since, .. }, CallEnd::Failed) => {
                let since = *since;
                self.open(now, since);
            }
            (Phase::HalfOpen { probing, .. }, CallEnd::Abandoned) => *probing = false,
            (
                Phase::HalfOpen {
                    probing, successes, ..
                },
                CallEnd::Succeeded,
            ) => {
                *probing = false;
                *successes += 1;
                if *successes >= self.settings.success_threshold {
                    self.change(now, Phase::Closed { failures: 0 });
                }
            }
        }
    }

    /// Closes the circuit, whatever it knows.
    pub fn reset(&mut self, now: Instant) {
        if let Phase::Closed { failures } = &mut self.phase {
            *failures = 0;
        } else {
            self.change(now, Phase::Closed { failures: 0 });
        }
    }

    /// Where it stands. Open becomes half-open with the first call after the timeout.
    #[must_use]
    pub const fn state(&self) -> CircuitState {
        match self.phase {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::Open { .. } => CircuitState::Open,
            Phase::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// Where it stands, since when, and how often it has opened.
    #[must_use]
    pub const fn status(&self) -> CircuitStatus {
        CircuitStatus {
            state: self.state(),
            since: self.changed_at,
            opened: self.opened,
        }
    }

    /// The settings it was made with.
    #[must_use]
    pub const fn settings(&self) -> &BreakerSettings {
        &self.settings
    }

    fn open(&mut self, now: Instant, since: Instant) {
        self.opened += 1;
        let until = now + self.settings.timeout;
        self.change(now, Phase::Open { since, until });
    }

    fn change(&mut self, now: Instant, phase: Phase) {
        self.generation += 1;
        self.changed_at = now;
        self.phase = phase;
    }
}

#[cfg(test)]
mod tests;
