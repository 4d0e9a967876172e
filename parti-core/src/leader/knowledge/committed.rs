//! What a generation of this leader makes of what it knows: known at once, without waiting for the watch.

use crate::leader::committing::commit::Commit;
use crate::leader::committing::fitting::What;
use crate::leader::knowledge::Knowledge;
use crate::link::cx::Cx;
use crate::model::id::Revision;
use crate::records::agreement::Agreed;
use crate::records::record::SessionStatus;

impl Knowledge {
    /// A generation was written, its `head` at this revision. What the group obeyed before.
    pub(crate) fn on_committed(
        &mut self,
        cx: &mut Cx<'_>,
        commit: &mut Commit,
        revision: Revision,
    ) -> Agreed {
        cx.learn(commit.head.version);
        cx.adopt_format(commit.head.format);
        let before = core::mem::replace(&mut self.head, commit.head.clone());
        self.head_revision = revision;
        self.on_rule(cx.now, &before.agreed);
        for (worker, record) in &commit.evicted {
            self.view.evicted(cx.now, worker, record.clone());
            self.postponed.forget(worker);
            if record.status == (SessionStatus::Evicted { silent: false }) {
                let first = cx.config().apply_timeout();
                self.quarantine.add(cx.now, worker, first);
            }
        }
        for put in core::mem::take(&mut commit.puts) {
            let worker = &put.worker;
            match &put.what {
                What::Written(record) => self.confirmations.expect(cx.now, worker, record.version),
                What::Removed => self.confirmations.forget(worker),
                What::Repaired => {}
            }
            self.view.wrote(revision, self.head.format, put);
        }
        if let Some(parked) = commit.parked.take() {
            self.view.parking.tell(cx, &parked);
            self.view.parking.set(cx.now, parked);
        }
        for (verb, worker, _) in &commit.requests {
            self.view.controls.remove(&(*verb, worker.clone()));
        }
        self.changed();
        before.agreed
    }
}
