//! Retries and a circuit breaker for async callers.
//!
//! What always holds: the policies are the core's, the timers are here.

mod breaker;
mod retry;

pub use breaker::{CallError, CircuitBreaker, CircuitBreakerBuilder, CircuitChange};
#[doc(inline)]
pub use parti_core::{
    BreakerError, BreakerSettings, CallEnd, Circuit, CircuitOpen, CircuitState, CircuitStatus,
    Jitter, Judged, RetryPolicy, RetryPolicyBuilder, RetryPolicyError,
};
pub use retry::{RetryError, retry};
