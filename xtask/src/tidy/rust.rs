//! Rules for Rust sources.

use super::{File, Offence};

/// The wall; a file this long has two concepts in it.
pub(super) const MAX_LINES: usize = 500;
/// rustfmt keeps code at 100 but leaves comments and literals alone; past this nobody reads them.
pub(super) const MAX_WIDTH: usize = 110;

/// Words that must not be left behind. Spelled in halves, since this file is checked too.
const LEFTOVERS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("dbg", "!"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
];

/// What makes two runs of the pure crates differ.
const AMBIENT: [&str; 7] = [
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "thread_rng",
    "RandomState",
    "std::time",
];

const PURE: [&str; 2] = ["parti-core/src/", "parti-strategy/src/"];

/// Adds what a Rust file breaks.
pub(super) fn check(file: &File, offences: &mut Vec<Offence>) {
    let mut offend = |line: usize, rule: String| {
        let path = file.path.clone();
        offences.push(Offence { path, line, rule });
    };
    if file.path.ends_with("/mod.rs") {
        offend(0, "no mod.rs: put `foo.rs` beside `foo/`".to_string());
    }
    if !opens_with_docs(&file.text) {
        offend(
            1,
            "must open with `//!`: what it is, why separate, what always holds".to_string(),
        );
    }
    let lines = file.text.lines().count();
    if lines > MAX_LINES {
        offend(
            0,
            format!("{lines} lines, at most {MAX_LINES}: split it by concept"),
        );
    }
    for (index, line) in file.text.lines().enumerate() {
        for rule in line_rules(&file.path, line) {
            offend(index + 1, rule);
        }
    }
}

fn opens_with_docs(text: &str) -> bool {
    text.starts_with("//!") || text.starts_with("#![doc = include_str!(")
}

fn line_rules(path: &str, line: &str) -> Vec<String> {
    let mut rules = Vec::new();
    let width = line.chars().count();
    if width > MAX_WIDTH {
        rules.push(format!("{width} columns, at most {MAX_WIDTH}"));
    }
    let left = LEFTOVERS.iter().filter(|word| line.contains(**word));
    rules.extend(left.map(|word| format!("`{word}` must not be left behind")));
    let code = line.split("//").next().unwrap_or_default();
    if PURE.iter().any(|pure| path.starts_with(pure)) {
        let found = AMBIENT.iter().filter(|word| code.contains(**word));
        rules.extend(found.map(|word| {
            format!("`{word}` in a pure crate: time and chance come in as arguments, order is kept")
        }));
    }
    let is_wire = path == "parti-core/src/records/wire.rs"
        || path.starts_with("parti-core/src/records/wire/");
    if path.starts_with("parti-core/src/") && !is_wire && code.contains("serde") {
        rules.push("serde belongs into wire.rs: wire types are not domain types".to_string());
    }
    rules
}
