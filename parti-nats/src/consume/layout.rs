//! Which stored subjects belong to which partition, and which partition a key belongs to.
//!
//! It is separate because publishers, servers and workers must agree on it to the bit: a key in two
//! partitions has no order. What always holds: a subject belongs to at most one partition, and what
//! the server's `partition(n, ...)` computes is what [`partition_of`] computes.

use std::fmt;

use crate::consume::layout::numbering::{Numbering, bad, is_word, tokens};

mod numbering;

/// The partition of a key among `partitions`: FNV-1a (32 bit) over its bytes, as the server's
/// `{{partition(n, token)}}` computes it. Several tokens are joined without a separator there.
///
/// ```
/// use parti_nats::consume::partition_of;
/// assert_eq!(partition_of("order-1", 1000), 949);
/// ```
#[must_use]
pub fn partition_of(key: &str, partitions: u32) -> u32 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash.checked_rem(partitions).unwrap_or(0)
}

/// Why subjects cannot be told apart by partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutError {
    /// There must be at least one partition.
    NoPartitions,
    /// The subject has no place for the partition's number.
    NoNumber {
        /// The subject.
        subject: String,
    },
    /// A part of the subject cannot be read.
    BadPart {
        /// The subject.
        subject: String,
        /// The part.
        part: String,
    },
    /// The stream's transform splits into another number of partitions.
    OtherCount {
        /// What the stream has.
        found: u32,
        /// What was asked for.
        wanted: u32,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPartitions => f.write_str("zero partitions; at least one is needed"),
            Self::NoNumber { subject } => write!(
                f,
                "{subject:?} has no partition(n, ...) part, such as \
                 orders.{{{{partition(64,1)}}}}.{{{{wildcard(1)}}}}"
            ),
            Self::BadPart { subject, part } => {
                write!(f, "the part {part:?} of {subject:?} cannot be understood")
            }
            Self::OtherCount { found, wanted } => write!(
                f,
                "the stream's transform makes {found} partitions, {wanted} were asked for"
            ),
        }
    }
}

impl std::error::Error for LayoutError {}

/// How stored subjects tell their partition.
///
/// A stream that was re-partitioned has several numberings, one after another. A partition's number is never
/// used again: those of the second follow those of the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Never empty.
    numberings: Vec<Numbering>,
}

impl Layout {
    /// Subjects `<prefix>.<partition>.<anything>`, which publishers make themselves, see
    /// [`Layout::subject`].
    ///
    /// # Errors
    /// [`LayoutError`] for no partitions or a prefix that is not a subject without wildcards.
    pub fn numbered(prefix: &str, partitions: u32) -> Result<Self, LayoutError> {
        Numbering::numbered(prefix, partitions).map(|numbering| Self {
            numberings: vec![numbering],
        })
    }

    /// What the destination of a stream's subject transform stores, such as
    /// `orders.{{partition(64,1)}}.{{wildcard(1)}}`.
    ///
    /// # Errors
    /// [`LayoutError`], with both numbers when it makes another number of partitions than `wanted`.
    pub fn from_transform(destination: &str, wanted: u32) -> Result<Self, LayoutError> {
        let numbering = Numbering::from_transform(destination, Some(wanted));
        numbering.map(|numbering| Self {
            numberings: vec![numbering],
        })
    }

    /// The same of a stream whose transform had these destinations, one after another.
    ///
    /// # Errors
    /// [`LayoutError`] when one of them cannot be understood, or there is none.
    pub fn of_numberings<'a>(
        destinations: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, LayoutError> {
        let numberings = destinations.into_iter();
        let numberings = numberings.map(|destination| Numbering::from_transform(destination, None));
        let numberings: Vec<Numbering> = numberings.collect::<Result<_, _>>()?;
        let is_empty = numberings.is_empty();
        (!is_empty)
            .then_some(Self { numberings })
            .ok_or(LayoutError::NoPartitions)
    }

    /// How many partitions there are and were.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.numberings
            .iter()
            .map(|numbering| numbering.partitions)
            .sum()
    }

    /// How many partitions each numbering has, the first one first.
    #[must_use]
    pub fn counts(&self) -> Vec<u32> {
        self.numberings
            .iter()
            .map(|numbering| numbering.partitions)
            .collect()
    }

    /// Which numbering a partition is of.
    #[must_use]
    pub fn numbering_of(&self, partition: u32) -> usize {
        self.place(partition).0
    }

    /// The numbering of a partition, and its number there; of the last for one that there is not.
    fn place(&self, partition: u32) -> (usize, u32) {
        let mut left = partition;
        let last = self.numberings.len() - 1;
        for (index, numbering) in self.numberings.iter().enumerate() {
            if left < numbering.partitions || index == last {
                return (index, left);
            }
            left -= numbering.partitions;
        }
        (last, left)
    }

    /// The filter that matches the subjects of one partition.
    #[must_use]
    pub fn filter(&self, partition: u32) -> String {
        let (numbering, number) = self.place(partition);
        self.numberings[numbering].filter(number)
    }

    /// The filter that matches the subjects of every partition of a numbering; for identity, too.
    #[must_use]
    pub fn all(&self, numbering: usize) -> String {
        self.numberings
            .get(numbering)
            .map_or_else(String::new, Numbering::all)
    }

    /// The filter to read one partition with, which may match more: the server is three times faster with
    /// one that ends in `>` than with the exact one.
    #[must_use]
    pub fn wide_filter(&self, partition: u32) -> String {
        let (numbering, number) = self.place(partition);
        self.numberings[numbering].wide_filter(number)
    }

    /// The filter to read all partitions with, which may match more: what stands before the first
    /// wildcard of each, and `>`. Any other is twenty times slower.
    #[must_use]
    pub fn wide(&self) -> String {
        let mut words: Vec<&str> = self.numberings[0].begin().collect();
        for numbering in &self.numberings[1..] {
            let same = words.iter().zip(numbering.begin());
            let same = same.take_while(|(one, other)| **one == *other).count();
            words.truncate(same);
        }
        words.push(">");
        words.join(".")
    }

    /// The partition of a stored subject; `None` when it is not one of the layout.
    #[must_use]
    pub fn partition(&self, subject: &str) -> Option<u32> {
        let mut first = 0;
        for numbering in &self.numberings {
            if let Some(number) = numbering.partition(subject) {
                return Some(first + number);
            }
            first += numbering.partitions;
        }
        None
    }

    /// The subject to publish a message with this key to, for a stream without transform: the parts
    /// behind the number become the key, which must be without spaces, `*` and `>`.
    #[must_use]
    pub fn subject(&self, key: &str) -> String {
        self.numberings
            .last()
            .map_or_else(String::new, |numbering| numbering.subject(key))
    }
}

/// The destination of a transform that puts the partition, hashed from the source's first wildcard,
/// behind the words before it: `orders.*` becomes `orders.{{partition(64,1)}}.{{wildcard(1)}}`.
///
/// # Errors
/// [`LayoutError::BadPart`] when the source has no wildcard to hash, or none can be understood.
pub fn destination(source: &str, partitions: u32) -> Result<String, LayoutError> {
    let mut parts = Vec::new();
    let mut wildcards = 0_u32;
    for word in source.split('.') {
        match word {
            "*" => {
                wildcards += 1;
                if wildcards == 1 {
                    parts.push(format!("{{{{partition({partitions},1)}}}}"));
                }
                parts.push(format!("{{{{wildcard({wildcards})}}}}"));
            }
            ">" if wildcards > 0 => parts.push(">".to_owned()),
            word if is_word(word) => parts.push(word.to_owned()),
            word => return Err(bad(source, word)),
        }
    }
    let subject = source.to_owned();
    (wildcards > 0)
        .then(|| parts.join("."))
        .ok_or(LayoutError::NoNumber { subject })
}

/// The destination of the same transform with another number of partitions, for the numbering that follows:
/// the words before the number stay, and `g2`, `g3` and so on tells it from those before.
///
/// # Errors
/// [`LayoutError`] when the destination cannot be understood.
pub fn next_destination(
    destination: &str,
    numbering: usize,
    partitions: u32,
) -> Result<String, LayoutError> {
    let found = Numbering::from_transform(destination, None)?.partitions;
    if partitions == 0 {
        return Err(LayoutError::NoPartitions);
    }
    let mark = |numbering: usize| format!("g{}", numbering + 1);
    let mut parts: Vec<String> = Vec::new();
    for text in tokens(destination) {
        let call = text.to_ascii_lowercase().replace(' ', "");
        if !call.starts_with("{{partition(") {
            parts.push(text.to_owned());
            continue;
        }
        // The mark of the numbering before was put there by us.
        if numbering > 1 && parts.last() == Some(&mark(numbering - 1)) {
            parts.pop();
        }
        parts.push(mark(numbering));
        parts.push(call.replacen(&found.to_string(), &partitions.to_string(), 1));
    }
    Ok(parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A publisher and a server that disagree put one key into two partitions: its order is gone.
    #[test]
    fn keys_fall_where_the_server_puts_them() {
        let long = "x".repeat(50);
        let cases = [
            ("a", 0, 12, 220),
            ("b", 7, 5, 77),
            ("order-1", 9, 13, 949),
            ("order-2", 2, 20, 92),
            ("user_42", 9, 17, 329),
            ("k3", 1, 27, 251),
            ("Zürich", 4, 0, 984),
            ("日本", 1, 17, 721),
            ("00", 1, 13, 421),
            (&long, 3, 13, 613),
            ("eu-west-1", 9, 11, 939),
        ];
        for (key, of_10, of_32, of_1000) in cases {
            let found = [10, 32, 1000].map(|count| partition_of(key, count));
            assert_eq!(found, [of_10, of_32, of_1000], "{key}");
        }
        assert_eq!(partition_of("a", 0), 0);
    }

    /// A filter that does not match what the transform stores reads nothing, silently.
    #[test]
    fn a_transform_is_read_back_as_filters_and_numbers() {
        let cases = [
            ("orders.{{partition(64,1)}}.{{wildcard(1)}}", "orders.3.*"),
            ("{{Partition(64, 1, 2)}}.$1.x.$2", "3.*.x.*"),
            ("a.{{ partition(64) }}.>", "a.3.>"),
            ("a.{{partition(64,1)}}.{{split(1,-)}}.z", "a.3.>"),
            ("a.b.{{partition(64,1)}}", "a.b.3"),
        ];
        for (destination, filter) in cases {
            let layout = Layout::from_transform(destination, 64).expect(destination);
            assert_eq!(layout.filter(3), filter, "{destination}");
            let wide = layout.wide_filter(3);
            assert!(filter.starts_with(wide.trim_end_matches('>')), "{wide}");
            let stored = filter.replace('*', "key").replace('>', "key.more");
            assert_eq!(layout.partition(&stored), Some(3), "{stored}");
            assert_eq!(layout.partition(&stored.replace('3', "64")), None);
        }
    }

    /// A filter that is too narrow loses messages; one that is wider must not bring others in.
    #[test]
    fn readers_filter_widely_and_what_is_not_of_the_layout_is_left_out() {
        let layout = Layout::from_transform("a.b.{{partition(64,1)}}.{{wildcard(1)}}", 64);
        let layout = layout.expect("a layout");
        assert_eq!(
            (layout.wide(), layout.wide_filter(3)),
            ("a.b.>".into(), "a.b.3.>".into())
        );
        assert_eq!(layout.partition("a.b.3.key"), Some(3));
        for other in [
            "a.b.3",
            "a.b.3.key.more",
            "a.c.3.key",
            "a.b.x.key",
            "a.b.64.key",
        ] {
            assert_eq!(layout.partition(other), None, "{other}");
        }
        let bare = Layout::from_transform("{{partition(8,1)}}", 8).expect("a layout");
        assert_eq!((bare.wide(), bare.wide_filter(3)), (">".into(), "3".into()));
    }

    /// A group that consumes 32 of 64 partitions leaves half of the stream lying.
    #[test]
    fn what_does_not_match_is_refused_with_both_values() {
        let other = Layout::from_transform("o.{{partition(32,1)}}.{{wildcard(1)}}", 64);
        let both = LayoutError::OtherCount {
            found: 32,
            wanted: 64,
        };
        assert_eq!(other, Err(both));
        for destination in [
            "orders.*",
            "x.{{split(1,-)}}.{{partition(64,1)}}",
            "a.{{par",
        ] {
            let refused = Layout::from_transform(destination, 64);
            assert!(refused.is_err(), "{destination}: {refused:?}");
        }
        assert_eq!(Layout::numbered("a", 0), Err(LayoutError::NoPartitions));
        assert!(Layout::numbered("a.*", 8).is_err());
    }

    /// A transform we create must be one we can read.
    #[test]
    fn the_transform_that_is_created_is_understood() {
        for (source, expected) in [
            ("orders.*", "orders.{{partition(8,1)}}.{{wildcard(1)}}"),
            (
                "in.*.*.>",
                "in.{{partition(8,1)}}.{{wildcard(1)}}.{{wildcard(2)}}.>",
            ),
        ] {
            let made = destination(source, 8).expect(source);
            assert_eq!(made, expected);
            assert!(Layout::from_transform(&made, 8).is_ok());
        }
        assert!(destination("orders", 8).is_err() && destination("orders.>", 8).is_err());
    }

    /// A subject that two numberings can have is handled by two owners at once.
    #[test]
    fn each_numbering_has_subjects_and_numbers_of_its_own() {
        let cases = [
            (
                "orders.{{partition(2,1)}}.{{wildcard(1)}}",
                "orders",
                "orders.>",
            ),
            ("{{Partition(2, 1)}}.$1", "", ">"),
            ("a.g2.{{partition(2,1)}}.>", "a.g2", "a.g2.>"),
        ];
        for (first, prefix, wide) in cases {
            let second = next_destination(first, 1, 3).expect(first);
            let third = next_destination(&second, 2, 2).expect(first);
            let layout = Layout::of_numberings([first, &second, &third]).expect(first);
            assert_eq!((layout.counts(), layout.partitions()), (vec![2, 3, 2], 7));
            assert_eq!(layout.wide(), wide, "{first}");
            let mut seen = Vec::new();
            for partition in 0..7 {
                let filter = layout.filter(partition);
                assert!(filter.starts_with(prefix), "{filter}");
                let wide = layout.wide_filter(partition);
                assert!(filter.starts_with(wide.trim_end_matches('>')), "{wide}");
                let stored = filter.replace(['*', '>'], "key");
                assert_eq!(layout.partition(&stored), Some(partition), "{stored}");
                assert!(!seen.contains(&stored), "{stored}");
                seen.push(stored);
            }
            assert_eq!([1, 2, 4, 5].map(|p| layout.numbering_of(p)), [0, 1, 1, 2]);
        }
        let named = next_destination("o.{{partition(8,1)}}.$1", 1, 12).expect("a name");
        assert_eq!(named, "o.g2.{{partition(12,1)}}.$1");
        let again = next_destination(&named, 2, 4);
        assert_eq!(again.as_deref(), Ok("o.g3.{{partition(4,1)}}.$1"));
        assert_eq!(
            next_destination("o.{{partition(8,1)}}", 1, 0),
            Err(LayoutError::NoPartitions)
        );
    }

    /// What the helper for publishers makes must be what workers read.
    #[test]
    fn a_publishers_subject_is_in_its_keys_partition() {
        let layout = Layout::numbered("shop.orders", 32).expect("a layout");
        assert_eq!(layout.subject("order-1"), "shop.orders.13.order-1");
        assert_eq!(layout.filter(13), "shop.orders.13.>");
        assert_eq!(layout.partition(&layout.subject("order-1")), Some(13));
    }
}
