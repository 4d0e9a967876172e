//! Confirmations: what living workers were told and have not yet done, and since when.
//!
//! A worker has [`apply_timeout`](Config::apply_timeout) to take in a record and
//! [`handoff_timeout`](Config::handoff_timeout) to finish what it was told to give up. What always
//! holds: a further record does not restart either clock, so that a worker that never does what it
//! is told is noticed in the busiest of groups; any progress does.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::config::Config;
use crate::leader::knowledge::view::View;
use crate::model::id::{Version, WorkerId};
use crate::model::time::Instant;
use crate::records::record::{AssignmentRecord, SessionRecord};

/// A version, and since when something has been waiting for it.
type Since = (Version, Instant);

/// What is waited for, by worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Confirmations {
    awaited: BTreeMap<WorkerId, Awaited>,
}

#[derive(Clone, Debug, Default)]
struct Awaited {
    /// The oldest and the newest record that have not been taken in.
    unapplied: Option<(Since, Since)>,
    /// The oldest revocation that was taken in and still drains.
    draining: Option<Since>,
}

impl Confirmations {
    /// A record was written for a worker.
    pub(crate) fn expect(&mut self, now: Instant, worker: &WorkerId, version: Version) {
        let newest = (version, now);
        let awaited = self.awaited.entry(worker.clone()).or_default();
        let oldest = awaited.unapplied.map_or(newest, |(oldest, _)| oldest);
        awaited.unapplied = Some((oldest, newest));
    }

    /// A worker's record was removed.
    pub(crate) fn forget(&mut self, worker: &WorkerId) {
        self.awaited.remove(worker);
    }

    /// Compares with what the sessions say now.
    pub(crate) fn note(&mut self, now: Instant, view: &View) {
        self.awaited.retain(|worker, awaited| {
            let Some((record, said)) = binding(view, worker) else {
                return false;
            };
            awaited.note(now, record, said);
            awaited.unapplied.is_some() || awaited.draining.is_some()
        });
    }

    /// Living workers whose patience is over.
    pub(crate) fn late(&self, config: &Config, now: Instant, view: &View) -> Vec<WorkerId> {
        let late = self.awaited.iter().filter(|(worker, awaited)| {
            binding(view, worker).is_some() && awaited.patience(config).is_some_and(|at| at <= now)
        });
        late.map(|(worker, _)| worker.clone()).collect()
    }

    /// When the next patience is over.
    pub(crate) fn next(&self, config: &Config, now: Instant) -> Option<Instant> {
        let ends = self.awaited.values().filter_map(|a| a.patience(config));
        ends.filter(|&at| at > now).min()
    }
}

impl Awaited {
    fn note(&mut self, now: Instant, record: &AssignmentRecord, said: &SessionRecord) {
        if let Some((oldest, newest)) = self.unapplied {
            self.unapplied = if said.applied >= newest.0 {
                None
            } else if said.applied >= oldest.0 {
                Some((newest, newest))
            } else {
                Some((oldest, newest))
            };
        }
        let held = record.still_held(Some(said));
        let draining = held.filter(|r| r.since <= said.applied);
        self.draining = draining.map(|r| r.since).min().map(|oldest| {
            let same = self.draining.filter(|&(version, _)| version == oldest);
            same.unwrap_or((oldest, now))
        });
    }

    fn patience(&self, config: &Config) -> Option<Instant> {
        let apply = self
            .unapplied
            .map(|((_, since), _)| since + config.apply_timeout());
        let drain = self
            .draining
            .map(|(_, since)| since + config.handoff_timeout());
        apply.into_iter().chain(drain).min()
    }
}

/// The record and the session of a worker that is bound to do what the record says.
fn binding<'a>(
    view: &'a View,
    worker: &WorkerId,
) -> Option<(&'a AssignmentRecord, &'a SessionRecord)> {
    let session = view.sessions.get(worker)?;
    let record = view.records.get(worker)?;
    let said = session.record.as_ref()?;
    (session.epoch() == record.epoch && said.status.is_living()).then_some((record, said))
}

#[cfg(test)]
mod tests;
