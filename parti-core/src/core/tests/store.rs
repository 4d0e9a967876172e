//! A store in trouble, scripted: late answers, false answers, silent watches, histories that are gone.

pub(super) mod authority;
pub(super) mod candidates;
pub(super) mod circuits;
pub(super) mod foreign;
pub(super) mod losses;
pub(super) mod races;
pub(super) mod silent_watch;
pub(super) mod unsteady;
pub(super) mod vanishing;
