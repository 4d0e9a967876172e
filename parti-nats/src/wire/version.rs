//! The server's version and the oldest one that is good enough.
//!
//! It is separate because the rule is absolute: version 2.12.0 accepts atomic batches but checks
//! their conditions wrongly, so a group on it would lose the one guarantee everything rests on.

use std::fmt;

/// The oldest nats-server whose atomic batches check their conditions.
pub const MINIMUM_SERVER: ServerVersion = ServerVersion {
    major: 2,
    minor: 12,
    patch: 1,
};

/// The version of a nats-server, ordered; what follows the three numbers is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

impl ServerVersion {
    /// Reads a version such as `2.12.8` or `v2.14.0-RC.1`; `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let numbers = text.split(['-', '+']).next()?;
        let mut numbers = numbers.split('.').map(str::parse);
        let mut number = || numbers.next()?.ok();
        let (major, minor, patch) = (number()?, number()?, number()?);
        Some(Self {
            major,
            minor,
            patch,
        })
    }
}

/// Whether a version is good enough; one that cannot be read is not.
pub(crate) fn is_good_enough(found: &str) -> bool {
    ServerVersion::parse(found).is_some_and(|version| version >= MINIMUM_SERVER)
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that checks batch conditions wrongly lets two leaders publish.
    #[test]
    fn servers_before_the_minimum_compare_as_older() {
        let old = [
            "2.9.25", "2.10.26", "2.11.11", "2.12.0", "v2.12.0", "1.99.99",
        ];
        for text in old {
            let version = ServerVersion::parse(text).expect(text);
            assert!(version < MINIMUM_SERVER, "{text}");
        }
        let new = [
            "2.12.1",
            "2.12.1-RC.2",
            "2.12.10",
            "v2.14.0-beta.1",
            "2.15.1",
            "3.0.0+x",
        ];
        for text in new {
            let version = ServerVersion::parse(text).expect(text);
            assert!(version >= MINIMUM_SERVER, "{text}");
        }
    }

    /// A version that cannot be read must not pass for a new one.
    #[test]
    fn unreadable_versions_are_none() {
        for text in ["", "2", "2.12", "two.12.1", "2.12.x", "-2.12.1"] {
            assert_eq!(ServerVersion::parse(text), None, "{text:?}");
        }
    }
}
