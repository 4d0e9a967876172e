//! Policies as values: backoff and circuit breaker.
//!
//! What always holds: they decide by what they are told, and ask nobody.

pub(crate) mod backoff;
pub(crate) mod breaker;
