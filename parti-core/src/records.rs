//! What is stored: keys, records, their encoding, and what a history of them says.
//!
//! What always holds: of what is written every release can read at least the envelope.

pub(crate) mod agreement;
pub(crate) mod assembly;
pub(crate) mod carried;
pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod orders;
pub(crate) mod outline;
pub(crate) mod problem;
pub(crate) mod record;
pub(crate) mod seen;
pub(crate) mod stored_list;
pub mod wire;
