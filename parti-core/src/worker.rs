//! Being one worker: callbacks, claim, session, following, partitions held and prepared for, requests and
//! departure.
//!
//! What always holds: a worker relies on nothing past its deadline.

pub mod callbacks;
pub(crate) mod claim;
pub(crate) mod context;
pub(crate) mod departure;
pub(crate) mod follow;
pub(crate) mod holdings;
pub(crate) mod member;
pub(crate) mod preparations;
pub(crate) mod rejections;
pub(crate) mod requests;
pub(crate) mod session;
