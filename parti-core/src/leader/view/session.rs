//! What one session says of itself: which incarnation it is, and how long it may be silent.

use core::time::Duration;

use super::SessionView;
use crate::config::Config;
use crate::id::Epoch;
use crate::planted::Planted;

impl SessionView {
    /// The incarnation: the write that creates a session cannot name its own revision.
    pub(crate) fn epoch(&self) -> Epoch {
        match &self.record {
            Some(record) if record.epoch > Epoch::ZERO => record.epoch,
            Some(_) | None => Epoch::from(self.revision),
        }
    }

    /// Whether the session takes part or is leaving in an orderly way.
    pub(crate) fn is_living(&self) -> bool {
        self.record
            .as_ref()
            .is_none_or(|record| record.status.is_living())
    }

    /// How long it may be silent before it counts as lost, and before it is overdue.
    pub(crate) fn patience(&self, config: &Config) -> (Duration, Duration) {
        // Each session is judged by what it says of itself; of one that cannot be read, the longest
        // lease is feared.
        let (interval, lease) = match &self.record {
            Some(record) => (
                record.heartbeat_interval,
                config.outlasts(record.lease, record.settings.clock_drift_ppm),
            ),
            None => (config.heartbeat_interval(), config.max_lease()),
        };
        let overdue = interval * 3 / 2;
        let lost = (overdue + config.emergency_grace_period()).max(lease);
        let early = lost.saturating_sub(interval / 8);
        let lost = config.unless_planted(Planted::EarlyEmergency, lost, early);
        let gone = self.record.is_none() && config.planted(Planted::AbsenceIsEnd);
        (if gone { Duration::ZERO } else { lost }, overdue)
    }
}
