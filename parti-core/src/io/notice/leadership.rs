//! Why a worker leads no longer.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// Why a leader is one no more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepDownReason {
    /// Somebody else wrote `head`.
    Deposed,
    /// Its own session ended.
    SessionLost,
    /// The worker is stopping.
    Stopping,
    /// An operator asked for it.
    Asked,
    /// Steps failed `leader_failure_limit` times in a row, or as much more often as the terms before
    /// were given up; the last failure in words.
    Failing(String),
    /// It was out of contact again and again, so that it could judge nobody, for so long.
    UnsteadyContact(Duration),
    /// Most of the group does not answer its probes, in mode [`Mode::Fenced`](crate::Mode::Fenced).
    Isolated,
}

impl StepDownReason {
    /// Whether the leader gave up because it could not do its work.
    pub(crate) const fn is_futile(&self) -> bool {
        match self {
            Self::Deposed | Self::SessionLost | Self::Stopping | Self::Asked | Self::Isolated => {
                false
            }
            Self::Failing(_) | Self::UnsteadyContact(_) => true,
        }
    }

    /// Whether others are to be elected first.
    pub(crate) fn stands_aside(&self) -> bool {
        self.is_futile() || *self == Self::Asked
    }
}

impl fmt::Display for StepDownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deposed => f.write_str("another worker took over"),
            Self::SessionLost => f.write_str("its own session ended"),
            Self::Stopping => f.write_str("it is stopping"),
            Self::Asked => f.write_str("an operator asked for it"),
            Self::Isolated => f.write_str("most of the group does not answer its probes"),
            Self::Failing(last) => write!(f, "its steps kept failing, last: {last}"),
            Self::UnsteadyContact(lasting) => write!(
                f,
                "its own renewals kept coming back too late for {lasting:?}, so that it could judge nobody"
            ),
        }
    }
}
