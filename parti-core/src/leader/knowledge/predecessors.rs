//! Succession: what is known of the earlier sessions of a slot that its present session names.
//!
//! A slot can be taken before its former session has ended for certain: by a process whose
//! predecessor was declared dead, or by one whose own callbacks still run. What always holds: each
//! leader counts the lease of such a predecessor on its own clock, from no earlier than when it
//! first saw the last write of it or the session that names it; until then the predecessor may hold
//! what its record grants, unless the session does not name it any more.

use alloc::collections::BTreeMap;

use crate::config::Mode;
use crate::leader::knowledge::view::{SessionView, View};
use crate::model::id::{Epoch, Version, WorkerId};
use crate::model::time::Instant;
use crate::records::record::{Predecessor, Remains, SessionRecord};

/// When each earlier session that a record names has ended for certain.
///
/// Once counted it stays: a renewal of the successor does not put it off. A predecessor whose very
/// last write was seen is counted from then, since it renewed no more.
pub(crate) fn ends(
    known: Option<&SessionView>,
    record: Option<&SessionRecord>,
    now: Instant,
) -> BTreeMap<Epoch, Instant> {
    let named = record.into_iter().flat_map(|record| &record.predecessors);
    let end = |predecessor: &Predecessor| {
        let counted = known.and_then(|known| known.ends.get(&predecessor.epoch).copied());
        let last_seen = known.filter(|known| known.revision == predecessor.revision);
        let since = last_seen.map_or(now, |known| known.since);
        counted.unwrap_or(since + predecessor.lease)
    };
    named.map(|named| (named.epoch, end(named))).collect()
}

impl SessionView {
    /// The earlier sessions of the slot that may not have ended yet, and when each has.
    pub(crate) fn unproven(&self, now: Instant) -> impl Iterator<Item = (&Predecessor, Instant)> {
        let named = self.record.iter().flat_map(|record| &record.predecessors);
        let ends = named.filter_map(|named| Some((named, *self.ends.get(&named.epoch)?)));
        ends.filter(move |&(_, at)| now < at)
    }

    /// What an earlier session of the slot may still hold, if this session names it.
    pub(crate) fn remains(&self, epoch: Epoch) -> Option<Remains> {
        let named = &self.record.as_ref()?.predecessors;
        let named = named.iter().find(|named| named.epoch == epoch)?;
        Some(named.remains)
    }
}

impl View {
    /// When the earlier sessions of a slot have ended that may hold what no record lists: the last of
    /// them, for certain.
    pub(crate) fn unaccounted_before(
        &self,
        worker: &WorkerId,
        session: &SessionView,
        now: Instant,
        mode: Mode,
    ) -> Option<Instant> {
        let refused =
            |epoch: Epoch| mode == Mode::Fenced && self.refused.contains(&(worker.clone(), epoch));
        let page = self.records.get(worker);
        let unknown = session.unproven(now).filter(|(before, _)| match page {
            // A later session got a record, which nobody writes before the earlier one has ended.
            Some(page) if page.epoch > before.epoch => false,
            Some(page) if page.epoch == before.epoch => page.version < before.applied,
            Some(_) | None if refused(before.epoch) => false,
            Some(_) | None => {
                before.applied > Version::ZERO || self.is_suspect(worker, before.epoch)
            }
        });
        unknown.map(|(_, at)| at).max()
    }

    /// Whether an incarnation may hold what no record lists although some should.
    pub(crate) fn is_suspect(&self, worker: &WorkerId, epoch: Epoch) -> bool {
        self.suspects.contains(&(worker.clone(), epoch))
    }
}
