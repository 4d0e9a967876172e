//! Strategies that place by hashes: two rings and rendezvous hashing.
//!
//! What always holds: without weights the place of a partition depends only on its key and on the set
//! of workers.

pub(crate) mod consistent_hash;
pub(crate) mod rendezvous;
pub(crate) mod ring;
pub(crate) mod weighted_consistent_hash;
