//! Leaving: hand over, revoke, resign, release, in this order and each bounded.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::io::effect::{Wake, WakeReason};
use crate::io::event::StopMode;
use crate::link::cx::Cx;
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;
use crate::ports::strategy::ParkReason;
use crate::records::record::Revoking;
use crate::worker::holdings::Holdings;

/// A stop under way.
#[derive(Clone, Debug)]
pub(crate) struct Departure {
    mode: StopMode,
    stage: Stage,
    /// When everything still held is revoked without waiting for the leader.
    revoke_at: Instant,
    /// When the stop ends, whatever is left undone.
    end_at: Instant,
    errors: Vec<String>,
    unowned: BTreeMap<PartitionKey, ParkReason>,
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The leader is taking the partitions away.
    Draining,
    /// Callbacks are ending.
    Revoking,
    /// The leadership is being given up.
    Resigning,
    /// The session is being released.
    Releasing,
}

/// What a worker that stops is to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    /// Somebody else leads, or nobody.
    Not,
    /// It leads, and has still to grant others what it has let go of.
    Granting,
    /// It leads, and others lose nothing when it resigns.
    Free,
}

/// What a stop needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Todo {
    /// To wait.
    Nothing,
    /// To revoke everything.
    Revoke,
    /// To give up the leadership, if there is one.
    Resign,
    /// To release the session with this hold.
    Release(Duration),
    /// Nothing more: it is over.
    End,
}

impl Departure {
    pub(crate) fn begin(cx: &Cx<'_>, mode: StopMode) -> Self {
        let whole = cx
            .config()
            .shutdown_bound(cx.boot().prepares && mode == StopMode::Handoff);
        // The last part is kept for callbacks that have to be ended without the leader's help.
        let reserve = cx.config().drain_timeout().min(whole / 2);
        let (stage, revoke_at) = match mode {
            StopMode::Handoff => (Stage::Draining, cx.now + (whole - reserve)),
            StopMode::Restart { .. } | StopMode::Now => (Stage::Draining, cx.now),
        };
        Self {
            mode,
            stage,
            revoke_at,
            end_at: cx.now + whole,
            errors: Vec::new(),
            unowned: BTreeMap::new(),
        }
    }

    /// A later stop may be more urgent, never less.
    pub(crate) fn hurry(&mut self, cx: &Cx<'_>, mode: StopMode) {
        match mode {
            StopMode::Handoff => {}
            StopMode::Restart { .. } | StopMode::Now => {
                self.mode = mode;
                self.revoke_at = self.revoke_at.min(cx.now);
            }
        }
    }

    /// Whether the leader is to take the partitions away.
    pub(crate) fn is_draining(&self) -> bool {
        self.mode == StopMode::Handoff && self.stage == Stage::Draining
    }

    /// Whether the session is being given up.
    pub(crate) const fn is_releasing(&self) -> bool {
        matches!(self.stage, Stage::Releasing)
    }

    pub(crate) fn error(&mut self, error: String) {
        self.errors.push(error);
    }

    /// What the leader takes away without giving it to anybody.
    pub(crate) fn note_unowned(&mut self, revoking: &[Revoking]) {
        let parked = revoking.iter().filter_map(|revoking| {
            let reason = revoking.parked?;
            Some((revoking.partition.clone(), reason))
        });
        self.unowned.extend(parked);
    }

    /// The steps that failed, and the partitions that nobody took.
    pub(crate) fn into_outcome(self) -> (Vec<String>, BTreeMap<PartitionKey, ParkReason>) {
        (self.errors, self.unowned)
    }

    /// What is next, given what is held and whether this worker leads.
    pub(crate) fn next(&mut self, now: Instant, holdings: &Holdings, lead: Lead) -> Todo {
        if now >= self.end_at {
            self.note_overdue(holdings);
            return Todo::End;
        }
        match self.stage {
            // An election would keep what it let go of without an owner.
            Stage::Draining if lead == Lead::Granting && now < self.revoke_at => Todo::Nothing,
            Stage::Draining if holdings.is_drained() => self.after_revoking(lead),
            Stage::Draining if now >= self.revoke_at => {
                self.stage = Stage::Revoking;
                if self.mode == StopMode::Handoff {
                    let held = holdings.keys().count();
                    self.errors.push(alloc::format!(
                        "{held} partitions were not handed over within the time for it"
                    ));
                }
                Todo::Revoke
            }
            Stage::Revoking if holdings.is_empty() => self.after_revoking(lead),
            Stage::Resigning if lead == Lead::Not => self.release(),
            Stage::Draining | Stage::Revoking | Stage::Resigning | Stage::Releasing => {
                Todo::Nothing
            }
        }
    }

    fn after_revoking(&mut self, lead: Lead) -> Todo {
        match lead {
            Lead::Not => self.release(),
            Lead::Granting | Lead::Free => {
                self.stage = Stage::Resigning;
                Todo::Resign
            }
        }
    }

    fn release(&mut self) -> Todo {
        self.stage = Stage::Releasing;
        Todo::Release(match self.mode {
            StopMode::Restart { hold } => hold,
            StopMode::Handoff | StopMode::Now => Duration::ZERO,
        })
    }

    fn note_overdue(&mut self, holdings: &Holdings) {
        let error = match self.stage {
            Stage::Draining | Stage::Revoking => {
                let held: Vec<String> = holdings.keys().take(5).map(ToString::to_string).collect();
                alloc::format!("partitions were not released in time, such as {held:?}")
            }
            Stage::Resigning => "the leadership could not be given up in time".to_string(),
            Stage::Releasing => "the session could not be released in time; it ends by itself \
                                 after its lease"
                .to_string(),
        };
        self.errors.push(error);
    }

    pub(crate) fn wake(&self) -> Option<Wake> {
        let end = Wake::new(self.end_at, WakeReason::StopDeadline);
        let revoke = match self.stage {
            Stage::Draining => Some(Wake::new(self.revoke_at, WakeReason::StopDeadline)),
            Stage::Revoking | Stage::Resigning | Stage::Releasing => None,
        };
        Wake::earlier(Some(end), revoke)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::link::cx::Env;

    fn begin(mode: StopMode) -> (Departure, Instant) {
        let now = Instant::from_millis(1_000);
        let config = Config::builder("g").build().expect("coherent");
        let mut env = Env::for_tests(now, 1, config);
        (Departure::begin(&env.cx(now), mode), now)
    }

    /// Releasing before resigning leaves a group with a leader that is gone.
    #[test]
    fn a_leader_resigns_before_its_session_is_released() {
        let (mut departure, now) = begin(StopMode::Handoff);
        let nothing = Holdings::default();
        assert_eq!(departure.next(now, &nothing, Lead::Free), Todo::Resign);
        assert_eq!(departure.next(now, &nothing, Lead::Free), Todo::Nothing);
        assert!(!departure.is_releasing());
        let released = Todo::Release(Duration::ZERO);
        assert_eq!(departure.next(now, &nothing, Lead::Not), released);
        assert!(departure.is_releasing());
        assert_eq!(departure.next(now, &nothing, Lead::Not), Todo::Nothing);
    }

    /// What a leader let go of last had no owner until the next was elected. One that cannot grant it, say
    /// for want of a store, must end all the same.
    #[test]
    fn a_leader_grants_what_it_let_go_of_before_it_resigns_and_not_for_ever() {
        let nothing = Holdings::default();
        let (mut departure, now) = begin(StopMode::Handoff);
        assert_eq!(departure.next(now, &nothing, Lead::Granting), Todo::Nothing);
        assert_eq!(departure.next(now, &nothing, Lead::Free), Todo::Resign);
        let (mut departure, now) = begin(StopMode::Handoff);
        let late = now + Duration::from_secs(5);
        assert_eq!(departure.next(late, &nothing, Lead::Granting), Todo::Resign);
    }

    /// A stop that is not bounded keeps a process alive for ever.
    #[test]
    fn a_stop_ends_at_its_time_and_names_what_was_left_undone() {
        let (mut departure, now) = begin(StopMode::Now);
        let (nothing, whole) = (Holdings::default(), Duration::from_secs(10));
        assert_eq!(departure.next(now, &nothing, Lead::Free), Todo::Resign);
        let last = departure.next(now + whole, &nothing, Lead::Free);
        assert_eq!(last, Todo::End);
        let (errors, _) = departure.into_outcome();
        assert!(errors[0].contains("leadership"), "{errors:?}");
    }

    /// The hold of a restart must reach the leader, or its partitions move for nothing.
    #[test]
    fn a_restart_releases_with_its_hold() {
        let hold = Duration::from_secs(20);
        let (mut departure, now) = begin(StopMode::Restart { hold });
        let nothing = Holdings::default();
        let todo = departure.next(now, &nothing, Lead::Not);
        assert_eq!(todo, Todo::Release(hold));
    }
}
