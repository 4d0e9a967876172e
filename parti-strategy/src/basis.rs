//! What all strategies share: the check of the input, the certificate of the result, memory to reuse.
//!
//! What always holds: nothing here prefers one worker to another.

pub(crate) mod certificate;
pub(crate) mod classes;
pub(crate) mod input;
pub(crate) mod scratch;
