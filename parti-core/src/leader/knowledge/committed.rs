//! What a generation of this leader makes of what it knows: known at once, without waiting for the watch.

use alloc::vec::Vec;

use crate::leader::committing::fitting::{Put, What};
use crate::leader::knowledge::Knowledge;
use crate::leader::planning::target::Requested;
use crate::link::cx::Cx;
use crate::model::id::{Revision, WorkerId};
use crate::records::agreement::Agreed;
use crate::records::orders::PinsLeft;
use crate::records::record::{Head, ParkedGroup, SessionRecord, SessionStatus};

/// A generation that is written.
#[derive(Clone, Debug)]
pub(crate) struct Generation<'a> {
    pub(crate) head: Head,
    pub(crate) revision: Revision,
    pub(crate) puts: Vec<Put>,
    pub(crate) evicted: &'a [(WorkerId, SessionRecord)],
    pub(crate) parked: Option<Vec<ParkedGroup>>,
    pub(crate) requests: &'a [Requested],
    pub(crate) pins: Option<(PinsLeft, u64)>,
}

impl Knowledge {
    /// A generation was written. What the group obeyed before.
    pub(crate) fn on_committed(&mut self, cx: &mut Cx<'_>, written: Generation<'_>) -> Agreed {
        cx.learn(written.head.version);
        cx.adopt_format(written.head.format);
        let before = core::mem::replace(&mut self.head, written.head);
        self.head_revision = written.revision;
        self.on_rule(cx.now, &before.agreed);
        for (worker, record) in written.evicted {
            self.view.evicted(cx.now, worker, record.clone());
            self.postponed.forget(worker);
            if record.status == (SessionStatus::Evicted { silent: false }) {
                let first = cx.config().apply_timeout();
                self.quarantine.add(cx.now, worker, first);
            }
            if record.status == SessionStatus::Suspected {
                self.budget.spend(cx.config(), cx.now, worker);
            }
        }
        for put in written.puts {
            let worker = &put.worker;
            match &put.what {
                What::Written(record) => self.confirmations.expect(cx.now, worker, record.version),
                What::Removed => self.confirmations.forget(worker),
                What::Repaired => {}
            }
            self.view.wrote(written.revision, self.head.format, put);
        }
        if let Some(parked) = written.parked {
            self.view.parking.tell(cx, &parked);
            self.view.parking.set(cx.now, parked);
        }
        for (verb, worker, _) in written.requests {
            let key = (*verb, worker.clone());
            self.view.controls.remove(&key);
            self.view.orders.remove(&key);
        }
        if let Some((left, after)) = written.pins {
            let revision = Revision::new(written.revision.get() + after);
            self.view.orders.rewrote_pins(revision, &left);
        }
        self.changed();
        before.agreed
    }
}
