//! What a leader knows to be wrong with its group, and tells everybody with each renewal.

use alloc::vec::Vec;

use crate::io::effect::WakeReason;
use crate::leader::judging::unowned::{Sight, Unowned};
use crate::leader::judging::verdict::Verdict;
use crate::leader::planning::misfits::Barred;
use crate::leader::{Leader, Work};
use crate::link::cx::Cx;
use crate::model::id::Version;
use crate::model::time::Instant;
use crate::ports::strategy::ParkReason;
use crate::records::problem::{Bulletin, Problem, ProblemKind};

/// What a leader minds about its group beside leading it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Minding {
    unowned: Unowned,
    held: Option<Problem>,
    parked: Option<Problem>,
    /// Since when others cannot be judged.
    not_judging: Option<Instant>,
    /// What owners cannot process, and since when there is some.
    barred: Barred,
    stuck: Option<Instant>,
}

impl Minding {
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
    pub(crate) fn mind_group(&mut self, cx: &Cx<'_>) {
        let (now, config) = (cx.now, cx.config());
        let judges = cx.heard().is_heard() && now >= cx.link().contact().judges_from(config);
        let before = self.minding.not_judging;
        self.minding.not_judging = (!judges).then(|| before.unwrap_or(now));
        if !self.ready {
            return;
        }
        self.minding.barred = Barred::find(&self.view);
        let stuck = self.minding.barred.problem(now).is_some();
        let before = self.minding.stuck;
        self.minding.stuck = stuck.then(|| before.unwrap_or(now));
        self.minding.held = crate::leader::knowledge::holds::problem(config, now, &self.view);
        self.minding.parked = self
            .view
            .parking
            .problem(now, cx.wall_ms(), self.head.partitions);
        let waits = match &self.verdict {
            Verdict::Settle { .. } => true,
            Verdict::Wait(wake) => wake.why == WakeReason::Cooldown,
            Verdict::Quiet | Verdict::Act { .. } => false,
        };
        let planned = self.head.planned > Version::ZERO;
        let digest = self.table.as_ref().map(|table| table.digest());
        let same_list = planned && digest.is_none_or(|digest| digest == self.head.digest);
        // A first commit on its way is no problem either.
        let first = !planned && matches!(self.work, Work::Planning { .. } | Work::Committing(_));
        self.minding.unowned.look(&Sight {
            config,
            now,
            view: &self.view,
            head: &self.head,
            table: self.table.as_deref(),
            gathering: !same_list && (waits || first),
        });
    }

    /// What only the leader knows to be wrong.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        let since = self.minding.not_judging;
        let not_judging = since.map(|since| {
            let detail = "the leader does not hear the store well enough to judge others";
            Problem::new(ProblemKind::NotJudging, since, 0, detail.into())
        });
        let stuck = self.minding.stuck;
        let stuck = stuck.and_then(|since| self.minding.barred.problem(since));
        let unowned = self.minding.unowned.problem();
        let parked = self.minding.parked.clone();
        not_judging
            .into_iter()
            .chain(stuck)
            .chain(unowned)
            .chain(self.disagreements())
            .chain(self.minding.held.clone())
            .chain(parked)
    }

    /// How many partitions are parked for which reason.
    pub(crate) fn parked_by(&self) -> Vec<(ParkReason, u32)> {
        let groups = self.view.parking.groups();
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
        self.ready.then_some(Bulletin {
            term: self.head.term,
            problems,
        })
    }
}
