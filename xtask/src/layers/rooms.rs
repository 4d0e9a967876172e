//! Which room of a crate may use which: the tables of docs/ARCHITECTURE.md, held against the code.
//!
//! A room is a top-level module of a crate. A table lists the rooms from the ground up, and a room may
//! use rooms of earlier rows only, so a table without arrows up has no circles either. What always
//! holds: a room that no table row names is an offence, and so is a row that no room bears.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::proc::{Failure, root};

/// The page with the tables.
const PAGE: &str = "docs/ARCHITECTURE.md";

/// What stands in the line before a table; the name of its crate follows.
const MARK: &str = "<!-- rooms of ";

/// The rooms of one crate, from the ground up, and what each may use.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    crate_name: String,
    rooms: Vec<(String, BTreeSet<String>)>,
}

/// One use of a room by another: `from` names `to` in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: String,
    to: String,
    file: String,
}

/// Every arrow that a table does not allow, and every table that does not fit its crate.
pub(super) fn offences() -> Result<Vec<String>, Failure> {
    let page = read(&root().join(PAGE))?;
    let mut offences = Vec::new();
    for plan in plans(&page) {
        let source = root().join(&plan.crate_name).join("src");
        let mut files = Vec::new();
        collect(&source, &source, &mut files)?;
        offences.extend(check(&plan, &files));
    }
    Ok(offences)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display()), "is the file there?"))
}

/// The name, relative to `base`, and the text of every Rust file below a folder.
fn collect(base: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> Result<(), Failure> {
    let entries = fs::read_dir(folder).map_err(|error| {
        Failure::new(
            format!("{}: {error}", folder.display()),
            "is the folder there?",
        )
    })?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(base, &path, files)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            let name = path.strip_prefix(base).unwrap_or(&path);
            files.push((name.to_string_lossy().into_owned(), read(&path)?));
        }
    }
    Ok(())
}

/// The tables of a page.
fn plans(page: &str) -> Vec<Plan> {
    let mut parts = page.split(MARK);
    parts.next();
    parts
        .filter_map(|part| {
            let (name, rest) = part.split_once(" -->")?;
            let rows = rest
                .lines()
                .skip_while(|line| !line.starts_with('|'))
                .take_while(|line| line.starts_with('|'))
                .skip(2);
            Some(Plan {
                crate_name: name.to_string(),
                rooms: rows.filter_map(row).collect(),
            })
        })
        .collect()
}

/// `| `room` | what it is | `ground` `model` |`
fn row(line: &str) -> Option<(String, BTreeSet<String>)> {
    let mut cells = line.trim_matches('|').split('|').map(str::trim);
    let name = cells.next()?.trim_matches('`').to_string();
    let used = cells.next_back()?.split_whitespace();
    let used = used.map(|word| word.trim_matches(['`', ',']).to_string());
    Some((name, used.filter(|word| word != "-").collect()))
}

fn check(plan: &Plan, files: &[(String, String)]) -> Vec<String> {
    let name = &plan.crate_name;
    let mut offences = Vec::new();
    let present: BTreeSet<String> = files.iter().filter_map(|(file, _)| room_of(file)).collect();
    let mut below: BTreeSet<&str> = BTreeSet::new();
    for (room, uses) in &plan.rooms {
        if !present.contains(room) {
            offences.push(format!(
                "{PAGE} names the room {room} of {name}, which does not exist"
            ));
        }
        for used in uses.iter().filter(|used| !below.contains(used.as_str())) {
            offences.push(format!(
                "{PAGE} lets {room} of {name} use {used}, which is not in a row above it"
            ));
        }
        below.insert(room);
    }
    let table: BTreeMap<&String, &BTreeSet<String>> =
        plan.rooms.iter().map(|(room, uses)| (room, uses)).collect();
    for room in present.iter().filter(|room| !table.contains_key(room)) {
        offences.push(format!("the room {room} of {name} has no row in {PAGE}"));
    }
    let not_allowed = arrows(&present, files).into_iter().filter(|arrow| {
        table
            .get(&arrow.from)
            .is_some_and(|uses| !uses.contains(&arrow.to))
    });
    offences.extend(not_allowed.map(|Arrow { from, to, file }| {
        format!("{name}/src/{file}: the room {from} must not use {to} ({PAGE})")
    }));
    offences
}

/// The room a file belongs to; the root file, programs and tests belong to none.
fn room_of(file: &str) -> Option<String> {
    let first = file.split('/').next()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(room, "lib" | "main" | "tests" | "bin")).then(|| room.to_string())
}

fn is_test(file: &str) -> bool {
    file.ends_with("tests.rs") || file.contains("tests/")
}

/// Each use of another room by product code, once for each file.
fn arrows(rooms: &BTreeSet<String>, files: &[(String, String)]) -> BTreeSet<Arrow> {
    let mut arrows = BTreeSet::new();
    for (file, text) in files.iter().filter(|(file, _)| !is_test(file)) {
        let Some(from) = room_of(file) else { continue };
        let product = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        let code = product
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for rest in line.split("crate::").skip(1) {
                let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let to = rest.split(|c| !is_word(c)).next().unwrap_or_default();
                if to != from && rooms.contains(to) {
                    let (from, to, file) = (from.clone(), to.to_string(), file.clone());
                    arrows.insert(Arrow { from, to, file });
                }
            }
        }
    }
    arrows
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "<!-- rooms of house -->\n| room | what | may use |\n|---|---|---|\n\
                         | `model` | words | - |\n| `ports` | doors | `model` |\n\
                         | `top` | roof | `model` `ports` |\n\nText.";

    fn offences_of(table: &str, files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files
            .iter()
            .map(|(file, text)| ((*file).to_string(), (*text).to_string()))
            .collect();
        plans(table)
            .iter()
            .flat_map(|plan| check(plan, &files))
            .collect()
    }

    const SOUND: [(&str, &str); 4] = [
        ("lib.rs", "use crate::top::X;"),
        (
            "model/id.rs",
            "// crate::top is above\nuse crate::model::time;",
        ),
        (
            "ports.rs",
            "use crate::model::id::Id;\n#[cfg(test)]\nmod tests {\n use crate::top::X;",
        ),
        ("top/a.rs", "use crate::ports::P;"),
    ];

    /// A table that is read as empty would allow everything.
    #[test]
    fn a_sound_crate_passes_and_its_table_is_read() {
        assert_eq!(plans(TABLE)[0].rooms.len(), 3);
        assert_eq!(offences_of(TABLE, &SOUND), Vec::<String>::new());
    }

    /// One convenient import at a time is how rooms become one floor.
    #[test]
    fn each_kind_of_wrong_arrow_is_found() {
        for (file, text, word) in [
            ("model/id.rs", "use crate::top::X;", "must not use top"),
            (
                "ports.rs",
                "fn f() { crate::top::go() }",
                "must not use top",
            ),
            ("attic.rs", "", "has no row"),
        ] {
            let mut files = SOUND.to_vec();
            files.push((file, text));
            let found = offences_of(TABLE, &files);
            assert!(
                found.iter().any(|line| line.contains(word)),
                "{file}: {found:?}"
            );
        }
    }

    /// A table that allows an arrow up, or names what is gone, is no longer a plan.
    #[test]
    fn a_table_with_an_arrow_up_or_a_missing_room_is_found() {
        let up = TABLE.replace("| words | - |", "| words | `top` |");
        assert_eq!(
            offences_of(&up, &SOUND).len(),
            1,
            "{:?}",
            offences_of(&up, &SOUND)
        );
        let found = offences_of(TABLE, &SOUND[..3]);
        assert!(found[0].contains("does not exist"), "{found:?}");
    }

    /// The check is worth what its tables cover.
    #[test]
    fn every_crate_of_the_product_has_a_table() {
        let page = read(&root().join(PAGE)).expect("the page is there");
        let mut named: Vec<String> = plans(&page).into_iter().map(|p| p.crate_name).collect();
        named.sort();
        let crates = [
            "parti",
            "parti-core",
            "parti-nats",
            "parti-strategy",
            "parti-testing",
        ];
        assert_eq!(named, crates);
    }
}
