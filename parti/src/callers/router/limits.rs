//! For how long and how often a caller tries.

use std::time::Duration;

/// Whether a request may be handled twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// What has no answer and may have been handled is not sent again.
    #[default]
    Never,
    /// It is sent again: handling it twice does what handling it once does.
    Allowed,
}

/// The bounds of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(super) within: Duration,
    pub(super) attempt: Duration,
    pub(super) tries: u32,
    pub(super) repeat: Repeat,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(10),
            attempt: Duration::from_secs(5),
            tries: 20,
            repeat: Repeat::Never,
        }
    }
}

impl Limits {
    /// How long a call may take, waiting for an owner included (10 s). Let it be longer than a planned move
    /// takes, which is as long as the slowest request and `on_revoked`; a crash is a lease.
    #[must_use]
    pub const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// How long one answer may take (5 s). After that the request may have been handled.
    #[must_use]
    pub const fn attempt(mut self, attempt: Duration) -> Self {
        self.attempt = attempt;
        self
    }

    /// How often a worker is asked (20), at least once.
    #[must_use]
    pub const fn tries(mut self, tries: u32) -> Self {
        self.tries = if tries == 0 { 1 } else { tries };
        self
    }

    /// Whether a request may be handled twice ([`Repeat::Never`]).
    #[must_use]
    pub const fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }
}
