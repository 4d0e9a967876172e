//! Held slots: sessions that were released with a hold, for a replacement that is to come.
//!
//! Their partitions have no owner until it comes. What always holds: each hold ends, by its own time,
//! by that of the group, or because an operator asks for a rebalance.

use alloc::collections::BTreeMap;

use crate::config::Config;
use crate::leader::knowledge::Knowledge;
use crate::leader::knowledge::view::{Fate, View};
use crate::leader::planning::target::Requested;
use crate::model::id::{Epoch, WorkerId};
use crate::model::time::Instant;
use crate::records::problem::{Problem, ProblemKind};
use crate::records::record::Verb;

/// Slots that are held, by the incarnation they are held for, and until when.
pub(crate) fn held(
    config: &Config,
    now: Instant,
    view: &View,
) -> BTreeMap<WorkerId, (Epoch, Instant)> {
    let held = view.sessions.iter().filter_map(|(worker, session)| {
        let epoch = session.epoch();
        let record = view.records.get(worker)?;
        match view.fate(config, worker, epoch) {
            Fate::Reserved { until } if now < until && record.epoch == epoch => {
                Some((worker.clone(), (epoch, until)))
            }
            Fate::Reserved { .. } | Fate::Living | Fate::EndsAt(_) | Fate::Ended => None,
        }
    });
    held.collect()
}

impl Knowledge {
    /// Slots whose hold ends because somebody asks for a rebalance: who does so wants every
    /// partition to have an owner.
    pub(crate) fn ended_holds(
        &self,
        config: &Config,
        now: Instant,
        requests: &[Requested],
    ) -> BTreeMap<WorkerId, Epoch> {
        if !requests.iter().any(|(verb, ..)| *verb == Verb::Trigger) {
            return BTreeMap::new();
        }
        let held = held(config, now, &self.view).into_iter();
        held.map(|(worker, (epoch, _))| (worker, epoch)).collect()
    }
}

/// What waits for replacements, if anything does.
pub(crate) fn problem(config: &Config, now: Instant, view: &View) -> Option<Problem> {
    let held = held(config, now, view);
    let (last, (_, until)) = held.iter().max_by_key(|(_, (_, until))| *until)?;
    let sessions = held.keys().filter_map(|worker| view.sessions.get(worker));
    let since = sessions.map(|session| session.since).min()?;
    let granted = held.keys().filter_map(|worker| view.records.get(worker));
    let partitions: usize = granted.map(|record| record.granted.len()).sum();
    let detail = alloc::format!(
        "{} slots are held for replacements and {partitions} partitions wait for them, at most {} s \
         more for {last}; a rebalance that is asked for ends it",
        held.len(),
        until.since(now).as_secs()
    );
    (partitions > 0).then(|| Problem::new(ProblemKind::SlotsHeld, since, partitions, detail))
}
