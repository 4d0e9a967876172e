//! The mode of a group, in a form that can be stored. It is separate from the settings because plans name
//! it on the command line, too.

use parti_core::Mode;
use serde::{Deserialize, Serialize};

/// A mode, in a form that can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handoff {
    /// See [`Mode::Exclusive`].
    Exclusive,
    /// See [`Mode::Fenced`].
    Fenced,
    /// See [`Mode::Overlap`].
    Overlap,
}

impl Handoff {
    /// The mode as one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Fenced => "fenced",
            Self::Overlap => "overlap",
        }
    }

    /// Reads the word that [`Handoff::as_str`] gives.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Exclusive, Self::Fenced, Self::Overlap]
            .into_iter()
            .find(|mode| mode.as_str() == word)
    }
}

impl From<Handoff> for Mode {
    fn from(mode: Handoff) -> Self {
        match mode {
            Handoff::Exclusive => Self::Exclusive,
            Handoff::Fenced => Self::Fenced,
            Handoff::Overlap => Self::Overlap,
        }
    }
}

impl From<Mode> for Handoff {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Exclusive => Self::Exclusive,
            Mode::Fenced => Self::Fenced,
            Mode::Overlap => Self::Overlap,
        }
    }
}
