//! Design models: the three rules that everything rests on, small enough to try every interleaving.
//!
//! The simulator runs the real code on some histories; a model runs a few lines of the design on all of
//! them, within its bounds. Each model says what it leaves out, states what must never be and what must
//! be possible, and is run again with each rule taken away: then there must be a counterexample.

mod handoff;
mod leadership;
mod search;
mod session;
