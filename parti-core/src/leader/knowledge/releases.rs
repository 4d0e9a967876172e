//! Two releases in one group, as the leader sees it: what cannot be read, and which format all read.
//!
//! What always holds: what another release granted is nobody else's before its session has ended; a
//! record in force is in a format that every living session reads, or is about to be written again.

use alloc::vec::Vec;

use crate::config::Config;
use crate::leader::knowledge::view::{Fate, SessionView, View};
use crate::link::cx::Cx;
use crate::model::id::WorkerId;
use crate::model::time::Instant;
use crate::records::assembly::Assembly;
use crate::records::outline::{self, SessionOutline};
use crate::records::record::AssignmentRecord;
use crate::records::wire::SessionClass;

impl View {
    /// Whether a session that cannot be read goes on as it was.
    pub(crate) fn is_renewed_unread(
        &self,
        worker: &WorkerId,
        now: Option<&SessionOutline>,
    ) -> bool {
        let before = self.sessions.get(worker).and_then(|s| s.unread.as_ref());
        let pair = before.zip(now);
        pair.is_some_and(|(a, b)| a.nonce == b.nonce && a.class == b.class && a.reads == b.reads)
    }

    /// Whether there is an assignment of a worker, readable or not.
    pub(crate) fn may_own(&self, worker: &WorkerId) -> bool {
        self.records.contains_key(worker) || self.unread.contains_key(worker)
    }

    /// Whether a worker has partitions, or has not let go of all of them, as far as can be read.
    pub(crate) fn owns(&self, worker: &WorkerId) -> bool {
        let record = self.records.get(worker);
        let owns = record.is_some_and(|r| !(r.granted.is_empty() && r.revoking.is_empty()));
        owns || self.unread.contains_key(worker)
    }

    /// Whether anybody was ever assigned anything and has not left, readable or not.
    pub(crate) fn has_assignments(&self) -> bool {
        !(self.records.is_empty() && self.unread.is_empty())
    }

    /// The newest format that all living sessions read.
    pub(crate) fn format(&self, cx: &Cx<'_>) -> u16 {
        let living = self.sessions.values().filter(|session| session.is_living());
        let reads = living.filter_map(|session| match (&session.record, &session.unread) {
            (Some(record), _) => Some(record.reads),
            (None, Some(outline)) => Some(outline.reads),
            (None, None) => None,
        });
        outline::common_format(cx.formats(), reads)
    }

    /// Whether a living worker's capacity and labels are unknown, for its session cannot be read.
    pub(crate) fn has_unread(&self) -> bool {
        let mut sessions = self.sessions.values();
        sessions.any(|session| session.record.is_none() && session.is_living())
    }

    /// Living workers that are told to write what the others read and do not, and until when each may
    /// take: what such a worker does is known to nobody. An example: one that renews and hears nothing
    /// goes on in format 2 after somebody has come who reads only 1.
    pub(crate) fn unheeding(&self, config: &Config) -> impl Iterator<Item = (&WorkerId, Instant)> {
        let unread = self.sessions.iter().filter(|(_, session)| {
            let outline = session.unread.as_ref();
            // One that is silent is judged by its lease.
            let goes_on = session.since >= session.said + config.apply_timeout() / 2;
            goes_on && session.record.is_none() && outline.is_some_and(SessionOutline::is_living)
        });
        unread.map(|(worker, session)| (worker, session.said + config.apply_timeout()))
    }

    /// Records that are stored in a newer format than everybody reads have to be written again.
    pub(crate) fn lower_formats(&mut self, cx: &Cx<'_>) {
        let format = self.format(cx);
        let newer = self.records.iter().filter(|(worker, record)| {
            let stored = self.formats.get(worker);
            // Of a session that has ended the record is of no more use.
            let pieces = self.pieces.get(*worker).map(Assembly::newest_format);
            let newest = stored.copied().max(pieces);
            newest.is_some_and(|newest| newest > format) && self.is_written_for(worker, record)
        });
        let newer: Vec<WorkerId> = newer.map(|(worker, _)| worker.clone()).collect();
        self.damaged.extend(newer);
    }

    /// Whether a record has to be written again and can be: one of an earlier session of a slot waits for
    /// the end of that.
    pub(crate) fn is_spoiled(&self) -> bool {
        let records = self
            .damaged
            .iter()
            .filter_map(|worker| self.records.get_key_value(worker));
        let mut records = records.filter(|(worker, record)| self.is_written_for(worker, record));
        records.next().is_some()
    }

    /// Whether a record is for a session that takes part or is leaving in an orderly way.
    fn is_written_for(&self, worker: &WorkerId, record: &AssignmentRecord) -> bool {
        self.sessions.get(worker).is_some_and(|session| {
            let status = session.record.as_ref().map(|record| record.status);
            status.is_some_and(|status| status.is_living()) && session.epoch() == record.epoch
        })
    }
}

impl SessionView {
    /// What became of a session that cannot be read. Whether its slot is held is not known: it is not
    /// waited for.
    pub(crate) fn fate_of_outline(&self, config: &Config) -> Fate {
        match &self.unread {
            Some(outline) => match outline.class {
                SessionClass::Living => Fate::Living,
                SessionClass::Ended => Fate::Ended,
                SessionClass::EndsAfterLease => {
                    Fate::EndsAt(self.since + config.lease().max(outline.lease))
                }
            },
            None => Fate::Living,
        }
    }

    /// When the earlier sessions of the slot have ended, of which a session that cannot be read says
    /// that they may not have. Each renewal says so again as long as that is so.
    pub(crate) fn unread_predecessors(&self) -> Option<Instant> {
        let lease = self.unread.as_ref()?.unproven;
        (!lease.is_zero()).then(|| self.since + lease)
    }
}
