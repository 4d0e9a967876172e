//! Giving up the office in order: one last `head` that names nobody, so that others need not wait.

use alloc::boxed::Box;
use alloc::vec;

use super::{Leader, Leading, Work};
use crate::attempt::Attempt;
use crate::cx::Cx;
use crate::event::OpOwner;
use crate::keys::head_key;
use crate::record::{Head, Record};
use crate::state::Cause;
use crate::store::{Expect, Write};

impl Leader {
    pub(super) fn keep_resigning(&mut self, cx: &mut Cx<'_>) -> Leading {
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
