//! How far the store is heard: one question with one answer, derived from what was seen.
//!
//! It is separate because everybody asks: who may judge others, who may stand for election, which
//! leader must give up, and what is told of the health. What always holds: the answer is
//! a function of the signs alone, so that no two of them can disagree.

use crate::io::notice::DegradedReason;
use crate::model::time::Instant;
use crate::resilience::breaker::CircuitState;

/// How far the store is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Requests pass and own renewals come back, without a gap since then.
    Sound { since: Instant },
    /// As [`Heard::Sound`], and yet something is wrong. It counts as heard.
    Doubtful { since: Instant, doubt: Doubt },
    /// Nothing has come back for too long; whether the writes or the watch fail is not known yet.
    Silent,
    /// Renewals have been applied since then, and none of them came back.
    OneWay { since: Instant },
    /// Requests do not get through: the circuit is not closed, or neither an acknowledgement nor an
    /// echo comes.
    Out,
}

/// What is wrong although own renewals come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The last renewal was acknowledged too long ago.
    Unacknowledged,
    /// The watch broke off too often of late.
    WatchBreaks,
}

/// What was seen of the store, as of one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signs {
    /// The circuit of requests.
    pub(crate) requests: CircuitState,
    /// The circuit of the watch.
    pub(crate) watch: CircuitState,
    /// Whether the last renewal was acknowledged too long ago.
    pub(crate) overdue: bool,
    /// Since when own renewals have come back without a gap, while they do.
    pub(crate) since: Option<Instant>,
    /// Since when renewals have been applied without coming back.
    pub(crate) unheard_since: Option<Instant>,
}

impl From<&Signs> for Heard {
    fn from(signs: &Signs) -> Self {
        match (signs.requests, signs.since, signs.unheard_since) {
            (CircuitState::Open | CircuitState::HalfOpen, _, _) => Self::Out,
            (CircuitState::Closed, Some(since), _) => {
                let doubt = match signs.watch {
                    _ if signs.overdue => Some(Doubt::Unacknowledged),
                    CircuitState::Open | CircuitState::HalfOpen => Some(Doubt::WatchBreaks),
                    CircuitState::Closed => None,
                };
                doubt.map_or(Self::Sound { since }, |doubt| Self::Doubtful {
                    since,
                    doubt,
                })
            }
            (CircuitState::Closed, None, _) if signs.overdue => Self::Out,
            (CircuitState::Closed, None, Some(since)) => Self::OneWay { since },
            (CircuitState::Closed, None, None) => Self::Silent,
        }
    }
}

impl Heard {
    /// Since when it has been heard without a gap; `None` while it is not. Only who hears may call
    /// others silent, and act.
    pub(crate) const fn since(self) -> Option<Instant> {
        match self {
            Self::Sound { since } | Self::Doubtful { since, .. } => Some(since),
            Self::Silent | Self::OneWay { .. } | Self::Out => None,
        }
    }

    /// Whether it is heard.
    pub(crate) const fn is_heard(self) -> bool {
        self.since().is_some()
    }

    /// Whether renewals are applied and do not come back.
    pub(crate) const fn is_one_way(self) -> bool {
        matches!(self, Self::OneWay { .. })
    }

    /// What the trouble is called if it lasts.
    pub(crate) const fn trouble(self) -> Option<DegradedReason> {
        match self {
            Self::Sound { .. } => None,
            Self::Doubtful {
                doubt: Doubt::Unacknowledged,
                ..
            }
            | Self::Out => Some(DegradedReason::WritesFailing),
            Self::Doubtful {
                doubt: Doubt::WatchBreaks,
                ..
            }
            | Self::Silent
            | Self::OneWay { .. } => Some(DegradedReason::WatchSilent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Instant = Instant::from_millis(7_000);
    const CLOSED: CircuitState = CircuitState::Closed;

    fn heard(
        (requests, watch): (CircuitState, CircuitState),
        overdue: bool,
        held: bool,
        unheard: bool,
    ) -> Heard {
        Heard::from(&Signs {
            requests,
            watch,
            overdue,
            since: held.then_some(SINCE),
            unheard_since: unheard.then_some(SINCE),
        })
    }

    /// Seven places answered this by themselves, and a leader judged while the member it belongs to
    /// was degraded.
    #[test]
    fn each_sign_leads_to_one_answer() {
        use CircuitState::{HalfOpen, Open};
        let since = SINCE;
        let doubtful = |doubt| Heard::Doubtful { since, doubt };
        let (late, breaks) = (
            doubtful(Doubt::Unacknowledged),
            doubtful(Doubt::WatchBreaks),
        );
        // Circuits of requests and watch, overdue, held, unheard; the answer.
        let cases = [
            ((CLOSED, CLOSED), false, true, false, Heard::Sound { since }),
            ((CLOSED, HalfOpen), false, true, false, breaks),
            ((CLOSED, Open), false, true, false, breaks),
            ((CLOSED, CLOSED), true, true, false, late),
            ((CLOSED, Open), true, true, false, late),
            ((CLOSED, CLOSED), false, false, false, Heard::Silent),
            ((CLOSED, Open), false, false, false, Heard::Silent),
            (
                (CLOSED, CLOSED),
                false,
                false,
                true,
                Heard::OneWay { since },
            ),
            ((CLOSED, Open), false, false, true, Heard::OneWay { since }),
            ((CLOSED, CLOSED), true, false, false, Heard::Out),
            ((CLOSED, CLOSED), true, false, true, Heard::Out),
            ((Open, CLOSED), false, false, false, Heard::Out),
            ((Open, CLOSED), false, false, true, Heard::Out),
            ((HalfOpen, CLOSED), false, true, false, Heard::Out),
            ((HalfOpen, Open), true, true, false, Heard::Out),
        ];
        for (circuits, overdue, held, unheard, expected) in cases {
            let found = heard(circuits, overdue, held, unheard);
            assert_eq!(found, expected, "{circuits:?} {overdue} {held} {unheard}");
        }
    }

    /// A worker that does not hear the store must be told to be in trouble, whatever the reason: a group
    /// stood still for an hour in a state that nobody was told of.
    #[test]
    fn a_worker_that_does_not_hear_is_in_trouble_and_only_a_sound_one_is_in_none() {
        use CircuitState::{HalfOpen, Open};
        let states = [CLOSED, HalfOpen, Open];
        let flags = [false, true];
        let mut seen = 0;
        for requests in states {
            for watch in states {
                for overdue in flags {
                    for held in flags {
                        for unheard in flags {
                            let heard = heard((requests, watch), overdue, held, unheard);
                            let sound = matches!(heard, Heard::Sound { .. });
                            assert_eq!(heard.trouble().is_none(), sound, "{heard:?}");
                            assert!(!heard.is_heard() || (held && requests == CLOSED));
                            seen += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(seen, 72);
    }

    /// An operator looks at the store when writes fail and at the network when the watch is silent.
    #[test]
    fn the_trouble_names_the_way_that_fails() {
        let cases = [
            (heard((CLOSED, CLOSED), true, true, false), "writes"),
            (heard((CLOSED, CLOSED), true, false, true), "writes"),
            (
                heard((CircuitState::Open, CLOSED), false, false, false),
                "writes",
            ),
            (
                heard((CLOSED, CircuitState::Open), false, true, false),
                "watch",
            ),
            (heard((CLOSED, CLOSED), false, false, true), "watch"),
            (heard((CLOSED, CLOSED), false, false, false), "watch"),
        ];
        for (heard, expected) in cases {
            let found = match heard.trouble() {
                Some(DegradedReason::WritesFailing) => "writes",
                Some(DegradedReason::WatchSilent) => "watch",
                Some(DegradedReason::LeaseLost | DegradedReason::HistoryLost) | None => "nothing",
            };
            assert_eq!(found, expected, "{heard:?}");
        }
    }
}
