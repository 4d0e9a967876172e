//! A rolling update of 10 workers with 100 partitions in virtual time, with held slots and with drains:
//! `cargo run -p parti-testing --example rolling_update`.
//!
//! It measures a deployment before it happens: how many partitions change hands, and for how long the
//! work of a partition stands still. Its tests run with
//! `cargo test -p parti-testing --example rolling_update`.

use core::time::Duration;
use std::collections::BTreeMap;

use parti_core::{Instant, PartitionKey, RevokeCause};
use parti_testing::simulator::{
    App, Cx, FencedResource, HandlerError, Nemesis, Scenario, ScenarioReport, SimGuard, async_trait,
};

const WORKERS: u32 = 10;
const PARTITIONS: u32 = 100;
/// How long after one worker the next is replaced.
const EVERY: Duration = Duration::from_secs(40);
/// How often the work on a partition shows a sign of life.
const STEP: Duration = Duration::from_millis(500);

/// Works in steps and stops when it is told to.
struct Work;

#[async_trait(?Send)]
impl App for Work {
    async fn on_assigned(&self, cx: Cx, guard: SimGuard) -> Result<(), HandlerError> {
        let work = cx.clone();
        cx.spawn(async move {
            while guard.is_valid() && !guard.is_revoking() {
                let _ = work.write("steps", &guard, 1).await;
                work.sleep(STEP).await;
            }
        });
        Ok(())
    }

    async fn on_revoked(&self, _: Cx, _: SimGuard, _: RevokeCause) {}
}

fn update(nemesis: Nemesis) -> ScenarioReport {
    let scenario = Scenario::builder("rolling update", |_| Work)
        .nemesis(nemesis)
        .workers(WORKERS)
        .partitions(PARTITIONS)
        .resource(FencedResource::checking("steps"))
        .expect_progress()
        .build();
    let report = scenario.run(0).expect("presets are coherent");
    assert_eq!(report.violation(), None, "{report}");
    report
}

fn with_held_slots() -> ScenarioReport {
    update(Nemesis::rolling_update_with_held_slots(
        Duration::from_secs(10),
        EVERY,
    ))
}

fn with_drains() -> ScenarioReport {
    update(Nemesis::rolling_update_with_drains(EVERY))
}

/// The longest time without a sign of life of a partition, once it has begun.
fn longest_pause(report: &ScenarioReport) -> Duration {
    let mut last: BTreeMap<&PartitionKey, Instant> = BTreeMap::new();
    let steps = report
        .resource("steps")
        .map(FencedResource::accepted)
        .unwrap_or_default();
    let pauses = steps.iter().filter_map(|step| {
        let before = last.insert(&step.partition, step.at)?;
        Some(step.at.since(before))
    });
    pauses.max().unwrap_or_default()
}

fn main() {
    println!("{WORKERS} workers, {PARTITIONS} partitions, every worker replaced once");
    for (name, report) in [("held slots", with_held_slots()), ("drains", with_drains())] {
        let stats = report.outcome.stats;
        println!(
            "{name}: {} moves, {} generations, work of a partition stood still for {:.1} s at most, \
             {:.0} simulated seconds",
            stats.moves,
            stats.generations,
            longest_pause(&report).as_secs_f64(),
            stats.simulated.as_secs_f64(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deployments several times a day: each one must not shuffle the group's caches.
    #[test]
    fn with_held_slots_nothing_moves() {
        let report = with_held_slots();
        assert_eq!(report.outcome.stats.moves, 0);
        // The successor comes after two seconds and claims the slot.
        assert!(
            longest_pause(&report) < Duration::from_secs(6),
            "{:?}",
            longest_pause(&report)
        );
    }

    /// What leaves has to go somewhere and what comes has to get a share: ten each time, and no more.
    #[test]
    fn with_drains_only_what_must_move_moves_and_work_hardly_stops() {
        let report = with_drains();
        let share = u64::from(PARTITIONS / WORKERS);
        assert_eq!(report.outcome.stats.moves, 2 * share * u64::from(WORKERS));
        assert!(
            longest_pause(&report) < Duration::from_secs(1),
            "{:?}",
            longest_pause(&report)
        );
    }
}
