//! The handler of production under crashes, pauses, late writes and whatever else a seed has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parti::{Guard, HandlerError, PartitionKey, async_trait};
use parti_testing::manager::{Fencing, Nemesis, Process, Resource, Scenario};
use simulated::{Ledger, Meter};

/// The simulator's storage in place of the database.
#[derive(Clone)]
struct Simulated(Process);

#[async_trait]
impl Ledger for Simulated {
    async fn read(&self, guard: &Guard) -> Result<u64, HandlerError> {
        Ok(self.0.read("counts", guard).await?.value)
    }

    async fn store(&self, guard: &Guard, count: u64) -> Result<(), HandlerError> {
        self.0.write("counts", guard, count).await?;
        Ok(())
    }
}

fn scenario(fencing: Fencing) -> Scenario {
    Scenario::new(|process| Arc::new(Meter(Simulated(process))))
        .nemesis(Nemesis::swarm())
        .partitions(4)
        .faults_last(Duration::from_secs(30))
        .resource("counts", fencing)
        .expect_progress()
        .finally(counts_go_up_one_by_one)
}

/// Of each partition, the stored counts go up one by one.
fn counts_go_up_one_by_one(resources: &[Resource]) -> Result<(), String> {
    for resource in resources {
        let mut last: BTreeMap<&PartitionKey, u64> = BTreeMap::new();
        for write in resource.accepted() {
            let before = last.insert(&write.partition, write.value).unwrap_or(0);
            if write.value != before && write.value != before + 1 {
                return Err(format!("{} after {before}: {write:?}", write.value));
            }
        }
    }
    Ok(())
}

/// A count that is lost or made twice is a bill that is wrong.
#[test]
fn no_count_is_lost_whatever_happens() {
    scenario(Fencing::Checked).check(10);
}

/// A test that passes with and without a fence would say nothing about it.
#[test]
fn storage_that_ignores_tokens_is_caught() {
    let report = scenario(Fencing::Ignored).seeds(0..20).run();
    assert!(!report.failures.is_empty(), "{report}");
}
