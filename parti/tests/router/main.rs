//! Requests to the owners of partitions on a real server, while the group changes under them.

#[path = "../support/recorder.rs"]
mod recorder;

mod moves;
mod refusals;
mod support;
