//! What a process does when the history of the bucket is lost: it gives up everything, waits until
//! nobody can rely on a lease of that history any more, and begins again; or it stops.

use core::time::Duration;

use super::{Core, Phase};
use crate::config::{Mode, OnBucketLost};
use crate::io::effect::RevokeCause;
use crate::io::notice::{DegradedReason, HistoryLoss, Notice};
use crate::model::id::{Nonce, WorkerId};
use crate::model::time::Instant;
use crate::worker::claim::Claim;

/// Without a session, until no lease of the lost history can be valid.
#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    pub(super) until: Instant,
    /// The slot of before.
    slot: Option<(WorkerId, Nonce)>,
    /// When to give up claiming: only a process that has not started yet does.
    give_up_at: Option<Instant>,
}

impl Core {
    /// The history is gone, and with it the session.
    pub(super) fn lose_history(&mut self, loss: HistoryLoss) {
        let (slot, give_up_at, leaving) = match &self.phase {
            Phase::Member(member) => {
                let session = &member.session;
                let slot = (session.worker.clone(), session.nonce);
                (Some(slot), None, member.is_leaving())
            }
            Phase::Claiming(claim) => (claim.slot(), claim.give_up_at(), false),
            Phase::Idle | Phase::Quarantined(_) | Phase::Ending { .. } | Phase::Stopped => return,
        };
        let mode = self.asked();
        let mut cx = self.env.cx(self.now);
        let (then, known) = (cx.config().on_bucket_lost(), cx.known());
        self.holdings.forget(&mut cx, RevokeCause::IdentityLost);
        let why = alloc::format!("{loss}");
        cx.notify(Notice::HistoryLost { loss, then, known });
        let mut errors = self.leave_membership();
        if then == OnBucketLost::Halt {
            errors.push(why);
        }
        if leaving || then == OnBucketLost::Halt {
            return self.end_without_session(errors);
        }
        let mut cx = self.env.cx(self.now);
        cx.forget_history();
        let reason = DegradedReason::HistoryLost;
        cx.notify(Notice::Degraded { reason });
        // With overlap nobody relies on being alone.
        let length = match mode {
            Mode::Exclusive | Mode::Fenced => cx.longest_lease(),
            Mode::Overlap => Duration::ZERO,
        };
        self.phase = Phase::Quarantined(Quarantine {
            until: self.now + length,
            slot,
            give_up_at,
        });
    }

    /// The strictest mode that anybody is known to rely on. A group that is being rolled from one to
    /// the other may have workers of both.
    fn asked(&self) -> Mode {
        let config = &self.env.config;
        let declared = config.rolling_from().unwrap_or(config.mode());
        let own = config.mode().stricter(declared);
        match &self.phase {
            Phase::Member(member) => own.stricter(member.asked()),
            Phase::Claiming(_)
            | Phase::Idle
            | Phase::Quarantined(_)
            | Phase::Ending { .. }
            | Phase::Stopped => own,
        }
    }

    /// The quarantine is over.
    pub(super) fn begin_again(&mut self, quarantine: Quarantine) {
        let mut cx = self.env.cx(self.now);
        cx.notify(Notice::Recovered);
        let Quarantine {
            slot, give_up_at, ..
        } = quarantine;
        let claim = Claim::after_loss(&mut cx, slot, give_up_at);
        self.phase = Phase::Claiming(alloc::boxed::Box::new(claim));
    }
}
