//! Retries and a circuit breaker for async callers.
//!
//! What always holds: the policies are the core's, the timers are here.

pub(crate) mod breaker;
pub(crate) mod retry;
