//! What a leader knows to be wrong with its group, and tells everybody with each renewal.

use alloc::vec::Vec;

use crate::io::effect::WakeReason;
use crate::leader::Leader;
use crate::leader::judging::unowned::{Sight, Unowned};
use crate::leader::judging::verdict::Verdict;
use crate::leader::planning::rejections::Barred;
use crate::link::cx::Cx;
use crate::model::id::Version;
use crate::model::time::Instant;
use crate::ports::strategy::ParkReason;
use crate::records::problem::{Bulletin, Problem, ProblemKind};

/// What a leader minds about its group beside leading it.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupHealth {
    unowned: Unowned,
    held: Option<Problem>,
    parked: Option<Problem>,
    /// Since when others cannot be judged.
    not_judging: Option<Instant>,
    /// What owners cannot process, and since when there is some.
    barred: Barred,
    stuck: Option<Instant>,
}

impl GroupHealth {
    pub(crate) fn inherit(unowned: Option<Problem>) -> Self {
        Self {
            unowned: Unowned::inherit(unowned),
            ..Self::default()
        }
    }

    /// A generation was committed that gave something to somebody.
    pub(crate) fn placed(&mut self) {
        self.unowned.placed();
    }
}

impl Leader {
    /// Looks at the group, before a renewal says what there is to say.
    pub(crate) fn poll_health(&mut self, cx: &Cx<'_>) {
        let (now, config) = (cx.now, cx.config());
        let judges = cx.heard().is_heard() && now >= cx.link().contact().judges_from(config);
        let before = self.health.not_judging;
        self.health.not_judging = (!judges).then(|| before.unwrap_or(now));
        if !self.leadership.is_informed() {
            return;
        }
        self.health.barred = Barred::find(&self.knowledge.view);
        let stuck = self.health.barred.problem(now).is_some();
        let before = self.health.stuck;
        self.health.stuck = stuck.then(|| before.unwrap_or(now));
        self.health.held =
            crate::leader::knowledge::holds::problem(config, now, &self.knowledge.view);
        self.health.parked =
            self.knowledge
                .view
                .parking
                .problem(now, cx.wall_ms(), self.knowledge.head.partitions);
        let waits = match &self.judgement.verdict {
            Verdict::Settle { .. } => true,
            Verdict::Wait(wake) => wake.why == WakeReason::Cooldown,
            Verdict::Quiet | Verdict::Act { .. } => false,
        };
        let planned = self.knowledge.head.planned > Version::ZERO;
        let digest = self.list.table.as_ref().map(|table| table.digest());
        let same_list = planned && digest.is_none_or(|digest| digest == self.knowledge.head.digest);
        // A first commit on its way is no problem either.
        let first = !planned && self.leadership.is_busy();
        self.health.unowned.look(&Sight {
            config,
            now,
            view: &self.knowledge.view,
            head: &self.knowledge.head,
            table: self.list.table.as_deref(),
            gathering: !same_list && (waits || first),
        });
    }

    /// What only the leader knows to be wrong.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        let since = self.health.not_judging;
        let not_judging = since.map(|since| {
            let detail = "the leader does not hear the store well enough to judge others";
            Problem::new(ProblemKind::NotJudging, since, 0, detail.into())
        });
        let stuck = self.health.stuck;
        let stuck = stuck.and_then(|since| self.health.barred.problem(since));
        let unowned = self.health.unowned.problem();
        let parked = self.health.parked.clone();
        not_judging
            .into_iter()
            .chain(stuck)
            .chain(unowned)
            .chain(self.knowledge.disagreements())
            .chain(self.health.held.clone())
            .chain(parked)
    }

    /// How many partitions are parked for which reason.
    pub(crate) fn parked_by(&self) -> Vec<(ParkReason, u32)> {
        let groups = self.knowledge.view.parking.groups();
        let by = ParkReason::ALL.map(|reason| {
            let of = groups.iter().filter(|group| group.reason == reason);
            (reason, of.map(|group| group.count).sum::<u32>())
        });
        by.into_iter().filter(|&(_, count)| count > 0).collect()
    }

    /// What everybody is told; `None` as long as it knows too little.
    pub(crate) fn bulletin(&self, cx: &mut Cx<'_>) -> Option<Bulletin> {
        let now = cx.now;
        let problems = cx.failing().problems().chain(self.problems());
        let problems: Vec<_> = problems.map(|problem| problem.told(now)).collect();
        self.leadership.is_informed().then_some(Bulletin {
            term: self.knowledge.head.term,
            problems,
        })
    }
}
