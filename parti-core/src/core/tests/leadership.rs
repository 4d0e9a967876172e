//! Leading, scripted: what a leader tells, what it asks its source for, and what outlasts it.

pub(super) mod cases;
pub(super) mod inherited;
pub(super) mod listings;
pub(super) mod problems;
pub(super) mod short_terms;
pub(super) mod strategies;
pub(super) mod suspected;
pub(super) mod unanswered;
