//! The rules of the circuit breaker, one test each.
