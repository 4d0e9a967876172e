//! Troubles of workers: who is silent, behind, in quarantine, or configured otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parti::directory::{SessionState, WorkerView};
use parti_core::{SessionRecord, WorkerId};

use super::{Facts, Finding, error, note, some, warning};

impl Facts {
    pub(super) fn about_workers(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        found.extend(self.no_workers());
        found.extend(self.silent());
        found.extend(self.behind());
        found.extend(self.other_release());
        found.extend(self.settings());
        found.extend(self.other_list());
        found.extend(self.rejections());
        found.extend(self.quarantine());
        found.extend(self.software());
        found
    }

    pub(super) fn lives(&self, worker: &WorkerView) -> bool {
        matches!(worker.state, SessionState::Known(status) if status.is_living())
            || worker.state == SessionState::OtherRelease
    }

    /// Whether nothing was heard of a session while two renewals were due.
    pub(super) fn is_silent(&self, worker: &WorkerView) -> bool {
        let due = worker.session.as_ref();
        let due = due.map(|session| session.heartbeat_interval * 2);
        due.zip(worker.silent)
            .is_some_and(|(due, silent)| due > Duration::ZERO && silent >= due)
    }

    fn living(&self) -> impl Iterator<Item = (&WorkerId, &SessionRecord)> {
        let workers = self.last.workers.iter().filter(|worker| self.lives(worker));
        workers.filter_map(|worker| Some((&worker.worker, worker.session.as_ref()?)))
    }

    fn no_workers(&self) -> Option<Finding> {
        let living = self.last.workers.iter().filter(|worker| self.lives(worker));
        let capacity: u64 = self.living().map(|(_, it)| u64::from(it.capacity)).sum();
        if living.count() == 0 {
            return Some(error(
                "no-workers",
                "no worker takes part".to_owned(),
                "Start workers, or look at their logs: a start that is refused says why.",
            ));
        }
        (capacity == 0).then(|| {
            error(
                "no-capacity",
                "every worker has capacity 0, so none may own anything".to_owned(),
                "Start a worker with a capacity, or give one to a worker that runs.",
            )
        })
    }

    fn silent(&self) -> Option<Finding> {
        let silent = self.last.workers.iter();
        let silent = silent.filter(|worker| self.lives(worker) && self.is_silent(worker));
        let silent: Vec<_> = silent.map(|worker| &worker.worker).collect();
        (!silent.is_empty()).then(|| {
            error(
                "worker-silent",
                format!("no renewal of {} while two were due", some(silent)),
                "Its process stands still, or cannot reach the store. After a lease its partitions move.",
            )
        })
    }

    fn behind(&self) -> Option<Finding> {
        let behind = self.last.workers.iter().filter(|worker| {
            let mut before = self.first.workers.iter();
            let before = before.find(|old| old.worker == worker.worker);
            worker.behind.is_some() && before.and_then(|old| old.behind) == worker.behind
        });
        let behind: Vec<_> = behind
            .filter(|worker| self.lives(worker) && !self.is_silent(worker))
            .map(|worker| &worker.worker)
            .collect();
        (!behind.is_empty()).then(|| {
            warning(
                "worker-behind",
                format!("{} renew and have not taken in their assignment", some(behind)),
                "Its watch is behind or its driver is kept from running: look at its CPU and its log.",
            )
        })
    }

    fn other_release(&self) -> Option<Finding> {
        let other = self.last.workers.iter();
        let other = other.filter(|worker| worker.state == SessionState::OtherRelease);
        let other: Vec<_> = other.map(|worker| &worker.worker).collect();
        (!other.is_empty()).then(|| {
            note(
                "release-unknown",
                format!(
                    "written in a format this program does not read: {}",
                    some(other)
                ),
                "Use the `parti` of the newest release in the group.",
            )
        })
    }

    /// How workers are configured otherwise than the leader, or than the first of them.
    fn settings(&self) -> Vec<Finding> {
        let leader = self.last.leading.as_ref().and_then(|it| it.leader.as_ref());
        let own = self.living().find(|(worker, _)| Some(*worker) == leader);
        let Some((first, own)) = own.or_else(|| self.living().next()) else {
            return Vec::new();
        };
        let mut differences: BTreeMap<&str, (bool, String, Vec<&WorkerId>)> = BTreeMap::new();
        for (worker, session) in self.living().filter(|(worker, _)| *worker != first) {
            for difference in own.differences(session) {
                let entry = differences.entry(difference.as_str());
                let said = || (difference.refuses(), difference.to_string(), Vec::new());
                entry.or_insert_with(said).2.push(worker);
            }
        }
        let found = differences.into_iter().map(|(_, (breaks, said, workers))| {
            let what = format!("{said} (here is {first}, there {})", some(workers));
            let advice = "Give all workers the same settings, and roll them one by one.";
            match breaks {
                true => error("settings-break", what, advice),
                false => warning("settings-differ", what, advice),
            }
        });
        found.collect()
    }

    fn other_list(&self) -> Option<Finding> {
        let other = self.living();
        let other: Vec<_> = other
            .filter(|(_, session)| session.settings.list.is_some())
            .map(|(worker, _)| worker)
            .collect();
        (!other.is_empty()).then(|| {
            warning(
                "list-differs",
                format!(
                    "sources of {} list other partitions than the group has",
                    some(other)
                ),
                "With the next leader the list changes. Let all workers list from one place.",
            )
        })
    }

    fn rejections(&self) -> Option<Finding> {
        let rejected = self.living().flat_map(|(worker, session)| {
            let all = session.rejections.iter();
            all.map(move |it| format!("{} at {worker}: {}", it.partition, it.reason))
        });
        let rejected: Vec<_> = rejected.collect();
        (!rejected.is_empty()).then(|| {
            error(
                "partitions-rejected",
                some(rejected),
                "The handler fails to begin with them: the reason is its own. They move to others.",
            )
        })
    }

    fn quarantine(&self) -> Option<Finding> {
        let kept = &self.history.head.as_ref()?.carried.quarantined;
        let kept = kept.iter().filter(|it| !it.rest.is_zero());
        let kept: Vec<_> = kept
            .map(|it| format!("{} for {:?} more", it.worker, it.rest))
            .collect();
        (!kept.is_empty()).then(|| {
            warning(
                "worker-quarantined",
                some(kept),
                "It did not do what it was told in time. It is planned for again when that is over; look \
                 at its process before.",
            )
        })
    }

    fn software(&self) -> Option<Finding> {
        let names: BTreeSet<&str> = self.living().map(|(_, it)| it.software.as_str()).collect();
        (names.len() > 1).then(|| {
            note(
                "software-mixed",
                format!("workers run {}", some(names)),
                "Right during a roll-out. If none is going on, one was not finished.",
            )
        })
    }
}
