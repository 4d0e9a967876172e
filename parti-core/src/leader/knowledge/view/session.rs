//! What one session says of itself: which incarnation it is, and how long it may be silent.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::SessionView;
use crate::config::{Config, Mode};
use crate::model::id::{Epoch, Formats, Nonce, Version, WriteId};
use crate::planted::Planted;
use crate::records::agreement::GroupSettings;
use crate::records::outline::SessionOutline;
use crate::records::record::{Readiness, SessionRecord, SessionStatus};

impl SessionView {
    /// The incarnation: the write that creates a session cannot name its own revision.
    pub(crate) fn epoch(&self) -> Epoch {
        match &self.record {
            Some(record) if record.epoch > Epoch::ZERO => record.epoch,
            Some(_) => Epoch::from(self.revision),
            None => match &self.unread {
                Some(outline) if outline.epoch > Epoch::ZERO => outline.epoch,
                Some(_) | None => Epoch::from(self.revision),
            },
        }
    }

    /// The session, if it lives and its process answers probes.
    pub(crate) fn answers(&self) -> Option<Nonce> {
        let record = self.record.as_ref()?;
        (record.readiness.answers && record.status.is_living()).then(|| record.nonce())
    }

    /// Whether the session takes part or is leaving in an orderly way.
    pub(crate) fn is_living(&self) -> bool {
        match (&self.record, &self.unread) {
            (Some(record), _) => record.status.is_living(),
            (None, Some(outline)) => outline.is_living(),
            (None, None) => true,
        }
    }

    /// How long it may be silent before it counts as lost, and before it is overdue.
    pub(crate) fn patience(&self, config: &Config) -> (Duration, Duration) {
        // Each session is judged by what it says of itself; of one that says nothing, the longest
        // lease is feared.
        let (interval, lease) = match (&self.record, &self.unread) {
            (Some(record), _) => (
                record.heartbeat_interval,
                config.outlasts(record.lease, record.settings.clock_drift_ppm),
            ),
            (None, Some(outline)) => {
                let lease = config.outlasts(outline.lease, 0);
                let lease = config.unless_planted(Planted::ReadersLease, lease, config.lease());
                (config.heartbeat_interval(), lease)
            }
            (None, None) => (config.heartbeat_interval(), config.max_lease()),
        };
        let overdue = interval * 3 / 2;
        let lost = (overdue + config.emergency_grace_period()).max(lease);
        let early = lost.saturating_sub(interval / 8);
        let lost = config.unless_planted(Planted::EarlyEmergency, lost, early);
        let nothing = self.record.is_none() && self.unread.is_none();
        let gone = nothing && config.planted(Planted::AbsenceIsEnd);
        (if gone { Duration::ZERO } else { lost }, overdue)
    }
}

/// What is written over a session key that holds nothing readable.
pub(crate) fn unknown_session(
    write: WriteId,
    epoch: Epoch,
    status: SessionStatus,
    (mode, outline): (Mode, Option<&SessionOutline>),
) -> SessionRecord {
    SessionRecord {
        write,
        epoch,
        status,
        applied: Version::ZERO,
        known: outline.map(|outline| outline.known).unwrap_or_default(),
        age: Duration::ZERO,
        reads: outline.map_or(Formats::THIS_RELEASE, |outline| outline.reads),
        draining: Vec::new(),
        capacity: 0,
        labels: BTreeMap::new(),
        heartbeat_interval: Duration::ZERO,
        // A worker that was evicted alive may rely on it for that long.
        lease: outline.map_or(Duration::ZERO, |outline| outline.lease),
        software: String::new(),
        endpoint: None,
        settings: GroupSettings {
            mode,
            ..GroupSettings::default()
        },
        honours: Mode::Overlap,
        rejections: Vec::new(),
        predecessors: Vec::new(),
        bulletin: None,
        readiness: Readiness::default(),
    }
}
