//! Seeds, and the wall clock's time that stands in for one.
//!
//! What always holds: a seed is there, also where the system has no randomness to give.

use std::time::{SystemTime, UNIX_EPOCH};

use parti_core::Instant;

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

/// Where a worker's random numbers come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Randomness {
    /// The system.
    #[default]
    System,
    /// This seed: the same run each time.
    Seeded(u64),
}

impl Randomness {
    /// The seed of a core.
    pub(crate) fn seed(self) -> u128 {
        match self {
            Self::System => random(),
            Self::Seeded(seed) => u128::from(seed),
        }
    }

    /// Milliseconds since 1970 at this time of the worker's clock.
    pub(crate) fn wall_ms(self, now: Instant) -> u64 {
        match self {
            Self::System => wall_ms(),
            Self::Seeded(_) => {
                let passed = now.since_origin().as_millis();
                SEEDED_WALL_MS.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
            }
        }
    }
}

/// When every seeded run begins: in November 2023.
const SEEDED_WALL_MS: u64 = 1_700_000_000_000;
