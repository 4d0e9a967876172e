//! How the store is used, and how far it is trusted.
//!
//! What always holds: every request goes out here, and what is known of the store's health is found
//! here.

pub(crate) mod attempt;
pub(crate) mod circuits;
pub(crate) mod contact;
pub(crate) mod continuity;
pub(crate) mod cx;
pub(crate) mod failing;
pub(crate) mod watching;
