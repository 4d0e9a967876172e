//! What a leader hands on to the next, and giving up the office in order: one last `head` that names
//! nobody, so that others need not wait.

use alloc::boxed::Box;
use alloc::vec;
use core::time::Duration;

use crate::io::event::OpOwner;
use crate::io::notice::StepDownReason;
use crate::leader::{Leader, Leading, Work};
use crate::link::attempt::Attempt;
use crate::link::cx::Cx;
use crate::model::state::Cause;
use crate::model::time::Instant;
use crate::ports::store::{Expect, Write};
use crate::records::carried::Carried;
use crate::records::keys::head_key;
use crate::records::record::{Head, Record};

impl Leader {
    /// What the next leader is to go on with.
    pub(crate) fn carried(&self, now: Instant) -> Carried {
        if !self.ready {
            // It has not seen enough to know better than the one before.
            return self.head.carried.clone();
        }
        let waited = self
            .gathering
            .map_or(Duration::ZERO, |g| now.since(g.first));
        Carried {
            futile: self.futile,
            unassigned: self.is_cold().then_some(waited),
            rebalanced: self.last_rebalance.map(|at| now.since(at)),
            quarantined: self.bench.carried(now),
        }
    }

    /// How many terms in a row were given up before this one.
    pub(crate) const fn futile(&self) -> u32 {
        self.futile
    }

    /// What the next leader is to go on with after this one gave up.
    fn handed_on(&self, now: Instant) -> Carried {
        let futile = self
            .resigning
            .as_ref()
            .is_some_and(StepDownReason::is_futile);
        let carried = self.carried(now);
        let futile = carried.futile.saturating_add(u32::from(futile));
        Carried { futile, ..carried }
    }

    pub(crate) fn keep_resigning(&mut self, cx: &mut Cx<'_>) -> Leading {
        match &self.work {
            // A failed step has its pause also here: a store that refuses is not to be hammered.
            Work::Committing(_) | Work::Resigning { .. } | Work::Pausing { .. } => {
                return Leading::On;
            }
            Work::Idle | Work::Planning { .. } => {}
        }
        let write = self.next_write();
        let head = Head {
            write,
            leader: None,
            version: self.next_version(cx),
            format: cx.format(),
            lease: cx.config().lease(),
            cause: Cause::Resignation,
            carried: self.handed_on(cx.now),
            ..self.head.clone()
        };
        let value = Some(cx.encode(&Record::Head(head.clone())));
        let expect = Expect::Revision(self.head_revision);
        let writes = vec![Write {
            key: head_key(),
            value,
            expect,
        }];
        let attempt = Attempt::begin(cx, OpOwner::Leader, write, writes);
        self.work = Work::Resigning {
            attempt: Box::new(attempt),
            head: Box::new(head),
        };
        Leading::On
    }
}
