//! The leadership: where a term stands, from the take-over to the last `head`.
//!
//! It is separate so that each state carries what only it needs. What always holds: one write of `head`
//! is in flight at a time; a leader that gives up plans nothing more, but ends the write under way.

use alloc::boxed::Box;

use crate::io::effect::{Wake, WakeReason};
use crate::io::event::OpId;
use crate::io::notice::StepDownReason;
use crate::leader::committing::commit::Commit;
use crate::leader::planning::rejections::Reassignment;
use crate::leader::planning::target::Brief;
use crate::link::attempt::Attempt;
use crate::model::time::Instant;
use crate::records::record::Head;

/// Where a term stands.
#[derive(Clone, Debug)]
pub(crate) enum Leadership {
    /// The watch has not yet delivered this leader's take-over, and with it everything before.
    CatchingUp {
        /// Whether it has shown it, perhaps within a snapshot that is still being delivered.
        head_seen: bool,
    },
    Leading(Work),
    Resigning(Resigning),
}

/// What a leader is at.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Nothing; and what was judged, if that is still so, needs nothing more.
    Idle {
        judged: Option<Ground>,
    },
    /// A step has failed.
    Pausing {
        until: Instant,
    },
    Planning {
        op: OpId,
        brief: Box<Brief>,
        /// The plan, while the strategy is asked again for a part of it.
        reassignment: Option<Box<Reassignment>>,
        /// When the answer is lost.
        give_up: Instant,
    },
    Committing(Box<Commit>),
}

/// What a judgement was made on: while this is the same, nothing has happened since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ground {
    /// The generations of what is known and of the partition list.
    pub(crate) knowledge: u64,
    pub(crate) list: u64,
    /// Since when the store has been heard without a gap, while it is.
    pub(crate) hears_since: Option<Instant>,
}

/// A leader that steps down.
#[derive(Clone, Debug)]
pub(crate) struct Resigning {
    pub(crate) reason: StepDownReason,
    /// Whether it had caught up: only then it knows better than the leader before.
    pub(crate) informed: bool,
    pub(crate) step: Step,
}

/// How far giving up is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A generation is still on its way.
    Committing(Box<Commit>),
    /// A step has failed: a store that refuses is not to be hammered.
    Pausing { until: Instant },
    /// The last `head` is to be written.
    Due,
    /// It is on its way.
    Writing {
        attempt: Box<Attempt>,
        head: Box<Head>,
    },
}

/// What was on its way and is written.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    Generation(Box<Commit>),
    /// The last `head`, which names nobody.
    Resignation(StepDownReason, Box<Head>),
}

impl Leadership {
    /// A leader with nothing under way.
    const fn idle() -> Self {
        Self::Leading(Work::Idle { judged: None })
    }

    /// Whether nothing is under way.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self, Self::Leading(Work::Idle { .. }))
    }

    /// Whether a plan is being made or written.
    pub(crate) const fn is_busy(&self) -> bool {
        matches!(self, Self::Leading(Work::Planning { .. })) || self.committing().is_some()
    }

    /// Whether everything before this leader's take-over is known.
    pub(crate) const fn is_informed(&self) -> bool {
        match self {
            Self::CatchingUp { .. } => false,
            Self::Leading(_) => true,
            Self::Resigning(resigning) => resigning.informed,
        }
    }

    /// Everything before this leader's take-over is known. Whether that is news.
    pub(crate) fn caught_up(&mut self) -> bool {
        let news = matches!(self, Self::CatchingUp { .. });
        if news {
            *self = Self::idle();
        }
        news
    }

    /// The leadership is to be given up. A plan is dropped; what is being written is ended first.
    pub(crate) fn resign(&mut self, reason: StepDownReason) {
        let (informed, step) = match core::mem::replace(self, Self::idle()) {
            Self::Resigning(resigning) => {
                *self = Self::Resigning(resigning);
                return;
            }
            Self::CatchingUp { .. } => (false, Step::Due),
            Self::Leading(work) => match work {
                Work::Idle { .. } | Work::Planning { .. } => (true, Step::Due),
                Work::Pausing { until } => (true, Step::Pausing { until }),
                Work::Committing(commit) => (true, Step::Committing(commit)),
            },
        };
        *self = Self::Resigning(Resigning {
            reason,
            informed,
            step,
        });
    }

    /// What was under way is over, or what was judged has changed.
    pub(crate) fn rest(&mut self) {
        match self {
            Self::CatchingUp { .. } => {}
            Self::Leading(work) => *work = Work::Idle { judged: None },
            Self::Resigning(resigning) => resigning.step = Step::Due,
        }
    }

    /// What was under way has failed.
    pub(crate) fn pause(&mut self, until: Instant) {
        match self {
            Self::CatchingUp { .. } => {}
            Self::Leading(work) => *work = Work::Pausing { until },
            Self::Resigning(resigning) => resigning.step = Step::Pausing { until },
        }
    }

    /// A generation is on its way.
    pub(crate) fn commit(&mut self, commit: Commit) {
        *self = Self::Leading(Work::Committing(Box::new(commit)));
    }

    /// The generation on its way.
    pub(crate) const fn committing(&self) -> Option<&Commit> {
        match self {
            Self::Leading(Work::Committing(commit))
            | Self::Resigning(Resigning {
                step: Step::Committing(commit),
                ..
            }) => Some(commit),
            Self::CatchingUp { .. } | Self::Leading(_) | Self::Resigning(_) => None,
        }
    }

    pub(crate) const fn committing_mut(&mut self) -> Option<&mut Commit> {
        match self {
            Self::Leading(Work::Committing(commit))
            | Self::Resigning(Resigning {
                step: Step::Committing(commit),
                ..
            }) => Some(commit),
            Self::CatchingUp { .. } | Self::Leading(_) | Self::Resigning(_) => None,
        }
    }

    /// The write of `head` on its way, whatever it is for.
    pub(crate) fn attempt(&self) -> Option<&Attempt> {
        match self {
            Self::Resigning(Resigning {
                step: Step::Writing { attempt, .. },
                ..
            }) => Some(attempt),
            Self::CatchingUp { .. } | Self::Leading(_) | Self::Resigning(_) => {
                self.committing().map(|commit| &commit.attempt)
            }
        }
    }

    pub(crate) fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        match self {
            Self::Resigning(Resigning {
                step: Step::Writing { attempt, .. },
                ..
            }) => Some(attempt),
            Self::CatchingUp { .. } | Self::Leading(_) | Self::Resigning(_) => {
                self.committing_mut().map(|commit| &mut commit.attempt)
            }
        }
    }

    /// What was on its way is written.
    pub(crate) fn take_written(&mut self) -> Option<Written> {
        self.attempt()?;
        match core::mem::replace(self, Self::idle()) {
            Self::Leading(Work::Committing(commit)) => Some(Written::Generation(commit)),
            Self::Resigning(Resigning {
                reason,
                informed,
                step,
            }) => match step {
                Step::Writing { head, .. } => Some(Written::Resignation(reason, head)),
                Step::Committing(commit) => {
                    let step = Step::Due;
                    *self = Self::Resigning(Resigning {
                        reason,
                        informed,
                        step,
                    });
                    Some(Written::Generation(commit))
                }
                Step::Pausing { .. } | Step::Due => None,
            },
            Self::CatchingUp { .. } | Self::Leading(_) => None,
        }
    }
}

impl Work {
    /// When to go on; an idle leader goes on when its judgement says so.
    pub(crate) fn wake(&self, again_at: Option<Wake>) -> Option<Wake> {
        match self {
            Self::Idle { .. } => again_at,
            Self::Pausing { until } | Self::Planning { give_up: until, .. } => {
                Some(Wake::new(*until, WakeReason::Retry))
            }
            Self::Committing(commit) => commit.wake(),
        }
    }
}

impl Step {
    /// When to go on.
    pub(crate) fn wake(&self) -> Option<Wake> {
        match self {
            Self::Due => None,
            Self::Pausing { until } => Some(Wake::new(*until, WakeReason::Retry)),
            Self::Committing(commit) => commit.wake(),
            Self::Writing { attempt, .. } => attempt.wake(),
        }
    }
}
