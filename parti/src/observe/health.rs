//! Health: what is wrong with a worker right now, as conditions that come and go by themselves.
//!
//! It is separate from the state machine's degraded mode, which is one of these conditions: a probe
//! needs an answer at once and about everything, also about the driver that would have to give it.
//! What always holds: each condition is derived from what is the case when asked, independently of
//! the others; none is set or cleared.
//!
//! To add a condition: a line in `codes!` below. Its fact comes from the core as a
//! [`ProblemKind`] (see `parti-core/src/records/problem.rs` for how to add one; a line in
//! `condition_of` says which condition it is, and after which time), or from the shell as a field
//! of `Vitals` that the observer fills in, looked at in `alive`. `parti_health_condition` then has
//! it by itself; a test asks for its row in the table of `docs/OPERATIONS.md`, which names its
//! alert, and for that alert in `docs/observability/alerts.yaml`.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use parti_core::callbacks::Pending;
use parti_core::{
    CircuitState, Config, DegradedReason, Instant, Mode, ProblemKind, State, Status, Version,
};

use crate::error::Ended;

#[cfg(feature = "serde")]
mod report;

/// How long the driver may not have turned before it counts as stalled. It turns at least once a
/// second; a busy machine is not a dead process.
const STALLED: Duration = Duration::from_secs(15);

/// What a condition means for the probes of an orchestrator.
///
/// Closed: a probe has these answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Impact {
    /// For people: it heals by itself, and a restart would only make it worse.
    Report,
    /// It takes part in nothing now: not ready.
    Unready,
    /// Only a restart helps: not live.
    Dead,
}

macro_rules! codes {
    ($($code:ident = $word:literal, $impact:ident, $meaning:literal;)*) => {
        /// What can be wrong with a worker or with its group, the gravest first.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum HealthCode {
            $(#[doc = $meaning] $code,)*
        }

        impl HealthCode {
            /// Every code, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// The code as one lower-case word, for logs and labels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $word,)*
                }
            }

            /// What it means for the probes.
            #[must_use]
            pub const fn impact(self) -> Impact {
                match self {
                    $(Self::$code => Impact::$impact,)*
                }
            }
        }
    };
}

codes! {
    DriverFailed = "driver_failed", Dead,
        "The driver ended although nobody stopped the manager.";
    DriverStalled = "driver_stalled", Dead,
        "The driver has not turned for 15 seconds: the runtime is blocked.";
    Stopping = "stopping", Unready,
        "The manager was stopped, or is stopping.";
    HistoryLost = "history_lost", Unready,
        "The history of the bucket was lost. Until the quarantine is over it takes part in nothing; \
         with [`OnBucketLost::Halt`](parti_core::OnBucketLost::Halt) it has ended, for people to look \
         first.";
    NoIdentity = "no_identity", Unready,
        "It holds no worker ID.";
    LeaseLost = "lease_lost", Unready,
        "Its lease has run out, so that no guard is valid.";
    NotAssigned = "not_assigned", Unready,
        "It has not taken in its first assignment.";
    NotProcessing = "not_processing", Unready,
        "Partitions have been its own for longer than `drain_timeout` and are not processed: they \
         wait for their turn, hang in `on_assigned`, or failed there.";
    LeaseMarginLow = "lease_margin_low", Report,
        "Less than a third of the lease is left.";
    StoreUnreachable = "store_unreachable", Report,
        "Requests to the store have failed for longer than a heartbeat interval, the last one too.";
    WatchSilent = "watch_silent", Report,
        "The watch does not bring back its own renewals.";
    CircuitOpen = "circuit_open", Report,
        "A circuit to the store is open or half-open.";
    NoLeader = "no_leader", Report,
        "It has known of no leader for longer than a lease, or the leader gives no sign of life.";
    LeadersChange = "leaders_change", Report,
        "One leader follows the other: several terms within a minute.";
    NotJudging = "not_judging", Report,
        "The leader does not hear the store well enough to judge others: nobody is replaced.";
    Unowned = "partitions_unowned", Report,
        "Partitions of the group have had no owner for longer than a handoff or a crash explains.";
    Parked = "partitions_parked", Report,
        "Nobody in the group may own some partitions, and they have waited for longer than a crash \
         explains.";
    PlanFailing = "plan_failing", Report,
        "The leader's plans fail.";
    SourceFailing = "source_failing", Report,
        "The partition source fails.";
    CommitFailing = "commit_failing", Report,
        "What the leader has planned cannot be committed.";
    HandlerFailing = "handler_failing", Report,
        "Workers of the group cannot begin to process partitions they have.";
    WorkTroubled = "work_troubled", Report,
        "The handler says that something is wrong with the work on this worker's partitions.";
    SlotsHeld = "slots_held", Report,
        "Slots are held for replacements of workers that left; their partitions have no owner.";
    StoreUnfit = "store_unfit", Report,
        "A setting of the store was changed, its server is too old, or the group exists twice: records may \
         vanish, conditions not be kept, or partitions have two owners.";
    OtherProblem = "other_problem", Report,
        "The leader is of a later release and tells a problem that this release has no name for.";
    ModeNotHeld = "mode_not_held", Report,
        "The group does not keep the mode this worker is configured with yet: somebody may still obey \
         a looser one.";
    OtherList = "other_list", Report,
        "The partition source of a worker lists something else than the group has.";
    SettingsDiffer = "settings_differ", Report,
        "Workers of the group are configured differently.";
    Degraded = "degraded", Report,
        "It is in degraded mode.";
    RebalanceStuck = "rebalance_stuck", Report,
        "A handoff has not come forward for longer than `handoff_timeout` and a lease.";
    CallbackStuck = "callback_stuck", Report,
        "A callback has been running for longer than `drain_timeout`.";
}

/// Which condition a problem of the core is, and for how long it may last without being one: what
/// ordinary handoffs, crashes and retries explain is none.
fn condition_of(kind: ProblemKind, config: &Config) -> (HealthCode, Duration) {
    let interval = config.heartbeat_interval();
    // A crash is repaired within a lease and a little; then there is something wrong.
    let repaired = config.lease() + interval * 2;
    match kind {
        ProblemKind::Unowned => (HealthCode::Unowned, repaired),
        ProblemKind::Parked => (HealthCode::Parked, repaired),
        ProblemKind::LeaderSilent => (HealthCode::NoLeader, repaired),
        ProblemKind::LeadersChange => (HealthCode::LeadersChange, Duration::ZERO),
        ProblemKind::NotJudging => (HealthCode::NotJudging, repaired),
        ProblemKind::PlanFailing => (HealthCode::PlanFailing, interval),
        ProblemKind::SourceFailing => (HealthCode::SourceFailing, interval),
        ProblemKind::CommitFailing => (HealthCode::CommitFailing, interval),
        ProblemKind::ModeNotHeld => (HealthCode::ModeNotHeld, Duration::ZERO),
        ProblemKind::OtherList => (HealthCode::OtherList, Duration::ZERO),
        ProblemKind::SettingsDiffer => (HealthCode::SettingsDiffer, Duration::ZERO),
        ProblemKind::SlotsHeld => (HealthCode::SlotsHeld, repaired),
        ProblemKind::StoreUnfit => (HealthCode::StoreUnfit, Duration::ZERO),
        // A test fails for a kind with a name that ends up here.
        ProblemKind::HandlerFailing => (HealthCode::HandlerFailing, interval),
        ProblemKind::Other(_) | _ => (HealthCode::OtherProblem, repaired),
    }
}

impl fmt::Display for HealthCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Condition {
    /// What.
    pub code: HealthCode,
    /// For how long, as far as that is known.
    pub lasting: Option<Duration>,
    /// The particulars in words.
    pub detail: String,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(lasting) = self.lasting {
            write!(f, " for {:.1} s", lasting.as_secs_f64())?;
        }
        if self.detail.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.detail)
    }
}

/// What is wrong with a worker: nothing, as a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The conditions that hold, the gravest first.
    pub conditions: Vec<Condition>,
}

impl Health {
    /// Whether a restart would not help: the answer to a *liveness* probe. An outage of the store is
    /// none of its business, since restarting every worker then costs every one its slot.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.has_impact(Impact::Dead)
    }

    /// Whether the worker takes part: the answer to a *readiness* probe. True also while the store is
    /// out of reach and the lease still valid.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_live() && !self.has_impact(Impact::Unready)
    }

    /// Whether a condition holds.
    #[must_use]
    pub fn has(&self, code: HealthCode) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.code == code)
    }

    fn has_impact(&self, impact: Impact) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.code.impact() == impact)
    }
}

impl fmt::Display for Health {
    /// One line per condition, or `ok`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.conditions.is_empty() {
            return f.write_str("ok\n");
        }
        self.conditions
            .iter()
            .try_for_each(|condition| writeln!(f, "{condition}"))
    }
}

/// Since when what has been the case, as the driver notes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// When the driver last turned.
    pub(crate) turned: Instant,
    pub(crate) no_identity: Option<Instant>,
    pub(crate) no_leader: Option<Instant>,
    /// Since when a handoff stands still.
    pub(crate) unfinished: Option<Instant>,
    /// Since when requests fail, and the last failure.
    pub(crate) store_failing: Option<(Instant, String)>,
    pub(crate) degraded: Option<(Instant, DegradedReason)>,
    /// Since when the quarantine after a lost history lasts, and what proves the loss.
    pub(crate) history_lost: Option<(Instant, String)>,
    /// The oldest running callback: since when, and which.
    pub(crate) oldest_callback: Option<(Instant, String)>,
    /// What is owned and not processed.
    pub(crate) pending: Option<Pending>,
    /// What the handler says is wrong; asked with each look.
    pub(crate) trouble: Option<String>,
    pub(crate) stopping: bool,
}

/// Says what is wrong with the work, if anything is.
type Trouble = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// The vitals as the observer notes and everybody reads them.
pub(crate) struct VitalSigns {
    noted: Mutex<Vitals>,
    trouble: OnceLock<Trouble>,
}

impl fmt::Debug for VitalSigns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.noted.fmt(f)
    }
}

impl VitalSigns {
    /// Those of a worker that begins now.
    pub(crate) fn new(now: Instant) -> Self {
        let noted = Mutex::new(Vitals {
            turned: now,
            no_identity: Some(now),
            ..Vitals::default()
        });
        let trouble = OnceLock::new();
        Self { noted, trouble }
    }

    /// Whom to ask what is wrong with the work.
    pub(crate) fn ask(&self, trouble: impl Fn() -> Option<String> + Send + Sync + 'static) {
        // There is one for life.
        let _ = self.trouble.set(Box::new(trouble));
    }

    /// A copy, with what the handler says now; it is not asked under the lock.
    pub(crate) fn look(&self) -> Vitals {
        let ask = || self.trouble.get().and_then(|trouble| trouble());
        let panicked = |_| Some("`trouble` panicked".to_owned());
        let trouble = catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(panicked);
        Vitals {
            trouble,
            ..self.lock().clone()
        }
    }

    /// Every change is a single assignment, so a poisoned lock is as good as any.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vitals> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The conditions that hold at this moment.
pub(crate) fn judge(
    config: &Config,
    now: Instant,
    ended: Option<&Ended>,
    status: &Status,
    vitals: &Vitals,
) -> Health {
    let mut found = Found {
        now,
        conditions: Vec::new(),
    };
    match ended {
        Some(Ended::Failed(reason)) => found.add(HealthCode::DriverFailed, None, reason),
        Some(Ended::StartFailed(error)) => {
            found.add(HealthCode::DriverFailed, None, error.to_string());
        }
        Some(Ended::HistoryLost(loss)) => {
            // No reason to restart: the next process would begin again before anybody has looked.
            found.add(HealthCode::HistoryLost, None, format!("halted: {loss}"));
        }
        Some(Ended::Stopped) => found.add(HealthCode::Stopping, None, "it was stopped"),
        None => alive(&mut found, config, status, vitals),
    }
    Health {
        conditions: found.conditions,
    }
}

struct Found {
    now: Instant,
    conditions: Vec<Condition>,
}

impl Found {
    fn add(&mut self, code: HealthCode, since: Option<Instant>, detail: impl Into<String>) {
        let lasting = since.map(|since| self.now.since(since));
        let detail = detail.into();
        self.conditions.push(Condition {
            code,
            lasting,
            detail,
        });
    }

    /// Adds a condition when it has lasted longer than it may.
    fn add_after(
        &mut self,
        code: HealthCode,
        since: Option<Instant>,
        patience: Duration,
        detail: impl Into<String>,
    ) {
        if since.is_some_and(|since| self.now.since(since) > patience) {
            self.add(code, since, detail);
        }
    }
}

/// What can be wrong with a worker that has not ended, the gravest first.
fn alive(found: &mut Found, config: &Config, status: &Status, vitals: &Vitals) {
    let now = found.now;
    let lease = config.lease();
    let stalled = "the driver does not turn; is the runtime blocked?";
    if vitals.stopping || status.state == State::Shutdown {
        // The last callbacks may take their time, and nothing else is waited for.
        found.add(HealthCode::Stopping, None, "");
    } else {
        found.add_after(
            HealthCode::DriverStalled,
            Some(vitals.turned),
            STALLED,
            stalled,
        );
    }
    if let Some((since, loss)) = &vitals.history_lost {
        found.add(HealthCode::HistoryLost, Some(*since), loss);
    }
    if status.worker.is_none() {
        found.add(HealthCode::NoIdentity, vitals.no_identity, "");
    } else {
        let left = status
            .deadline
            .map_or(Duration::ZERO, |deadline| deadline.since(now));
        let leased = status.mode.honours.is_some_and(Mode::waits);
        if leased && left.is_zero() {
            found.add(HealthCode::LeaseLost, status.deadline, "no guard is valid");
        } else if leased && left < lease / 3 {
            let detail = format!("{left:?} of {lease:?} left");
            found.add(HealthCode::LeaseMarginLow, None, detail);
        }
        if status.applied == Version::ZERO {
            found.add(HealthCode::NotAssigned, None, "");
        }
    }
    if let Some((since, error)) = &vitals.store_failing {
        let patience = config.heartbeat_interval();
        found.add_after(HealthCode::StoreUnreachable, Some(*since), patience, error);
    }
    if let Some((since, reason)) = &vitals.degraded {
        if *reason == DegradedReason::WatchSilent {
            found.add(HealthCode::WatchSilent, Some(*since), "");
        }
        found.add(HealthCode::Degraded, Some(*since), reason.as_str());
    }
    for (name, circuit) in [
        ("store", &status.store.circuit),
        ("watch", &status.store.watch_circuit),
    ] {
        if circuit.state != CircuitState::Closed {
            let detail = format!("the circuit of the {name} is {}", circuit.state);
            found.add(HealthCode::CircuitOpen, Some(circuit.since), detail);
        }
    }
    found.add_after(HealthCode::NoLeader, vitals.no_leader, lease, "");
    add_pending(found, config, vitals);
    add_problems(found, config, status, vitals);
    let patience = config.handoff_timeout() + lease;
    let waiting = format!(
        "{} partitions wait for their planned owner",
        status.group.unfinished
    );
    found.add_after(
        HealthCode::RebalanceStuck,
        vitals.unfinished,
        patience,
        waiting,
    );
    if let Some((since, which)) = &vitals.oldest_callback {
        let patience = config.drain_timeout();
        found.add_after(HealthCode::CallbackStuck, Some(*since), patience, which);
    }
}

/// Owned is not processed.
fn add_pending(found: &mut Found, config: &Config, vitals: &Vitals) {
    let Some(pending) = &vitals.pending else {
        return;
    };
    let Pending {
        since,
        partitions,
        failed,
    } = *pending;
    let detail = format!(
        "on_assigned of {partitions} partitions has not succeeded: {failed} failed, the others run or \
         wait for their turn"
    );
    let patience = config.drain_timeout();
    found.add_after(HealthCode::NotProcessing, Some(since), patience, detail);
}

/// What the handler finds wrong, and the core, if it has lasted for too long.
fn add_problems(found: &mut Found, config: &Config, status: &Status, vitals: &Vitals) {
    if let Some(trouble) = &vitals.trouble {
        found.add(HealthCode::WorkTroubled, None, trouble);
    }
    for problem in &status.problems {
        let (code, patience) = condition_of(problem.kind, config);
        let detail = match &problem.told_by {
            Some(leader) => format!("{} (says {leader})", problem.detail),
            None => problem.detail.clone(),
        };
        found.add_after(code, Some(problem.since), patience, detail);
    }
}

#[cfg(test)]
mod tests;
