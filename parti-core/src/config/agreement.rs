//! The settings that exist because others of the group have settings too: which application this is,
//! which mode it is being rolled from, and how long an observer waits for somebody else's lease.

use alloc::string::ToString;
use core::time::Duration;

use super::{Config, ConfigBuilder, Mode};

impl ConfigBuilder {
    /// What the group belongs to, such as the name of a service; default none. Two workers with
    /// different labels never share a group: the later one is refused. A worker without one may join
    /// any group, which is how a label is introduced or changed.
    pub fn application(mut self, label: &str) -> Self {
        self.application = label.to_string();
        self
    }

    /// Declares that a running group is being rolled from this mode to the one this worker is
    /// configured with; default: not declared, and a start beside workers of another mode is refused.
    /// While workers of both modes live, the stricter holds.
    pub fn rolling_from(mut self, mode: Mode) -> Self {
        self.rolling_from = Some(mode);
        self
    }
}

impl Config {
    /// What the group belongs to; empty when nothing was said.
    #[must_use]
    pub fn application(&self) -> &str {
        &self.settings.application
    }

    /// How long a session with this lease and this clock drift has to be seen unchanged, on its own
    /// clock, until its holder cannot rely on it any more.
    ///
    /// A holder gives up twice its own drift early: its own error and one like it of the observer. An
    /// observer whose clock may be worse waits for the rest. A lease of zero is one that is not known.
    #[must_use]
    pub fn outlasts(&self, lease: Duration, drift_ppm: u32) -> Duration {
        let lease = if lease.is_zero() {
            self.max_lease()
        } else {
            lease
        };
        let worse = self.clock_drift_ppm().saturating_sub(drift_ppm);
        lease.saturating_add(lease.saturating_mul(worse) / 1_000_000)
    }
}

/// Mixes numbers into one (FNV-1a), for comparing what need not be shown.
pub(crate) fn digest(parts: &[u128]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

impl Config {
    /// A digest of what only a leader uses: with a difference, a change of the leader changes the
    /// group's pace.
    pub(crate) fn leading(&self) -> u64 {
        let millis = |duration: Duration| duration.as_millis();
        digest(&[
            millis(self.cold_start_window()),
            millis(self.planned_scale_window()),
            millis(self.emergency_grace_period()),
            millis(self.min_rebalance_interval()),
            millis(self.handoff_timeout()),
            millis(self.apply_timeout()),
            u128::from(self.restart_detection_ratio().to_bits()),
            u128::from(self.min_rebalance_threshold().to_bits()),
            u128::from(self.expected_workers().unwrap_or(0)),
        ])
    }
}
