//! A fake world for `parti` and its users: the test kit. This file only declares what there is.
//!
#![doc = include_str!("../README.md")]

#[cfg(feature = "chaos")]
pub mod chaos;
pub mod checks;
mod coin;
pub mod conformance;
pub mod history;
pub mod kv;
#[cfg(any(feature = "nats-server", feature = "chaos"))]
pub mod lives;
pub mod memory_store;
#[cfg(feature = "chaos")]
pub mod mix;
#[cfg(all(feature = "nats-server", feature = "chaos"))]
pub mod nats_cluster;
#[cfg(feature = "nats-server")]
pub mod nats_server;
#[cfg(all(feature = "nats-server", feature = "chaos"))]
pub mod nemesis;
#[cfg(any(feature = "nats-server", feature = "chaos"))]
pub mod process;
#[cfg(feature = "chaos")]
pub mod proxy;
#[cfg(feature = "nats-server")]
pub mod server_clock;
pub mod sim;
