//! The consumption of a stream, simulated: a stream in memory with the semantics of the real one, owners
//! that come, go, crash and are late, and what must hold of everything that was handled.
//!
//! It is separate from the simulator of groups since here the coordination is taken for granted and the
//! server's streams, consumers and acknowledgements are what fails. What always holds: a seed is a complete
//! report of a bug; the owners take over, commit, acknowledge and open consumers with the very decisions of
//! [`parti_nats::consume`]; and the stream in memory answers [cases] as a real server does.

mod batch;
pub mod cases;
mod checks;
mod lane;
mod lane_reading;
mod planted;
mod request;
mod server;
mod world;

pub use batch::{Batch, Failure, Report, hunt};
pub use checks::{Property, Violation};
pub use planted::Bug;
pub use request::{Answer, Item, Request};
pub use server::{FakeStream, Release};
pub use world::{Outcome, Run, run};
