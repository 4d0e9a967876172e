//! What a member knows to be wrong: by itself, from its own leadership, or because the leader tells it.

use alloc::vec::Vec;

use super::Member;
use crate::config::Config;
use crate::link::Link;
use crate::link::cx::{Cx, Env};
use crate::model::time::Instant;
use crate::ports::strategy::ParkReason;
use crate::records::problem::{Problem, ProblemKind};
use crate::worker::holdings::Holdings;

impl Member {
    /// Everything that is wrong now, each kind at most once, ordered by kind.
    pub(crate) fn problems(&self, env: &Env, now: Instant, holdings: &Holdings) -> Vec<Problem> {
        let (config, link) = (&env.config, &env.link);
        let mut problems: Vec<Problem> = env.failing.problems().collect();
        if self.leader.is_none() {
            problems.extend(holdings.rejections().problem());
        }
        match &self.leader {
            Some(leader) => problems.extend(leader.problems()),
            None => {
                let own = problems.len();
                for told in self.follow.told() {
                    if !problems[..own].iter().any(|known| known.kind == told.kind) {
                        problems.push(told.clone());
                    }
                }
                problems.extend(self.leader_silent(config, link, now));
            }
        }
        problems.extend(self.follow.leaders_change(now));
        problems.extend(self.mode_not_held(config));
        if !problems
            .iter()
            .any(|known| known.kind == ProblemKind::OtherList)
        {
            problems.extend(self.own_list.problem());
        }
        problems.extend(self.store_unfit());
        problems.sort_by_key(|problem| problem.kind);
        problems
    }

    /// How many partitions are parked for which reason, if this member leads.
    pub(crate) fn parked_by(&self) -> Vec<(ParkReason, u32)> {
        let leader = self.leader.as_ref();
        leader.map_or_else(Vec::new, |leader| leader.parked_by())
    }

    /// How many terms this member saw begin within the last minute.
    pub(crate) fn recent_terms(&self, now: Instant) -> u32 {
        self.follow.recent_terms(now).count() as u32
    }

    /// Something about the store breaks what the group rests on.
    fn store_unfit(&self) -> Option<Problem> {
        let (since, faults) = (self.unfit_since?, &self.info.faults);
        let words: Vec<_> = faults
            .iter()
            .map(|fault| alloc::format!("{fault}"))
            .collect();
        let detail = words.join("; ");
        Some(Problem::new(
            ProblemKind::StoreUnfit,
            since,
            faults.len(),
            detail,
        ))
    }

    /// The leader gives no sign of life although this member hears the store.
    fn leader_silent(&self, config: &Config, link: &Link, now: Instant) -> Option<Problem> {
        let (leader, since) = self.follow.leader_heard()?;
        let since = since.max(link.heard(config, now).since()?);
        let silent = now.since(since) > config.lease();
        let detail = alloc::format!("{leader} is the leader and gives no sign of life");
        silent.then(|| Problem::new(ProblemKind::LeaderSilent, since, 1, detail))
    }

    /// A leader looks at its group before its renewal tells everybody of it.
    pub(super) fn poll_bulletin(&mut self, cx: &mut Cx<'_>) {
        let bulletin = self.leader.as_mut().and_then(|leader| {
            leader.poll_health(cx);
            leader.bulletin(cx)
        });
        self.session.set_bulletin(bulletin);
    }
}
