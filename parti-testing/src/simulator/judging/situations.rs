//! What a batch has seen: the proof that its checkers had something to check.
//!
//! A property that never met the situation it is about proves nothing; every counter here names such
//! a situation. What always holds: every name is in the result, also with zero.

use core::cmp::Ordering;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use parti_core::{
    Agreed, Cause, Epoch, Expect, Head, HistoryLoss, Instant, Key, Mode, Notice, Record, Remains,
    Revision, SessionRecord, SessionStatus, Term, WorkerId,
};

use crate::simulator::checks::basis::ledger::{Freed, Ledger};
use crate::simulator::checks::{AppliedCommit, Check, Findings, Planning, Process, Rules, Written};

/// The names of everything that is counted.
pub const SITUATIONS: &[&str] = &[
    "abandoned_partition",
    "applied_late",
    "assignment_lost_at_crash",
    "bucket_missing_detected",
    "bucket_recreated",
    "callback_failed",
    "callback_hung",
    "callback_slow",
    "clock_jump",
    "clock_jump_of_known_length",
    "clock_stood_still",
    "clock_went_back",
    "cold_start_quiet",
    "commit_cold_start",
    "commit_denied",
    "commit_drain",
    "commit_emergency",
    "commit_manual",
    "commit_parked",
    "commit_partitions_changed",
    "commit_planned_scale",
    "commit_restart",
    "commit_resume",
    "commit_settings",
    "commit_split",
    "assignment_in_pieces",
    "commit_stuck",
    "commit_takeover",
    "commit_unprocessed",
    "commit_weights_changed",
    "network_partition_rolling",
    "answers_lost",
    "degraded",
    "died_in_callback",
    "emergency_in_cooldown",
    "evicted_alive",
    "evicted_silent",
    "evicted_suspected",
    "eviction_cancelled",
    "flushed_at_reconnect",
    "external_damaged",
    "external_delete",
    "external_junk",
    "external_newer_format",
    "external_vanish",
    "external_worker",
    "external_worker_ended",
    "external_wrong_kind",
    "format_lowered",
    "format_raised",
    "grant_after_acknowledgement",
    "grant_after_eviction",
    "grant_after_release",
    "grant_after_replacement",
    "grant_of_fresh_partition",
    "group_empty",
    "handler_failed",
    "handler_repaired",
    "identity_lost",
    "leader_replaced",
    "lease_lost",
    "lease_lost_in_pause",
    "order",
    "order_of_a_partition",
    "order_withdrawn",
    "throttled",
    "moved_after_preparation",
    "preparation",
    "preparation_failed",
    "preparation_hung",
    "preparation_withdrawn",
    "rejection_judged",
    "mixed_contended",
    "mode_held",
    "mode_loosened",
    "mode_tightened",
    "next_release_started",
    "other_release_met",
    "own_write_found",
    "parked",
    "paused_past_lease",
    "plan_failed",
    "probe_misled",
    "plan_unchanged",
    "plan_slow",
    "plan_wrong",
    "record_ignored",
    "predecessor_draining",
    "predecessor_lives",
    "predecessor_named",
    "record_vanished",
    "recovered",
    "recreation_detected",
    "request_done",
    "resignation",
    "resumed_by_new_leader",
    "rollback_detected",
    "slot_contended",
    "slot_inherited",
    "session_taken_over",
    "slow_commit",
    "snapshot_cut_short",
    "source_down",
    "source_duplicate",
    "start_failed",
    "stale_event_ignored",
    "stale_read",
    "step_failed",
    "stopped",
    "suspicion_cancelled",
    "twin_started",
    "two_leaders_believed",
    "unknown_but_applied",
    "unparked",
    "very_late",
    "wall_clock_off",
    "watch_gap_repaired",
    "watch_lost",
    "weights_changed",
    "window_capped",
    "window_extended",
    "zombie_refused",
];

/// So many processes that want one slot at the same time are a crowd.
const CROWD: usize = 3;

#[derive(Debug)]
pub(in crate::simulator) struct Situations {
    counts: BTreeMap<&'static str, u64>,
    /// What the group obeys.
    agreed: Option<Agreed>,
    mode: Mode,
    /// How many writes the store takes at once, if that is few.
    pub(in crate::simulator) max_batch: Option<usize>,
    /// Who claimed each slot, by the revision they expect: of them one wins.
    claims: BTreeMap<(String, Revision), BTreeSet<Process>>,
    /// What each process planned last.
    plans: BTreeMap<Process, Planning>,
    lease: Duration,
    cooldown: Duration,
    /// When the last plan was committed, and in which term.
    planned: Option<(Instant, Term)>,
    /// The format in which the group writes.
    format: Option<u16>,
    ledger: Ledger,
    leaders: BTreeSet<Process>,
    sessions: BTreeMap<WorkerId, SessionStatus>,
    /// Who wrote each session first.
    owners: BTreeMap<WorkerId, Process>,
    running: BTreeSet<Process>,
    pub(in crate::simulator) generations: u64,
}

impl Situations {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            counts: SITUATIONS.iter().map(|name| (*name, 0)).collect(),
            agreed: None,
            mode: rules.mode,
            max_batch: None,
            claims: BTreeMap::new(),
            plans: BTreeMap::new(),
            lease: rules.shortest_lease(),
            cooldown: rules.shortest_cooldown(),
            planned: None,
            format: None,
            ledger: Ledger::default(),
            leaders: BTreeSet::new(),
            sessions: BTreeMap::new(),
            owners: BTreeMap::new(),
            running: BTreeSet::new(),
            generations: 0,
        }
    }

    pub(in crate::simulator) fn count(&mut self, name: &'static str) {
        debug_assert!(SITUATIONS.contains(&name), "{name} is not in the list");
        *self.counts.entry(name).or_default() += 1;
    }

    pub(in crate::simulator) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    /// Another history begins with these commits.
    pub(in crate::simulator) fn begin_history(&mut self, commits: &[AppliedCommit]) {
        (self.ledger, self.sessions) = (Ledger::default(), BTreeMap::new());
        self.claims.clear();
        for AppliedCommit {
            at,
            process,
            writes,
        } in commits
        {
            self.ledger.take_in(*at, self.lease, *process, writes);
        }
    }

    /// A process asks for a slot of which it knows this last revision.
    pub(in crate::simulator) fn claim(&mut self, process: Process, key: &str, expect: Expect) {
        let revision = match expect {
            Expect::Revision(revision) => revision,
            Expect::Absent | Expect::Any => Revision::ZERO,
        };
        let slot = (key.to_owned(), revision);
        let crowd = self.claims.entry(slot).or_default();
        if crowd.insert(process) && crowd.len() == CROWD {
            self.count("slot_contended");
        }
    }

    /// Whether a full batch begins a plan and leaves something of it for the next, though nothing but
    /// room was missing.
    fn is_split(&self, by: Process, writes: &[Written]) -> bool {
        let begins = writes.iter().any(|write| {
            matches!(write.record(), Some(Record::Head(head)) if head.planned == head.version)
        });
        let Some(plan) = self.plans.get(&by).filter(|_| begins) else {
            return false;
        };
        let workers = plan.input.workers.as_slice();
        let partitions = plan.input.partitions.as_slice().iter();
        let mut owned = partitions.zip(plan.owners.iter().flatten());
        owned.any(|(partition, owner)| {
            let owner = workers.get(*owner as usize);
            let waits = |owner| {
                self.ledger
                    .is_kept_waiting(owner, &partition.key, self.mode)
            };
            owner.is_some_and(|owner| waits(&owner.id))
        })
    }

    /// Situations that only a generation together with the ones before it shows.
    fn head(&mut self, at: Instant, head: &Head) {
        if let Some(before) = self.agreed.replace(head.agreed) {
            if head.agreed.mode.is_stricter_than(before.mode) {
                self.count("mode_tightened");
            }
            if before.mode.is_stricter_than(head.agreed.mode) {
                self.count("mode_loosened");
            }
            if head.agreed.holds.is_stricter_than(before.holds) && before.mode == head.agreed.mode {
                self.count("mode_held");
            }
        }
        if head.planned != head.version {
            return;
        }
        let before = self.planned.replace((at, head.term));
        let Some((then, term)) = before else {
            return;
        };
        if head.cause == Cause::Emergency && at.since(then) < self.cooldown {
            self.count("emergency_in_cooldown");
        }
        if head.cause == Cause::Resume && head.term > term {
            self.count("resumed_by_new_leader");
        }
    }

    /// A claim, and what it says of the sessions before it.
    fn claimed(&mut self, by: Process, worker: &WorkerId, record: &SessionRecord) {
        let before = self.owners.insert(worker.clone(), by);
        let lives = before.is_some_and(|before| before != by && self.running.contains(&before));
        for named in &record.predecessors {
            match named.remains {
                Remains::Everything if lives => self.count("predecessor_lives"),
                Remains::Everything => self.count("predecessor_named"),
                Remains::Draining => self.count("predecessor_draining"),
            }
        }
    }

    fn session(&mut self, worker: &WorkerId, status: SessionStatus, write: &Written) {
        let before = self.sessions.insert(worker.clone(), status);
        let created = matches!(write.record(), Some(Record::Session(record))
            if record.epoch == Epoch::ZERO);
        match (before, status) {
            (_, SessionStatus::Evicted { silent: true }) => self.count("evicted_silent"),
            (_, SessionStatus::Evicted { silent: false }) => self.count("evicted_alive"),
            (_, SessionStatus::Suspected) => self.count("evicted_suspected"),
            (Some(SessionStatus::Released { .. }), SessionStatus::Active) => {
                self.count("slot_inherited");
            }
            (Some(SessionStatus::Active | SessionStatus::Draining), _) if created => {
                self.count("session_taken_over");
            }
            _ => {}
        }
        let lived = before.is_some_and(SessionStatus::is_living);
        if lived && !self.sessions.values().any(|status| status.is_living()) {
            self.count("group_empty");
        }
    }
}

impl Check for Situations {
    fn on_began(&mut self, process: Process) {
        self.running.insert(process);
    }

    fn on_ended(&mut self, process: Process) {
        self.running.remove(&process);
        self.leaders.remove(&process);
        self.plans.remove(&process);
    }

    fn on_commit(&mut self, by: Process, writes: &[Written], findings: &mut Findings) {
        let at = findings.now();
        for write in writes {
            match (&write.key, write.record()) {
                (Key::Head, Some(Record::Head(head))) => {
                    self.generations += 1;
                    self.count(situation(head.cause));
                    let before = self.format.replace(head.format);
                    match before.unwrap_or(head.format).cmp(&head.format) {
                        Ordering::Less => self.count("format_raised"),
                        Ordering::Equal => {}
                        Ordering::Greater => self.count("format_lowered"),
                    }
                    self.head(at, head);
                }
                (Key::Session(worker), Some(Record::Session(record))) => {
                    self.session(worker, record.status, write);
                    if record.epoch == Epoch::ZERO {
                        self.claimed(by, worker, record);
                    }
                }
                (Key::Session(worker), _) => {
                    self.sessions.remove(worker);
                }
                _ => {}
            }
        }
        for grant in self.ledger.take_in(at, self.lease, by, writes) {
            self.count(match grant.freed {
                None => "grant_of_fresh_partition",
                Some(Freed::Acknowledged) => "grant_after_acknowledgement",
                Some(Freed::Evicted) => "grant_after_eviction",
                Some(Freed::Released) => "grant_after_release",
                Some(Freed::Replaced) => "grant_after_replacement",
            });
        }
        if self.max_batch == Some(writes.len()) && self.is_split(by, writes) {
            self.count("commit_split");
        }
    }

    fn on_planned(&mut self, process: Process, planning: &Planning, _: &mut Findings) {
        if self.max_batch.is_some() {
            self.plans.insert(process, planning.clone());
        }
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, _: &mut Findings) {
        let name = match notice {
            Notice::LeadershipGained { .. } => {
                self.leaders.insert(process);
                if self.leaders.len() > 1 {
                    self.count("two_leaders_believed");
                }
                return;
            }
            Notice::LeadershipLost { .. } => {
                self.leaders.remove(&process);
                return;
            }
            Notice::HistoryLost { loss, .. } => match loss {
                HistoryLoss::Missing => "bucket_missing_detected",
                HistoryLoss::Recreated { .. } => "recreation_detected",
                HistoryLoss::RolledBack { .. } | HistoryLoss::Vanished { .. } | _ => {
                    "rollback_detected"
                }
            },
            Notice::EvictionCancelled { .. } => "eviction_cancelled",
            Notice::SuspicionCancelled { .. } => "suspicion_cancelled",
            Notice::LeaseLost { .. } => "lease_lost",
            Notice::IdentityLost { .. } => "identity_lost",
            Notice::Degraded { .. } => "degraded",
            Notice::Recovered => "recovered",
            Notice::RecordIgnored { reason, .. } if reason.contains("another release") => {
                "other_release_met"
            }
            Notice::RecordIgnored { .. } => "record_ignored",
            Notice::RequestDone { .. } => "request_done",
            Notice::StepFailed { .. } => "step_failed",
            Notice::RecordVanished { .. } => "record_vanished",
            Notice::PlanFailed { .. } => "plan_failed",
            Notice::PlanUnchanged { .. } => "plan_unchanged",
            Notice::Parked { .. } => "parked",
            Notice::Unparked { .. } => "unparked",
            Notice::StartFailed(_) => "start_failed",
            Notice::Stopped { .. } => "stopped",
            Notice::StateChanged { .. }
            | Notice::Claimed { .. }
            | Notice::LeaderChanged { .. }
            | Notice::AssignmentChanged { .. }
            | Notice::Committed { .. }
            | Notice::Planned { .. }
            | Notice::StoreUnfit { .. }
            | Notice::RequestFailed { .. }
            | _ => return,
        };
        self.count(name);
    }
}

const fn situation(cause: Cause) -> &'static str {
    match cause {
        Cause::Takeover => "commit_takeover",
        Cause::Resignation => "resignation",
        Cause::ColdStart => "commit_cold_start",
        Cause::PlannedScale => "commit_planned_scale",
        Cause::Restart => "commit_restart",
        Cause::Emergency => "commit_emergency",
        Cause::Drain => "commit_drain",
        Cause::PartitionsChanged => "commit_partitions_changed",
        Cause::WeightsChanged => "commit_weights_changed",
        Cause::Manual => "commit_manual",
        Cause::Resume => "commit_resume",
        Cause::Settings => "commit_settings",
        Cause::Unprocessed => "commit_unprocessed",
        Cause::Parked => "commit_parked",
        // clippy asks for the name of a cause that ends up here.
        _ => "commit_other",
    }
}
