//! What is wrong, as a pure function of what is known: one check for each trouble.
//!
//! It is separate from the looking so that each trouble can be planted in a test. What always holds: what
//! changes within a look is going on and not wrong, unless it is wrong at any moment.

mod group;
mod store;
mod workers;

use super::Facts;
use crate::failure::{Exit, Failure};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Partitions are not worked on, or promises of the group do not hold.
    Error,
    /// It will be an error, or it costs time or moves.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// A word that stays the same.
    pub(super) code: &'static str,
    /// What was found.
    pub(super) what: String,
    /// What to do.
    pub(super) advice: &'static str,
}

fn error(code: &'static str, what: String, advice: &'static str) -> Finding {
    let severity = Severity::Error;
    Finding {
        severity,
        code,
        what,
        advice,
    }
}

fn warning(code: &'static str, what: String, advice: &'static str) -> Finding {
    let severity = Severity::Warning;
    Finding {
        severity,
        ..error(code, what, advice)
    }
}

fn note(code: &'static str, what: String, advice: &'static str) -> Finding {
    let severity = Severity::Note;
    Finding {
        severity,
        ..error(code, what, advice)
    }
}

/// Some names of many.
fn some<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    let shown = names.len().min(5);
    let first = names[..shown].join(", ");
    match names.len() - shown {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

impl Facts {
    /// Everything that is wrong, the worst first.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut found = self.about_store();
        found.extend(self.about_leader());
        found.extend(self.about_partitions());
        found.extend(self.about_workers());
        found.sort_by_key(|finding| finding.severity);
        found
    }
}

impl Finding {
    /// That there was nothing to look at.
    pub(super) fn of_failure(failure: Failure) -> Self {
        let (code, advice) = match failure.exit {
            Exit::NoAnswer => (
                "no-answer",
                "Is the server up, and the address right (--server, --context)? Workers keep what they \
                 have until their lease ends.",
            ),
            Exit::NotAllowed => (
                "not-allowed",
                "Give this login the subjects that docs/CLI.md lists.",
            ),
            Exit::Unfit => (
                "server-unfit",
                "Update the server, switch JetStream on, or name its domain (--js-domain).",
            ),
            Exit::NotThere => (
                "no-group",
                "Name the group as its workers do (--group); `parti groups` lists them.",
            ),
            Exit::Done | Exit::Failed | Exit::Usage | Exit::No => {
                ("failed", "Look again; if it stays, read the server's log.")
            }
        };
        error(code, failure.message, advice)
    }
}
