//! Hooks: how a program watches its worker.
//!
//! They are separate from the [`PartitionHandler`](crate::PartitionHandler), which *is* the work and
//! which handoffs wait for: hooks only observe, and nothing waits for them. What always holds: they
//! are called one at a time and in order; one that panics or takes too long harms nobody but itself;
//! a slow one loses the oldest events, is told how many, and ends at the latest.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use parti_core::{
    AlertLevel, Cause, CircuitState, DegradedReason, Grant, Notice, RevokeCause, State,
    StepDownReason, Term, Version, WorkerId,
};

use crate::observe::subscription::ManagerNotice;

mod assigned;
mod channel;
mod run;

pub use assigned::AssignedKeys;
pub(crate) use assigned::Keys;
pub use channel::{HookStream, hook_channel};
pub(crate) use run::{Limits, run};

/// The public state changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateChange {
    /// Before.
    pub from: State,
    /// Now.
    pub to: State,
}

/// What this worker has changed, or it has its first assignment, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssignmentChange {
    /// The version of the assignment in force.
    pub version: Version,
    /// Why it changed.
    pub cause: ChangeCause,
    /// Newly assigned; `on_assigned` is called for each.
    pub added: Vec<Grant>,
    /// Taken away; `on_revoked` is called for each that was begun.
    pub removed: Vec<Grant>,
    /// Everything assigned now, by key. After a gap (see [`Hooks::on_missed`]) it is still whole.
    pub assigned: AssignedKeys,
}

/// Why an assignment changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeCause {
    /// A generation of the leader; why it was made, where this worker has seen that.
    Generation(Option<Cause>),
    /// This worker lost its lease or its ID, or is stopping.
    Revoked(RevokeCause),
}

impl fmt::Display for ChangeCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generation(Some(cause)) => cause.fmt(f),
            Self::Generation(None) => f.write_str("generation"),
            Self::Revoked(cause) => cause.fmt(f),
        }
    }
}

/// Who leads changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeadershipChange {
    /// This worker leads.
    Gained {
        /// Its term.
        term: Term,
    },
    /// This worker leads no more.
    Lost {
        /// The term that ended.
        term: Term,
        /// Why.
        reason: StepDownReason,
    },
    /// Somebody leads, or nobody.
    Leader {
        /// Who.
        leader: Option<WorkerId>,
        /// The term.
        term: Term,
    },
}

/// Degraded mode began, goes on, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DegradedChange {
    /// It began, or has another reason.
    Entered {
        /// Why.
        reason: DegradedReason,
    },
    /// It goes on and has become this urgent; repeated each minute.
    Alert {
        /// How urgent.
        level: AlertLevel,
        /// Why.
        reason: DegradedReason,
        /// For how long.
        lasting: std::time::Duration,
    },
    /// It is over.
    Recovered,
}

/// Something went wrong that the library has dealt with. The notice has the particulars.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble(Arc<ManagerNotice>);

impl Trouble {
    /// The notice it was told with.
    #[must_use]
    pub fn notice(&self) -> &ManagerNotice {
        &self.0
    }

    /// What went wrong, as one lower-case word.
    #[must_use]
    pub fn code(&self) -> &'static str {
        code(&self.0).unwrap_or("unknown")
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.code(), self.0)
    }
}

/// What a notice is as trouble, if it is any.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other notices are no trouble"
)]
fn code(notice: &ManagerNotice) -> Option<&'static str> {
    Some(match notice {
        ManagerNotice::CallbackPanicked { .. } => "callback_panicked",
        ManagerNotice::AssignFailed { .. } => "assign_failed",
        ManagerNotice::TaskEnded { .. } => "task_ended",
        ManagerNotice::PrepareTimedOut { .. } => "prepare_timed_out",
        ManagerNotice::DrainTimedOut { .. } => "drain_timed_out",
        ManagerNotice::Core(notice) => match notice {
            Notice::IdentityLost { .. } => "identity_lost",
            Notice::HistoryLost { .. } => "history_lost",
            Notice::LeaseLost { .. } => "lease_lost",
            Notice::StrategyChanged { .. } => "strategy_changed",
            Notice::SettingsDiffer(_) => "settings_differ",
            Notice::PlanFailed { .. } => "plan_failed",
            Notice::Parked { .. } => "parked",
            Notice::LeftUnowned { .. } => "left_unowned",
            Notice::StepFailed { .. } => "step_failed",
            Notice::RecordVanished { .. } => "record_vanished",
            Notice::StoreUnfit { faults } if !faults.is_empty() => "store_unfit",
            Notice::CircuitChanged {
                to: CircuitState::Open,
                ..
            } => "circuit_opened",
            Notice::RetriesExhausted { .. } => "retries_exhausted",
            Notice::RecordIgnored { .. } => "record_ignored",
            Notice::RequestFailed { .. } => "request_failed",
            Notice::StartFailed(_) => "start_failed",
            Notice::Stopped { errors } if !errors.is_empty() => "stopped_uncleanly",
            _ => return None,
        },
    })
}

/// What a hook is told.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HookEvent {
    /// See [`Hooks::on_state`].
    State(StateChange),
    /// See [`Hooks::on_assignment`].
    Assignment(AssignmentChange),
    /// See [`Hooks::on_leadership`].
    Leadership(LeadershipChange),
    /// See [`Hooks::on_degraded`].
    Degraded(DegradedChange),
    /// See [`Hooks::on_error`].
    Error(Trouble),
    /// See [`Hooks::on_missed`].
    Missed(u64),
}

impl HookEvent {
    /// What a notice is to hooks, if it is anything. Assignments come from elsewhere: a notice has
    /// no partitions.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most notices are no event")]
    pub(crate) fn of(notice: &Arc<ManagerNotice>) -> Option<Self> {
        if code(notice).is_some() {
            return Some(Self::Error(Trouble(Arc::clone(notice))));
        }
        let ManagerNotice::Core(notice) = &**notice else {
            return None;
        };
        Some(match notice {
            Notice::StateChanged { from, to } => Self::State(StateChange {
                from: *from,
                to: *to,
            }),
            Notice::LeadershipGained { term } => {
                Self::Leadership(LeadershipChange::Gained { term: *term })
            }
            Notice::LeadershipLost { term, reason } => {
                let (term, reason) = (*term, reason.clone());
                Self::Leadership(LeadershipChange::Lost { term, reason })
            }
            Notice::LeaderChanged { leader, term } => {
                let (leader, term) = (leader.clone(), *term);
                Self::Leadership(LeadershipChange::Leader { leader, term })
            }
            Notice::Degraded { reason } => {
                let reason = reason.clone();
                Self::Degraded(DegradedChange::Entered { reason })
            }
            Notice::DegradedAlert {
                level,
                reason,
                lasting,
            } => Self::Degraded(DegradedChange::Alert {
                level: *level,
                reason: reason.clone(),
                lasting: *lasting,
            }),
            Notice::Recovered => Self::Degraded(DegradedChange::Recovered),
            _ => return None,
        })
    }
}

/// Observes a worker. Every method does nothing unless implemented.
///
/// Given to [`ManagerBuilder::hooks`](crate::ManagerBuilder::hooks). They run on a task of their own,
/// one at a time, in the order in which things happened, from the start on and until the end.
///
/// # Cancellation safety
/// Each call is bounded by the builder's `hook_timeout`; after it the future is dropped where it waits,
/// which is logged and counted in `parti_hook_failures_total`, as a panic is. The next event is told
/// all the same.
///
/// # Example
/// ```
/// use parti::events::{AssignmentChange, Hooks};
///
/// struct Print;
///
/// #[parti::async_trait]
/// impl Hooks for Print {
///     async fn on_assignment(&self, change: &AssignmentChange) {
///         println!("{} now, because of {}", change.assigned.len(), change.cause);
///     }
/// }
/// ```
#[async_trait]
pub trait Hooks: Send + Sync + 'static {
    /// The public state changed.
    async fn on_state(&self, change: &StateChange) {
        let _ = change;
    }

    /// What this worker has changed. The first call is the first assignment, also an empty one.
    async fn on_assignment(&self, change: &AssignmentChange) {
        let _ = change;
    }

    /// This worker began or ceased to lead, or saw another leader.
    async fn on_leadership(&self, change: &LeadershipChange) {
        let _ = change;
    }

    /// Degraded mode began, goes on, or ended.
    async fn on_degraded(&self, change: &DegradedChange) {
        let _ = change;
    }

    /// Something went wrong that the library has dealt with.
    async fn on_error(&self, trouble: &Trouble) {
        let _ = trouble;
    }

    /// The hooks were too slow and missed this many events, the oldest ones.
    async fn on_missed(&self, count: u64) {
        let _ = count;
    }
}

#[async_trait]
impl<H: Hooks + ?Sized> Hooks for Arc<H> {
    async fn on_state(&self, change: &StateChange) {
        (**self).on_state(change).await;
    }

    async fn on_assignment(&self, change: &AssignmentChange) {
        (**self).on_assignment(change).await;
    }

    async fn on_leadership(&self, change: &LeadershipChange) {
        (**self).on_leadership(change).await;
    }

    async fn on_degraded(&self, change: &DegradedChange) {
        (**self).on_degraded(change).await;
    }

    async fn on_error(&self, trouble: &Trouble) {
        (**self).on_error(trouble).await;
    }

    async fn on_missed(&self, count: u64) {
        (**self).on_missed(count).await;
    }
}

/// Hooks that do nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {}
