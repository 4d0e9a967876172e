//! The rule of cancellation: who offers a future says what dropping it does and what bounds it.
//!
//! It is apart from the other rules for Rust sources because it reads declarations and not lines.
//! What always holds: a declaration is judged by its own documentation, or by that of its trait.

use super::{File, Offence};

/// The section that is asked for.
const SECTION: &str = "# Cancellation safety";
/// How a section says which deadline there is.
const BOUNDS: [&str; 2] = ["bounded by", "no deadline"];
/// How a return type says that it is something to be awaited or polled.
const FUTURES: [&str; 6] = [
    "impl Future<",
    "dyn Future<",
    "BoxFuture<",
    "impl Stream<",
    "dyn Stream<",
    "BoxStream<",
];

/// Adds each public function of a library that answers with a future and does not say what becomes of
/// it when it is dropped.
pub(super) fn check(file: &File, offences: &mut Vec<Offence>) {
    if !is_library(&file.path) {
        return;
    }
    for found in offers(&file.text) {
        let Some(rule) = rule(&found) else { continue };
        let path = file.path.clone();
        let line = found.line;
        offences.push(Offence { path, line, rule });
    }
}

fn is_library(path: &str) -> bool {
    path.starts_with("parti") && path.contains("/src/") && !path.ends_with("tests.rs")
}

/// A public function that answers with a future.
#[derive(Debug)]
struct Offer {
    name: String,
    /// From 1.
    line: usize,
    docs: Vec<String>,
    /// Of the trait it belongs to.
    trait_docs: Vec<String>,
}

fn rule(offer: &Offer) -> Option<String> {
    let name = &offer.name;
    let section = section(&offer.docs).or_else(|| section(&offer.trait_docs));
    let Some(section) = section else {
        return Some(format!(
            "`{name}` must say under `{SECTION}` what dropping its future does"
        ));
    };
    // Another function's section counts when it is referred to.
    let refers = section.trim_start().starts_with("As [");
    let bounded = BOUNDS
        .iter()
        .any(|words| section.to_lowercase().contains(words));
    (!refers && !bounded).then(|| {
        let [bounded, not] = BOUNDS;
        format!(
            "`{name}` must say under `{SECTION}` what it is `{bounded}`, or that there is `{not}`"
        )
    })
}

/// What stands under the heading, as one line; empty sections are none.
fn section(docs: &[String]) -> Option<String> {
    let after = docs.iter().skip_while(|line| *line != SECTION).skip(1);
    let lines: Vec<&str> = after
        .take_while(|line| !line.starts_with("# "))
        .map(String::as_str)
        .collect();
    let text = lines.join(" ");
    (!text.trim().is_empty()).then_some(text)
}

/// The public functions of a file that answer with futures.
fn offers(text: &str) -> Vec<Offer> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut docs = Vec::new();
    // The documentation and the last line of the trait that is being read.
    let mut inside: Option<(Vec<String>, String)> = None;
    for (index, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        if let Some(doc) = code.strip_prefix("///") {
            docs.push(doc.strip_prefix(' ').unwrap_or(doc).to_owned());
            continue;
        }
        // Attributes stand between documentation and declaration.
        if code.starts_with("#[") {
            continue;
        }
        let docs = std::mem::take(&mut docs);
        if code.starts_with("pub trait ") && !line.contains('}') {
            let indent = line.len() - code.len();
            inside = Some((docs, format!("{}}}", " ".repeat(indent))));
            continue;
        }
        if inside.as_ref().is_some_and(|(_, end)| end == line) {
            inside = None;
        }
        let public = code.strip_prefix("pub ");
        let declared = public.or_else(|| inside.as_ref().map(|_| code));
        let Some(name) = declared.and_then(|code| future_of(code, &lines[index..])) else {
            continue;
        };
        found.push(Offer {
            name,
            line: index + 1,
            docs,
            trait_docs: inside.iter().flat_map(|(docs, _)| docs.clone()).collect(),
        });
    }
    found
}

/// The name of the function that is declared here, if it answers with a future.
fn future_of(declared: &str, rest: &[&str]) -> Option<String> {
    let asynchronous = declared.strip_prefix("async fn ");
    let plain = declared
        .strip_prefix("fn ")
        .or_else(|| declared.strip_prefix("const fn "));
    let name = asynchronous.or(plain)?;
    let name = name.split(['<', '(']).next().unwrap_or_default();
    if asynchronous.is_none() && !FUTURES.iter().any(|words| answer(rest).contains(words)) {
        return None;
    }
    Some(name.to_owned())
}

/// What stands between the arrow of a declaration and its body.
fn answer(rest: &[&str]) -> String {
    let ends = |line: &&str| line.contains('{') || line.ends_with(';');
    let lines = rest.iter().position(ends).map_or(rest.len(), |end| end + 1);
    let declaration = rest[..lines].join(" ");
    // Arguments may have arrows of their own; the last one outside of `where` is the answer's.
    let declaration = declaration.split(" where ").next().unwrap_or_default();
    let answer = declaration.rsplit_once(") ->").map(|(_, answer)| answer);
    answer.unwrap_or_default().to_owned()
}
