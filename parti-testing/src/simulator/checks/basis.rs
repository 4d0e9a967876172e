//! What checkers are told and share: facts, rules with the times that follow from them, and what can be
//! read off the history.

pub(in crate::simulator) mod coverage;
pub(in crate::simulator) mod fact;
pub(in crate::simulator) mod fold;
pub(in crate::simulator) mod hearing;
pub(in crate::simulator) mod ledger;
pub(in crate::simulator) mod rules;
