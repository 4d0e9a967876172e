//! How many partitions changed hands: the figure that a rolling update is judged by.
//!
//! It is separate because it follows the records of the store, not what processes do. A partition moves
//! when it is granted to another worker ID than the one that had it last; a new process with the same ID
//! moves nothing.

use std::collections::BTreeMap;

use parti_core::{Key, PartitionKey, Record, WorkerId};

use crate::simulator::checks::{Check, Findings, Process, Written};

#[derive(Debug, Default)]
pub(in crate::simulator) struct MoveCount {
    owners: BTreeMap<PartitionKey, WorkerId>,
    count: u64,
}

impl MoveCount {
    pub(in crate::simulator) const fn count(&self) -> u64 {
        self.count
    }

    fn grant(&mut self, partition: &PartitionKey, worker: &WorkerId) {
        match self.owners.get_mut(partition) {
            Some(owner) if owner == worker => {}
            Some(owner) => {
                owner.clone_from(worker);
                self.count += 1;
            }
            None => {
                self.owners.insert(partition.clone(), worker.clone());
            }
        }
    }
}

impl Check for MoveCount {
    fn on_commit(&mut self, _: Process, writes: &[Written], _: &mut Findings) {
        for write in writes {
            if let (Key::Assignment(worker), Some(Record::Assignment(record))) =
                (&write.key, write.record())
            {
                for grant in &record.granted {
                    self.grant(&grant.partition, worker);
                }
            }
        }
    }
}
