//! Leaders that do not hear the store well enough to lead, and have to give it up themselves.

use super::Member;
use crate::config::Config;
use crate::io::notice::{Notice, StepDownReason};
use crate::link::cx::Cx;
use crate::link::heard::Heard;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::records::carried::patience;
use alloc::string::ToString;

/// A time in which a leader had no steady contact.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsteady {
    since: Instant,
    told: bool,
}

impl Member {
    /// A leader whose renewals are applied and whose watch stays silent judges nobody, and nobody can
    /// take its place: it has to give it up itself.
    pub(super) fn poll_one_way(&mut self, cx: &Cx<'_>) {
        let lease = cx.config().lease();
        let lease = cx.unless_planted(Planted::NoRepair, lease, lease * 1_000);
        if let Some(leader) = &mut self.leader
            && let Heard::OneWay { since } = cx.heard()
            && cx.now >= since + patience(lease, leader.futile())
        {
            let reason = "own renewals do not come back through the watch".to_string();
            leader.resign(StepDownReason::Failing(reason));
        }
    }

    /// A leader whose renewals come back too late for its contact to hold, and soon enough for everybody
    /// else, judges nobody and is not challenged: it has to step down itself.
    pub(super) fn poll_unsteady_contact(&mut self, cx: &mut Cx<'_>) {
        let config = cx.shared_config();
        let Some(leader) = &mut self.leader else {
            self.unsteady = None;
            return;
        };
        let blind = cx.planted(Planted::UnsteadyForever) || cx.planted(Planted::NoRepair);
        if cx.link().is_steady(&config, cx.now) || blind {
            self.unsteady = None;
            return;
        }
        let unsteady = self.unsteady.get_or_insert(Unsteady {
            since: cx.now,
            told: false,
        });
        let once = config.leader_patience();
        if !cx.store_is_sound() {
            // The store fails, not the leader. After that it needs a time without a gap.
            let recovery = config.lease() + config.recovery_grace_period();
            let at_least = cx.now.saturating_sub(once.saturating_sub(recovery));
            unsteady.since = unsteady.since.max(at_least);
            return;
        }
        let (lasting, futile) = (cx.now.since(unsteady.since), leader.futile());
        if lasting >= patience(once, futile) {
            leader.resign(StepDownReason::UnsteadyContact(lasting));
        } else if lasting >= once && !unsteady.told {
            unsteady.told = true;
            cx.notify(Notice::UnsteadyContact { lasting, futile });
        }
    }

    /// When a leader without steady contact is to be looked at again.
    pub(super) fn unsteady_wake(&self, config: &Config, now: Instant) -> Option<Instant> {
        let (unsteady, leader) = (self.unsteady.as_ref()?, self.leader.as_ref()?);
        let once = config.leader_patience();
        let times = [once, patience(once, leader.futile())].map(|after| unsteady.since + after);
        times.into_iter().filter(|&at| at > now).min()
    }
}
