//! Seeds, and the wall clock's time that stands in for one.
//!
//! What always holds: a seed is there, also where the system has no randomness to give.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    wall.map_or(0, |wall| {
        u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A seed no other process has. Where the system has no randomness to give, the time and the
/// process ID have to do.
pub(crate) fn random() -> u128 {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u128::from_le_bytes(bytes),
        Err(_) => (u128::from(wall_ms()) << 64) | u128::from(std::process::id()),
    }
}
