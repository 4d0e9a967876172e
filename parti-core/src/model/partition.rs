//! What is shared: a partition, named by a sequence of keys and carrying a weight.
//!
//! The key is stored as one length-prefixed text, so that `["a-b", "c"]` and `["a", "b-c"]` are
//! different by construction, one allocation holds it, and the text can be written as it is.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::cmp::Ordering;
use core::fmt;

/// The most parts a key may have.
pub const MAX_KEY_PARTS: usize = 16;
/// The most bytes all parts of a key may have together.
pub const MAX_KEY_BYTES: usize = 1024;

/// Why a partition or a list of partitions was refused. Nothing was taken over from the list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionError {
    /// The key has no parts.
    NoParts,
    /// One part of the key is the empty string.
    EmptyPart {
        /// Position of the part in the key, from 0.
        index: usize,
    },
    /// The key has more than [`MAX_KEY_PARTS`] parts.
    TooManyParts {
        /// How many it has.
        parts: usize,
    },
    /// The parts have more than [`MAX_KEY_BYTES`] bytes together.
    TooLong {
        /// How many bytes they have.
        bytes: usize,
    },
    /// A stored key is not in the length-prefixed form.
    Malformed {
        /// The offending text.
        text: String,
    },
    /// The list names the same partition twice.
    Duplicate {
        /// The key that occurs twice.
        key: PartitionKey,
    },
    /// The weights of the list do not fit 64 bits together.
    WeightOverflow {
        /// The partition at which the sum overflowed.
        key: PartitionKey,
    },
    /// The list has more partitions than a table can number.
    TooMany {
        /// How many partitions the list has.
        len: usize,
    },
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoParts => f.write_str("a partition key needs at least one part"),
            Self::EmptyPart { index } => write!(f, "part {index} of the partition key is empty"),
            Self::TooManyParts { parts } => {
                write!(
                    f,
                    "the partition key has {parts} parts; at most {MAX_KEY_PARTS} are allowed"
                )
            }
            Self::TooLong { bytes } => {
                write!(
                    f,
                    "the partition key has {bytes} bytes; at most {MAX_KEY_BYTES} are allowed"
                )
            }
            Self::Malformed { text } => write!(f, "{text:?} is not an encoded partition key"),
            Self::Duplicate { key } => write!(f, "partition {key} occurs twice in the list"),
            Self::WeightOverflow { key } => {
                write!(
                    f,
                    "the weights overflow 64 bits at partition {key}; use smaller weights"
                )
            }
            Self::TooMany { len } => {
                write!(f, "{len} partitions; at most {} are allowed", u32::MAX - 1)
            }
        }
    }
}

impl core::error::Error for PartitionError {}

/// The name of a partition: one or more non-empty strings, from general to special.
///
/// Keys are compared part by part, by bytes; a key that is a prefix of another comes first.
/// `Display` joins the parts with `/` and is for people, not for identity.
///
/// ```
/// use parti_core::PartitionKey;
/// let key = PartitionKey::new(["topic-0", "p-7"])?;
/// assert_eq!(key.to_string(), "topic-0/p-7");
/// assert_eq!(key.parts().collect::<Vec<_>>(), ["topic-0", "p-7"]);
/// # Ok::<(), parti_core::PartitionError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PartitionKey(Arc<str>);

impl PartitionKey {
    /// Builds a key from its parts.
    ///
    /// # Errors
    /// [`PartitionError`] when there is no part, an empty part, or more than the limits allow.
    pub fn new<I>(parts: I) -> Result<Self, PartitionError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut text = String::new();
        let (mut count, mut bytes) = (0_usize, 0_usize);
        for part in parts {
            let part = part.as_ref();
            if part.is_empty() {
                return Err(PartitionError::EmptyPart { index: count });
            }
            count += 1;
            bytes += part.len();
            text.push_str(&part.len().to_string());
            text.push(':');
            text.push_str(part);
        }
        match (count, bytes) {
            (0, _) => Err(PartitionError::NoParts),
            (parts, _) if parts > MAX_KEY_PARTS => Err(PartitionError::TooManyParts { parts }),
            (_, bytes) if bytes > MAX_KEY_BYTES => Err(PartitionError::TooLong { bytes }),
            _ => Ok(Self(Arc::from(text))),
        }
    }

    /// Takes back what [`PartitionKey::encoded`] gave out.
    ///
    /// # Errors
    /// [`PartitionError::Malformed`] when the text is not in that form.
    pub fn from_encoded(text: &str) -> Result<Self, PartitionError> {
        if is_encoded(text) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(PartitionError::Malformed {
                text: text.to_owned(),
            })
        }
    }

    /// The key as one length-prefixed text: an identity that can be stored.
    #[must_use]
    pub fn encoded(&self) -> &str {
        &self.0
    }

    /// The parts, from general to special.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        let mut rest: &str = &self.0;
        core::iter::from_fn(move || {
            let (part, tail) = split_part(rest)?;
            rest = tail;
            Some(part)
        })
    }
}

/// Whether [`PartitionKey::new`] could have written it. Records are full of keys: nothing is built.
fn is_encoded(text: &str) -> bool {
    let (mut rest, mut count, mut bytes) = (text, 0, 0);
    while !rest.is_empty() {
        // "01:a" would be a second spelling of the same key; identity allows only one. A part that
        // begins with its own "0" is empty, which is no part either.
        let Some((part, tail)) = split_part(rest).filter(|_| !rest.starts_with('0')) else {
            return false;
        };
        (rest, count, bytes) = (tail, count + 1, bytes + part.len());
    }
    (1..=MAX_KEY_PARTS).contains(&count) && bytes <= MAX_KEY_BYTES
}

/// Splits `3:abc...` into `abc` and what follows; `None` when it is not in that form.
fn split_part(text: &str) -> Option<(&str, &str)> {
    // Keys are compared all the time: the length is read by hand, at most four digits.
    let (mut len, mut digits) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' if digits < 4 => len = len * 10 + usize::from(byte - b'0'),
            b':' if digits > 0 => return text[digits + 1..].split_at_checked(len),
            _ => return None,
        }
        digits += 1;
    }
    None
}

/// The length that an encoded part begins with, and how long it is written, if it has one or two digits:
/// keys are compared all the time, and nearly all of their parts are that short.
const fn short_length(text: &[u8]) -> Option<(usize, usize)> {
    match text {
        [a @ b'1'..=b'9', b':', ..] => Some(((*a - b'0') as usize, 2)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b':', ..] => {
            Some(((*a - b'0') as usize * 10 + (*b - b'0') as usize, 3))
        }
        _ => None,
    }
}

/// The order of the first parts of two encoded keys, and what follows them, if both parts are short.
fn compare_short<'a>(left: &'a str, right: &'a str) -> Option<(Ordering, &'a str, &'a str)> {
    let (a, from) = short_length(left.as_bytes())?;
    let (b, begin) = short_length(right.as_bytes())?;
    let (x, after) = left.get(from..)?.split_at_checked(a)?;
    let (y, behind) = right.get(begin..)?.split_at_checked(b)?;
    Some((x.cmp(y), after, behind))
}

impl Ord for PartitionKey {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        let (mut left, mut right) = (&*self.0, &*other.0);
        loop {
            let parsed = || {
                let ((a, after), (b, behind)) = (split_part(left)?, split_part(right)?);
                Some((a.cmp(b), after, behind))
            };
            match compare_short(left, right).or_else(parsed) {
                Some((Ordering::Equal, after, behind)) => (left, right) = (after, behind),
                Some((unequal, ..)) => return unequal,
                // One has no parts left, and is the smaller one unless neither has.
                None => return left.len().cmp(&right.len()),
            }
        }
    }
}

impl PartialOrd for PartitionKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            f.write_str(part)?;
        }
        Ok(())
    }
}

impl fmt::Debug for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A partition of the shared list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// What it is called.
    pub key: PartitionKey,
    /// How heavy it is relative to the others; 0 counts as 1 where weights matter.
    pub weight: u64,
}

impl From<PartitionKey> for Partition {
    /// A partition of default weight.
    fn from(key: PartitionKey) -> Self {
        let weight = Self::DEFAULT_WEIGHT;
        Self { key, weight }
    }
}

impl Partition {
    /// The weight of a partition about which nothing is known.
    pub const DEFAULT_WEIGHT: u64 = 1;

    /// A partition of default weight.
    ///
    /// # Errors
    /// As [`PartitionKey::new`].
    pub fn new<I>(parts: I) -> Result<Self, PartitionError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Ok(Self {
            key: PartitionKey::new(parts)?,
            weight: Self::DEFAULT_WEIGHT,
        })
    }

    /// The same partition with another weight.
    #[must_use]
    pub fn with_weight(self, weight: u64) -> Self {
        Self { weight, ..self }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn key(parts: &[&str]) -> PartitionKey {
        PartitionKey::new(parts).expect("valid key")
    }

    /// Joined keys once collided in the field: two partitions, one owner record.
    #[test]
    fn keys_that_join_to_the_same_text_stay_different() {
        assert_ne!(key(&["a-b", "c"]), key(&["a", "b-c"]));
        assert_ne!(key(&["a/b"]), key(&["a", "b"]));
        assert_ne!(key(&["1:a"]), key(&["1", "a"]));
    }

    /// A stable order on every machine is what makes plans reproducible.
    #[test]
    fn order_is_by_parts_and_prefixes_come_first() {
        let mut keys = [
            key(&["b"]),
            key(&["a", "b"]),
            key(&["a"]),
            key(&["a", "a", "z"]),
            key(&["B"]),
        ];
        keys.sort();
        let shown: Vec<_> = keys.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["B", "a", "a/a/z", "a/b", "b"]);
    }

    /// Two ways to compare that disagree would break every map of partitions.
    #[test]
    fn the_order_is_that_of_the_parts_however_long_they_are() {
        let long = "abcdefghijk";
        let words = [
            "a",
            "b",
            "ab",
            "ba",
            "a:",
            "1:a",
            "abcdefghi",
            "abcdefghj",
            long,
        ];
        let mut all: Vec<Vec<&str>> = words.iter().map(|word| vec![*word]).collect();
        for first in words {
            all.extend(words.iter().map(|second| vec![first, *second]));
        }
        for left in &all {
            for right in &all {
                assert_eq!(
                    key(left).cmp(&key(right)),
                    left.cmp(right),
                    "{left:?} {right:?}"
                );
            }
        }
    }

    /// A list from a user must be refused with the reason, not silently repaired.
    #[test]
    fn bad_keys_are_refused_with_the_rule() {
        let none: [&str; 0] = [];
        assert_eq!(PartitionKey::new(none), Err(PartitionError::NoParts));
        assert_eq!(
            PartitionKey::new(["a", ""]),
            Err(PartitionError::EmptyPart { index: 1 })
        );
        assert_eq!(
            PartitionKey::new(["x"; MAX_KEY_PARTS + 1]),
            Err(PartitionError::TooManyParts {
                parts: MAX_KEY_PARTS + 1
            })
        );
        assert_eq!(
            PartitionKey::new(["x".repeat(MAX_KEY_BYTES + 1)]),
            Err(PartitionError::TooLong {
                bytes: MAX_KEY_BYTES + 1
            })
        );
    }

    /// A foreign or damaged record must not smuggle in a second spelling of a key.
    #[test]
    fn only_the_canonical_encoding_is_taken_back() {
        let original = key(&["töpic", "p-1"]);
        assert_eq!(PartitionKey::from_encoded(original.encoded()), Ok(original));
        for text in [
            "", "1", "1:", "2:a", "01:a", "1:ab", "0:", "1:a0:", "+1:a", "1:ü",
        ] {
            assert!(PartitionKey::from_encoded(text).is_err(), "{text:?}");
        }
        let parts = |count: usize| "1:a".repeat(count);
        assert!(PartitionKey::from_encoded(&parts(MAX_KEY_PARTS)).is_ok());
        assert!(PartitionKey::from_encoded(&parts(MAX_KEY_PARTS + 1)).is_err());
        let bytes = |count: usize| alloc::format!("{count}:{}", "x".repeat(count));
        assert!(PartitionKey::from_encoded(&bytes(MAX_KEY_BYTES)).is_ok());
        assert!(PartitionKey::from_encoded(&bytes(MAX_KEY_BYTES + 1)).is_err());
    }
}
