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

/// So many leases after the first wrong suspicion it is forgotten; after each further one twice as many, up
/// to eight times.
const FORGOTTEN: u32 = 10;
const FORGOTTEN_DOUBLINGS: u32 = 3;

/// So often must have been asked without an answer before silence is a finding.
const ASKED_OFTEN: u32 = 3;

/// Who is asked, and what came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probes {
    last: u64,
    targets: BTreeMap<Nonce, Target>,
    /// For which knowledge of the leader they were chosen.
    aimed: Option<u64>,
    /// Who was suspected when last looked at, and how many others have answered since.
    suspected: Vec<(Nonce, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Target {
    next_at: Instant,
    finding: Finding,
    /// The latest probe that was answered.
    answered: u64,
    /// When the last one ended without an answer.
    silent: Option<Instant>,
    wrong: Wrong,
}

/// Suspicions of a session that turned out to be wrong. A process that runs only now and then answers, and
/// is silent again: each time it has twice as long.
#[derive(Clone, Copy, Debug, Default)]
struct Wrong {
    /// The last one, and how many there were that followed each other soon.
    last: Option<(Instant, u32)>,
    /// How many there were in all: a worker with unsteady contact would be suspected for ever.
    all: u32,
}

impl Wrong {
    fn add(&mut self, config: &Config, now: Instant) {
        let count = self.count(config, now);
        self.last = Some((now, (count + 1).min(16)));
        self.all = self.all.saturating_add(1);
    }

    fn count(self, config: &Config, now: Instant) -> u32 {
        let doublings = self.all.saturating_sub(1).min(FORGOTTEN_DOUBLINGS);
        let remembered = config.lease() * (FORGOTTEN << doublings);
        let recent = |&(at, _): &(Instant, u32)| now < at + remembered;
        self.last.filter(recent).map_or(0, |(_, count)| count)
    }
}

/// What is known since the last sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// Nothing was asked since.
    Nothing,
    /// It was asked, for the first time then and with that probe; it may still answer.
    Asked {
        since: Instant,
        first: u64,
        times: u32,
        nobody: u32,
    },
    /// There is nobody: found then, and asked from that probe on.
    Gone { at: Instant, first: u64 },
}

impl Finding {
    /// The same after one more probe.
    const fn asked(self, now: Instant, probe: u64) -> Self {
        match self {
            Self::Nothing => Self::Asked {
                since: now,
                first: probe,
                times: 1,
                nobody: 0,
            },
            Self::Asked {
                since,
                first,
                times,
                nobody,
            } => Self::Asked {
                since,
                first,
                times: times.saturating_add(1),
                nobody,
            },
            Self::Gone { .. } => self,
        }
    }

    /// The same after an answer that there is nobody.
    const fn nobody(self, now: Instant) -> Self {
        match self {
            Self::Asked {
                since,
                first,
                times,
                nobody,
            } if nobody + 1 < NOBODY_TWICE => Self::Asked {
                since,
                first,
                times,
                nobody: nobody + 1,
            },
            Self::Asked { first, .. } => Self::Gone { at: now, first },
            Self::Nothing | Self::Gone { .. } => self,
        }
    }

    /// The first probe that is not answered.
    const fn first(self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Asked { first, .. } | Self::Gone { first, .. } => Some(first),
        }
    }

    /// Whether somebody said, once, that there is nobody.
    const fn is_doubt(self) -> bool {
        matches!(self, Self::Asked { nobody, .. } if nobody > 0)
    }
}

impl Target {
    /// From when on it is suspected, if nothing is heard until then.
    fn suspected_at(&self, config: &Config) -> Option<Instant> {
        let patience = |doublings: u32| {
            let longer = config.suspect_after().saturating_mul(1 << doublings);
            longer.min(config.lease())
        };
        match self.finding {
            Finding::Nothing => None,
            // A process that stood still itself has not waited for answers.
            Finding::Asked { times, .. } if times < ASKED_OFTEN => None,
            Finding::Asked { since, .. } => Some(since + patience(self.wrong.count(config, since))),
            Finding::Gone { at, .. } => match self.wrong.count(config, at) {
                0 => Some(at),
                count => Some(at + patience(count - 1)),
            },
        }
    }

    /// There is a sign of life.
    fn lives(&mut self, config: &Config, now: Instant) {
        if self.suspected_at(config).is_some_and(|at| at <= now) {
            self.wrong.add(config, now);
        }
        self.finding = Finding::Nothing;
    }
}

impl Probes {
    /// Sets who is to be asked; what is known of those who stay is kept.
    fn aim(&mut self, now: Instant, sessions: impl IntoIterator<Item = Nonce>) {
        let mut before = core::mem::take(&mut self.targets);
        let fresh = Target {
            next_at: now,
            finding: Finding::Nothing,
            answered: 0,
            silent: None,
            wrong: Wrong::default(),
        };
        let kept = sessions
            .into_iter()
            .map(|session| (session, before.remove(&session).unwrap_or(fresh)));
        self.targets = kept.collect();
    }

    /// A renewal of a session was seen: it lives, whatever was found before.
    fn on_renewal(&mut self, config: &Config, now: Instant, session: Nonce) {
        if let Some(target) = self.targets.get_mut(&session) {
            target.lives(config, now);
        }
    }

    /// An answer came. Whether it changes what is known.
    fn on_answer(
        &mut self,
        config: &Config,
        now: Instant,
        probe: ProbeId,
        answer: ProbeAnswer,
    ) -> bool {
        let doubted = self
            .targets
            .values()
            .any(|target| target.finding.is_doubt());
        let Some(target) = self.targets.get_mut(&probe.session) else {
            return false;
        };
        let before = target.finding;
        match answer {
            ProbeAnswer::Alive => {
                target.lives(config, now);
                target.answered = target.answered.max(probe.seq);
            }
            ProbeAnswer::Nobody => target.finding = before.nobody(now),
            ProbeAnswer::Silence => target.silent = Some(now),
        }
        let after = target.finding;
        if after.is_doubt() && after != before {
            // At once: the second answer is what is waited for; and whether the others still answer says
            // whose trouble it is.
            target.next_at = now;
            let others = self.targets.values_mut().filter(|_| !doubted);
            others.for_each(|target| target.next_at = now);
        }
        after != before
    }

    /// From when on a session is suspected, if nothing is heard of it until then.
    pub(crate) fn suspected_at(&self, config: &Config, session: Nonce) -> Option<Instant> {
        self.targets.get(&session)?.suspected_at(config)
    }

    /// Whether somebody said, twice, that there is nobody.
    pub(crate) fn is_gone(&self, session: Nonce) -> bool {
        let target = self.targets.get(&session);
        target.is_some_and(|target| matches!(target.finding, Finding::Gone { .. }))
    }

    /// Whether one session has answered a probe that was sent after the first one that another has not
    /// answered: the way is good, and it is the other that is silent.
    pub(crate) fn answered_since(&self, session: Nonce, other: Nonce) -> bool {
        let first = self
            .targets
            .get(&other)
            .and_then(|other| other.finding.first());
        let answered = self.targets.get(&session).map(|target| target.answered);
        first.is_some_and(|first| answered > Some(first))
    }

    /// When a suspicion of a session turned out to be wrong, the last time.
    pub(crate) fn cleared(&self, session: Nonce) -> Option<Instant> {
        let (at, _) = self.targets.get(&session)?.wrong.last?;
        Some(at)
    }

    /// When a probe of a session ended without an answer, the last time.
    pub(crate) fn silent(&self, session: Nonce) -> Option<Instant> {
        self.targets.get(&session)?.silent
    }

    /// How many others had answered since a session that is suspected fell silent, when last looked at.
    pub(crate) fn answered_since_all(&self, session: Nonce) -> usize {
        let suspected = self.suspected.iter();
        let mut found = suspected.filter(|(suspect, _)| *suspect == session);
        found.next().map_or(0, |&(_, answered)| answered)
    }

    /// Looks who is suspected now, and how many others have answered since. Whether that is news.
    fn look(&mut self, config: &Config, now: Instant) -> bool {
        let due = |target: &Target| target.suspected_at(config).is_some_and(|at| at <= now);
        let suspected = self.targets.iter().filter(|(_, target)| due(target));
        let suspected: Vec<(Nonce, u64)> = suspected
            .filter_map(|(&session, target)| Some((session, target.finding.first()?)))
            .collect();
        // Sorted once, since in an outage everybody is suspected.
        let mut answered: Vec<u64> = Vec::new();
        if !suspected.is_empty() {
            answered.extend(self.targets.values().map(|target| target.answered));
            answered.sort_unstable();
        }
        let since = |first| answered.len() - answered.partition_point(|&last| last <= first);
        let suspected = suspected.into_iter();
        let suspected: Vec<_> = suspected
            .map(|(session, first)| (session, since(first)))
            .collect();
        let news = suspected != self.suspected;
        self.suspected = suspected;
        news
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
            self.last += 1;
            let seq = self.last;
            target.finding = target.finding.asked(now, seq);
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

    /// An answer to a probe came. Whether it changes what is known.
    pub(crate) fn on_probed(&mut self, probe: ProbeId, answer: ProbeAnswer) -> bool {
        let (now, config) = (self.now, self.shared_config());
        let probes = &mut self.link_mut().probes;
        probes.on_answer(&config, now, probe, answer)
    }

    /// Whether others are suspected than when this was asked last, or more have answered since.
    pub(crate) fn take_suspicion_news(&mut self) -> bool {
        let (now, config) = (self.now, self.shared_config());
        self.link_mut().probes.look(&config, now)
    }

    /// Sets who is to be asked.
    pub(crate) fn aim_probes(&mut self, sessions: impl IntoIterator<Item = Nonce>) {
        let now = self.now;
        let probes = &mut self.link_mut().probes;
        probes.aimed = None;
        probes.aim(now, sessions);
    }

    /// Sets whom a leader asks, unless they were chosen for the same knowledge.
    pub(crate) fn aim_probes_for<S>(&mut self, knowledge: u64, sessions: impl FnOnce() -> S)
    where
        S: IntoIterator<Item = Nonce>,
    {
        let now = self.now;
        let probes = &mut self.link_mut().probes;
        if probes.aimed != Some(knowledge) {
            probes.aim(now, sessions());
            probes.aimed = Some(knowledge);
        }
    }

    /// A renewal of a session was seen.
    pub(crate) fn note_renewal(&mut self, session: Nonce) {
        let (now, config) = (self.now, self.shared_config());
        let probes = &mut self.link_mut().probes;
        probes.on_renewal(&config, now, session);
    }
}

#[cfg(test)]
mod tests;
