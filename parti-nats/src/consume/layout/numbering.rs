//! One numbering of a stream's partitions: how its stored subjects tell the number.
//!
//! It is separate because a stream has another one after each re-partition, and those before are read to
//! their end. What always holds: a subject belongs to at most one partition of it.

use crate::consume::layout::{LayoutError, partition_of};

/// One token of a stored subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Word(String),
    Number,
    Any,
    Tail,
}

/// How stored subjects tell their partition, counted from zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbering {
    pub(super) partitions: u32,
    parts: Vec<Part>,
    /// The index of the number among the parts.
    number: usize,
}

impl Numbering {
    pub(super) fn numbered(prefix: &str, partitions: u32) -> Result<Self, LayoutError> {
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

    /// With the wanted number of partitions; any number if none is said.
    pub(super) fn from_transform(
        destination: &str,
        wanted: Option<u32>,
    ) -> Result<Self, LayoutError> {
        let mut count = wanted.unwrap_or_default();
        let mut parts = Vec::new();
        for text in tokens(destination) {
            let part = transform_part(text).ok_or_else(|| bad(destination, text))?;
            match part {
                Piece::Part(part) => parts.push(part),
                Piece::Number(found) => {
                    if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
                        return Err(LayoutError::OtherCount { found, wanted });
                    }
                    count = found;
                    parts.push(Part::Number);
                }
                // It may become several tokens: harmless behind the number, unreadable before it.
                Piece::Several if parts.contains(&Part::Number) => {
                    parts.push(Part::Tail);
                    break;
                }
                Piece::Several => return Err(bad(destination, text)),
            }
        }
        Self::of(destination, count, parts)
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

    pub(super) fn filter(&self, partition: u32) -> String {
        self.render(&partition.to_string())
    }

    pub(super) fn all(&self) -> String {
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

    pub(super) fn wide_filter(&self, partition: u32) -> String {
        let mut words = self.render(&partition.to_string());
        if self.parts.len() > self.number + 1 {
            let kept = words.split('.').take(self.number + 1);
            words = kept.chain([">"]).collect::<Vec<_>>().join(".");
        }
        words
    }

    /// What stands before the first wildcard.
    pub(super) fn begin(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map_while(|part| match part {
            Part::Word(word) => Some(word.as_str()),
            Part::Number | Part::Any | Part::Tail => None,
        })
    }

    pub(super) fn partition(&self, subject: &str) -> Option<u32> {
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

    pub(super) fn subject(&self, key: &str) -> String {
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
pub(super) fn tokens(text: &str) -> impl Iterator<Item = &str> {
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

pub(super) fn is_word(word: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || matches!(c, '*' | '>' | '{' | '}' | '$');
    !word.is_empty() && !word.contains(odd)
}

pub(super) fn bad(subject: &str, part: &str) -> LayoutError {
    LayoutError::BadPart {
        subject: subject.to_owned(),
        part: part.to_owned(),
    }
}
