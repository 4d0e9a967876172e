//! The user's kit: a store in memory, faulty handles of it, and the suite that every store must pass.
//!
//! * [`memory_store`], with a paused runtime: does my handler do the right thing when partitions come
//!   and go?
//! * `chaos` (feature `chaos`): what happens when one worker of several is cut off? One set of verbs for
//!   the store in memory and for sockets.
//! * [`conformance`]: is my own backend a correct store? [`history`] judges what its clients saw under
//!   the faults of `workload`.
//!
//! What always holds: nothing here starts a process or opens a socket, and every store in memory wraps
//! [`kv`], the one specification.

#[cfg(feature = "chaos")]
pub mod chaos;
pub mod conformance;
pub mod history;
pub mod memory_store;
#[cfg(any(feature = "chaos", feature = "simulator"))]
pub(crate) mod random;
#[cfg(feature = "chaos")]
pub mod workload;

pub use parti_core::kv;
