//! What a worker does where two answers are right: at a change of owners, and when its bucket is lost.

use core::fmt;

/// What happens between an old and a new owner of a partition.
///
/// Closed: what it promises is decided by wherever two owners could meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nobody is granted a partition while another worker may hold it: revoke, acknowledge, grant.
    #[default]
    Exclusive,
    /// As exclusive for everything that is planned. But a worker whose process does not answer any more
    /// loses its partitions at once, before its lease is over: after a crash work goes on in a fraction of a
    /// second. A worker that was suspected wrongly may act for as long as its lease lasts, beside the new
    /// owner, until it notices: **everything that is written to has to compare tokens**. That has to be
    /// declared with [`sinks_compare_tokens`](crate::ConfigBuilder::sinks_compare_tokens).
    Fenced,
    /// The new owner is granted the partition at once; for a moment there can be two. For work where
    /// a pause is worse than doing something twice.
    Overlap,
}

impl Mode {
    /// Every mode, the strictest first. A mode between two others gets its place here.
    pub const ALL: [Self; 3] = [Self::Exclusive, Self::Fenced, Self::Overlap];

    /// The mode as one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Fenced => "fenced",
            Self::Overlap => "overlap",
        }
    }

    /// Whether guards end with the lease of their session, and what is planned waits for its former owner.
    #[must_use]
    pub const fn waits(self) -> bool {
        match self {
            Self::Exclusive | Self::Fenced => true,
            Self::Overlap => false,
        }
    }

    /// The stricter of two: what holds while workers of both are in one group.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        if other.is_stricter_than(self) {
            other
        } else {
            self
        }
    }

    /// The looser of two: what holds while not everybody obeys the stricter one.
    #[must_use]
    pub fn looser(self, other: Self) -> Self {
        if other.is_stricter_than(self) {
            self
        } else {
            other
        }
    }

    /// Whether it promises more than another.
    #[must_use]
    pub fn is_stricter_than(self, other: Self) -> bool {
        let place = |mode| Self::ALL.iter().position(|&each| each == mode);
        place(self) < place(other)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a worker does when the bucket was deleted, created again, wiped or rolled back while it ran. In
/// either case it gives up everything it holds at once.
///
/// Closed: a worker takes part again or it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnBucketLost {
    /// It stays in quarantine for one lease, creates the bucket if there is none, and takes part again.
    /// The group assigns everything again; tokens go on rising.
    #[default]
    Recreate,
    /// It stops, so that people can look before anything is written. It never creates a bucket.
    Halt,
}

impl fmt::Display for OnBucketLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recreate => "recreate",
            Self::Halt => "halt",
        })
    }
}
