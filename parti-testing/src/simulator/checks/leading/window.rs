//! S14: joins are collected for the whole window, and a new group gathers for the whole cold start or,
//! where nobody says how many are expected, until nobody has joined for half an interval, in exclusive
//! mode for a lease at least; unless all expected workers are there.
//!
//! Recomputed on the leader's clock from the sessions it was shown: who had joined since the last plan
//! it committed (for a new leader, since the records in the store), and when it first heard of each.
//! What was waited for under an earlier leader counts: windows go by when a session truly began, and
//! when the group truly had nothing.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::basis::hearing::Known;
use crate::simulator::checks::{
    Check, Eviction, Findings, Planning, Process, Proposal, Rules, StepEnd, Written,
};
use parti_core::{
    Cause, Epoch, Instant, Key, Mode, Notice, Record, Revision, SessionStatus, WorkerId, WriteId,
};

/// The clock of a leader may step back a little between hearing and judging.
const CLOCK_STEP_MAX: Duration = Duration::from_micros(500);

/// A decision to plan.
#[derive(Debug)]
struct Decision {
    at: Instant,
    /// For whom it plans.
    workers: BTreeSet<WorkerId>,
    /// When the first and the last of those that joined were heard of.
    joined: Option<(Instant, Instant)>,
    /// Whether all expected workers were there.
    complete: bool,
    /// Since when the group had had nothing.
    cold_since: Option<Instant>,
}

/// What a leader has planned.
#[derive(Debug, Default)]
struct Leadership {
    gained: Instant,
    decided: Option<Decision>,
    /// The write that is on its way, and for whom it plans.
    proposed: Option<(WriteId, BTreeSet<WorkerId>)>,
    /// For whom the last plan was made.
    basis: Option<BTreeSet<WorkerId>>,
    /// The writes by which it ended sessions: it knows of them before they come back to it.
    ended: BTreeMap<WorkerId, Revision>,
    /// Whether it began with the list that the records name. Such a leader plans for those who have
    /// nothing, and everybody else waits for the source: who waits since when, only it knows.
    inherited: bool,
    /// Workers that a plan was made without and that kept what they had, and since when they have been
    /// waiting for their share.
    spared: BTreeMap<WorkerId, Instant>,
}

#[derive(Debug)]
pub(in crate::simulator) struct Window {
    cold: Duration,
    quiet: Duration,
    /// What somebody may still rely on when a group begins that has nothing.
    lease: Duration,
    planned: Duration,
    expected: Option<u32>,
    /// Workers with an assignment record in the store.
    recorded: BTreeSet<WorkerId>,
    /// When each session began, in true time: a leader may know the one before the last of a slot.
    began: BTreeMap<(WorkerId, Epoch), Instant>,
    /// Since when there have been sessions and no records, in true time.
    cold_since: Option<Instant>,
    leaderships: BTreeMap<Process, Leadership>,
    /// Workers whose record a process was shown and could not read.
    unread: BTreeMap<Process, BTreeSet<WorkerId>>,
    /// Who has just begun to lead: its time is told at the end of the step.
    gaining: Vec<Process>,
}

impl Window {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            cold: rules.windows.0,
            quiet: rules.heartbeat / 2,
            lease: match rules.mode {
                Mode::Exclusive | Mode::Fenced if !rules.mixed => rules.lease,
                Mode::Exclusive | Mode::Fenced | Mode::Overlap => Duration::ZERO,
            },
            planned: rules.windows.1,
            expected: rules.expected_workers,
            recorded: BTreeSet::new(),
            began: BTreeMap::new(),
            cold_since: None,
            leaderships: BTreeMap::new(),
            unread: BTreeMap::new(),
            gaining: Vec::new(),
        }
    }

    fn commit(&mut self, at: Instant, process: Process, writes: &[Written]) {
        for write in writes {
            if let (Key::Session(worker), Some(Record::Session(record))) =
                (&write.key, write.record())
                && record.epoch == Epoch::ZERO
            {
                let session = (worker.clone(), Epoch::from(write.revision));
                self.began.insert(session, at);
            }
            match (&write.key, write.record()) {
                (Key::Assignment(worker), Some(_)) => {
                    self.recorded.insert(worker.clone());
                }
                (Key::Assignment(worker), None) => {
                    self.recorded.remove(worker);
                }
                (Key::Session(worker), Some(Record::Session(record)))
                    if !record.status.is_living() =>
                {
                    if let Some(leadership) = self.leaderships.get_mut(&process) {
                        leadership.ended.insert(worker.clone(), write.revision);
                    }
                }
                (Key::Head, Some(Record::Head(head))) => {
                    let Some(leadership) = self.leaderships.get_mut(&process) else {
                        continue;
                    };
                    if let Some((_, basis)) =
                        leadership.proposed.take_if(|(id, _)| *id == head.write)
                        && head.planned == head.version
                    {
                        leadership
                            .spared
                            .retain(|worker, _| !basis.contains(worker));
                        leadership.basis = Some(basis);
                    }
                }
                _ => {}
            }
        }
        self.note_cold(at);
    }

    fn note_cold(&mut self, at: Instant) {
        if !self.recorded.is_empty() {
            self.cold_since = None;
        } else if !self.began.is_empty() {
            self.cold_since.get_or_insert(at);
        }
    }

    fn note(&mut self, process: Process, notice: &Notice) {
        if matches!(notice, Notice::LeadershipGained { .. }) {
            let leadership = Leadership {
                gained: Instant::FAR_FUTURE,
                ..Leadership::default()
            };
            self.gaining.push(process);
            self.leaderships.insert(process, leadership);
        }
        if let Notice::RecordIgnored { key, .. } = notice
            && let Key::Assignment(worker) = Key::parse(key)
        {
            self.unread.entry(process).or_default().insert(worker);
        }
        let Some(leadership) = self.leaderships.get_mut(&process) else {
            return;
        };
        let decided = leadership.decided.as_ref().map(|decision| decision.at);
        match (notice, decided) {
            (Notice::LeadershipLost { .. }, _) => {
                self.leaderships.remove(&process);
            }
            (Notice::ListInherited { .. }, _) => leadership.inherited = true,
            (Notice::PlanUnchanged { .. }, _) => leadership.decided = None,
            // Without a record it never had a share, and has been waiting for one since it came.
            (Notice::EvictionCancelled { worker }, Some(at)) if self.recorded.contains(worker) => {
                leadership.spared.entry(worker.clone()).or_insert(at);
            }
            (_, _) => {}
        }
    }

    fn decide(
        &mut self,
        findings: &Findings,
        process: Process,
        at: Instant,
        workers: BTreeSet<WorkerId>,
    ) {
        let now = findings.now();
        let since = |truly: Instant| at.saturating_sub(longest(now.since(truly)));
        let Some(leadership) = self.leaderships.get_mut(&process) else {
            return;
        };
        let nothing = Known::default();
        let known = findings.hearing().of(process).unwrap_or(&nothing);
        let active = || {
            let sessions = known.sessions.iter();
            // What is due comes before what is heard in the same step, such as a release.
            sessions.filter(|(_, heard)| heard.status == SessionStatus::Active || heard.at == at)
        };
        // What a leader cannot read of the time before it, it does not go by.
        let readable = || {
            let unread = self.unread.get(&process);
            let all = self.recorded.iter();
            all.filter(|worker| unread.is_none_or(|unread| !unread.contains(*worker)))
                .cloned()
                .collect()
        };
        let basis = &leadership.basis.clone().unwrap_or_else(readable);
        // A worker that is left out of the plan, for having failed before, is not waited for either.
        let new = |worker: &WorkerId| workers.contains(worker) && !basis.contains(worker);
        let joined: Vec<Instant> = active()
            .filter(|(worker, _)| new(worker) && !leadership.spared.contains_key(*worker))
            // What is due comes before what is heard in the same step.
            .map(|(worker, heard)| {
                let began = self.began.get(&(worker.clone(), heard.epoch)).copied();
                let heard = if heard.joined == at {
                    heard.earlier
                } else {
                    heard.joined
                };
                began.map_or(heard, |began| heard.min(since(began)))
            })
            .collect();
        // Who was left out before has been waiting for at least so long.
        let spared = active().filter_map(|(worker, _)| leadership.spared.get(worker).copied());
        let left_out: Vec<Instant> = spared.collect();
        let first = joined.iter().chain(&left_out).min().copied();
        let last = joined.iter().max().or(left_out.iter().max()).copied();
        let expected = self.expected.map(|expected| expected as usize);
        let decision = Decision {
            at,
            workers: workers.clone(),
            joined: first.zip(last),
            complete: expected.is_some_and(|expected| active().count() >= expected),
            cold_since: self.cold_since.map(since),
        };
        leadership.decided = Some(decision);
    }

    /// What is wrong with a proposal, if anything.
    fn propose(
        &mut self,
        process: Process,
        proposal: &Proposal,
        findings: &mut Findings,
    ) -> Option<String> {
        let leadership = self.leaderships.get_mut(&process)?;
        let known = leadership.proposed.as_ref().map(|(write, _)| *write);
        if known == Some(proposal.write) {
            return None;
        }
        let head = &proposal.head;
        let decision = (head.planned == head.version)
            .then(|| leadership.decided.take())
            .flatten()
            // One whose plan failed was given up.
            .filter(|decision| {
                let spared = leadership.spared.keys();
                let spared = spared.filter(|worker| !decision.workers.contains(*worker));
                let least = decision.workers.len();
                (least..=least + spared.count()).contains(&(head.workers as usize))
            });
        let Some(decision) = decision else {
            // A handoff goes on, or nobody is left to own anything: then it is made without a plan,
            // for all that take part.
            let known = findings.hearing().of(process);
            let mut all = present(known, &proposal.evictions);
            all.retain(|worker| {
                let heard = known.and_then(|known| known.sessions.get(worker));
                leadership.ended.get(worker) <= heard.map(|heard| &heard.revision)
            });
            if head.planned == head.version && all.len() != head.workers as usize {
                // Somebody was left out, and nothing says who: then nobody counts as planned for.
                all.clear();
            }
            leadership.proposed = Some((proposal.write, all));
            return None;
        };
        leadership.proposed = Some((proposal.write, decision.workers));
        if decision.complete || leadership.inherited {
            return None;
        }
        let until = match head.cause {
            Cause::ColdStart => {
                let since = decision.cold_since.unwrap_or(leadership.gained);
                let since = since.min(leadership.gained);
                let last = decision.joined.map_or(since, |(_, last)| last.max(since));
                let settled = (last + self.quiet).max(since + self.lease);
                let most = since + self.cold;
                if self.expected.is_some() || most < settled {
                    most
                } else {
                    findings.met("cold_start_quiet");
                    settled
                }
            }
            Cause::PlannedScale => {
                joined_until(self.planned, decision.at, decision.joined?, findings)
            }
            Cause::Takeover
            | Cause::Resignation
            | Cause::Restart
            | Cause::Emergency
            | Cause::Drain
            | Cause::PartitionsChanged
            | Cause::WeightsChanged
            | Cause::Manual
            | Cause::Resume
            | Cause::Unprocessed
            | Cause::Parked
            | Cause::Settings
            | _ => return None,
        };
        let (at, cause) = (decision.at, head.cause);
        (at + CLOCK_STEP_MAX < until)
            .then(|| format!("{process} decides at {at} on {cause}, the window ends at {until}"))
    }
}

/// When a window for joins ends of which the first and the last are known.
fn joined_until(
    window: Duration,
    decided: Instant,
    (first, last): (Instant, Instant),
    findings: &mut Findings,
) -> Instant {
    let settled = (first + window).max(last + window / 2);
    let (least, most) = (first + window, first + window * 2);
    if least < settled && last < least {
        findings.met("window_extended");
    }
    // The last join alone would have made it wait for longer.
    if most < settled && last < most && decided < settled {
        findings.met("window_capped");
    }
    settled.min(most)
}

/// A length of true time as the fastest clock shows it.
fn longest(length: Duration) -> Duration {
    length + length / 15
}

/// The workers a leader has heard of that take part and that it does not evict.
fn present(known: Option<&Known>, evictions: &[Eviction]) -> BTreeSet<WorkerId> {
    let evicted: BTreeSet<&WorkerId> = evictions.iter().map(|eviction| &eviction.worker).collect();
    let sessions = known.into_iter().flat_map(|known| &known.sessions);
    sessions
        .filter(|(worker, heard)| {
            heard.status == SessionStatus::Active && !evicted.contains(worker)
        })
        .map(|(worker, _)| worker.clone())
        .collect()
}

impl Check for Window {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let at = findings.now();
        self.commit(at, process, writes);
    }

    fn on_external(&mut self, at: Instant, writes: &[Written]) {
        // The next leader may not know of that record.
        for write in writes {
            if let Key::Assignment(worker) = &write.key {
                self.recorded.remove(worker);
            }
        }
        self.note_cold(at);
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, _: &mut Findings) {
        self.note(process, notice);
    }

    fn on_planned(&mut self, process: Process, planning: &Planning, findings: &mut Findings) {
        let local = planning.local;
        let workers = planning.input.workers.as_slice().iter();
        let workers = workers.map(|worker| worker.id.clone()).collect();
        self.decide(findings, process, local, workers);
    }

    fn on_proposes(&mut self, process: Process, proposal: &Proposal, findings: &mut Findings) {
        if let Some(reason) = self.propose(process, proposal, findings) {
            findings.report(reason);
        }
    }

    fn on_settled(&mut self, process: Process, end: &StepEnd, _: &mut Findings) {
        if self.gaining.is_empty() {
            return;
        }
        self.gaining.retain(|gaining| *gaining != process);
        if let Some(leadership) = self.leaderships.get_mut(&process)
            && leadership.gained == Instant::FAR_FUTURE
        {
            leadership.gained = end.local;
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.leaderships.remove(&process);
        self.unread.remove(&process);
    }
}
