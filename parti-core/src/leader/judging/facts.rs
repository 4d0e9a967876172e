//! From the view to the facts a judgement is about.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::Config;
use crate::leader::Leader;
use crate::leader::judging::verdict::{Changing, Facts, Silent};
use crate::leader::knowledge::view::{Fate, SessionView, View};
use crate::leader::planning::misfits::Barred;
use crate::leader::planning::target::{Requested, Target, imbalance, input};
use crate::link::Link;
use crate::link::contact::Contact;
use crate::model::id::{Epoch, Version, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::table::PartitionTable;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::strategy::{WorkerInfo, WorkerTable};
use crate::records::record::{SessionStatus, Verb};

/// The workers the assignment in force was made for.
pub(crate) fn basis(view: &View, target: Option<&Target>) -> BTreeMap<WorkerId, Epoch> {
    match target {
        Some(target) => target.epochs.clone(),
        None => view
            .records
            .iter()
            .map(|(worker, record)| (worker.clone(), record.epoch))
            .collect(),
    }
}

/// How the group differs from its basis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) cut_off: Vec<WorkerId>,
    pub(crate) left: Vec<WorkerId>,
    pub(crate) replaced: Vec<WorkerId>,
    pub(crate) joined: Vec<(WorkerId, Epoch)>,
    /// When a held seat is given up, or an evicted worker's validity ends.
    pub(crate) next_end: Option<Instant>,
}

impl Difference {
    pub(crate) fn find(
        config: &Config,
        now: Instant,
        view: &View,
        basis: &BTreeMap<WorkerId, Epoch>,
        sitting_out: &BTreeSet<WorkerId>,
    ) -> Self {
        let mut difference = Self::default();
        for (worker, &epoch) in basis {
            difference.look_at(config, now, view, worker, epoch);
        }
        for (worker, session) in &view.sessions {
            let active = view.active_epoch(worker).is_some() && !sitting_out.contains(worker);
            if active && !basis.contains_key(worker) {
                difference.joined.push((worker.clone(), session.epoch()));
            }
        }
        difference
    }

    /// Workers that a plan left as they were wait for their share as joiners do.
    pub(crate) fn wait(&mut self, view: &View, kept: &BTreeSet<WorkerId>, out: &[WorkerId]) {
        let waiting = kept.iter().filter(|worker| !out.contains(worker));
        let waiting = waiting.filter_map(|w| Some((w.clone(), view.active_epoch(w)?)));
        self.joined.extend(waiting);
    }

    fn look_at(
        &mut self,
        config: &Config,
        now: Instant,
        view: &View,
        worker: &WorkerId,
        epoch: Epoch,
    ) {
        let session = view.sessions.get(worker);
        let status = session
            .and_then(|s| s.record.as_ref())
            .map(|record| record.status);
        match (view.fate(config, worker, epoch), status) {
            (Fate::Living, Some(SessionStatus::Draining)) => self.left.push(worker.clone()),
            (Fate::Living, _) => {}
            (Fate::Reserved { until }, _) if now < until => self.ends(until),
            (Fate::Ended | Fate::EndsAt(_), Some(SessionStatus::Active)) => {
                self.replaced.push(worker.clone())
            }
            (_, Some(SessionStatus::Evicted { .. })) => self.cut_off.push(worker.clone()),
            (Fate::Reserved { .. } | Fate::Ended | Fate::EndsAt(_), _) => {
                self.left.push(worker.clone());
            }
        }
    }

    fn ends(&mut self, at: Instant) {
        self.next_end = Some(self.next_end.map_or(at, |earlier| earlier.min(at)));
    }

    /// What led to a decision, in words.
    pub(crate) fn triggers(&self, lost: &[WorkerId], requests: &[Requested]) -> Vec<String> {
        let name = |what: &'static str| move |worker: &WorkerId| alloc::format!("{what} {worker}");
        let mut triggers: Vec<String> = lost.iter().map(name("lost")).collect();
        triggers.extend(self.cut_off.iter().map(name("evicted")));
        triggers.extend(self.left.iter().map(name("left")));
        triggers.extend(self.replaced.iter().map(name("replaced")));
        triggers.extend(self.joined.iter().map(|(worker, _)| name("joined")(worker)));
        triggers.extend(
            requests
                .iter()
                .map(|(verb, by, _)| alloc::format!("{} by {by}", verb.as_str())),
        );
        triggers
    }
}

impl Leader {
    /// The facts of this moment.
    pub(crate) fn facts(
        &mut self,
        config: &Config,
        (now, wall_ms): (Instant, u64),
        link: &Link,
        difference: &Difference,
    ) -> Facts {
        self.note_joins(config, now, difference);
        let cold = self.is_cold().then_some(self.gathering).flatten();
        let (partitions_changed, weights_changed) = self.list_changes(config);
        let resume = self.is_unfinished(config) || self.view.is_spoiled();
        let resume = resume || self.view.parking.is_spoiled(self.head.parked);
        Facts {
            now,
            in_contact: link.heard(config, now).is_heard(),
            group: self
                .view
                .sessions
                .values()
                .filter(|session| session.is_living())
                .count(),
            complete: self.is_complete(config),
            cold,
            silent: self.silent(config, link.contact()),
            cut_off: !difference.cut_off.is_empty() || self.has_stuck(config, now),
            left: !difference.left.is_empty(),
            replaced: !difference.replaced.is_empty(),
            unprocessed: !config.planted(Planted::IgnoredMisfits) && self.has_movable_misfits(),
            manual: !self.requests().is_empty(),
            resume,
            // Whoever waits for a share waits for the source.
            joined: self.joins_window().filter(|_| !self.origin.is_partial()),
            parked: self.head.parked.count > 0,
            // A group that begins again waits for nobody of the time before.
            parked_until: self.parked_until(now, wall_ms).filter(|_| !self.is_cold()),
            partitions_changed,
            weights_changed,
            last_rebalance: self.last_rebalance,
            restarting: self.restarting,
        }
    }

    /// When the strategy is to be asked again for what is parked. Whom the last leader planned without
    /// is not stored: the next one asks once, when it knows everybody's labels.
    fn parked_until(&self, now: Instant, wall_ms: u64) -> Option<Instant> {
        let unsure = self.target.as_ref().is_none_or(|target| target.unsure);
        let again = unsure && self.head.parked.count > 0 && !self.view.has_unread();
        let due = self.view.parking.due(now, wall_ms);
        if again { Some(now) } else { due }
    }

    /// Whether all expected workers take part.
    pub(crate) fn is_complete(&self, config: &Config) -> bool {
        let expected = config.expected_workers();
        expected.is_some_and(|n| self.active_workers() >= n as usize)
    }

    fn active_workers(&self) -> usize {
        let records = self
            .view
            .sessions
            .values()
            .filter_map(|s| s.record.as_ref());
        let active = records.filter(|record| record.status == SessionStatus::Active);
        active.count()
    }

    /// Whether nobody has ever been assigned anything, or all who were have left.
    pub(crate) fn is_cold(&self) -> bool {
        !self.view.has_assignments()
    }

    /// Remembers when each joiner was first seen; a cold group is gathering as long as it grows.
    fn note_joins(&mut self, config: &Config, now: Instant, difference: &Difference) {
        let joined = &difference.joined;
        self.joins
            .retain(|worker, (epoch, _)| joined.iter().any(|j| j == &(worker.clone(), *epoch)));
        for (worker, epoch) in joined {
            let since = self.joined_at(config, now, worker);
            self.joins.entry(worker.clone()).or_insert((*epoch, since));
        }
        if !self.is_cold() {
            self.gathering = None;
            return;
        }
        // A group that has lost what it had begins again now, however long its workers have been there.
        let joined = self.joins_window().map(|joins| joins.last);
        let gathering = self.gathering.get_or_insert(Changing::begun(now));
        gathering.last = gathering.last.max(joined.unwrap_or_default());
    }

    /// Since when a worker has been waiting for its share: since it came, whoever led then, unless it
    /// was there and had to wait for another reason.
    fn joined_at(&self, config: &Config, now: Instant, worker: &WorkerId) -> Instant {
        let target = self.target.as_ref();
        let waited = target.is_some_and(|target| target.kept.contains(worker));
        let session = self.view.sessions.get(worker);
        let came = session.map_or(now, |session| session.began.min(now));
        let came = config.unless_planted(Planted::WindowPerLeader, came, now);
        if waited || self.bench.knows(worker) {
            now
        } else {
            came
        }
    }

    fn joins_window(&self) -> Option<Changing> {
        let first = self.joins.values().map(|&(_, at)| at).min()?;
        let last = self.joins.values().map(|&(_, at)| at).max()?;
        Some(Changing { first, last })
    }

    fn silent(&self, config: &Config, contact: &Contact) -> Vec<Silent> {
        let others = self.view.sessions.iter().filter(|(worker, session)| {
            **worker != self.worker
                && session.is_living()
                && (session.record.is_some()
                    || session.unread.is_some()
                    || self.view.may_own(worker))
        });
        let silent = others.map(|(worker, session)| Silent {
            worker: worker.clone(),
            lost_at: self.lost_at(config, contact, worker, session),
        });
        silent.collect()
    }

    /// When a worker counts as lost unless it renews.
    pub(crate) fn lost_at(
        &self,
        config: &Config,
        contact: &Contact,
        worker: &WorkerId,
        session: &SessionView,
    ) -> Instant {
        let judged_from = contact.judges_from(config);
        let heard_since = contact.since();
        let (judged_from, heard_since) = config.unless_planted(
            Planted::OutageIsSilence,
            (judged_from, heard_since),
            (Instant::ORIGIN, Instant::ORIGIN),
        );
        let (lost, _) = session.patience(config);
        let lost_at = (session.since.max(heard_since) + lost).max(judged_from);
        lost_at.max(self.spared.until(worker))
    }

    /// Whether somebody who is stuck may be evicted now.
    fn has_stuck(&self, config: &Config, now: Instant) -> bool {
        let stuck = self.stuck(config, now);
        stuck.iter().any(|worker| self.spared.is_due(now, worker))
    }

    /// Living workers that do not confirm what they were told in time.
    pub(crate) fn stuck(&self, config: &Config, now: Instant) -> Vec<WorkerId> {
        let mut stuck = self.confirmations.late(config, now, &self.view);
        stuck.extend(self.disobedient(config, now));
        let unheeding = self.view.unheeding(config).filter(|&(_, at)| at <= now);
        stuck.extend(unheeding.map(|(worker, _)| worker.clone()));
        // Those whose end is known hold it, or an earlier session of their slot does.
        let unaccounted = self.view.unaccounted(config, now).into_iter();
        let living = unaccounted.filter(|(_, ends)| ends.is_none());
        stuck.extend(living.map(|(worker, _)| worker));
        stuck
    }

    /// Workers that are not to be planned for because they did not do what they were told.
    pub(crate) fn sitting_out(&self, now: Instant) -> BTreeSet<WorkerId> {
        self.bench.sitting_out(now, |out| {
            let others = self.view.sessions.iter().filter(|(w, _)| !out.contains(*w));
            let mut records = others.filter_map(|(_, session)| session.record.as_ref());
            records.any(|r| r.status == SessionStatus::Active && r.capacity > 0)
        })
    }

    /// Requests that the next generation can contain: triggers, and refreshes that were listed for.
    pub(crate) fn requests(&self) -> Vec<Requested> {
        let seen = self
            .view
            .controls
            .iter()
            .filter(|((verb, worker), revision)| match verb {
                Verb::Trigger => true,
                Verb::Refresh => self.listed.contains(&(*verb, worker.clone(), **revision)),
            });
        seen.map(|((verb, worker), &revision)| (*verb, worker.clone(), revision))
            .collect()
    }

    /// Whether something stuck could be tried by somebody it was not planned around for yet.
    fn has_movable_misfits(&self) -> bool {
        let movable = Barred::find(&self.view).movable(&self.view);
        let known = |(key, by): (&PartitionKey, &BTreeSet<WorkerId>)| {
            self.planned_around.get(key) == Some(by)
        };
        !movable.iter().all(known)
    }

    fn list_changes(&mut self, config: &Config) -> (bool, bool) {
        let Some(table) = self.table.clone() else {
            return (false, false);
        };
        if self.origin.is_partial() {
            return (false, false);
        }
        if table.digest() != self.head.digest || self.head.planned == Version::ZERO {
            return (true, false);
        }
        // The plan in force may have been made with what the records named meanwhile.
        let planned = self.target.as_ref().map(|target| target.table.digest());
        if planned.is_some_and(|planned| planned != table.digest()) {
            return (true, false);
        }
        if table.weights_digest() == self.head.weights_digest {
            return (false, false);
        }
        // Looking at all partitions is for once per list, not for every heartbeat.
        let matter = self
            .weights_matter
            .unwrap_or_else(|| self.weights_imbalance(&table) >= config.min_rebalance_threshold());
        self.weights_matter = Some(matter);
        (false, matter)
    }

    fn weights_imbalance(&self, table: &Arc<PartitionTable>) -> f64 {
        let basis = basis(&self.view, self.target.as_ref());
        let capacity = |worker: &WorkerId| {
            let session = self.view.sessions.get(worker);
            let record = session.and_then(|session| session.record.as_ref());
            record.map_or(1, |record| record.capacity)
        };
        let workers = basis.into_keys().map(|worker| WorkerInfo {
            capacity: capacity(&worker),
            ..WorkerInfo::new(worker)
        });
        let workers: Vec<WorkerInfo> = workers.collect();
        let Ok(workers) = WorkerTable::new(workers) else {
            return 0.0;
        };
        let workers = Arc::new(workers);
        let now = input(
            table,
            Arc::clone(&workers),
            &self.view,
            self.target.as_ref(),
        );
        imbalance(table, &workers, &now.previous)
    }

    /// Whether an earlier leader left partitions without an owner or on their way.
    fn is_unfinished(&mut self, config: &Config) -> bool {
        if self.target.is_some() || self.is_cold() {
            return false;
        }
        let Some(table) = &self.table else {
            return false;
        };
        if let Some(known) = self.unfinished {
            return known;
        }
        let (parked, unnamed) = self.view.parking.named();
        let mut known: BTreeSet<u32> = parked.filter_map(|key| table.rank_of(key)).collect();
        let mut on_the_way = false;
        for (worker, record) in &self.view.records {
            if self.view.fate(config, worker, record.epoch) == Fate::Living {
                on_the_way |= !record.revoking.is_empty();
            }
            let granted = record.granted.iter();
            known.extend(granted.filter_map(|g| table.rank_of(&g.partition)));
        }
        // Of another list, what is missing is not unfinished but new.
        let same_list = table.digest() == self.head.digest || self.origin.is_partial();
        let unfinished = (on_the_way && self.head.unfinished > 0)
            || (same_list && known.len() + unnamed < table.len());
        self.unfinished = Some(unfinished);
        unfinished
    }
}

#[cfg(test)]
mod tests;
