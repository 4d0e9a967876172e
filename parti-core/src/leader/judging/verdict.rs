//! The judgement: what a leader does now, as a pure function of the facts.
//!
//! This is the only place that knows the order of the tiers: emergency, departures, restarts,
//! operators, unfinished work, cold start, cooldown, window. "Not yet" always says until when.

use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{Config, Mode};
use crate::io::effect::{Wake, WakeReason};
use crate::leader::judging::suspects::Suspicions;
use crate::leader::knowledge::joins::Changing;
use crate::model::id::WorkerId;
use crate::model::state::Cause;
use crate::model::time::Instant;

/// A worker that is overdue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Silent {
    pub(crate) worker: WorkerId,
    /// From when on it counts as lost.
    pub(crate) lost_at: Instant,
}

/// What the judgement is about, gathered from what the leader knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) now: Instant,
    /// Whether the leader itself has contact with the store.
    pub(crate) in_contact: bool,
    /// Living workers, overdue ones included.
    pub(crate) group: usize,
    /// Whether all expected workers take part.
    pub(crate) complete: bool,
    /// Whether there has never been an assignment, and since when workers have been gathering.
    pub(crate) cold: Option<Changing>,
    /// Workers that are overdue or will be.
    pub(crate) silent: Vec<Silent>,
    /// Workers that do not answer, in a group whose sinks compare tokens.
    pub(crate) suspicions: Suspicions,
    /// Workers of the last plan whose session was evicted, and workers that do not confirm.
    pub(crate) cut_off: bool,
    /// Workers of the last plan that are leaving or have left.
    pub(crate) left: bool,
    /// Workers of the last plan whose slot was taken by a new session.
    pub(crate) replaced: bool,
    /// Somebody else is to try what its owner cannot process.
    pub(crate) unprocessed: bool,
    /// An operator or a worker asked for a rebalance.
    pub(crate) manual: bool,
    /// An earlier leader left work unfinished.
    pub(crate) resume: bool,
    /// Workers that are not in the last plan.
    pub(crate) joined: Option<Changing>,
    pub(crate) parked: ParkedFacts,
    /// The partition list is not the one of the last plan.
    pub(crate) partitions_changed: bool,
    /// Weights are not those of the last plan, by enough to matter.
    pub(crate) weights_changed: bool,
    /// When the last rebalance was seen.
    pub(crate) last_rebalance: Option<Instant>,
    /// Most of the group was lost at once: until when those still missing may come back.
    pub(crate) restarting: Option<Instant>,
    /// When one of these facts changes although nothing happens: a patience, a quarantine, a rest or
    /// a hold is over, or a handoff is to go on.
    pub(crate) expires_at: Option<Instant>,
}

/// What has no owner because nobody may own it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ParkedFacts {
    /// Whether there is any.
    pub(crate) any: bool,
    /// When that is to be looked at again although nothing happens.
    pub(crate) until: Option<Instant>,
}

/// What to do, and when to judge again although nothing happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) again_at: Option<Wake>,
}

impl Judgement {
    /// That of a leader which has not judged yet.
    pub(crate) const fn none() -> Self {
        Self {
            verdict: Verdict::Quiet,
            again_at: None,
        }
    }

    /// What was done about it turned out to wait until then: that is judged again, too.
    pub(crate) fn hasten(&mut self, at: Instant) {
        let wake = Wake::new(at, self.verdict.wake_reason());
        self.again_at = Wake::earlier(self.again_at, Some(wake));
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing to do, and nothing foreseeable.
    Quiet,
    /// Nothing to do until then.
    Wait(Wake),
    /// A window collects changes until then.
    Settle { cause: Cause, until: Instant },
    /// Rebalance now. Workers lost now are to be evicted.
    Act { cause: Cause, lost: Vec<WorkerId> },
}

impl Verdict {
    /// Until when it holds unless something else happens.
    const fn until(&self) -> Option<Instant> {
        match self {
            Self::Quiet | Self::Act { .. } => None,
            Self::Wait(wake) => Some(wake.at),
            Self::Settle { until, .. } => Some(*until),
        }
    }

    const fn wake_reason(&self) -> WakeReason {
        match self {
            Self::Wait(wake) => wake.why,
            Self::Settle { .. } => WakeReason::Window,
            Self::Quiet | Self::Act { .. } => WakeReason::Handoff,
        }
    }

    /// Until when those lost together may still come back, once most of the group was lost at once.
    pub(crate) const fn restarting(&self) -> Option<Instant> {
        match self {
            Self::Settle {
                cause: Cause::Restart,
                until,
            } => Some(*until),
            Self::Settle { .. } | Self::Quiet | Self::Wait(_) | Self::Act { .. } => None,
        }
    }
}

/// Judges the facts of a moment.
///
/// The judgement says when to judge again if nothing happens meanwhile. What is past was judged a
/// moment ago and could not be acted upon: it waits for an event, such as the return of contact.
pub(crate) fn judge(config: &Config, facts: &Facts) -> Judgement {
    let verdict = verdict(config, facts);
    let lost = facts.silent.iter().map(|silent| silent.lost_at);
    let times = verdict.until().into_iter().chain(lost);
    let times = times.chain(facts.parked.until).chain(facts.expires_at);
    let times = times.chain(facts.suspicions.again_at);
    let next = times.filter(|&at| at > facts.now).min();
    let again_at = next.map(|at| Wake::new(at, verdict.wake_reason()));
    Judgement { verdict, again_at }
}

fn verdict(config: &Config, facts: &Facts) -> Verdict {
    if !facts.in_contact {
        // A leader that hears nothing itself may not call others silent. Contact returns with an event.
        return Verdict::Quiet;
    }
    emergency(config, facts)
        .or_else(|| unanswered(facts))
        .or_else(|| urgent(facts))
        .or_else(|| cold_start(config, facts))
        .or_else(|| planned(config, facts))
        .unwrap_or_else(|| quiet(facts))
}

fn emergency(config: &Config, facts: &Facts) -> Option<Verdict> {
    let lost: Vec<&Silent> = facts
        .silent
        .iter()
        .filter(|s| s.lost_at <= facts.now)
        .collect();
    let first = lost.iter().map(|s| s.lost_at).min()?;
    let share = lost.len() as f64 / facts.group.max(1) as f64;
    let until = if let Some(until) = facts.restarting {
        // Some are back already: the rest is not an emergency for that.
        until
    } else if lost.len() > 1 && share > config.restart_detection_ratio() {
        // So many at once are being restarted; they will want their slots back.
        first + config.cold_start_window()
    } else {
        Instant::ORIGIN
    };
    if facts.now < until {
        let cause = Cause::Restart;
        return Some(Verdict::Settle { cause, until });
    }
    let lost = lost.into_iter().map(|s| s.worker.clone()).collect();
    Some(Verdict::Act {
        cause: Cause::Emergency,
        lost,
    })
}

fn unanswered(facts: &Facts) -> Option<Verdict> {
    // A group that has no assignment yet waits for its workers, and for the leases of a lost one.
    if facts.cold.is_some() {
        return None;
    }
    let lost = facts.suspicions.evict.clone();
    let cause = Cause::Emergency;
    (!lost.is_empty()).then_some(Verdict::Act { cause, lost })
}

fn urgent(facts: &Facts) -> Option<Verdict> {
    let cause = if facts.cut_off {
        Cause::Emergency
    } else if facts.left {
        Cause::Drain
    } else if facts.replaced {
        Cause::Restart
    } else if facts.unprocessed {
        Cause::Unprocessed
    } else if facts.manual {
        Cause::Manual
    } else if facts.resume {
        Cause::Resume
    } else if facts.parked.until.is_some_and(|at| facts.now >= at) {
        Cause::Parked
    } else {
        return None;
    };
    Some(Verdict::Act {
        cause,
        lost: Vec::new(),
    })
}

fn cold_start(config: &Config, facts: &Facts) -> Option<Verdict> {
    let until = gathered_at(config, facts.cold?);
    let cause = Cause::ColdStart;
    Some(if facts.complete || facts.now >= until {
        Verdict::Act {
            cause,
            lost: Vec::new(),
        }
    } else {
        Verdict::Settle { cause, until }
    })
}

fn planned(config: &Config, facts: &Facts) -> Option<Verdict> {
    let cause = match (
        facts.joined,
        facts.partitions_changed,
        facts.weights_changed,
    ) {
        // It may be the one that parked partitions wait for.
        (Some(_), _, _) if facts.parked.any => Cause::Parked,
        (Some(_), _, _) => Cause::PlannedScale,
        (None, true, _) => Cause::PartitionsChanged,
        (None, false, true) => Cause::WeightsChanged,
        (None, false, false) => return None,
    };
    let window = match facts.joined {
        Some(joined) if !facts.complete => window_end(joined, config.planned_scale_window()),
        Some(_) | None => Instant::ORIGIN,
    };
    let cooldown = match facts.last_rebalance {
        // The cooldown keeps partitions where they are; these are nowhere.
        Some(_) if cause == Cause::Parked => Instant::ORIGIN,
        Some(at) => at + config.min_rebalance_interval(),
        None => Instant::ORIGIN,
    };
    let until = window.max(cooldown);
    Some(if facts.now >= until {
        Verdict::Act {
            cause,
            lost: Vec::new(),
        }
    } else if facts.now < window {
        Verdict::Settle { cause, until }
    } else {
        Verdict::Wait(Wake::new(until, WakeReason::Cooldown))
    })
}

fn quiet(facts: &Facts) -> Verdict {
    let next = facts.silent.iter().map(|silent| silent.lost_at).min();
    next.map_or(Verdict::Quiet, |at| {
        Verdict::Wait(Wake::new(at, WakeReason::Emergency))
    })
}

/// When a group that has nothing begins. Where nobody says how many are expected, quiet is the sign that
/// all are there; where somebody does, the window is for those who are missing.
///
/// In exclusive mode a lease is waited for as well, although the bucket may be old: one that was wiped looks
/// like one that was never used, and somebody may hold a lease of before. At 100 s the bucket is wiped, at
/// 100.1 s a fresh process leads in it: who renewed at 99.9 s may go on until 105.9 s.
fn gathered_at(config: &Config, gathering: Changing) -> Instant {
    let window = config.cold_start_window();
    if config.expected_workers().is_some() {
        window_end(gathering, window)
    } else {
        let quiet = gathering.last + config.cold_start_quiet();
        let lease = match config.mode() {
            Mode::Exclusive | Mode::Fenced => config.lease(),
            Mode::Overlap => Duration::ZERO,
        };
        quiet
            .max(gathering.first + lease)
            .min(gathering.first + window)
    }
}

/// A window lasts from the first change; each further one extends it by half its length, at most to
/// twice its length.
fn window_end(changing: Changing, length: Duration) -> Instant {
    let settled = (changing.first + length).max(changing.last + length / 2);
    settled.min(changing.first + length * 2)
}

#[cfg(test)]
mod tests;
