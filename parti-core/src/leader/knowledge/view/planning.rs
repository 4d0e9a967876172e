//! What planning asks of the view about one worker.

use super::{Fate, View};
use crate::config::Config;
use crate::model::id::{Epoch, WorkerId};
use crate::ports::strategy::WorkerInfo;
use crate::records::record::{AssignmentRecord, SessionStatus};

impl View {
    /// Whether this incarnation was evicted because it did not answer.
    pub(crate) fn is_suspected(&self, worker: &WorkerId, epoch: Epoch) -> bool {
        let session = self.sessions.get(worker);
        let session = session.filter(|session| session.epoch() == epoch);
        let record = session.and_then(|session| session.record.as_ref());
        record.is_some_and(|record| record.status == SessionStatus::Suspected)
    }

    /// Whether a worker lives in the incarnation of its record, and is not leaving.
    pub(crate) fn may_work(&self, config: &Config, worker: &WorkerId) -> bool {
        let status = self.sessions.get(worker).and_then(|s| s.record.as_ref());
        let leaves = status.is_some_and(|record| record.status == SessionStatus::Draining);
        let record = self.records.get(worker);
        let lives = |record: &AssignmentRecord| self.fate(config, worker, record.epoch);
        !leaves && record.is_some_and(|record| lives(record) == Fate::Living)
    }

    /// What a plan knows of a worker.
    pub(crate) fn info(&self, worker: &WorkerId) -> WorkerInfo {
        let session = self.sessions.get(worker);
        match session.and_then(|session| session.record.as_ref()) {
            Some(record) => WorkerInfo {
                id: worker.clone(),
                capacity: record.capacity,
                labels: record.labels.clone(),
            },
            None => WorkerInfo::new(worker.clone()),
        }
    }
}
