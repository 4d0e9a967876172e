//! How a membership ends: by losing the identity, or for good.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Core, Phase};
use crate::io::effect::RevokeCause;
use crate::io::notice::Notice;
use crate::link::cx::Cx;
use crate::worker::claim::Claim;

impl Core {
    pub(super) fn lose_identity(&mut self) {
        let Phase::Member(member) = &self.phase else {
            return;
        };
        let (worker, epoch) = (member.session.worker.clone(), member.session.epoch);
        let nonce = member.session.nonce;
        let leaving = member.is_leaving();
        let mut cx = self.env.cx(self.now);
        self.holdings.forget(&mut cx, RevokeCause::IdentityLost);
        cx.notify(Notice::IdentityLost {
            worker: worker.clone(),
            epoch,
        });
        let errors = self.leave_membership();
        if leaving {
            return self.end_without_session(errors);
        }
        let draining = self.holdings.keys().cloned().collect();
        let mut cx = self.env.cx(self.now);
        let claim = Claim::again(&mut cx, &worker, (epoch, nonce), draining);
        self.phase = Phase::Claiming(Box::new(claim));
    }

    pub(super) fn leave_membership(&mut self) -> Vec<String> {
        let mut cx: Cx<'_> = self.env.cx(self.now);
        match core::mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Member(member) => member.end(&mut cx),
            Phase::Idle
            | Phase::Claiming(_)
            | Phase::Quarantined(_)
            | Phase::Ending { .. }
            | Phase::Stopped => Vec::new(),
        }
    }

    /// Stops as soon as the callbacks have ended, or when it takes too long.
    pub(super) fn end_without_session(&mut self, errors: Vec<String>) {
        let mut cx = self.env.cx(self.now);
        self.holdings.forget(&mut cx, RevokeCause::Stopping);
        let until = self.now + cx.config().drain_timeout();
        self.phase = Phase::Ending { until, errors };
        self.fire();
    }

    pub(super) fn stop(&mut self, errors: Vec<String>) {
        let mut cx = self.env.cx(self.now);
        self.requests.fail_all(&mut cx, "the worker has stopped");
        self.phase = Phase::Stopped;
        cx.notify(Notice::Stopped { errors });
    }
}
