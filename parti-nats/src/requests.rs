//! Requests to the server and what their outcome leaves behind.
//!
//! What always holds: each request ends within its time, and says whether it took effect, did not, or
//! may have.

pub(crate) mod api;
pub(crate) mod key;
pub(crate) mod leader;
pub(crate) mod outcome;
pub(crate) mod replies;
pub(crate) mod timestamp;
pub(crate) mod violation;
