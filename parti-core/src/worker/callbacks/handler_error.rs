//! Why a handler could not begin with a partition.
//!
//! It is separate because users make it, everywhere in their code. What always holds: it is words, with
//! those of everything below it.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

/// Why the processing of a partition could not begin, in words. Every error becomes one by `?`.
///
/// ```
/// use parti_core::callbacks::HandlerError;
///
/// fn port(text: &str) -> Result<u16, HandlerError> {
///     if text.is_empty() {
///         return Err(HandlerError::new("there is no port"));
///     }
///     Ok(text.parse()?)
/// }
/// assert_eq!(port("70000").unwrap_err().to_string(), "number too large to fit in target type");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerError(String);

impl HandlerError {
    /// An error that says this.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// It is not an `Error` itself, so that this can hold for every one that is.
impl<E: core::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        Self(reason)
    }
}
