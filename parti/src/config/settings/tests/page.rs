//! The page of settings, `docs/book/SETTINGS.md`, is what the types say: names, defaults, documentation.
//!
//! `PARTI_WRITE_DOCS=1 cargo test -p parti-rs --features serde settings::tests::page` writes it again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::*;

const BEGIN: &str = "<!-- table: settings -->\n";
const END: &str = "<!-- end -->\n";

/// Where the builder's methods and their documentation are.
const SOURCES: [&str; 3] = ["config.rs", "config/builder.rs", "config/agreement.rs"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every name that a file may have; serde lists them when it meets another.
fn names() -> Vec<String> {
    let error = serde_json::from_str::<Settings>(r#"{ "": 1 }"#).expect_err("not a setting");
    let error = error.to_string();
    let (_, list) = error.split_once("one of ").expect("a list");
    let names = list.split('`').skip(1).step_by(2).map(str::to_owned);
    names.collect()
}

/// The first paragraph of the documentation of each method of the builder.
fn documentation() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for source in SOURCES {
        let text = read(&folder().join("parti-core/src").join(source));
        // What reads a setting is documented before what sets it.
        let setters = text
            .split_once("\nsetters! {")
            .map_or(&*text, |(_, rest)| rest);
        let mut paragraphs: Vec<String> = Vec::new();
        for line in setters.lines().map(str::trim) {
            if let Some(words) = line.strip_prefix("///") {
                paragraphs.push(words.trim().to_owned());
                continue;
            }
            let name = line.strip_prefix("pub fn ").unwrap_or(line);
            let name = name.split(['(', ':']).next().unwrap_or_default();
            let first = paragraphs
                .split(String::is_empty)
                .next()
                .unwrap_or_default();
            if !first.is_empty() {
                found
                    .entry(name.to_owned())
                    .or_insert_with(|| plain(&first.join(" ")));
            }
            paragraphs.clear();
        }
    }
    found
}

/// Text without the links of rustdoc, which lead nowhere on a page.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut parts = text.split("[`");
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once("`]").expect("a link ends");
        let rest = match rest.strip_prefix('(') {
            Some(target) => target.split_once(')').expect("a target ends").1,
            None => rest,
        };
        let _ = write!(plain, "`{name}`{rest}");
    }
    plain
}

/// What each setting is, where a preset is all that is set.
fn values(preset: Preset) -> BTreeMap<String, String> {
    let config = Config::builder("g").preset(preset).build().expect("valid");
    let shown = format!("{config:#?}");
    // What was set stands behind what follows from it.
    let (_, settings) = shown.split_once("settings: ").expect("they are shown");
    let (settings, _) = settings.split_once("given: ").expect("so is the builder");
    let value = |line: &str| {
        let (name, value) = line.trim().split_once(": ")?;
        let value = value.strip_suffix(',')?.trim_matches('"');
        Some((name.to_owned(), value.to_owned()))
    };
    settings.lines().filter_map(value).collect()
}

fn table() -> String {
    let mut documentation = documentation();
    documentation.insert(
        "group".into(),
        "The name of the group, which must be there.".into(),
    );
    let labels = "Labels, such as `zone` = `a`; in a variable `zone=a,rack=7`.";
    documentation.insert("labels".into(), labels.into());
    let presets = [Preset::Default, Preset::Fast, Preset::Patient].map(values);
    let mut table =
        "| setting | default | `fast` | `patient` | what it is |\n|---|---|---|---|---|\n"
            .to_owned();
    for name in names() {
        let what = documentation.get(&name);
        let what = what.unwrap_or_else(|| panic!("{name} is not documented"));
        let _ = write!(table, "| `{name}`");
        for preset in &presets {
            let value = preset.get(&name).map_or("", String::as_str);
            let _ = write!(
                table,
                " | {}",
                if ["None", "{}"].contains(&value) {
                    "none"
                } else {
                    value
                }
            );
        }
        let _ = writeln!(table, " | {what} |");
    }
    table
}

/// A page that has fallen behind the types sends people to settings that are not there.
#[test]
fn the_page_of_settings_is_what_the_types_say() {
    let page = folder().join("docs/book/SETTINGS.md");
    let present = read(&page);
    let (before, rest) = present.split_once(BEGIN).expect("a place for the table");
    let (_, after) = rest.split_once(END).expect("the place ends");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os("PARTI_WRITE_DOCS").is_some() {
        std::fs::write(&page, wanted).expect("writable");
        return;
    }
    let differs = present
        .lines()
        .zip(wanted.lines())
        .find(|(is, should)| is != should);
    assert_eq!(differs, None, "write it again with PARTI_WRITE_DOCS=1");
    assert_eq!(present, wanted, "write it again with PARTI_WRITE_DOCS=1");
}

/// A link of rustdoc that is left over shows as brackets.
#[test]
fn links_of_rustdoc_become_names() {
    let text = "as [`A::b`](crate::A::b) or [`C`]; (plain)";
    assert_eq!(plain(text), "as `A::b` or `C`; (plain)");
}
