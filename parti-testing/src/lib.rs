//! A fake world for `parti` and its users: an in-memory store, faults, a deterministic simulator.

pub mod kv;
#[cfg(feature = "nats-server")]
pub mod nats_server;
