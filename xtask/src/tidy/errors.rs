//! Every error, and everything else that tells of trouble, is on the page of errors.
//!
//! Somebody who looks up an error during an incident finds what it means, why it comes and what to do. What
//! always holds: the variants are read from the sources, so that a new one without an entry is an offence,
//! and an entry of one that is gone is one, too.

use std::collections::BTreeSet;

use super::fields::PRODUCT;
use super::{File, Offence};

const PAGE: &str = "docs/book/ERRORS.md";

/// The enums that tell of trouble and are not called `…Error`.
const OTHERS: [&str; 10] = [
    "Condition",
    "DegradedReason",
    "Ended",
    "HistoryLoss",
    "ParkReason",
    "ProblemKind",
    "StepDownReason",
    "StopFailure",
    "StoreErrorKind",
    "Untaken",
];

/// What has an entry for each: the title of its section, and where it is declared.
struct Kind {
    path: String,
    line: usize,
    title: String,
    /// As the page is to name them.
    entries: BTreeSet<String>,
}

/// Adds every variant without a complete entry, and every entry without a variant.
pub(super) fn check(files: &[File], offences: &mut Vec<Offence>) {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return;
    };
    let mut titles = BTreeSet::new();
    for kind in files.iter().flat_map(kinds) {
        let rows = rows(&page.text, &kind.title);
        let mut offend = |path: &str, line, rule| {
            let path = path.to_owned();
            offences.push(Offence { path, line, rule });
        };
        for entry in &kind.entries {
            let is_there = rows.iter().any(|(_, name, _)| name == entry);
            if !is_there {
                let rule = format!("{PAGE} has no entry for `{entry}` under `{}`", kind.title);
                offend(&kind.path, kind.line, rule);
            }
        }
        for (line, name, is_complete) in rows {
            if !kind.entries.contains(&name) {
                offend(PAGE, line, format!("`{}` has no `{name}`", kind.title));
            } else if !is_complete {
                offend(
                    PAGE,
                    line,
                    format!("`{name}` lacks its meaning, cause or cure"),
                );
            }
        }
        titles.insert(kind.title);
    }
    for (line, text) in (1..).zip(page.text.lines()) {
        let title = text
            .strip_prefix("### `")
            .and_then(|rest| rest.strip_suffix('`'));
        if let Some(title) = title.filter(|title| !titles.contains(*title)) {
            let (path, rule) = (PAGE.to_owned(), format!("there is no public `{title}`"));
            offences.push(Offence { path, line, rule });
        }
    }
}

/// The enums and structs of a file that need entries. A struct is one entry of its own name.
fn kinds(file: &File) -> Vec<Kind> {
    let is_product = PRODUCT.iter().any(|place| file.path.starts_with(place));
    if !is_product || file.path.ends_with("tests.rs") || file.path.contains("/tests/") {
        return Vec::new();
    }
    let mut kinds = Vec::new();
    let mut lines = (1..).zip(file.text.lines());
    while let Some((line, text)) = lines.next() {
        let kind = |title: &str, entries| Kind {
            path: file.path.clone(),
            line,
            title: title.to_owned(),
            entries,
        };
        if text == "codes! {" {
            let body = lines.by_ref().take_while(|(_, text)| *text != "}");
            kinds.push(kind(
                "HealthCode",
                body.filter_map(|(_, text)| word(text)).collect(),
            ));
        } else if let Some(name) = declared(text, "pub enum ") {
            if name.ends_with("Error") || OTHERS.contains(&name) {
                let body = lines.by_ref().take_while(|(_, text)| *text != "}");
                kinds.push(kind(
                    name,
                    body.filter_map(|(_, text)| variant(text)).collect(),
                ));
            }
        } else if let Some(name) = declared(text, "pub struct ").filter(|n| n.ends_with("Error")) {
            kinds.push(kind(name, [name.to_owned()].into()));
        }
    }
    kinds
}

fn declared<'a>(line: &'a str, what: &str) -> Option<&'a str> {
    let name = line.strip_prefix(what)?;
    let is_end = |c: char| !c.is_alphanumeric();
    name.split(is_end).next()
}

/// The variant that begins on a line, as rustfmt puts it.
fn variant(line: &str) -> Option<String> {
    let code = line.strip_prefix("    ")?;
    let name = declared(code, "")?;
    name.starts_with(|c: char| c.is_ascii_uppercase())
        .then(|| name.to_owned())
}

/// The word of a condition of the health, in `Name = "word", ...`.
fn word(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(" = \"")?;
    let (word, _) = rest.split_once('"')?;
    variant(line).map(|_| word.to_owned())
}

/// The rows of a section: line, what its first cell names, and whether no cell is empty.
fn rows(page: &str, title: &str) -> Vec<(usize, String, bool)> {
    let heading = format!("### `{title}`");
    let lines = (1..).zip(page.lines());
    let section = lines.skip_while(|(_, text)| *text != heading).skip(1);
    let section = section.take_while(|(_, text)| !text.starts_with('#'));
    let row = |(line, text): (usize, &str)| {
        let cells: Vec<&str> = text.strip_prefix('|')?.split('|').map(str::trim).collect();
        let name = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
        let is_complete = cells.len() == 5 && cells[..4].iter().all(|cell| !cell.is_empty());
        Some((line, name.to_owned(), is_complete))
    };
    section.filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTH: &str =
        "codes! {\n    Gone = \"all_gone\", Dead,\n        \"in words = \\\"x\\\"\";\n}\n";
    const ENUM: &str = "pub enum OpenError<E> {\n    Late {\n        /// B.\n        After: u8,\n    \
                        },\n    #[error(\"X\")]\n    Old(E),\n}\n";

    fn rules(source: &str, page: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let files = [
            file("parti/src/a.rs", source),
            file("parti/src/a/tests.rs", "pub enum TestError {\n    A,\n}\n"),
            file("xtask/src/a.rs", "pub enum ToolError {\n    A,\n}\n"),
            file(PAGE, page),
        ];
        let mut offences = Vec::new();
        check(&files, &mut offences);
        offences.into_iter().map(|offence| offence.rule).collect()
    }

    /// An error that nobody explains is looked up in vain, and at night.
    #[test]
    fn a_variant_without_an_entry_is_found() {
        let page = "### `OpenError`\n| `Late` | m | c | c |\n### `Other`\n| `Old` | m | c | c |\n";
        let found = rules(ENUM, page);
        assert_eq!(
            found,
            [
                format!("{PAGE} has no entry for `Old` under `OpenError`"),
                "there is no public `Other`".to_owned(),
            ]
        );
        for (source, missing) in [
            (HEALTH, "`all_gone` under `HealthCode`"),
            (
                "pub enum Ended {\n    Stopped,\n}\n",
                "`Stopped` under `Ended`",
            ),
            ("pub struct StopError {\n", "`StopError` under `StopError`"),
        ] {
            let found = rules(source, "");
            assert_eq!(found, [format!("{PAGE} has no entry for {missing}")]);
        }
    }

    /// A cell left empty, and an entry of what is gone, say nothing or what is false.
    #[test]
    fn an_entry_that_is_empty_or_of_nothing_is_found() {
        let page =
            "### `OpenError`\n| `Late` | m | c | |\n| `Old` | m | c | c |\n| `New` | m | c | c |\n";
        let found = rules(ENUM, page);
        assert_eq!(
            found,
            [
                "`Late` lacks its meaning, cause or cure",
                "`OpenError` has no `New`"
            ]
        );
    }

    /// A rule that is bent in daily use is dropped.
    #[test]
    fn what_is_explained_or_not_public_is_fine() {
        let page = "### `OpenError`\n\n| variant | meaning | cause | cure |\n|---|---|---|---|\n\
                    | `Late` | m | c | c |\n| `Old` | m | c | c |\n";
        assert_eq!(rules(ENUM, page), Vec::<String>::new());
        assert_eq!(
            rules("pub(crate) enum InnerError {\n    A,\n}\n", ""),
            Vec::<String>::new()
        );
        assert_eq!(
            rules("pub enum Choice {\n    A,\n}\n", ""),
            Vec::<String>::new()
        );
    }
}
