//! Probes: asking other processes whether they run, and what their answers come to.
//!
//! It is pure bookkeeping, and separate because followers and leaders use it alike. What always holds:
//! one answer of the process, or one renewal of its session, clears everything that was found before; no
//! probe waits for the answer to the one before it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::config::Config;
use crate::io::effect::{Effect, Wake, WakeReason};
use crate::link::cx::Cx;
use crate::model::id::Nonce;
use crate::model::time::Instant;
use crate::ports::liveness::{ProbeAnswer, ProbeId};

/// So many answers of "nobody there" in a row are a finding: one may come from a process that is just
/// connecting again.
const NOBODY_TWICE: u32 = 2;

/// So often must have been asked without an answer before silence is a finding.
const ASKED_OFTEN: u32 = 3;

/// Who is asked, and what came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probes {
    last: u64,
    targets: BTreeMap<Nonce, Target>,
}

#[derive(Clone, Copy, Debug)]
struct Target {
    next_at: Instant,
    finding: Finding,
}

/// What is known since the last sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// Nothing was asked since.
    Nothing,
    /// It was asked, for the first time then; it may still answer.
    Asked {
        since: Instant,
        times: u32,
        nobody: u32,
    },
    /// There is nobody: found then.
    Gone { at: Instant },
}

impl Finding {
    /// The same after one more question.
    const fn asked(self, now: Instant) -> Self {
        match self {
            Self::Nothing => Self::Asked {
                since: now,
                times: 1,
                nobody: 0,
            },
            Self::Asked {
                since,
                times,
                nobody,
            } => Self::Asked {
                since,
                times: times.saturating_add(1),
                nobody,
            },
            Self::Gone { .. } => self,
        }
    }
}

impl Probes {
    /// Sets who is to be asked; what is known of those who stay is kept.
    pub(crate) fn aim(&mut self, now: Instant, sessions: impl IntoIterator<Item = Nonce>) {
        let mut before = core::mem::take(&mut self.targets);
        let fresh = Target {
            next_at: now,
            finding: Finding::Nothing,
        };
        let kept = sessions
            .into_iter()
            .map(|session| (session, before.remove(&session).unwrap_or(fresh)));
        self.targets = kept.collect();
    }

    /// A renewal of a session was seen: it lives, whatever was found before.
    pub(crate) fn on_renewal(&mut self, session: Nonce) {
        if let Some(target) = self.targets.get_mut(&session) {
            target.finding = Finding::Nothing;
        }
    }

    /// An answer came. Whether it changes what is known.
    fn on_answer(&mut self, now: Instant, probe: ProbeId, answer: ProbeAnswer) -> bool {
        let Some(target) = self.targets.get_mut(&probe.session) else {
            return false;
        };
        let before = target.finding;
        target.finding = match (answer, before) {
            (ProbeAnswer::Alive, _) => Finding::Nothing,
            (ProbeAnswer::Silence, same)
            | (ProbeAnswer::Nobody, same @ (Finding::Gone { .. } | Finding::Nothing)) => same,
            (
                ProbeAnswer::Nobody,
                Finding::Asked {
                    since,
                    times,
                    nobody,
                },
            ) => {
                let nobody = nobody + 1;
                if nobody < NOBODY_TWICE {
                    // At once: the second answer is what is waited for.
                    target.next_at = now;
                    Finding::Asked {
                        since,
                        times,
                        nobody,
                    }
                } else {
                    Finding::Gone { at: now }
                }
            }
        };
        target.finding != before
    }

    /// From when on a session is suspected, if nothing is heard of it until then.
    pub(crate) fn suspected_at(&self, config: &Config, session: Nonce) -> Option<Instant> {
        match self.targets.get(&session)?.finding {
            Finding::Nothing => None,
            // A process that stood still itself has not waited for answers.
            Finding::Asked { times, .. } if times < ASKED_OFTEN => None,
            Finding::Asked { since, .. } => Some(since + config.suspect_after()),
            Finding::Gone { at, .. } => Some(at),
        }
    }

    /// When the next question is due.
    pub(crate) fn wake(&self) -> Option<Wake> {
        let next = self.targets.values().map(|target| target.next_at).min();
        next.map(|at| Wake::new(at, WakeReason::Probe))
    }

    /// Whom to ask now.
    fn due(&mut self, now: Instant, next: &mut dyn FnMut() -> Instant) -> Vec<ProbeId> {
        let mut probes = Vec::new();
        for (&session, target) in &mut self.targets {
            if now < target.next_at {
                continue;
            }
            target.next_at = next();
            target.finding = target.finding.asked(now);
            self.last += 1;
            let seq = self.last;
            probes.push(ProbeId { session, seq });
        }
        probes
    }
}

impl Cx<'_> {
    /// Asks those whose turn it is.
    pub(crate) fn poll_probes(&mut self) {
        let Some(interval) = self.config().probe_interval() else {
            return;
        };
        let now = self.now;
        if self.link().probes().wake().is_none_or(|wake| now < wake.at) {
            return;
        }
        let mut rng = self.rng().clone();
        // Jittered, so that many processes that began together do not ask together.
        let mut next = || now + interval * 3 / 4 + rng.duration_below(interval / 2);
        let due = self.link_mut().probes.due(now, &mut next);
        *self.rng() = rng;
        let within = self.config().suspect_after();
        for probe in due {
            self.push(Effect::Probe { probe, within });
        }
    }

    /// An answer to a question came. Whether it changes what is known.
    pub(crate) fn on_probed(&mut self, probe: ProbeId, answer: ProbeAnswer) -> bool {
        let now = self.now;
        self.link_mut().probes.on_answer(now, probe, answer)
    }

    /// Sets who is to be asked.
    pub(crate) fn aim_probes(&mut self, sessions: impl IntoIterator<Item = Nonce>) {
        let now = self.now;
        self.link_mut().probes.aim(now, sessions);
    }

    /// A renewal of a session was seen.
    pub(crate) fn note_renewal(&mut self, session: Nonce) {
        self.link_mut().probes.on_renewal(session);
    }
}
