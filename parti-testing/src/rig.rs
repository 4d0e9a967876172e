//! The rig: real servers, clusters, proxies and worker processes, started, hurt and stopped by tests.
//!
//! * [`nats_server`]: one real server; [`nats_cluster`]: three of them, who leads, a node that dies.
//! * [`proxy`]: one client cut off, slowed down, or without one direction; [`proxies`] offers it as a
//!   [`ChaosInjector`](crate::kit::chaos::ChaosInjector); [`nemesis`] is a schedule of such faults that
//!   a seed repeats.
//! * [`fenced_sink`]: a sink that compares tokens, and the verdict over all that handlers told it.
//! * [`process`]: a worker process stopped, continued, killed; [`worker_logs`] judges what it wrote down.
//! * [`postgres_server`]: a PostgreSQL server, where its programs are known.
//! * [`server_clock`]: a server whose wall clock steps.
//!
//! What always holds: each handle ends only what it started, on free loopback ports, in a directory of
//! its own.

pub mod fenced_sink;
pub mod nats_cluster;
pub mod nats_server;
pub mod nemesis;
pub mod postgres_server;
pub mod process;
pub mod proxies;
pub mod proxy;
pub mod server_clock;
pub mod worker_logs;
