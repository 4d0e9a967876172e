//! What the group obeys: found from the sessions, written into `head`, and waited for.
//!
//! What always holds: nothing is granted by a looser rule than any worker that may hold something is
//! configured with, and a worker of a stricter mode is granted nothing before that mode holds.

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::config::{Config, Mode};
use crate::io::notice::Notice;
use crate::leader::knowledge::Knowledge;
use crate::leader::knowledge::view::Fate;
use crate::link::continuity::Continuity;
use crate::link::cx::Cx;
use crate::model::id::{Epoch, Version, WorkerId};
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::records::agreement::{Agreed, Difference, Disagreement, agree, compare, is_contested};
use crate::records::problem::{Problem, ProblemKind};
use crate::records::record::SessionRecord;

/// What the leader knows of the agreement.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    /// What the sessions seen last come to.
    found: Agreed,
    /// The strictest mode that anybody may still rely on, from before a change that was declared too.
    relied_on: Mode,
    /// Since when a stricter mode has been asked for that not everybody obeys.
    asked_since: Option<Instant>,
    /// What was told of whom.
    told: BTreeSet<(WorkerId, Epoch, &'static str)>,
    /// One example of each setting in which others differ.
    differences: Vec<Disagreement>,
    differs_since: Option<Instant>,
}

impl Agreement {
    pub(crate) const fn new(now: Instant, agreed: &Agreed) -> Self {
        Self {
            found: *agreed,
            relied_on: Mode::Exclusive,
            asked_since: Some(now),
            told: BTreeSet::new(),
            differences: Vec::new(),
            differs_since: None,
        }
    }

    /// When the patience with those who do not obey is over.
    pub(crate) fn next(&self, config: &Config) -> Option<Instant> {
        let since = self.asked_since.filter(|_| self.found.mode.waits());
        since.map(|since| since + config.apply_timeout())
    }
}

impl Knowledge {
    /// Until when nothing is judged because somebody may rely on a lease of a history that is gone.
    pub(crate) fn held_back_until(&self, config: &Config, history: &Continuity) -> Instant {
        match self.agreement.relied_on {
            // A plan of this history was made by a leader that had waited.
            Mode::Exclusive | Mode::Fenced => history
                .grants_from(|| self.head.planned > Version::ZERO || self.is_complete(config)),
            Mode::Overlap => Instant::ORIGIN,
        }
    }

    /// Looks at the sessions again, because something about them has changed.
    pub(crate) fn on_settings(&mut self, cx: &mut Cx<'_>) {
        let found = self.agreed(cx.config(), cx.now);
        self.agreement.found = found;
        let own = cx.config().mode();
        let declared = cx.config().rolling_from();
        let said = self
            .view
            .sessions
            .values()
            .filter(|session| session.is_living());
        let said = said.filter_map(|session| session.record.as_ref());
        let modes = said.flat_map(|said| [Some(said.settings.mode), said.settings.rolling_from]);
        let modes = modes.chain([Some(own), declared]).flatten();
        self.agreement.relied_on = modes.fold(own, Mode::stricter);
        cx.learn_lease(found.longest_lease, cx.config().clock_drift_ppm());
        self.tell_differences(cx);
    }

    /// What the sessions come to now: the rule of the next generation.
    pub(crate) fn agreed(&self, config: &Config, now: Instant) -> Agreed {
        let seen = self.view.sessions.iter().filter_map(|(worker, session)| {
            let may_hold = match self.view.fate(config, worker, session.epoch()) {
                Fate::Living => true,
                Fate::EndsAt(at) => now < at,
                Fate::Reserved { .. } | Fate::Ended => false,
            };
            let said = session.record.as_ref();
            // Damaged bytes under the key of a worker without an assignment hold nothing.
            let counts = said.is_some() || session.unread.is_some() || self.view.may_own(worker);
            (may_hold && counts).then_some(said)
        });
        // Of an earlier session of a slot that may still hold something nothing is known any more.
        let before = self.view.sessions.values();
        let before = before.filter(|session| session.ends.values().any(|&at| now < at));
        let seen = seen.chain(before.map(|_| None));
        let records = self.view.records.iter().filter_map(|(worker, record)| {
            let fate = self.view.fate(config, worker, record.epoch);
            let bound = matches!(fate, Fate::Living | Fate::EndsAt(_));
            let session = self.view.sessions.get(worker);
            let session = session.filter(|session| session.epoch() == record.epoch);
            bound.then(|| (record, session.and_then(|session| session.record.as_ref())))
        });
        agree(&self.head.agreed, seen, || is_contested(records))
    }

    /// The mode by which the next generation is made.
    pub(crate) fn granting(&self, config: &Config, rule: &Agreed) -> Mode {
        config.unless_planted(Planted::LeaderMode, rule.mode, config.mode())
    }

    /// A generation was written, which says what the group obeys.
    pub(crate) fn on_rule(&mut self, now: Instant, before: &Agreed) {
        if self.head.agreed.mode != before.mode {
            self.agreement.asked_since = Some(now);
        }
    }

    /// Living workers that have had time to obey a stricter mode and do not say that they do.
    pub(crate) fn disobedient(&self, config: &Config, now: Instant) -> Vec<WorkerId> {
        let patient = self.agreement.next(config).is_none_or(|at| now < at);
        let asked = self.head.agreed.mode;
        if patient || !asked.waits() {
            return Vec::new();
        }
        let loose = self.view.sessions.iter().filter(|(_, session)| {
            let said = session.record.as_ref();
            said.is_some_and(|said| said.status.is_living() && asked.is_stricter_than(said.honours))
        });
        loose.map(|(worker, _)| worker.clone()).collect()
    }

    /// How the others differ from this leader, those that would break a promise first.
    pub(crate) fn differences(&self) -> &[Disagreement] {
        &self.agreement.differences
    }

    /// What of it is a problem that everybody is told.
    pub(crate) fn disagreements(&self) -> impl Iterator<Item = Problem> {
        let since = self.agreement.differs_since.unwrap_or_default();
        let is_list = |found: &&Disagreement| matches!(found.difference, Difference::List { .. });
        let (lists, others): (Vec<_>, Vec<_>) =
            self.agreement.differences.iter().partition(is_list);
        let problem = |kind, found: &[&Disagreement]| {
            let detail = found.first().map(ToString::to_string)?;
            Some(Problem::new(kind, since, found.len(), detail))
        };
        let problems = [
            problem(ProblemKind::OtherList, &lists),
            problem(ProblemKind::SettingsDiffer, &others),
        ];
        problems.into_iter().flatten()
    }

    /// How a living session differs from this leader's.
    fn difference(&self, own: &SessionRecord, said: &SessionRecord) -> Vec<Difference> {
        let mut found = compare(own, said);
        let (own, in_force) = (said.settings.list, self.head.digest);
        if let Some(other) = own.filter(|&listed| listed != in_force) {
            let own = in_force;
            found.push(Difference::List { own, other });
        }
        found
    }

    /// Finds how others differ, and tells once of each worker and setting.
    fn tell_differences(&mut self, cx: &mut Cx<'_>) {
        let sessions = &self.view.sessions;
        self.agreement.told.retain(|(worker, epoch, _)| {
            sessions
                .get(worker)
                .is_some_and(|session| session.epoch() == *epoch)
        });
        let mut found: Vec<(Epoch, Disagreement)> = Vec::new();
        if let Some(own) = self.said(&self.worker) {
            for (worker, session) in sessions
                .iter()
                .filter(|(worker, _)| **worker != self.worker)
            {
                let said = session
                    .record
                    .as_ref()
                    .filter(|said| said.status.is_living());
                let differences = said.into_iter().flat_map(|said| self.difference(own, said));
                found.extend(differences.map(|difference| {
                    let worker = worker.clone();
                    (session.epoch(), Disagreement { worker, difference })
                }));
            }
        }
        found.sort_by_key(|(_, found)| !found.difference.refuses());
        self.agreement.differences.clear();
        for (epoch, found) in found {
            let kind = found.difference.as_str();
            let shown = &mut self.agreement.differences;
            if shown.iter().all(|known| known.difference.as_str() != kind) {
                shown.push(found.clone());
            }
            if self
                .agreement
                .told
                .insert((found.worker.clone(), epoch, kind))
            {
                cx.notify(Notice::SettingsDiffer(found));
            }
        }
        let before = self.agreement.differs_since;
        let differs = !self.agreement.differences.is_empty();
        self.agreement.differs_since = differs.then(|| before.unwrap_or(cx.now));
    }
}
