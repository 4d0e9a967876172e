//! A counter per partition, kept in storage that compares fencing tokens, and what happens when it does
//! not: `cargo run -p parti-testing --example fenced_counter`, or with `ignored` to see it fail.
//!
//! It is a complete test of a handler. The handler is right in both cases; what differs is the storage.
//! Its tests run with `cargo test -p parti-testing --example fenced_counter`.

use core::time::Duration;
use std::collections::BTreeMap;

use parti_core::{PartitionKey, RevokeCause};
use parti_testing::simulator::{
    App, Cx, FencedResource, Fencing, HandlerError, Nemesis, Scenario, ScenarioReport, SimGuard,
    WriteError, async_trait,
};

/// Counts what it processes: reads the count once, keeps it in memory, and stores each step.
struct Counter;

#[async_trait(?Send)]
impl App for Counter {
    async fn on_assigned(&self, cx: Cx, guard: SimGuard) -> Result<(), HandlerError> {
        let work = cx.clone();
        cx.spawn(async move {
            // The read carries the token: from here on the storage takes nothing of earlier owners, not
            // even what they sent long ago.
            let mut count = loop {
                if !guard.is_valid() || guard.is_revoking() {
                    return;
                }
                match work.read("counts", &guard).await {
                    Ok(stored) => break stored.value,
                    Err(WriteError::Unknown) => {}
                    Err(WriteError::Refused { .. }) => return,
                }
            };
            let mut stored = true;
            // The guard is asked right before each request: nothing may come between.
            while guard.is_valid() && !guard.is_revoking() {
                count += u64::from(stored);
                match work.write("counts", &guard, count).await {
                    Ok(_) => stored = true,
                    // Perhaps it was stored. Storing the same count again harms nobody.
                    Err(WriteError::Unknown) => stored = false,
                    Err(WriteError::Refused { .. }) => return,
                }
                work.sleep(Duration::from_millis(200)).await;
            }
        });
        Ok(())
    }

    async fn on_revoked(&self, _: Cx, _: SimGuard, _: RevokeCause) {}
}

/// No count may be lost: of each partition, the stored counts go up one by one.
fn counts_go_up_one_by_one(resources: &[FencedResource]) -> Result<(), String> {
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
    let command = "cargo run -p parti-testing --example fenced_counter";
    let command = match fencing {
        Fencing::Checked => command.to_owned(),
        Fencing::Ignored => format!("{command} ignored"),
    };
    Scenario::builder("fenced counter", |_| Counter)
        // Left out in a test, where the name of the test is found by itself.
        .command(&command)
        .nemesis(Nemesis::swarm())
        .partitions(8)
        .faults_last(Duration::from_secs(60))
        .resource(FencedResource::new("counts", fencing))
        .expect_progress()
        .finally(counts_go_up_one_by_one)
        .build()
}

/// How many seeds it may take to see what storage without a check does.
const BUDGET: u64 = 100;

fn careless() -> Option<ScenarioReport> {
    scenario(Fencing::Ignored)
        .hunt(0..BUDGET)
        .expect("presets are coherent")
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("ignored") {
        // Fails, as the test of such a handler on such storage should.
        scenario(Fencing::Ignored).check(BUDGET);
        return;
    }
    scenario(Fencing::Checked).check(20);
    println!("storage that compares tokens: everything held in 20 seeds");
    match careless() {
        Some(report) => println!("storage that does not:\n\n{report}"),
        None => println!("storage that does not: nothing was found in {BUDGET} seeds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The guarantee that users build on: with tokens compared, no count is lost whatever happens.
    #[test]
    fn no_count_is_lost_where_tokens_are_compared() {
        scenario(Fencing::Checked).check(10);
    }

    /// A test that passes with and without fencing would say nothing about it.
    #[test]
    fn storage_that_ignores_tokens_is_caught_and_the_seed_is_named() {
        let report = careless().expect("found within the budget");
        let violation = report.violation().expect("a failing run");
        assert_eq!(violation.id, "OWN-S6", "{report}");
        let seed = report.plan.seed;
        assert!(
            report
                .to_string()
                .contains(&format!("PARTI_SIM_SEED={seed} "))
        );
        // The very same run with a check in the storage.
        let fenced = scenario(Fencing::Checked).run(seed).expect("coherent");
        assert_eq!(fenced.violation(), None, "{fenced}");
        assert!(
            fenced
                .resource("counts")
                .is_some_and(|counts| counts.refused() > 0)
        );
    }
}
