//! The course of one call: whom to ask next, when to wait, when to give up.
//!
//! It is separate because it is a table: no clock, no connection. What always holds: an ownership that was
//! said to be over is not asked again at once; what may have been handled is sent again only if that is
//! allowed, and is never called "not handled" afterwards.

use std::time::Duration;

use parti_core::{Endpoint, PartitionKey, Token, WorkerId};
use parti_nats::route::{Bytes, NotAnswered, Refusal, Reply};

use super::error::{RouteError, Untaken};
use super::limits::{Limits, Repeat};

#[cfg(test)]
mod tests;

/// The first and the longest pause before one who is there but cannot take the request is asked again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(160));

/// The first and the longest pause before an ownership that was over is asked again all the same: a worker
/// that had lost its lease for a moment goes on with the token it had.
const PROBES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// The most of an attempt for which a request may wait at its owner to be begun with.
const HOLD_SHARE: u32 = 2;

/// What the directory says of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It has not been read.
    Unread,
    /// It is nobody's, or on its way.
    Nobody,
    /// It is this worker's.
    Owner {
        worker: WorkerId,
        endpoint: Option<Endpoint>,
        token: Token,
    },
}

impl Seen {
    pub(super) const fn token(&self) -> Option<Token> {
        match self {
            Self::Owner { token, .. } => Some(*token),
            Self::Unread | Self::Nobody => None,
        }
    }
}

/// One that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) endpoint: Endpoint,
    pub(super) token: Token,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask this one, for so long; it may keep the request for `hold` before it begins.
    Ask {
        candidate: Candidate,
        within: Duration,
        hold: Duration,
    },
    /// Wait until the directory says something else, at most so long.
    Wait(Duration),
    /// There will be no answer.
    GiveUp(RouteError),
}

/// What an answer leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It is the answer.
    Done { token: Token, payload: Bytes },
    /// Go on, after a pause that a change in the directory may end.
    GoOn { pause: Duration },
    /// It is the end.
    Fail(RouteError),
}

/// One call.
#[derive(Debug)]
pub(super) struct Course {
    partition: PartitionKey,
    limits: Limits,
    tries: u32,
    pause: Duration,
    probe: Duration,
    /// Ownerships up to here are over.
    over: Option<Token>,
    /// Whom somebody who refused has named.
    hint: Option<Candidate>,
    /// Somebody may have handled it.
    unknown: Option<(Token, String)>,
    last: Option<Untaken>,
}

impl Course {
    pub(super) fn new(partition: PartitionKey, limits: Limits) -> Self {
        Self {
            partition,
            limits,
            tries: 0,
            pause: PAUSES.0,
            probe: PROBES.0,
            over: None,
            hint: None,
            unknown: None,
            last: None,
        }
    }

    /// What to do now, `elapsed` after the begin of the call.
    pub(super) fn next(&self, elapsed: Duration, seen: &Seen) -> Next {
        let left = self.limits.within.saturating_sub(elapsed);
        if left.is_zero() || self.tries >= self.limits.tries {
            return Next::GiveUp(self.give_up(seen));
        }
        let is_open = |token: Token| self.over.is_none_or(|over| token > over);
        let hint = self.hint.clone().filter(|hint| is_open(hint.token));
        let candidate = match seen {
            Seen::Owner { token, .. } if hint.as_ref().is_some_and(|hint| hint.token > *token) => {
                hint
            }
            Seen::Owner {
                endpoint: Some(endpoint),
                token,
                ..
            } if is_open(*token) => Some(Candidate {
                endpoint: endpoint.clone(),
                token: *token,
            }),
            Seen::Owner {
                worker,
                endpoint: None,
                token,
            } if is_open(*token) => {
                let (partition, worker) = (self.partition.clone(), worker.clone());
                return Next::GiveUp(RouteError::NoEndpoint { partition, worker });
            }
            Seen::Owner { .. } | Seen::Nobody | Seen::Unread => hint,
        };
        let Some(candidate) = candidate else {
            return Next::Wait(self.over.map_or(left, |_| self.probe.min(left)));
        };
        let within = self.limits.attempt.min(left);
        let hold = within / HOLD_SHARE;
        Next::Ask {
            candidate,
            within,
            hold,
        }
    }

    /// Takes in that a wait has ended and the directory says what it said before.
    pub(super) fn waited(&mut self) {
        self.over = None;
        self.probe = (self.probe * 2).min(PROBES.1);
    }

    /// Takes in what became of a request.
    pub(super) fn heard(&mut self, asked: &Candidate, heard: Result<Reply, NotAnswered>) -> Then {
        self.tries += 1;
        let partition = self.partition.clone();
        match heard {
            Ok(Reply::Done { token, payload }) => Then::Done { token, payload },
            Ok(Reply::Failed { token, reason }) => Then::Fail(RouteError::Failed {
                partition,
                token,
                reason,
            }),
            Ok(Reply::Interrupted { token }) => {
                let reason = "its owner lost the partition before it had ended".to_owned();
                self.over = self.over.max(Some(token));
                self.unknown(token, reason)
            }
            Ok(Reply::Refused(Refusal::Over { token, owner })) => {
                self.over = self.over.max(Some(token.max(asked.token)));
                self.hint = owner.map(|owner| Candidate {
                    endpoint: owner.endpoint,
                    token: owner.token,
                });
                self.pause = PAUSES.0;
                self.last = Some(Untaken::Over);
                Then::GoOn {
                    pause: Duration::ZERO,
                }
            }
            Ok(Reply::Refused(Refusal::NotYet)) => self.again(Untaken::NotYet),
            Ok(Reply::Refused(Refusal::Busy)) => self.again(Untaken::Busy),
            Ok(Reply::Refused(Refusal::Unreadable)) => {
                self.last = Some(Untaken::Unreadable);
                Then::Fail(self.not_taken(Untaken::Unreadable))
            }
            Err(NotAnswered::Nobody) => self.again(Untaken::Unreachable),
            Err(NotAnswered::NotSent(why)) => self.again(Untaken::NotSent(why)),
            Err(NotAnswered::TooLarge(reason)) => {
                Then::Fail(RouteError::TooLarge { partition, reason })
            }
            Err(NotAnswered::TooLong { bytes }) => {
                let reason = format!("its subject has {bytes} bytes");
                Then::Fail(RouteError::TooLarge { partition, reason })
            }
            Err(NotAnswered::Silence(reason)) => self.unknown(asked.token, reason),
        }
    }

    fn again(&mut self, why: Untaken) -> Then {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSES.1);
        self.last = Some(why);
        Then::GoOn { pause }
    }

    fn unknown(&mut self, token: Token, reason: String) -> Then {
        self.unknown = Some((token, reason));
        match self.limits.repeat {
            Repeat::Never => Then::Fail(self.give_up(&Seen::Nobody)),
            Repeat::Allowed => Then::GoOn {
                pause: Duration::ZERO,
            },
        }
    }

    /// The error of a call that ends without an answer.
    fn give_up(&self, seen: &Seen) -> RouteError {
        let (partition, within) = (self.partition.clone(), self.limits.within);
        match (&self.unknown, &self.last, seen) {
            (Some((token, reason)), ..) => RouteError::Unknown {
                partition,
                token: *token,
                reason: reason.clone(),
            },
            (None, Some(last), _) => self.not_taken(last.clone()),
            (None, None, Seen::Unread) => RouteError::Unread { partition, within },
            (None, None, Seen::Nobody | Seen::Owner { .. }) => {
                RouteError::NoOwner { partition, within }
            }
        }
    }

    fn not_taken(&self, last: Untaken) -> RouteError {
        match &self.unknown {
            Some((token, reason)) => RouteError::Unknown {
                partition: self.partition.clone(),
                token: *token,
                reason: reason.clone(),
            },
            None => RouteError::NotTaken {
                partition: self.partition.clone(),
                tries: self.tries,
                last,
            },
        }
    }
}
