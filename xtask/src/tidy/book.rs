//! The book has every page, once.
//!
//! A page that the table of contents leaves out is found by nobody who reads in order. What always
//! holds: the table is `docs/SUMMARY.md`, in the layout of mdBook; its links are checked with all others.

use super::{File, Offence};

const SUMMARY: &str = "docs/SUMMARY.md";

/// Adds every page below `docs` that is not in the table of contents exactly once.
pub(super) fn check(files: &[File], offences: &mut Vec<Offence>) {
    let Some(summary) = files.iter().find(|file| file.path == SUMMARY) else {
        return;
    };
    for file in files {
        let Some(page) = file.path.strip_prefix("docs/") else {
            continue;
        };
        if !page.ends_with(".md") || file.path == SUMMARY {
            continue;
        }
        let count = summary.text.matches(&format!("]({page})")).count();
        if count != 1 {
            offences.push(Offence {
                path: SUMMARY.to_owned(),
                line: 0,
                rule: format!("{page} is listed {count} times, not once"),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check that cannot fail protects nothing.
    #[test]
    fn a_page_that_is_missing_or_listed_twice_is_found() {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let files = [
            file(SUMMARY, "- [A](A.md)\n- [B](b/B.md)\n- [B](b/B.md)\n"),
            file("docs/A.md", ""),
            file("docs/b/B.md", ""),
            file("docs/C.md", ""),
            file("docs/c.rs", ""),
            file("README.md", ""),
        ];
        let mut offences = Vec::new();
        check(&files, &mut offences);
        let rules: Vec<&str> = offences.iter().map(|offence| &*offence.rule).collect();
        assert_eq!(
            rules,
            [
                "b/B.md is listed 2 times, not once",
                "C.md is listed 0 times, not once"
            ]
        );
    }
}
