//! What happens when the store loses its history.

use core::time::Duration;

use parti_core::Revision;

use super::World;
use crate::simulator::plans::plan::Loss;
use crate::simulator::storage::network::Outage;

impl World<'_> {
    pub(super) fn lose_history(&mut self, loss: Loss, length: Duration) {
        let kept = match loss {
            Loss::Delete | Loss::Recreate | Loss::Wipe => Revision::ZERO,
            Loss::RollBack { by_ms } => {
                let by = Duration::from_millis(by_ms);
                self.judge
                    .whole_commits(self.store.revision_before(self.now, by))
            }
        };
        if self.store.is_deleted() && loss != Loss::Recreate {
            return;
        }
        self.store.lose(self.now, loss, kept);
        self.lost_history(kept);
        if loss == Loss::Recreate {
            self.judge.situations.count("bucket_recreated");
        }
        if !length.is_zero() {
            let until = self.now + length;
            self.outage = Some(Outage {
                until,
                answers: false,
            });
        }
        for node in 0..self.nodes.len() {
            self.break_watches(node);
        }
    }

    /// What is per history begins again, with the commits up to a revision.
    pub(in crate::simulator) fn lost_history(&mut self, kept: Revision) {
        self.judge.lose_history(kept);
        let running = self.nodes.iter_mut().filter_map(|n| n.running.as_mut());
        running.for_each(|running| running.shown.clear());
    }
}
