//! L1 to L8 and L12: the steps of the recovery, each with its own bound. Whatever holds a group up is
//! then reported as the first step that is late, and not only as a group that has not settled.
//!
//! Every step is judged at one instant from the store and the processes. What a step waits for is due
//! to its newest cause, so that a record of this very moment is not yet late.

use core::time::Duration;

use crate::simulator::checks::{Check, Coverage, Findings, Rules, Stage, Standing};
use parti_core::State;

/// What is still missing for a step, in words.
type Pending = fn(&Coverage, Duration) -> Vec<String>;

#[derive(Debug)]
pub(in crate::simulator) struct RecoveryStep {
    stage: Stage,
    pending: Pending,
    /// How long a record may wait for its effect.
    patience: Duration,
}

impl RecoveryStep {
    pub(in crate::simulator) fn new(stage: Stage, rules: &Rules) -> Self {
        let pending: Pending = match stage {
            Stage::Claimed => claimed,
            Stage::Elected => elected,
            Stage::Seen => seen,
            Stage::Detected => detected,
            Stage::Decided => decided,
            Stage::Applied => applied,
            Stage::HandedOver => handed_over,
            Stage::Confirmed => confirmed,
            Stage::Recovered => recovered,
        };
        Self {
            stage,
            pending,
            patience: rules.lease * 2,
        }
    }
}

impl Check for RecoveryStep {
    fn on_milestone(&mut self, stage: Stage, coverage: &Coverage, findings: &mut Findings) {
        // A group that has settled before its time may be on its way to the next change.
        if stage != self.stage || coverage.settled {
            return;
        }
        let pending = (self.pending)(coverage, self.patience);
        if !pending.is_empty() {
            findings.report(format!("in time, but {}", pending.join("; ")));
        }
    }
}

/// L1.
fn claimed(coverage: &Coverage, _: Duration) -> Vec<String> {
    let without = coverage.core().filter(|worker| worker.id.is_none());
    without
        .map(|worker| format!("{} has no ID and is {}", worker.process, worker.state))
        .collect()
}

/// L2.
fn elected(coverage: &Coverage, _: Duration) -> Vec<String> {
    coverage.pending_leader()
}

/// L3: what can be seen of a leader's view from outside is the generation it goes on from. That it
/// knows the workers is seen in L4 and L5.
fn seen(coverage: &Coverage, _: Duration) -> Vec<String> {
    let (Some(leader), Some(head)) = (coverage.leader(), &coverage.stored.head) else {
        return vec!["nobody leads".to_owned()];
    };
    let (knows, newest) = (leader.version, head.version);
    if knows == newest {
        return Vec::new();
    }
    vec![format!(
        "{} leads from version {knows}, the newest is {newest}",
        leader.process
    )]
}

/// L4.
fn detected(coverage: &Coverage, _: Duration) -> Vec<String> {
    let sessions = coverage.stored.sessions.iter();
    let dead = sessions.filter(|(worker, (_, epoch, record))| {
        let held = coverage.workers.iter().any(|present| {
            present.standing != Standing::CutOff
                && present.id.as_ref() == Some(&((*worker).clone(), *epoch))
        });
        record.status.is_living() && !held
    });
    dead.filter(|(_, (at, _, record))| {
        // The session of a process that has just gone may still run out.
        coverage.now.since(*at) >= record.lease * 2
    })
    .map(|(worker, (at, ..))| format!("{worker} is dead since {at} and counts as alive"))
    .collect()
}

/// L5.
fn decided(coverage: &Coverage, _: Duration) -> Vec<String> {
    let mut pending = Vec::new();
    for worker in coverage.core() {
        let Some((id, epoch)) = &worker.id else {
            pending.push(format!("{} has no ID", worker.process));
            continue;
        };
        if coverage.stored.kept_out.contains(id) {
            continue;
        }
        let record = coverage.stored.assignments.get(id);
        if record.is_none_or(|(_, record)| record.epoch != *epoch) {
            pending.push(format!(
                "{} has no record as {id} of {epoch}",
                worker.process
            ));
        }
    }
    let listed = coverage.partitions.len();
    match &coverage.stored.head {
        Some(head) if head.partitions as usize == listed => {}
        Some(head) => pending.push(format!(
            "{} partitions are planned for, {listed} are listed",
            head.partitions
        )),
        None => pending.push("nothing was ever decided".to_owned()),
    }
    pending
}

/// L6.
fn applied(coverage: &Coverage, patience: Duration) -> Vec<String> {
    let core = coverage
        .core()
        .filter_map(|worker| Some((worker, worker.id.as_ref()?)));
    let late = core.filter_map(|(worker, (id, epoch))| {
        let (at, record) = coverage.stored.assignments.get(id)?;
        let (_, present, session) = coverage.stored.sessions.get(id)?;
        let waits = present == epoch && record.epoch == *epoch && session.applied < record.version;
        let late = waits && coverage.now.since(*at) >= patience;
        late.then(|| {
            let (applied, version) = (session.applied, record.version);
            format!(
                "{} has taken in {applied} and not {version}",
                worker.process
            )
        })
    });
    late.collect()
}

/// L7.
fn handed_over(coverage: &Coverage, _: Duration) -> Vec<String> {
    match &coverage.stored.head {
        Some(head) if head.unfinished > 0 && !coverage.restless => {
            vec![format!("{} partitions wait", head.unfinished)]
        }
        Some(_) | None => Vec::new(),
    }
}

/// L8: of workers outside the core, whose links may let them renew and not hear.
fn confirmed(coverage: &Coverage, _: Duration) -> Vec<String> {
    let records = coverage.stored.assignments.iter();
    let unconfirmed = records.filter_map(|(worker, (at, record))| {
        let (_, epoch, session) = coverage.stored.sessions.get(worker)?;
        let living = *epoch == record.epoch && session.status.is_living();
        let black = living && session.applied < record.version && !record.granted.is_empty();
        // Taking it away takes the patience of the leader and the lease of the one evicted.
        let late = coverage.now.since(*at) >= session.lease * 6;
        (black && late).then(|| {
            let (count, applied) = (record.granted.len(), session.applied);
            let version = record.version;
            format!("{worker} is granted {count} in {version} and has taken in {applied}")
        })
    });
    unconfirmed.collect()
}

/// L12.
fn recovered(coverage: &Coverage, _: Duration) -> Vec<String> {
    let degraded = coverage.core().filter(|w| w.state == State::Degraded);
    degraded
        .map(|worker| format!("{} is degraded", worker.process))
        .collect()
}
