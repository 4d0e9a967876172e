//! Where a worker can be reached: what it advertises, as its program wrote it.
//!
//! It is separate from names because nothing here depends on it and no key holds it. What always holds:
//! it is bounded, and it can stand in one line of a log or a header.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;

/// The longest endpoint, in bytes.
pub const MAX_ENDPOINT_BYTES: usize = 256;

/// Why an endpoint was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointError {
    /// It has no characters.
    Empty,
    /// It is longer than [`MAX_ENDPOINT_BYTES`].
    TooLong {
        /// The endpoint.
        endpoint: String,
    },
    /// It holds a space or a control character.
    BadCharacter {
        /// The endpoint.
        endpoint: String,
        /// The first offending character.
        character: char,
    },
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the endpoint is empty; give an address, or none at all"),
            Self::TooLong { endpoint } => write!(
                f,
                "the endpoint {endpoint:?} has {} bytes; at most {MAX_ENDPOINT_BYTES} are allowed",
                endpoint.len()
            ),
            Self::BadCharacter {
                endpoint,
                character,
            } => write!(
                f,
                "the endpoint {endpoint:?} holds {character:?}; spaces and control characters are not allowed"
            ),
        }
    }
}

impl core::error::Error for EndpointError {}

/// Where a worker can be reached, such as `http://127.0.0.1:8080`. What it means is between the program
/// that advertises it and those that read it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(Arc<str>);

impl Endpoint {
    /// Checks and wraps an endpoint.
    ///
    /// # Errors
    /// [`EndpointError`] names the offending value and the rule it breaks.
    pub fn new(endpoint: &str) -> Result<Self, EndpointError> {
        if endpoint.is_empty() {
            return Err(EndpointError::Empty);
        }
        if endpoint.len() > MAX_ENDPOINT_BYTES {
            let endpoint = endpoint.to_string();
            return Err(EndpointError::TooLong { endpoint });
        }
        let bad = |c: &char| c.is_whitespace() || c.is_control();
        match endpoint.chars().find(bad) {
            Some(character) => Err(EndpointError::BadCharacter {
                endpoint: endpoint.to_string(),
                character,
            }),
            None => Ok(Self(Arc::from(endpoint))),
        }
    }

    /// The endpoint as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address that breaks a header or a log line, or fills every renewal, is found at the start.
    #[test]
    fn what_cannot_stand_in_a_line_or_is_too_long_is_refused_by_name() {
        let longest = "x".repeat(MAX_ENDPOINT_BYTES);
        for good in ["http://127.0.0.1:8080", "[::1]:7", &longest] {
            assert_eq!(Endpoint::new(good).expect("good").as_str(), good);
        }
        assert_eq!(Endpoint::new(""), Err(EndpointError::Empty));
        for (bad, named) in [
            ("http://a b", "' '"),
            ("a\r\nb", "'\\r'"),
            (&*alloc::format!("{longest}x"), "257 bytes"),
        ] {
            let error = Endpoint::new(bad).expect_err("bad").to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
