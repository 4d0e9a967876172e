//! What the machine gives, and what it takes to live with it: the clock, seeds, panics of others.
//!
//! What always holds: nothing in here knows of partitions or workers.

pub(crate) mod clock;
pub(crate) mod contain;
pub(crate) mod jump;
pub(crate) mod machine;
pub(crate) mod random;
