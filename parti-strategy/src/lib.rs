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

mod basis;
mod hashing;
mod round_robin;
mod sticky;
mod trial;

pub use hashing::consistent_hash::ConsistentHash;
pub use hashing::rendezvous::Rendezvous;
pub use hashing::weighted_consistent_hash::WeightedConsistentHash;
pub use round_robin::RoundRobin;
pub use sticky::Sticky;
pub use sticky::eligibility::Eligibility;
pub use trial::situation::situation;
pub use trial::what_if::{Change, Forecast, Move, next_input, what_if};
pub use trial::workload;
