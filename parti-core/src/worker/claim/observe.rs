//! What a claim makes of the lists it sees: each slot at its highest revision, and since when.

use super::Claim;
use super::choice::Slot;
use crate::link::cx::Cx;
use crate::model::id::Epoch;
use crate::records::keys::Key;
use crate::records::record::{SessionRecord, SessionStatus};
use crate::records::seen::Seen;

impl Claim {
    /// Notes what the list shows, and since when.
    pub(super) fn observe(&mut self, cx: &Cx<'_>, entries: &[Seen<'_>]) {
        for entry in entries {
            let (Key::Session(worker), Some(value)) = (entry.key(), entry.value()) else {
                continue;
            };
            // After a rollback another write can have the same revision.
            let seen = self.slots.get(worker).is_some_and(|slot| {
                slot.revision > entry.revision()
                    || (slot.revision == entry.revision() && slot.value == *value)
            });
            if seen {
                continue;
            }
            let mode = cx.config().mode();
            let outline = || Some(entry.other_release()?.into_record(mode));
            let record = entry.session().cloned().or_else(outline);
            let epoch = match record.as_ref().map(|record| record.epoch) {
                Some(epoch) if epoch > Epoch::ZERO => epoch,
                Some(_) | None => Epoch::from(entry.revision()),
            };
            let nonce = record.as_ref().map(SessionRecord::nonce);
            let evicted = matches!(
                record.as_ref().map(|record| record.status),
                Some(SessionStatus::Evicted { .. } | SessionStatus::Suspected)
            );
            // In another history somebody else may have the same epoch.
            let former = self.former.as_ref().is_some_and(|(slot, before, name)| {
                slot == worker && *before == epoch && (evicted || nonce == Some(*name))
            });
            let own = former || (self.survivor.is_some() && nonce == self.survivor);
            let lives = record.as_ref().is_none_or(|said| said.status.is_living());
            let slot = Slot {
                value: value.to_vec(),
                revision: entry.revision(),
                said: record,
                epoch,
                own,
                since: cx.now,
                signs: match self.slots.get(worker) {
                    Some(before) if lives => before.signs + 1,
                    Some(before) => before.signs,
                    None => 0,
                },
            };
            self.slots.insert(worker.clone(), slot);
        }
    }
}
