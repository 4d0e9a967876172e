//! A counter per partition, kept in storage that compares fencing tokens, and what happens when it does
//! not: `cargo run -p parti-testing --features manager --example fenced_counter`, or with `ignored` to see
//! it fail.
//!
//! It is a complete test of a handler of production. The handler is right in both cases; what differs is the
//! storage. Its tests run with `cargo test -p parti-testing --features manager --example fenced_counter`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parti::{Guard, HandlerError, PartitionHandler, PartitionKey, RevokeCause, async_trait};
use parti_testing::manager::{Fencing, Nemesis, Process, Report, Resource, Scenario, WriteError};

/// Counts what it processes: reads the count once, keeps it in memory, and stores each step. In
/// production a client of a database stands where the process of the simulator is.
struct Counter(Process);

#[async_trait]
impl PartitionHandler for Counter {
    async fn on_assigned(&self, _: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        tokio::spawn(count(self.0.clone(), guard));
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
}

async fn count(storage: Process, guard: Guard) {
    // The read carries the token: from here on the storage takes nothing of earlier owners, not even
    // what they sent long ago.
    let mut count = loop {
        if !guard.is_valid() || guard.is_revoking() {
            return;
        }
        match storage.read("counts", &guard).await {
            Ok(stored) => break stored.value,
            Err(WriteError::Unknown) => {}
            Err(_) => return,
        }
    };
    let mut stored = true;
    // The guard is asked right before each request: nothing may come between.
    while guard.is_valid() && !guard.is_revoking() {
        count += u64::from(stored);
        match storage.write("counts", &guard, count).await {
            Ok(_) => stored = true,
            // Perhaps it was stored. Storing the same count again harms nobody.
            Err(WriteError::Unknown) => stored = false,
            Err(_) => return,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// No count may be lost: of each partition, the stored counts go up one by one.
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

fn scenario(fencing: Fencing) -> Scenario {
    Scenario::new(|process| Arc::new(Counter(process)))
        .nemesis(Nemesis::swarm())
        .partitions(4)
        .faults_last(Duration::from_secs(30))
        .resource("counts", fencing)
        .expect_progress()
        .finally(counts_go_up_one_by_one)
}

/// How many seeds it may take to see what storage without a check does.
const BUDGET: u64 = 60;

fn careless() -> Report {
    scenario(Fencing::Ignored).seeds(0..BUDGET).run()
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("ignored") {
        // Fails, as the test of such a handler on such storage should.
        scenario(Fencing::Ignored).check(BUDGET);
        return;
    }
    scenario(Fencing::Checked).check(20);
    println!("storage that compares tokens: everything held in 20 seeds");
    let report = careless();
    if report.failures.is_empty() {
        println!("storage that does not: nothing was found in {BUDGET} seeds");
    } else {
        println!("storage that does not:\n\n{report}");
    }
}

#[cfg(test)]
mod tests {
    use parti_testing::manager::Property;

    use super::*;

    /// The guarantee that users build on: with tokens compared, no count is lost whatever happens.
    #[test]
    fn no_count_is_lost_where_tokens_are_compared() {
        scenario(Fencing::Checked).check(10);
    }

    /// A test that passes with and without fencing would say nothing about it.
    #[test]
    fn storage_that_ignores_tokens_is_caught_and_the_seed_is_named() {
        let report = careless();
        let failure = report.failures.first().expect("found within the budget");
        assert_eq!(
            failure.violation.property,
            Property::FencedWrite,
            "{report}"
        );
        let again = format!("PARTI_SIM_SEED={} cargo test", failure.seed);
        assert!(report.to_string().contains(&again), "{report}");
        // The very same run with a check in the storage.
        let fenced = scenario(Fencing::Checked).run_seed(failure.seed);
        assert_eq!(fenced.violations, []);
        assert!(fenced.resources[0].refused() > 0);
    }
}
