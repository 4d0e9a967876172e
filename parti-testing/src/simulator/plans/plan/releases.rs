//! Which release runs where: updates and downgrades are restarts that change it.

use serde::{Deserialize, Serialize};

/// Of which release the processes of a node are: this one, or one that reads and writes one format
/// more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Releases {
    /// All of this one.
    #[default]
    This,
    /// All of the next one.
    Next,
    /// In turn, this one first.
    Updated,
    /// In turn, the next one first.
    Downgraded,
}

impl Releases {
    /// Whether the process with this number, from 1, is of the next release.
    #[must_use]
    pub const fn is_next(self, run: u16) -> bool {
        match self {
            Self::This => false,
            Self::Next => true,
            Self::Updated => run.is_multiple_of(2),
            Self::Downgraded => !run.is_multiple_of(2),
        }
    }
}
