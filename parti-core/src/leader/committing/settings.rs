//! A generation that moves nothing: it says what the group obeys from now on.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::io::effect::{Wake, WakeReason};
use crate::io::event::OpOwner;
use crate::leader::Leader;
use crate::leader::committing::commit::Commit;
use crate::link::attempt::Attempt;
use crate::link::cx::Cx;
use crate::model::state::Cause;
use crate::ports::store::{Expect, Write};
use crate::records::keys::{audit_key, head_key};
use crate::records::record::{AuditEntry, Head, Record};
use crate::records::wire;

impl Leader {
    /// Writes down what the group obeys when that has changed. In a group that holds nothing yet, the
    /// first generation says it.
    pub(crate) fn poll_agreement(&mut self, cx: &mut Cx<'_>) {
        if !cx.heard().is_heard() || self.knowledge.is_cold() || !self.leadership.is_idle() {
            return;
        }
        let found = self.knowledge.agreed(cx.config(), cx.now);
        let before = self.knowledge.head.agreed;
        if (found.mode, found.holds) == (before.mode, before.holds) {
            return;
        }
        let (write, version) = (
            self.author.next_write(&self.knowledge.head),
            self.knowledge.next_version(cx),
        );
        let format = self.knowledge.view.format(cx);
        let head = Head {
            write,
            version,
            format,
            lease: cx.config().lease(),
            cause: Cause::Settings,
            agreed: found,
            ..self.knowledge.head.clone()
        };
        let audit = AuditEntry {
            write,
            version,
            term: head.term,
            leader: self.knowledge.worker.clone(),
            cause: head.cause,
            triggers: vec![alloc::format!(
                "asks for {} and keeps {}, before {} and {}",
                found.mode,
                found.holds,
                before.mode,
                before.holds
            )],
            at_ms: cx.wall_ms(),
            moved: 0,
            lower_bound: 0,
            changes: Vec::new(),
            parked: Vec::new(),
            truncated: false,
        };
        let writes = vec![
            Write {
                key: head_key(),
                value: Some(wire::encode_as(format, &Record::Head(head.clone()))),
                expect: Expect::Revision(self.knowledge.head_revision),
            },
            Write {
                key: audit_key(version.get()),
                value: Some(wire::encode_as(format, &Record::Audit(audit))),
                expect: Expect::Any,
            },
        ];
        let attempt = Attempt::begin(cx, OpOwner::Leader, write, writes);
        let patience = cx.config().operation_timeout().max(cx.config().lease());
        self.leadership.commit(Commit {
            attempt,
            give_up: Wake::new(cx.now + patience, WakeReason::Retry),
            head,
            puts: Vec::new(),
            evicted: Vec::new(),
            target: None,
            parked: None,
            requests: Vec::new(),
            pins: None,
            granted: 0,
            revoked: 0,
            former: BTreeMap::new(),
        });
    }
}
