//! How many fields a struct of the product may have.
//!
//! A struct of thirty fields is a god object: to change one field, one has to know all. What always holds:
//! the limit is a number here; configuration is exempt, since a setting more is not a concept more.

use super::{File, Offence};

/// The most named fields of a struct.
const MAX_FIELDS: usize = 20;

/// What users compile. Tests of it may be as they like.
pub(super) const PRODUCT: [&str; 4] = [
    "parti/src/",
    "parti-core/src/",
    "parti-nats/src/",
    "parti-strategy/src/",
];

/// How the names of configuration end: what collects settings, and the same settings as kept or sent.
const CONFIGURATION: [&str; 3] = ["Builder", "Config", "Settings"];

/// Adds every struct with too many fields.
pub(super) fn check(file: &File, offences: &mut Vec<Offence>) {
    let is_product = PRODUCT.iter().any(|place| file.path.starts_with(place));
    if !is_product || file.path.ends_with("tests.rs") || file.path.contains("/tests/") {
        return;
    }
    let mut lines = (1..).zip(file.text.lines());
    while let Some((line, text)) = lines.next() {
        let Some((indent, name)) = begins(text) else {
            continue;
        };
        let end = format!("{indent}}}");
        let body = lines.by_ref().take_while(|(_, text)| *text != end);
        let count = body.filter(|(_, text)| is_field(text, indent)).count();
        let is_exempt = CONFIGURATION.iter().any(|end| name.ends_with(end));
        if count > MAX_FIELDS && !is_exempt {
            offences.push(Offence {
                path: file.path.clone(),
                line,
                rule: format!("{name} has {count} fields, at most {MAX_FIELDS}: group them"),
            });
        }
    }
}

/// The indentation and the name of a struct whose named fields begin on the next line.
fn begins(line: &str) -> Option<(&str, &str)> {
    let code = line.trim_start();
    let indent = &line[..line.len() - code.len()];
    let rest = without_visibility(code).strip_prefix("struct ")?;
    let is_end = |c: char| !c.is_alphanumeric() && c != '_';
    line.ends_with('{')
        .then(|| (indent, rest.split(is_end).next().unwrap_or_default()))
}

/// Whether a line of the body begins a field; rustfmt puts each on a line of its own.
fn is_field(line: &str, indent: &str) -> bool {
    let Some(code) = line
        .strip_prefix(indent)
        .and_then(|l| l.strip_prefix("    "))
    else {
        return false;
    };
    let code = without_visibility(code);
    let name = code.split(':').next().unwrap_or_default();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.len() > name.len() && !name.is_empty() && name.chars().all(is_name)
}

fn without_visibility(code: &str) -> &str {
    let Some(rest) = code.strip_prefix("pub") else {
        return code;
    };
    match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(") ").map_or(code, |(_, rest)| rest),
        None => rest.strip_prefix(' ').unwrap_or(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offences(path: &str, head: &str, fields: usize) -> Vec<Offence> {
        let fields: String = (0..fields)
            .map(|n| format!("    /// Words: more.\n    pub(crate) f{n}: core::fmt::X,\n"))
            .collect();
        let (path, text) = (path.to_string(), format!("{head}\n{fields}}}\n"));
        let mut offences = Vec::new();
        check(&File { path, text }, &mut offences);
        offences
    }

    /// The status of a worker had grown to thirty fields, one at a time.
    #[test]
    fn a_struct_with_too_many_fields_is_found_wherever_the_product_has_it() {
        for head in [
            "pub struct S {",
            "struct S<'a> {",
            "pub(in crate::x) struct S<T: X> {",
        ] {
            let found = offences("parti/src/a.rs", head, MAX_FIELDS + 1);
            assert!(
                found.len() == 1 && found[0].rule.starts_with("S has 21"),
                "{head}: {found:?}"
            );
            assert!(offences("parti/src/a.rs", head, MAX_FIELDS).is_empty());
        }
    }

    /// A rule that is bent in daily use is dropped.
    #[test]
    fn configuration_and_tests_are_exempt() {
        for (path, head) in [
            ("parti/src/a.rs", "pub struct ConfigBuilder {"),
            ("parti-core/src/core/tests/world.rs", "pub struct World {"),
            (
                "parti-testing/src/simulator/plans/faults.rs",
                "pub struct Faults {",
            ),
        ] {
            assert!(offences(path, head, 30).is_empty(), "{path}");
        }
    }
}
