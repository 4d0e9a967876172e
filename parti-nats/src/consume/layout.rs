//! Which stored subjects belong to which partition, and which partition a key belongs to.
//!
//! It is separate because publishers, servers and workers must agree on it to the bit: a key in two
//! partitions has no order. What always holds: a subject belongs to at most one partition, and what
//! the server's `partition(n, ...)` computes is what [`partition_of`] computes.

use std::fmt;

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

/// One token of a stored subject.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Word(String),
    Number,
    Any,
    Tail,
}

/// How stored subjects tell their partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    partitions: u32,
    parts: Vec<Part>,
    /// The index of the number among the parts.
    number: usize,
}

impl Layout {
    /// Subjects `<prefix>.<partition>.<anything>`, which publishers make themselves, see
    /// [`Layout::subject`].
    ///
    /// # Errors
    /// [`LayoutError`] for no partitions or a prefix that is not a subject without wildcards.
    pub fn numbered(prefix: &str, partitions: u32) -> Result<Self, LayoutError> {
        let words = prefix.split('.').map(|word| {
            let part = Part::Word(word.to_owned());
            is_word(word)
                .then_some(part)
                .ok_or_else(|| bad(prefix, word))
        });
        let mut parts = words.collect::<Result<Vec<_>, _>>()?;
        parts.extend([Part::Number, Part::Tail]);
        Self::of(prefix, partitions, parts)
    }

    /// What the destination of a stream's subject transform stores, such as
    /// `orders.{{partition(64,1)}}.{{wildcard(1)}}`.
    ///
    /// # Errors
    /// [`LayoutError`], with both numbers when it makes another number of partitions than `wanted`.
    pub fn from_transform(destination: &str, wanted: u32) -> Result<Self, LayoutError> {
        let mut parts = Vec::new();
        for text in tokens(destination) {
            let part = transform_part(text).ok_or_else(|| bad(destination, text))?;
            match part {
                Piece::Part(part) => parts.push(part),
                Piece::Number(found) if found == wanted => parts.push(Part::Number),
                Piece::Number(found) => return Err(LayoutError::OtherCount { found, wanted }),
                // It may become several tokens: harmless behind the number, unreadable before it.
                Piece::Several if parts.contains(&Part::Number) => {
                    parts.push(Part::Tail);
                    break;
                }
                Piece::Several => return Err(bad(destination, text)),
            }
        }
        Self::of(destination, wanted, parts)
    }

    fn of(subject: &str, partitions: u32, parts: Vec<Part>) -> Result<Self, LayoutError> {
        let number = parts.iter().position(|part| *part == Part::Number);
        let subject = subject.to_owned();
        let number = number.ok_or(LayoutError::NoNumber { subject })?;
        if partitions == 0 {
            return Err(LayoutError::NoPartitions);
        }
        Ok(Self {
            partitions,
            parts,
            number,
        })
    }

    /// How many partitions there are.
    #[must_use]
    pub const fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The filter that matches the subjects of one partition.
    #[must_use]
    pub fn filter(&self, partition: u32) -> String {
        self.render(&partition.to_string())
    }

    /// The filter that matches the subjects of every partition; for identity, too.
    #[must_use]
    pub fn all(&self) -> String {
        self.render("*")
    }

    fn render(&self, number: &str) -> String {
        let words = self.parts.iter().map(|part| match part {
            Part::Word(word) => word.as_str(),
            Part::Number => number,
            Part::Any => "*",
            Part::Tail => ">",
        });
        words.collect::<Vec<_>>().join(".")
    }

    /// The filter to read one partition with, which may match more: the server is three times faster with
    /// one that ends in `>` than with the exact one.
    #[must_use]
    pub fn wide_filter(&self, partition: u32) -> String {
        let mut words = self.render(&partition.to_string());
        if self.parts.len() > self.number + 1 {
            let kept = words.split('.').take(self.number + 1);
            words = kept.chain([">"]).collect::<Vec<_>>().join(".");
        }
        words
    }

    /// The filter to read all partitions with, which may match more: what stands before the first
    /// wildcard, and `>`. Any other is twenty times slower.
    #[must_use]
    pub fn wide(&self) -> String {
        let words = self.parts.iter().map_while(|part| match part {
            Part::Word(word) => Some(word.as_str()),
            Part::Number | Part::Any | Part::Tail => None,
        });
        words.chain([">"]).collect::<Vec<_>>().join(".")
    }

    /// The partition of a stored subject; `None` when it is not one of the layout.
    #[must_use]
    pub fn partition(&self, subject: &str) -> Option<u32> {
        let mut number = None;
        let mut words = subject.split('.');
        for part in &self.parts {
            let word = words.next()?;
            match part {
                Part::Word(wanted) if wanted != word => return None,
                Part::Word(_) | Part::Any => {}
                Part::Number => number = word.parse().ok(),
                Part::Tail => return number.filter(|number| *number < self.partitions),
            }
        }
        number.filter(|number| *number < self.partitions && words.next().is_none())
    }

    /// The subject to publish a message with this key to, for a stream without transform: the parts
    /// behind the number become the key, which must be without spaces, `*` and `>`.
    #[must_use]
    pub fn subject(&self, key: &str) -> String {
        let mut subject = String::new();
        for part in &self.parts[..self.number] {
            if let Part::Word(word) = part {
                subject.push_str(word);
                subject.push('.');
            }
        }
        format!("{subject}{}.{key}", partition_of(key, self.partitions))
    }
}

/// What a token of a transform's destination becomes.
enum Piece {
    Part(Part),
    Number(u32),
    Several,
}

/// Splits at dots outside of braces.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |c| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        c == '.' && depth == 0
    })
}

fn transform_part(text: &str) -> Option<Piece> {
    if text == ">" {
        return Some(Piece::Part(Part::Tail));
    }
    if text == "*"
        || text
            .strip_prefix('$')
            .is_some_and(|n| n.parse::<u32>().is_ok())
    {
        return Some(Piece::Part(Part::Any));
    }
    let Some(call) = text
        .strip_prefix("{{")
        .and_then(|text| text.strip_suffix("}}"))
    else {
        return is_word(text).then(|| Piece::Part(Part::Word(text.to_owned())));
    };
    let (name, arguments) = call.trim().strip_suffix(')')?.split_once('(')?;
    match name.trim().to_ascii_lowercase().as_str() {
        "wildcard" => Some(Piece::Part(Part::Any)),
        "partition" => {
            let count = arguments.split(',').next()?.trim();
            count.parse().ok().map(Piece::Number)
        }
        _ => Some(Piece::Several),
    }
}

fn is_word(word: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || matches!(c, '*' | '>' | '{' | '}' | '$');
    !word.is_empty() && !word.contains(odd)
}

fn bad(subject: &str, part: &str) -> LayoutError {
    LayoutError::BadPart {
        subject: subject.to_owned(),
        part: part.to_owned(),
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

    /// What the helper for publishers makes must be what workers read.
    #[test]
    fn a_publishers_subject_is_in_its_keys_partition() {
        let layout = Layout::numbered("shop.orders", 32).expect("a layout");
        assert_eq!(layout.subject("order-1"), "shop.orders.13.order-1");
        assert_eq!(layout.filter(13), "shop.orders.13.>");
        assert_eq!(layout.partition(&layout.subject("order-1")), Some(13));
    }
}
