//! A fake world for `parti` and its users: an in-memory store, faults, a deterministic simulator.

pub mod checks;
pub mod kv;
#[cfg(feature = "nats-server")]
pub mod nats_server;
pub mod sim;
