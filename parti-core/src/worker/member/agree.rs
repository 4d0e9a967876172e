//! Agreeing: which mode a member's guards obey, and what it tells of its settings.
//!
//! What always holds: whatever its session said last, seen by anybody, is no more than what its guards
//! obey. A stricter mode is obeyed from the moment `head` asks for it, before the renewal that says so
//! is sent; a looser one only after a renewal that says so was applied. So a leader that ends a session at
//! the revision it judged knows what the guards of that session obey.

use alloc::vec::Vec;

use super::Member;
use crate::config::{Config, Mode};
use crate::io::notice::Notice;
use crate::link::cx::Cx;
use crate::model::id::Version;
use crate::planted::Planted;
use crate::ports::strategy::StrategyId;
use crate::records::agreement::{Difference, Disagreement};
use crate::records::problem::{Problem, ProblemKind};

impl Member {
    /// The mode that `head` asks for; the strictest while none is known.
    pub(crate) fn asked(&self) -> Mode {
        self.head().map_or(Mode::Exclusive, |head| head.agreed.mode)
    }

    /// The mode that the guards of this member obey now.
    pub(crate) fn honours(&self, config: &Config) -> Mode {
        let promised = self.session.promised;
        let right = config.mode().stricter(self.asked()).stricter(promised);
        config.unless_planted(Planted::OwnMode, right, config.mode())
    }

    /// Whether the group keeps less than this worker is configured with.
    pub(super) fn mode_not_held(&self, config: &Config) -> Option<Problem> {
        let head = self.head().filter(|head| head.planned > Version::ZERO)?;
        let (own, holds) = (config.mode(), head.agreed.holds);
        let (known, since) = self.holds?;
        let detail = alloc::format!("mode = {own} here, and {holds} holds in the group");
        (known == holds && own.is_stricter_than(holds))
            .then(|| Problem::new(ProblemKind::ModeNotHeld, since, 1, detail))
    }

    /// How others are configured otherwise, as far as this member can tell.
    pub(crate) fn differences(&self, strategy: &StrategyId) -> Vec<Disagreement> {
        if let Some(leader) = &self.leader {
            return leader.differences().to_vec();
        }
        let leading = self
            .head()
            .and_then(|head| head.leader.as_ref().zip(Some(&head.strategy)));
        let planned =
            leading.filter(|(_, planned)| *planned != strategy && !planned.as_str().is_empty());
        let strategies = planned.map(|(leader, planned)| Disagreement {
            worker: leader.worker.clone(),
            difference: Difference::Strategy {
                own: strategy.clone(),
                other: planned.clone(),
            },
        });
        strategies
            .into_iter()
            .chain(self.own_list.found().cloned())
            .collect()
    }

    /// Says what the guards obey, if that has changed.
    pub(super) fn poll_promise(&mut self, cx: &mut Cx<'_>) {
        let promise = cx.config().mode().stricter(self.asked());
        self.session.set_promise(cx, promise);
        if let Some(head) = self.head() {
            let (holds, lease) = (head.agreed.holds, head.agreed.longest_lease);
            let known = head.version > Version::ZERO;
            cx.learn_lease(lease, cx.config().clock_drift_ppm());
            let before = self.holds.filter(|&(before, _)| before == holds);
            let before = self.holds.replace(before.unwrap_or((holds, cx.now)));
            let before = before.map(|(before, _)| before);
            if let Some(from) = before.filter(|&from| known && from != holds) {
                cx.notify(Notice::ModeChanged { from, to: holds });
            }
        }
    }
}
