//! What a leader knows: the bucket as its watch shows it, and what follows from that.
//!
//! It is separate from judging so that a judgement only reads. What always holds: nothing in here
//! decides anything or writes anything.

pub(crate) mod agreement;
pub(crate) mod confirmations;
pub(crate) mod holds;
pub(crate) mod parking;
pub(crate) mod postponed;
pub(crate) mod predecessors;
pub(crate) mod quarantine;
pub(crate) mod releases;
pub(crate) mod view;
