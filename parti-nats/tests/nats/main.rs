//! The store against a real nats-server: what no fake can show.
//!
//! One program, so that it is linked once. The server is found as
//! [`parti_testing::rig::nats_server::find_program`] says; without one every test fails.

mod capacity;
mod chaos;
mod clock;
mod cluster;
mod commits;
mod domains;
mod faults;
mod foreign;
mod leaks;
mod liveness;
mod login;
mod opening;
mod permissions;
mod reads;
mod relay;
mod runtime;
mod support;
mod tls;
mod twins;
mod unfit;
mod visiting;
mod watches;
mod words;
