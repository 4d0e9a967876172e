//! Words that a reader who knows Kafka or etcd would have to guess at, and what we say instead.
//!
//! It is separate because it reads prose and identifiers alike: `held_seats`, `HeldSeats` and "held
//! seats" are the same two words. What always holds: docs/STYLE.md shows the same table.

use super::{File, Offence};

/// A phrase, and what to write instead. A word ends with `*` if it also stands for its longer forms; a
/// `-` stands before a word that belongs to the same identifier or compound.
pub(super) const WORDS: [(&str, &str); 27] = [
    ("hand -over", "handoff"),
    ("handover*", "handoff"),
    ("foreign hand*", "external writer"),
    ("set back*", "rolled back, restored from a backup"),
    ("setback*", "rollback"),
    ("seat*", "slot; worker ID where the ID is meant"),
    ("desk", "callback scheduler"),
    ("strike*", "fault, to hit; quarantine"),
    ("struck", "hit; quarantined"),
    ("sits out", "is in quarantine"),
    ("sit out", "be in quarantine"),
    ("sitting out", "quarantine"),
    ("benched", "quarantined"),
    ("stirred", "changed"),
    ("aton*", "completed, recovered"),
    ("the own", "its own, this worker's"),
    ("whoever", "the worker that, anyone who"),
    ("anew", "again, from the beginning"),
    ("how many -th", "the n-th"),
    ("stray*", "late, left over; to differ"),
    ("limp*", "unsteady contact"),
    ("deaf*", "receives no answers"),
    ("avert*", "cancel"),
    ("office*", "leadership, term"),
    ("vouch*", "keep, confirm"),
    ("nought", "zero"),
    ("mend*", "repair, fix"),
];

/// Where the words themselves are the subject, or are letters of a checksum.
const EXEMPT: [&str; 4] = [
    "Cargo.lock",
    "docs/STYLE.md",
    "xtask/src/tidy/words.rs",
    "xtask/src/tidy/tests/words.rs",
];

/// A word of a text in lower case, one part of an identifier at a time.
struct Word {
    line: usize,
    text: String,
    /// Whether it belongs to the same identifier or compound as the one before.
    joined: bool,
}

/// Adds the words of a file that we do not use.
pub(super) fn check(file: &File, offences: &mut Vec<Offence>) {
    if !EXEMPT.contains(&file.path.as_str()) {
        check_text(&file.path, &file.text, offences);
    }
}

fn check_text(path: &str, text: &str, offences: &mut Vec<Offence>) {
    let words = words_of(text);
    for start in 0..words.len() {
        for (phrase, instead) in WORDS {
            if begins_with(&words[start..], phrase) {
                let line = words[start].line;
                let rule = format!("`{phrase}` is not a word of ours: {instead} (docs/STYLE.md)");
                let path = path.to_owned();
                offences.push(Offence { path, line, rule });
            }
        }
    }
}

/// Whether the text goes on with the phrase.
fn begins_with(words: &[Word], phrase: &str) -> bool {
    let mut words = words.iter();
    phrase.split(' ').all(|part| {
        let Some(word) = words.next() else {
            return false;
        };
        let (joined, part) = part
            .strip_prefix('-')
            .map_or((false, part), |part| (true, part));
        let is_it = part
            .strip_suffix('*')
            .map_or(word.text == part, |stem| word.text.starts_with(stem));
        is_it && (word.joined || !joined)
    })
}

/// The words of a text, over the ends of lines and through the marks of comments.
fn words_of(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        // What stands before the next character: nothing of an identifier, a joint, or a letter.
        let (mut before, mut joint) = (' ', false);
        for c in line.chars() {
            let inside = before.is_alphabetic() && c.is_alphabetic();
            let hump = before.is_lowercase() && c.is_uppercase();
            match words.last_mut() {
                Some(word) if inside && !hump => word.text.extend(c.to_lowercase()),
                _ if c.is_alphabetic() => words.push(Word {
                    line: index + 1,
                    text: c.to_lowercase().collect(),
                    joined: hump || joint,
                }),
                _ => {}
            }
            joint = matches!(c, '_' | '-') && before.is_alphanumeric();
            before = c;
        }
    }
    words
}
