//! Pure strategies: who gets which partition.
//!
//! Every strategy implements [`AssignmentStrategy`](parti_core::AssignmentStrategy): a function
//! from a [`PlanInput`](parti_core::PlanInput) to a [`Plan`](parti_core::Plan) with a certificate.
//! What always holds: integers only, no clock, no randomness, no iteration over hash maps, so two
//! leaders with the same input publish the same plan.
//!
//! * [`Sticky`]: the default. Perfect balance, or a band for weights, with the fewest moves;
//! * [`ConsistentHash`]: stateless, placement of the Go library, optional load bound;
//! * [`WeightedConsistentHash`]: stateless, placement of the Go library;
//! * [`Rendezvous`]: stateless, no ring, shares in exact proportion to capacity, small groups;
//! * [`RoundRobin`]: stateless, perfectly even by count, moves almost everything on a change.

#![forbid(unsafe_code)]

mod certificate;
mod classes;
mod consistent_hash;
mod eligibility;
mod input;
mod rendezvous;
mod ring;
mod round_robin;
mod scratch;
mod situation;
mod sticky;
mod weighted_consistent_hash;
mod what_if;
pub mod workload;

pub use consistent_hash::ConsistentHash;
pub use eligibility::Eligibility;
pub use rendezvous::Rendezvous;
pub use round_robin::RoundRobin;
pub use scratch::Scratch;
pub use situation::situation;
pub use sticky::Sticky;
pub use weighted_consistent_hash::WeightedConsistentHash;
pub use what_if::{Change, Forecast, Move, next_input, what_if};
