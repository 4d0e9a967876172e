//! How patient a worker is before it calls itself degraded, and how sure before it calls itself
//! well again.

use core::time::Duration;

use super::{millis, secs};

/// A named set of thresholds for degraded mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DegradedPreset {
    /// Enters after 30 s of trouble or 10 errors within 30 s, leaves after 10 s without, and judges
    /// nobody for 20 s afterwards.
    Conservative,
    /// 10 s or 5 errors within 30 s, 5 s, 15 s.
    #[default]
    Balanced,
    /// 5 s or 3 errors within 15 s, 3 s, 10 s.
    Aggressive,
}

/// The thresholds themselves. A lost lease is always degraded at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DegradedSettings {
    /// Trouble that lasts this long is degraded.
    pub enter: Duration,
    /// Health that lasts this long is well again.
    pub exit: Duration,
    /// This many failed requests within `window` are degraded.
    pub errors: usize,
    /// See `errors`.
    pub window: Duration,
    /// After a gap of contact, how long nobody is judged.
    pub recovery_grace: Duration,
}

impl DegradedPreset {
    /// The thresholds of the preset.
    #[must_use]
    pub const fn settings(self) -> DegradedSettings {
        let (enter, exit, errors, window, grace) = match self {
            Self::Conservative => (30, 10, 10, 30, 20),
            Self::Balanced => (10, 5, 5, 30, 15),
            Self::Aggressive => (5, 3, 3, 15, 10),
        };
        DegradedSettings {
            enter: secs(enter),
            exit: secs(exit),
            errors,
            window: secs(window),
            recovery_grace: secs(grace),
        }
    }
}

/// What follows from the lease alone, when no preset is chosen.
pub(super) fn derived(lease: Duration) -> DegradedSettings {
    DegradedSettings {
        enter: lease.saturating_mul(2).min(secs(10)),
        exit: (lease / 2).clamp(millis(100), secs(5)),
        errors: 5,
        window: lease.saturating_mul(5).min(secs(30)),
        recovery_grace: lease,
    }
}
