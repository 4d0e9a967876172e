//! Identifiers: who somebody is, which incarnation, and which point of the history.
//!
//! Each idea has its own type, so that a version can never be passed where a revision is meant.
//! Names are validated when they are made; a `WorkerId` in hand is a valid one.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;

/// The longest group name or worker ID, in bytes.
pub const MAX_NAME_LEN: usize = 64;

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters.
    Empty {
        /// What the name was for, such as "worker ID".
        what: &'static str,
    },
    /// The name is longer than [`MAX_NAME_LEN`] bytes.
    TooLong {
        /// What the name was for.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// The name holds a character outside `A-Z a-z 0-9 _ -`.
    BadCharacter {
        /// What the name was for.
        what: &'static str,
        /// The whole name.
        name: String,
        /// The first offending character.
        character: char,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { what } => write!(f, "the {what} is empty; use letters, digits, '_', '-'"),
            Self::TooLong { what, len } => {
                write!(
                    f,
                    "the {what} has {len} bytes; at most {MAX_NAME_LEN} are allowed"
                )
            }
            Self::BadCharacter {
                what,
                name,
                character,
            } => write!(
                f,
                "the {what} {name:?} holds {character:?}; use only letters, digits, '_' and '-'"
            ),
        }
    }
}

impl core::error::Error for NameError {}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if name.len() > MAX_NAME_LEN {
        return Err(NameError::TooLong {
            what,
            len: name.len(),
        });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match name.chars().find(|&c| !allowed(c)) {
        Some(character) => Err(NameError::BadCharacter {
            what,
            name: name.to_string(),
            character,
        }),
        None => Ok(()),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// Cheap to clone; ordered by bytes. Only letters, digits, `_` and `-`, at most
        /// [`MAX_NAME_LEN`] bytes, so that it can stand in a key or a bucket name.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`NameError`] names the offending value and the rule it breaks.
            pub fn new(name: &str) -> Result<Self, NameError> {
                check_name($what, name)?;
                Ok(Self(Arc::from(name)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl core::str::FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
    };
}

name_type! {
    /// The name of a group: workers that share one partition list and one bucket.
    GroupName, "group name"
}

name_type! {
    /// The stable ID of a worker, such as `worker-3`: it outlives the process that holds it.
    WorkerId, "worker ID"
}

impl WorkerId {
    /// The ID of slot `number` in the pool of `prefix`, such as `worker-3`.
    ///
    /// # Errors
    /// [`NameError`] when the prefix is not a valid name or the result is too long.
    pub fn numbered(prefix: &str, number: u32) -> Result<Self, NameError> {
        Self::new(&format!("{prefix}-{number}"))
    }
}

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u64);

        impl $name {
            /// Before every real value.
            pub const ZERO: Self = Self(0);

            /// Wraps a number.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The number inside.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The following value; the largest value is its own successor.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

number_type! {
    /// A store revision: every successful write gets a larger one. Zero means "never written".
    Revision
}
number_type! {
    /// The number of a committed generation of assignments; it only rises.
    Version
}
number_type! {
    /// A fencing token: the version at which an ownership began.
    ///
    /// It is kept while that ownership lasts and is larger for every later owner of the partition.
    /// Pass it to whatever the work writes to, and let that refuse smaller ones.
    Token
}
number_type! {
    /// The number of a leadership; each take-over of `head` raises it by one.
    Term
}
number_type! {
    /// The revision of the write that created a session: it names one incarnation of a worker.
    Epoch
}

impl From<Revision> for Epoch {
    fn from(revision: Revision) -> Self {
        Self(revision.get())
    }
}

impl From<Version> for Token {
    fn from(version: Version) -> Self {
        Self(version.get())
    }
}

/// A random 128-bit name of one session, made by the process that claims it.
///
/// It lets a process recognise its own write after an unknown outcome.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(u128);

impl Nonce {
    /// Wraps a number.
    #[must_use]
    pub const fn new(value: u128) -> Self {
        Self(value)
    }

    /// The number inside.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0 >> 96)
    }
}

/// The name of one write: the session that made it and a number that rises with each of its writes.
///
/// Every stored value carries the one of the write that made it. A process that does not know
/// whether its write happened reads the key and looks for its own.
///
/// Closed: a name and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId {
    /// The session.
    pub nonce: Nonce,
    /// The number of the write within the session.
    pub seq: u64,
}

/// A range of formats of records.
///
/// Closed: a least and a newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats {
    /// The oldest.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
}

impl Formats {
    /// The formats this release reads, of which it writes the newest.
    pub const THIS_RELEASE: Self = Self {
        oldest: 1,
        newest: 1,
    };

    /// Those of a release that does not exist yet, for tests of updates: its newest format has the same
    /// layout and another number.
    #[cfg(any(test, feature = "releases"))]
    pub const NEXT_RELEASE: Self = Self {
        oldest: 1,
        newest: 2,
    };

    /// The one of them that is nearest to a format.
    #[must_use]
    pub(crate) fn nearest(self, format: u16) -> u16 {
        format.min(self.newest).max(self.oldest)
    }

    /// Whether a format is one of them.
    #[must_use]
    pub const fn contains(self, format: u16) -> bool {
        self.oldest <= format && format <= self.newest
    }
}

impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.oldest, self.newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prevents one group from reading or writing outside its bucket by a crafted name.
    #[test]
    fn names_outside_the_alphabet_are_refused_and_named() {
        let cases = [
            ("", "is empty"),
            ("a.b", "'.'"),
            ("a>b", "'>'"),
            ("a b", "' '"),
            ("ü", "'ü'"),
        ];
        for (name, part) in cases {
            let error = WorkerId::new(name).expect_err(name).to_string();
            assert!(error.contains(part), "{name:?}: {error}");
        }
        assert!(WorkerId::new(&"x".repeat(MAX_NAME_LEN)).is_ok());
        assert!(WorkerId::new(&"x".repeat(MAX_NAME_LEN + 1)).is_err());
        assert_eq!(
            WorkerId::numbered("worker", 7).expect("valid").as_str(),
            "worker-7"
        );
    }
}
