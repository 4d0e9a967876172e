//! Which state may follow which.
//!
//! The public state is derived and not stored, so nothing enforces this table: it is what the
//! machines amount to, and the simulator holds every run to it. It is separate so that a defect that
//! shows as an impossible step, such as a stable worker that was never assigned anything, is named as
//! one.

use core::fmt;

use super::State;

/// A step between two states that no worker can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct InvalidTransition {
    /// The state before.
    pub from: State,
    /// The state that cannot follow it.
    pub to: State,
}

impl fmt::Display for InvalidTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{from} cannot become {to}; it can become")?;
        match from.successors() {
            [] => f.write_str(" nothing any more"),
            [first, rest @ ..] => {
                write!(f, " {first}")?;
                rest.iter().try_for_each(|state| write!(f, ", {state}"))
            }
        }
    }
}

impl core::error::Error for InvalidTransition {}

impl State {
    /// Every state, in declaration order.
    pub const ALL: [Self; 10] = [
        Self::Init,
        Self::ClaimingId,
        Self::Election,
        Self::WaitingAssignment,
        Self::Stable,
        Self::Scaling,
        Self::Rebalancing,
        Self::Emergency,
        Self::Degraded,
        Self::Shutdown,
    ];

    /// The states that a watcher of one worker can see next.
    ///
    /// ```
    /// use parti_core::State;
    /// assert_eq!(State::Init.successors(), [State::ClaimingId, State::Shutdown]);
    /// assert!(State::Shutdown.successors().is_empty());
    /// ```
    #[must_use]
    pub const fn successors(self) -> &'static [Self] {
        match self {
            Self::Init => &[Self::ClaimingId, Self::Shutdown],
            // An ID won so late that its lease is over already begins degraded.
            Self::ClaimingId => &[Self::Election, Self::Degraded, Self::Shutdown],
            // A new leader judges only after its watch has delivered its own take-over.
            Self::Election => &[
                Self::ClaimingId,
                Self::WaitingAssignment,
                Self::Stable,
                Self::Rebalancing,
                Self::Degraded,
                Self::Shutdown,
            ],
            Self::WaitingAssignment => &[
                Self::ClaimingId,
                Self::Election,
                Self::Stable,
                Self::Scaling,
                Self::Rebalancing,
                Self::Emergency,
                Self::Degraded,
                Self::Shutdown,
            ],
            // What a session has taken in it never forgets: a stable worker never waits for its
            // first assignment again.
            Self::Stable => &[
                Self::ClaimingId,
                Self::Election,
                Self::Scaling,
                Self::Rebalancing,
                Self::Emergency,
                Self::Degraded,
                Self::Shutdown,
            ],
            Self::Scaling => AFTER_SCALING,
            Self::Rebalancing => AFTER_REBALANCING,
            Self::Emergency => AFTER_EMERGENCY,
            // Being degraded hides the state beneath, which goes on.
            Self::Degraded => &[
                Self::ClaimingId,
                Self::Election,
                Self::WaitingAssignment,
                Self::Stable,
                Self::Scaling,
                Self::Rebalancing,
                Self::Emergency,
                Self::Shutdown,
            ],
            Self::Shutdown => &[],
        }
    }

    /// Whether `next` can follow this state. No state follows itself: that is no step.
    #[must_use]
    pub fn can_become(self, next: Self) -> bool {
        self.successors().contains(&next)
    }

    /// Checks one step.
    ///
    /// # Errors
    /// [`InvalidTransition`] names both states; it is a defect of the code that made the step.
    pub fn transition(from: Self, to: Self) -> Result<(), InvalidTransition> {
        if from.can_become(to) {
            Ok(())
        } else {
            Err(InvalidTransition { from, to })
        }
    }
}

// A leader may plan for others before it has taken in its own first assignment, and goes on waiting
// for it afterwards.
const AFTER_SCALING: &[State] = &[
    State::ClaimingId,
    State::Election,
    State::WaitingAssignment,
    State::Stable,
    State::Rebalancing,
    State::Emergency,
    State::Degraded,
    State::Shutdown,
];
const AFTER_REBALANCING: &[State] = &[
    State::ClaimingId,
    State::Election,
    State::WaitingAssignment,
    State::Stable,
    State::Scaling,
    State::Emergency,
    State::Degraded,
    State::Shutdown,
];
const AFTER_EMERGENCY: &[State] = &[
    State::ClaimingId,
    State::Election,
    State::WaitingAssignment,
    State::Stable,
    State::Scaling,
    State::Rebalancing,
    State::Degraded,
    State::Shutdown,
];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// A watcher that is told "stable" twice, or life after death, cannot rely on anything.
    #[test]
    fn no_state_follows_itself_nothing_becomes_init_and_shutdown_is_final() {
        for state in State::ALL {
            let error = |from, to| Err(InvalidTransition { from, to });
            assert_eq!(State::transition(state, state), error(state, state));
            assert_eq!(
                State::transition(state, State::Init),
                error(state, State::Init)
            );
            let (shutdown, last) = (State::Shutdown, state);
            assert_eq!(State::transition(shutdown, last), error(shutdown, last));
        }
    }

    /// A stop and the loss of an ID must be possible from wherever a worker stands.
    #[test]
    fn everything_can_stop_and_every_member_can_lose_its_identity_or_contact() {
        for state in State::ALL {
            let running = state != State::Shutdown;
            assert_eq!(state.can_become(State::Shutdown), running, "{state}");
            let member = running && state != State::Init && state != State::ClaimingId;
            assert_eq!(
                state.can_become(State::ClaimingId),
                member || state == State::Init
            );
            let connected = running && state != State::Init && state != State::Degraded;
            assert_eq!(state.can_become(State::Degraded), connected, "{state}");
        }
    }

    /// "Invalid state" in a log helps nobody; which step, and what would have been right, does.
    #[test]
    fn every_invalid_transition_has_an_error_of_its_own_that_names_both_states() {
        let mut texts = alloc::collections::BTreeSet::new();
        let mut invalid = 0;
        for from in State::ALL {
            for to in State::ALL {
                let Err(error) = State::transition(from, to) else {
                    continue;
                };
                invalid += 1;
                let text = error.to_string();
                assert!(
                    text.starts_with(&alloc::format!("{from} cannot become {to};")),
                    "{text}"
                );
                texts.insert(text);
            }
        }
        assert_eq!((texts.len(), invalid), (invalid, 42));
        let scaling = State::transition(State::Scaling, State::Scaling).expect_err("no step");
        assert!(
            scaling
                .to_string()
                .contains("it can become claiming_id, election")
        );
        let idle = State::transition(State::Init, State::Rebalancing).expect_err("not started");
        assert_eq!(idle.to, State::Rebalancing);
        let stopped = State::transition(State::Shutdown, State::Stable).expect_err("over");
        assert!(stopped.to_string().ends_with("nothing any more"));
    }
}
