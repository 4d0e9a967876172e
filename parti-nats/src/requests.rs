//! Requests to the server: sent, answered within their time, and what the server forbids.
//!
//! What always holds: each request ends within its time, and says whether it took effect, did not, or
//! may have.

pub(crate) mod api;
pub(crate) mod leader;
pub(crate) mod listing;
pub(crate) mod page_size;
pub(crate) mod replies;
pub(crate) mod violation;
