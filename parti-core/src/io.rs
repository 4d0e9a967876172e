//! What goes in and out of the core: events, effects, notices and the status.
//!
//! What always holds: these are data; only the core makes effects.

pub(crate) mod boot;
pub(crate) mod effect;
pub(crate) mod event;
pub(crate) mod grant;
pub(crate) mod notice;
pub(crate) mod status;
