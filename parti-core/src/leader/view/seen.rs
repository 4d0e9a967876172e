//! One session as the leader sees it: at which revision, since when, and for how long it counts.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::config::Config;
use crate::id::{Epoch, Revision};
use crate::outline::SessionOutline;
use crate::planted::Planted;
use crate::record::SessionRecord;
use crate::store::Expect;
use crate::time::Instant;

/// A worker's session as the leader sees it.
#[derive(Clone, Debug)]
pub(crate) struct SessionView {
    pub(crate) revision: Revision,
    /// When this revision was first seen, on the own clock.
    pub(crate) since: Instant,
    /// When this session began, as far as is known: never earlier than it did.
    pub(crate) began: Instant,
    /// When the worker itself was last heard of; an eviction does not count.
    pub(crate) heard: Instant,
    /// Since when it says what it says of its assignment and of itself.
    pub(crate) said: Instant,
    /// `None` when the key holds no readable session.
    pub(crate) record: Option<SessionRecord>,
    /// What its envelope says when another release wrote it.
    pub(crate) unread: Option<SessionOutline>,
    /// What an eviction must expect of the key.
    pub(crate) expect: Expect,
    /// When each earlier session of the slot that this one names has ended for certain.
    pub(crate) ends: BTreeMap<Epoch, Instant>,
}

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
        let (interval, lease) = match &self.record {
            Some(record) => (
                record.heartbeat_interval.max(config.heartbeat_interval()),
                record.lease,
            ),
            None => {
                let lease = self.unread.as_ref().map_or(Duration::ZERO, |o| o.lease);
                let none = Duration::ZERO;
                let lease = config.unless_planted(Planted::ReadersLease, lease, none);
                (config.heartbeat_interval(), lease)
            }
        };
        let overdue = interval * 3 / 2;
        let lost = (overdue + config.emergency_grace_period())
            .max(lease)
            .max(config.lease());
        let early = lost.saturating_sub(interval / 8);
        let lost = config.unless_planted(Planted::EarlyEmergency, lost, early);
        let nothing = self.record.is_none() && self.unread.is_none();
        let gone = nothing && config.planted(Planted::AbsenceIsEnd);
        (if gone { Duration::ZERO } else { lost }, overdue)
    }
}
