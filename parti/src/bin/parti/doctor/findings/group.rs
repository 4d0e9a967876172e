//! Troubles of the group: its leader, its partitions, its handoffs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parti::directory::{PartitionState, View};
use parti_core::{PartitionKey, ProblemKind, WorkerId};

use super::{Facts, Finding, error, some, warning};
use crate::show::status::{at, told};

/// How long a handoff may take.
const HANDOFF_MS: u64 = 60_000;
/// Within which time leaders that change are too many.
const TERMS_WITHIN_MS: u64 = 600_000;
/// How many terms in that time are too many.
const TERMS: usize = 4;

impl Facts {
    pub(super) fn about_leader(&self) -> Vec<Finding> {
        let mut found: Vec<_> = [
            self.no_leader(),
            self.leader_silent(),
            self.leaders_change(),
        ]
        .into_iter()
        .flatten()
        .collect();
        found.extend(self.futile());
        found.extend(self.mode_not_held());
        found.extend(self.list_not_taken());
        found.extend(self.waiting_request());
        found.extend(self.told_by_leader());
        found
    }

    pub(super) fn about_partitions(&self) -> Vec<Finding> {
        let checks = [
            self.two_owners(),
            self.unowned(),
            self.parked(),
            self.stuck_handoffs(),
        ];
        checks.into_iter().flatten().collect()
    }

    fn no_leader(&self) -> Option<Finding> {
        let nobody = |view: &View| view.leading.as_ref().is_none_or(|it| it.leader.is_none());
        (nobody(&self.first) && nobody(&self.last)).then(|| {
            error(
                "no-leader",
                format!("nobody has led the group for {:?}", self.watched),
                "Is a worker running that can reach the store? Its health says why it does not lead.",
            )
        })
    }

    fn leader_silent(&self) -> Option<Finding> {
        let leader = |view: &View| view.leading.as_ref()?.leader.clone();
        let leader = leader(&self.last).filter(|it| leader(&self.first).as_ref() == Some(it))?;
        let mut workers = self.last.workers.iter();
        let session = workers.find(|worker| worker.worker == leader);
        let is_gone = session.is_none_or(|worker| !self.lives(worker) || self.is_silent(worker));
        is_gone.then(|| {
            error(
                "leader-silent",
                format!("{leader} leads and gives no sign of life"),
                "Another worker takes over after a lease. If none does: can the others reach the store?",
            )
        })
    }

    fn leaders_change(&self) -> Option<Finding> {
        let entries = &self.last.generations;
        let newest = entries.last()?.at_ms;
        let recent = entries
            .iter()
            .filter(|entry| entry.at_ms + TERMS_WITHIN_MS >= newest);
        let terms: BTreeSet<_> = recent.map(|entry| entry.term).collect();
        (terms.len() >= TERMS).then(|| {
            warning(
                "leaders-change",
                format!("{} terms within ten minutes", terms.len()),
                "Leaders lose the store or end: look for restarts, for a lease that is too short for the \
                 way to the server, and for CPU limits.",
            )
        })
    }

    fn futile(&self) -> Option<Finding> {
        let futile = self.history.head.as_ref()?.carried.futile;
        (futile > 0).then(|| {
            error(
                "terms-futile",
                format!("{futile} leaders in a row gave up since they could not do their work"),
                "The cause is common to all: the partition source, the strategy or the store. The health \
                 of the leader names it.",
            )
        })
    }

    fn mode_not_held(&self) -> Option<Finding> {
        let agreed = self.history.head.as_ref()?.agreed;
        (agreed.mode != agreed.holds).then(|| {
            warning(
                "mode-not-held",
                format!("the group is asked for {} and {} holds", agreed.mode, agreed.holds),
                "It holds once every worker obeys it and nothing is held twice: restart workers of the \
                 other mode.",
            )
        })
    }

    fn list_not_taken(&self) -> Option<Finding> {
        let head = self.history.head.as_ref()?;
        let stored = self.stored_list?;
        let version = |view: &View| view.leading.as_ref().map(|it| it.version);
        let is_quiet = version(&self.first) == version(&self.last);
        (stored != head.digest && is_quiet).then(|| {
            warning(
                "list-not-taken",
                "the partition list in the bucket is not the one that is assigned".to_owned(),
                "The leader lists again at its next look; `refresh` asks for it now. If it stays, \
                 the group uses another source.",
            )
        })
    }

    fn waiting_request(&self) -> Option<Finding> {
        let requests = self.last.requests.iter();
        let old = requests
            .filter(|request| !request.verb.is_order())
            .filter(|request| {
                let same = |it: &&parti::directory::Request| {
                    (it.verb, &it.worker) == (request.verb, &request.worker)
                };
                self.first.requests.iter().any(|it| same(&it))
            });
        let old: Vec<_> = old
            .map(|it| format!("{} by {}", it.verb.as_str(), it.author))
            .collect();
        (!old.is_empty()).then(|| {
            warning(
                "request-waiting",
                format!("asked for and not done: {}", some(old)),
                "A request is done in the next generation. It waits for a leader, or for plans to succeed.",
            )
        })
    }

    /// What the leader tells, unless it shows in the records as well.
    fn told_by_leader(&self) -> Vec<Finding> {
        let told = told(&self.last).iter().filter_map(|problem| {
            let (code, advice) = match problem.kind {
                ProblemKind::NotJudging => (
                    "leader-not-judging",
                    "The leader hears the store too badly to judge others: look at the way between them.",
                ),
                ProblemKind::PlanFailing => (
                    "plan-failing",
                    "The strategy fails; partitions stay where they are. Its error is in the leader's log.",
                ),
                ProblemKind::SourceFailing => (
                    "source-failing",
                    "The leader cannot list the partitions: is what the source reads within its reach?",
                ),
                ProblemKind::CommitFailing => (
                    "commit-failing",
                    "The store refuses generations: quotas, limits, permissions.",
                ),
                ProblemKind::SlotsHeld => (
                    "slots-held",
                    "Partitions wait for replacements of workers that left. Start those, or rebalance.",
                ),
                ProblemKind::Unowned
                | ProblemKind::Parked
                | ProblemKind::LeaderSilent
                | ProblemKind::LeadersChange
                | ProblemKind::HandlerFailing
                | ProblemKind::ModeNotHeld
                | ProblemKind::OtherList
                | ProblemKind::SettingsDiffer
                | ProblemKind::StoreUnfit => return None,
                ProblemKind::Other(_) | _ => ("leader-tells", "Look at the health of the leader."),
            };
            let what = format!("{}: {}", problem.kind.as_str(), problem.detail);
            Some(error(code, what, advice))
        });
        told.collect()
    }

    fn two_owners(&self) -> Option<Finding> {
        let mut owners: BTreeMap<&PartitionKey, Vec<&WorkerId>> = BTreeMap::new();
        for (worker, record) in &self.history.assignments {
            let session = self.history.sessions.get(worker);
            let holds = session
                .is_some_and(|session| session.status.is_living() && session.epoch == record.epoch);
            for grant in record.granted.iter().filter(|_| holds) {
                owners.entry(&grant.partition).or_default().push(worker);
            }
        }
        owners.retain(|_, workers| workers.len() > 1);
        (!owners.is_empty()).then(|| {
            error(
                "two-owners",
                format!("granted to two workers: {}", some(owners.keys())),
                "Somebody else wrote assignments. Stop one of the workers; sinks that check tokens take \
                 the higher one.",
            )
        })
    }

    fn unowned(&self) -> Option<Finding> {
        let without = |view: &View| -> BTreeSet<PartitionKey> {
            let all = view.partitions.iter();
            let unowned = all.filter(|it| matches!(it.state, PartitionState::Unowned { .. }));
            unowned.map(|it| it.partition.clone()).collect()
        };
        let (before, after) = (without(&self.first), without(&self.last));
        let both: Vec<_> = before.intersection(&after).collect();
        let nameless = self.first.nameless.min(self.last.nameless);
        (!both.is_empty() || nameless > 0).then(|| {
            error(
                "partitions-unowned",
                format!("{} partitions without owner: {}", both.len() + nameless, some(both)),
                "A leader gives them out after a lease. If not: `parti explain` says why for each, and the \
                 leader's health what keeps it.",
            )
        })
    }

    fn parked(&self) -> Option<Finding> {
        let groups = self.history.parked.iter().filter(|group| group.count > 0);
        let groups: Vec<_> = groups
            .map(|it| format!("{} ({}) need {}", it.count, it.reason, it.needs))
            .collect();
        (!groups.is_empty()).then(|| {
            error(
                "partitions-parked",
                some(groups),
                "Start a worker that offers what they need, or change the rules of the strategy.",
            )
        })
    }

    fn stuck_handoffs(&self) -> Option<Finding> {
        let is_old = |version| {
            let begun = at(&self.last, version);
            let by_clock = begun.is_some_and(|ms| ms + HANDOFF_MS < self.wall_ms);
            by_clock || self.watched >= Duration::from_millis(HANDOFF_MS)
        };
        let stuck = self.last.handoffs.iter().filter(|it| {
            let before = self.first.handoffs.iter();
            let mut same =
                before.filter(|old| (&old.partition, old.since) == (&it.partition, it.since));
            same.any(|old| old.from == it.from) && is_old(it.since)
        });
        let stuck: Vec<_> = stuck
            .map(|it| format!("{} by {}", it.partition, it.from))
            .collect();
        (!stuck.is_empty()).then(|| {
            error(
                "handoff-stuck",
                format!("handoffs that are held up: {}", some(stuck)),
                "The worker's handler does not return from on_revoked, or its process stands still. Look \
                 at it, or end it: its partitions move after a lease.",
            )
        })
    }
}
