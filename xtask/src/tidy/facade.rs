//! How many names a user meets at the root of the facade.
//!
//! A root of a hundred names is a phone book: the five that matter are not found. What always holds: every
//! public item, module and re-export at the root counts as one, whatever feature it needs, and what
//! cannot be counted (a glob) is an offence itself.

use std::collections::BTreeSet;

use super::{File, Offence};

/// The most names at the root.
const MAX_NAMES: usize = 48;

const ROOT: &str = "parti/src/lib.rs";

/// Names of the standard library that would have to be told apart at every use.
const OF_STD: [&str; 8] = [
    "Duration",
    "Error",
    "Future",
    "Instant",
    "Option",
    "Ordering",
    "Result",
    "SystemTime",
];

/// Adds what is wrong with the root of the facade.
pub(super) fn check(file: &File, offences: &mut Vec<Offence>) {
    if file.path != ROOT {
        return;
    }
    let mut offend = |rule: String| {
        let path = file.path.clone();
        offences.push(Offence {
            path,
            line: 0,
            rule,
        });
    };
    let names = names(&file.text);
    if names.len() > MAX_NAMES {
        let count = names.len();
        offend(format!(
            "{count} names at the root, at most {MAX_NAMES}: move some into modules that say what for"
        ));
    }
    let mut seen = BTreeSet::new();
    for name in &names {
        let last = name.rsplit(" as ").next().unwrap_or(name);
        if name.contains(" as ") {
            offend(format!(
                "`{name}`: a thing has one name; put it into a module instead"
            ));
        }
        if last == "*" {
            offend("a glob at the root: name what is exported".to_string());
        } else if !seen.insert(last) {
            offend(format!("`{last}` is twice at the root"));
        }
        if OF_STD.contains(&last) {
            offend(format!(
                "`{last}` is a name of the standard library: put it into a module"
            ));
        }
    }
}

/// What the root exports, each as written behind its last `::`.
fn names(text: &str) -> Vec<String> {
    let code: Vec<&str> = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let mut found = Vec::new();
    let mut rest = code.join("\n");
    while let Some((item, after)) = next_item(&rest) {
        if let Some(public) = item.trim_start().strip_prefix("pub ") {
            found.extend(exported(public));
        }
        rest = after;
    }
    found
}

/// The first item of the text without its attributes and body, and what comes after it.
fn next_item(text: &str) -> Option<(String, String)> {
    let text = text.trim_start();
    if text.starts_with('#') {
        let end = matching(text, '[', ']')?;
        return next_item(&text[end..]);
    }
    if text.is_empty() {
        return None;
    }
    let is_use = text.trim_start_matches("pub ").starts_with("use ");
    let end = text.find(';').map_or(text.len(), |at| at + 1);
    let body = text.find('{').filter(|at| *at < end && !is_use);
    let Some(at) = body else {
        return Some((text[..end].to_string(), text[end..].to_string()));
    };
    let close = at + matching(&text[at..], '{', '}')?;
    Some((text[..at].to_string(), text[close..].to_string()))
}

/// Where the first bracket's counterpart ends.
fn matching(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some(at + c.len_utf8());
            }
        }
    }
    None
}

/// The names of one public item.
fn exported(item: &str) -> Vec<String> {
    let item = item.trim_end_matches(';').trim();
    if let Some(path) = item.strip_prefix("use ") {
        let leaves = path.split(['{', '}', ',']).map(str::trim);
        let leaves = leaves.filter(|leaf| !leaf.is_empty() && !leaf.ends_with("::"));
        let last = |leaf: &str| leaf.rsplit("::").next().unwrap_or(leaf).to_string();
        return leaves.map(last).collect();
    }
    let words = item.split(|c: char| !c.is_alphanumeric() && c != '_');
    let mut words = words.filter(|word| !matches!(*word, "" | "async" | "const" | "unsafe"));
    // After the kind of the item; a constant has lost its kind above, and keeps its name.
    let first = words.next();
    let second = words.next().filter(|_| !item.starts_with("const "));
    second.or(first).map(String::from).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offences(text: &str) -> Vec<String> {
        let (path, text) = (ROOT.to_string(), text.to_string());
        let mut offences = Vec::new();
        check(&File { path, text }, &mut offences);
        offences.iter().map(Offence::to_string).collect()
    }

    /// What is exported one by one, in groups, or as an item of its own must all be counted.
    #[test]
    fn every_way_to_export_is_counted() {
        let text = "//! pub use a::Comment;\nmod a;\npub(crate) mod b;\n#[doc(inline)]\n\
                    pub use c::{One, d::{Two}};\n#[cfg(x)]\npub mod three { pub use e::Inner; }\n\
                    pub use f::four;\npub fn five() { let pub_ = 1; }\npub const SIX: u8 = 6;\n\
                    pub struct Seven { pub field: u8 }\nstruct Hidden;\n";
        assert_eq!(
            names(text),
            ["One", "Two", "three", "four", "five", "SIX", "Seven"]
        );
    }

    /// A root grows by one name at a time.
    #[test]
    fn a_root_with_one_name_too_many_is_found() {
        let root = |count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("N{n}")).collect();
            format!("pub use a::{{{}}};\n", names.join(", "))
        };
        assert!(offences(&root(MAX_NAMES)).is_empty());
        let many = offences(&root(MAX_NAMES + 1));
        assert_eq!(many.len(), 1, "{many:?}");
        assert!(
            many[0].contains("49 names at the root, at most 48"),
            "{many:?}"
        );
    }

    /// `Move` and `PlannedMove`, or an `Instant` that is not the standard one, cost every reader a look.
    #[test]
    fn what_has_two_names_or_one_of_std_is_found() {
        let only = |text: &str, expected: &str| {
            let found = offences(text);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(expected), "{found:?}");
        };
        only("pub use a::Move as PlannedMove;", "a thing has one name");
        only(
            "pub use a::Move;\npub mod b { }\npub use c::Move;",
            "`Move` is twice",
        );
        only(
            "pub use a::{Config, Instant};",
            "`Instant` is a name of the standard library",
        );
        only("pub use a::*;", "a glob at the root");
    }
}
