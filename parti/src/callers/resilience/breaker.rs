//! A circuit breaker for async callers, such as a partition source or a handler that asks a service.
//!
//! It is separate from the core's breaker because it adds a clock, a lock and a callback to it. What
//! always holds: the lock is never held while a call runs or the callback is told, and a call that is
//! dropped gives back its place.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parti_core::{
    Breaker, BreakerError, BreakerSettings, CallEnd, CircuitOpen, CircuitState, CircuitStatus,
    Judged, Permit,
};

use crate::system::clock::Clock;

/// A change of a [`CircuitBreaker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitChange {
    /// Before.
    pub from: CircuitState,
    /// Now.
    pub to: CircuitState,
}

type OnChange = dyn Fn(CircuitChange) + Send + Sync;

/// Stops asking a service that does not answer, and finds out when it does again.
///
/// So many failures in a row open the circuit; while it is open calls fail at once, without being
/// begun. After the timeout one call at a time is let through: so many successes in a row close the
/// circuit, a failure opens it for another timeout. Clones share the circuit.
///
/// ```
/// use std::time::Duration;
/// use parti::resilience::{CallError, CircuitBreaker};
/// use parti::store::{StoreError, StoreErrorKind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = CircuitBreaker::builder()
///     .failure_threshold(1)
///     .timeout(Duration::from_secs(10))
///     .on_change(|change| println!("{} -> {}", change.from, change.to))
///     .build()?;
/// let down = || async { Err::<(), _>(StoreError::new(StoreErrorKind::Unavailable, "down")) };
/// assert!(matches!(breaker.call(down()).await, Err(CallError::Failed(_))));
/// assert!(matches!(breaker.call(down()).await, Err(CallError::Open(_))));
/// breaker.reset();
/// assert!(matches!(breaker.call(down()).await, Err(CallError::Failed(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CircuitBreaker(Arc<Inner>);

struct Inner {
    breaker: Mutex<Breaker>,
    clock: Clock,
    on_change: Option<Box<OnChange>>,
}

/// Collects what a [`CircuitBreaker`] needs.
#[must_use = "a builder does nothing until `build`"]
pub struct CircuitBreakerBuilder {
    failure_threshold: u32,
    success_threshold: u32,
    timeout: Duration,
    clock: Clock,
    on_change: Option<Box<OnChange>>,
}

/// Why a call through a circuit breaker has no result.
///
/// Closed: a call was made or it was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError<E> {
    /// The circuit did not let it pass. Nothing was begun.
    Open(CircuitOpen),
    /// It was made and failed.
    Failed(E),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(open) => open.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(open) => Some(open),
            Self::Failed(error) => Some(error),
        }
    }
}

impl<E: Judged> Judged for CallError<E> {
    /// A call that an open circuit did not let pass is not worth another try.
    fn call_end(&self) -> CallEnd {
        match self {
            Self::Open(_) => CallEnd::Abandoned,
            Self::Failed(error) => error.call_end(),
        }
    }
}

impl CircuitBreaker {
    /// Begins with five failures to open, two successes to close, and a timeout of 30 s.
    pub fn builder() -> CircuitBreakerBuilder {
        CircuitBreakerBuilder {
            failure_threshold: 5,
            success_threshold: 2,
            timeout: Duration::from_secs(30),
            clock: Clock::boot(),
            on_change: None,
        }
    }

    /// Makes a call, if the circuit lets it pass. What its error says about the service is for
    /// [`Judged::call_end`] to say.
    ///
    /// # Errors
    /// [`CallError::Open`] when it was not begun, [`CallError::Failed`] with its own error.
    ///
    /// # Cancellation safety
    /// As safe as the call itself. A dropped or panicking call counts as neither success nor failure
    /// and gives back its place. There is no deadline: give the call one.
    pub async fn call<T, E: Judged>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError<E>> {
        self.call_judged(call, E::call_end).await
    }

    /// The same for errors of other crates, with a function to judge them.
    ///
    /// # Errors
    /// As [`CircuitBreaker::call`].
    ///
    /// # Cancellation safety
    /// As [`CircuitBreaker::call`].
    pub async fn call_judged<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        judge: impl FnOnce(&E) -> CallEnd,
    ) -> Result<T, CallError<E>> {
        let pass = self.admit().map_err(CallError::Open)?;
        let result = call.await;
        let end = result.as_ref().map_or_else(judge, |_| CallEnd::Succeeded);
        pass.settle(end);
        result.map_err(CallError::Failed)
    }

    /// Closes the circuit, whatever it knows.
    pub fn reset(&self) {
        let now = self.0.clock.now();
        self.change(|breaker| breaker.reset(now));
    }

    /// Where the circuit stands. An open one becomes half-open with the first call after the timeout.
    #[must_use]
    pub fn state(&self) -> CircuitState {
        self.breaker().state()
    }

    /// Where the circuit stands, since when on its clock, and how often it has opened.
    #[must_use]
    pub fn status(&self) -> CircuitStatus {
        self.breaker().status()
    }

    fn admit(&self) -> Result<Pass<'_>, CircuitOpen> {
        let now = self.0.clock.now();
        let permit = Some(self.change(|breaker| breaker.admit(now))?);
        Ok(Pass {
            breaker: self,
            permit,
        })
    }

    /// Does something to the breaker and tells of the change, the lock being free again.
    fn change<R>(&self, act: impl FnOnce(&mut Breaker) -> R) -> R {
        let mut breaker = self.breaker();
        let from = breaker.state();
        let result = act(&mut breaker);
        let to = breaker.state();
        drop(breaker);
        if let (true, Some(on_change)) = (from != to, &self.0.on_change) {
            on_change(CircuitChange { from, to });
        }
        result
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // Nothing that can panic runs under the lock.
        let locked = self.0.breaker.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CircuitBreaker")
            .field(&*self.breaker())
            .finish()
    }
}

impl CircuitBreakerBuilder {
    /// How many failures in a row open the circuit; default 5, at least 1.
    pub fn failure_threshold(mut self, failures: u32) -> Self {
        self.failure_threshold = failures;
        self
    }

    /// How many successes in a row close it; default 2, at least 1.
    pub fn success_threshold(mut self, successes: u32) -> Self {
        self.success_threshold = successes;
        self
    }

    /// How long it is open before a call is tried again; default 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The clock; the default is [`Clock::boot`].
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Is told of each change, by the caller that caused it and before that one goes on. It may use
    /// the breaker. Changes caused by several callers at once may be told in another order.
    pub fn on_change(mut self, on_change: impl Fn(CircuitChange) + Send + Sync + 'static) -> Self {
        self.on_change = Some(Box::new(on_change));
        self
    }

    /// Checks the thresholds.
    ///
    /// # Errors
    /// [`BreakerError`] when one of them, or the timeout, is zero.
    pub fn build(self) -> Result<CircuitBreaker, BreakerError> {
        let settings =
            BreakerSettings::new(self.failure_threshold, self.success_threshold, self.timeout)?;
        Ok(CircuitBreaker(Arc::new(Inner {
            breaker: Mutex::new(Breaker::new(settings)),
            clock: self.clock,
            on_change: self.on_change,
        })))
    }
}

impl fmt::Debug for CircuitBreakerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerBuilder")
            .field("failure_threshold", &self.failure_threshold)
            .field("success_threshold", &self.success_threshold)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A call under way.
struct Pass<'a> {
    breaker: &'a CircuitBreaker,
    permit: Option<Permit>,
}

impl Pass<'_> {
    fn settle(mut self, end: CallEnd) {
        self.give_back(end);
    }

    fn give_back(&mut self, end: CallEnd) {
        if let Some(permit) = self.permit.take() {
            let now = self.breaker.0.clock.now();
            self.breaker
                .change(|breaker| breaker.settle(now, permit, end));
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.give_back(CallEnd::Abandoned);
    }
}

#[cfg(test)]
mod tests;
