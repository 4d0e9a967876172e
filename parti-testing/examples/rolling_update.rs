//! A rolling update of 10 workers with 100 partitions in virtual time, with held slots and with drains:
//! `cargo run -p parti-testing --features manager --example rolling_update`.
//!
//! It measures a deployment before it happens: how many partitions change hands, and for how long the
//! work of a partition stands still. Its tests run with
//! `cargo test -p parti-testing --features manager --example rolling_update`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parti::{
    Config, Guard, HandlerError, PartitionHandler, PartitionKey, RevokeCause, async_trait,
};
use parti_testing::manager::{Accepted, Fencing, Nemesis, Outcome, Process, Scenario};

const WORKERS: u32 = 10;
const PARTITIONS: u32 = 100;
/// How long after one worker the next is replaced.
const EVERY: Duration = Duration::from_secs(20);
/// How often the work on a partition shows a sign of life.
const STEP: Duration = Duration::from_millis(500);

/// Works in steps and stops when it is told to. Each step stores on which node it was done.
struct Work(Process);

#[async_trait]
impl PartitionHandler for Work {
    async fn on_assigned(&self, _: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        let process = self.0.clone();
        tokio::spawn(async move {
            while guard.is_valid() && !guard.is_revoking() {
                let node = process.node() as u64;
                let _ = process.write("steps", &guard, node).await;
                tokio::time::sleep(STEP).await;
            }
        });
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
}

fn update(nemesis: Nemesis) -> Outcome {
    let config = Config::builder("update")
        .worker_id_range(0, WORKERS - 1)
        .expected_workers(WORKERS)
        .build();
    let scenario = Scenario::new(|process| Arc::new(Work(process)))
        .config(config.expect("coherent"))
        .nemesis(nemesis)
        .nodes(WORKERS as usize)
        .partitions(PARTITIONS)
        .resource("steps", Fencing::Checked)
        .expect_progress();
    let outcome = scenario.run_seed(0);
    assert_eq!(outcome.violations, []);
    outcome
}

fn with_held_slots() -> Outcome {
    let hold = Duration::from_secs(10);
    update(Nemesis::rolling_update_with_held_slots(hold, EVERY))
}

fn with_drains() -> Outcome {
    update(Nemesis::rolling_update_with_drains(EVERY))
}

/// Of each partition, what each step found: the step before it, and itself.
fn pairs(outcome: &Outcome) -> Vec<(&Accepted, &Accepted)> {
    let mut last: BTreeMap<&PartitionKey, &Accepted> = BTreeMap::new();
    let steps = outcome.resources[0].accepted().iter();
    steps
        .filter_map(|step| Some((last.insert(&step.partition, step)?, step)))
        .collect()
}

/// How often a partition changed its node.
fn moves(outcome: &Outcome) -> usize {
    let pairs = pairs(outcome).into_iter();
    pairs.filter(|(one, next)| one.value != next.value).count()
}

/// The longest time without a sign of life of a partition, once it has begun.
fn longest_pause(outcome: &Outcome) -> Duration {
    let pauses = pairs(outcome)
        .into_iter()
        .map(|(one, next)| next.at - one.at);
    pauses.max().unwrap_or_default()
}

fn main() {
    println!("{WORKERS} workers, {PARTITIONS} partitions, every worker replaced once");
    for (name, outcome) in [("held slots", with_held_slots()), ("drains", with_drains())] {
        println!(
            "{name}: {} moves, work of a partition stood still for {:.1} s at most, {:.0} simulated seconds",
            moves(&outcome),
            longest_pause(&outcome).as_secs_f64(),
            outcome.simulated.as_secs_f64(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deployments several times a day: each one must not shuffle the group's caches.
    #[test]
    fn with_held_slots_nothing_moves() {
        let outcome = with_held_slots();
        assert_eq!(moves(&outcome), 0);
        // The successor comes after two seconds and claims the slot.
        let pause = longest_pause(&outcome);
        assert!(pause < Duration::from_secs(6), "{pause:?}");
    }

    /// What leaves has to go somewhere and what comes has to get a share: ten each time, and no more.
    #[test]
    fn with_drains_only_what_must_move_moves_and_work_hardly_stops() {
        let outcome = with_drains();
        let share = (PARTITIONS / WORKERS) as usize;
        assert_eq!(moves(&outcome), 2 * share * WORKERS as usize);
        let pause = longest_pause(&outcome);
        assert!(pause < Duration::from_secs(1), "{pause:?}");
    }
}
