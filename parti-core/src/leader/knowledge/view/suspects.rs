//! Sessions that may hold what no record shows, since a record was destroyed.
//!
//! It is separate because it is looked at once, when the view of a new leader is whole. What always holds: a
//! session that began after the damage is not a suspect for it.

use alloc::collections::BTreeSet;

use super::View;
use crate::model::id::{Epoch, WorkerId};
use crate::records::keys::Key;
use crate::records::record::Head;

impl View {
    /// If the records grant less than the last generation left granted, one was destroyed: a worker that
    /// was there then and has none may hold what is missing, even if it has not said so yet. So may a worker
    /// whose record was overwritten with what nobody can read, whatever the others grant.
    ///
    /// What has an owner is counted, not what has none: a partition that waits for its owner's
    /// acknowledgement may still be granted by a record that did not fit into the commit.
    pub(crate) fn suspect(&mut self, head: &Head) {
        let illegible = self.illegible.iter().flat_map(|(worker, &written)| {
            let epochs = self.epochs_of(worker);
            let epochs = epochs.filter(move |epoch| *epoch <= Epoch::from(written));
            epochs.map(|epoch| (worker.clone(), epoch))
        });
        self.suspects = illegible.collect();
        let grants = self.records.values().map(|record| record.granted.len());
        if grants.sum::<usize>() >= head.granted as usize {
            return;
        }
        let written = self
            .revisions
            .iter()
            .filter(|(key, _)| match Key::parse(key) {
                Key::Assignment(worker) | Key::Piece(worker, _) => {
                    self.records.contains_key(&worker)
                }
                Key::Audit(_) => true,
                Key::Head
                | Key::Session(_)
                | Key::Control(..)
                | Key::Source
                | Key::Parked
                | Key::Suspicion
                | Key::Foreign => false,
            });
        let last_generation = written.map(|(_, &revision)| Epoch::from(revision)).max();
        let sessions = self.sessions.keys().flat_map(|worker| {
            let epochs = self.epochs_of(worker);
            epochs.map(move |epoch| (worker.clone(), epoch))
        });
        let there = sessions
            .filter(|(_, epoch)| last_generation.is_none_or(|generation| *epoch <= generation));
        let there: BTreeSet<(WorkerId, Epoch)> = there.collect();
        self.suspects.extend(there);
    }

    /// The session of a slot, and the earlier ones that may not have ended.
    fn epochs_of(&self, worker: &WorkerId) -> impl Iterator<Item = Epoch> {
        let session = self.sessions.get(worker);
        session
            .into_iter()
            .flat_map(|session| session.ends.keys().copied().chain([session.epoch()]))
    }
}
