//! Random numbers for jitter and names: nothing secret depends on them.

use std::hash::{BuildHasher, RandomState};

/// A random number for jitter and names, from the seed the standard library gives its hashers.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}
