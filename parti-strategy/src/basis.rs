//! What all strategies share: the check of the input, the certificate of the result, workers by capacity.
//!
//! What always holds: nothing here prefers one worker to another.

pub(crate) mod certificate;
pub(crate) mod classes;
pub(crate) mod input;
