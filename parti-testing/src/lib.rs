//! A fake world for `parti` and its users: an in-memory store, faults, a deterministic simulator.

pub mod checks;
pub mod kv;
pub mod sim;
