//! A group that nobody disturbs for days: `long_run [partitions] [hours] [workers]`.
//!
//! Prints how fast it was and how much memory it took. What always holds in such a run: after the
//! first plan nothing moves, and the group is settled at the end.

use std::time::Instant;

use parti_core::Mode;
use parti_testing::simulator::cli::peak_memory_mib;
use parti_testing::simulator::{BugReport, Faults, Plan, Sim, Timings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u32| {
        let word = words.get(index);
        word.map_or(Ok(default), |word| word.parse())
    };
    let (partitions, hours, workers) = (number(0, 10_000)?, number(1, 72)?, number(2, 5)?);
    let mut plan = Plan::from_seed(1, Mode::Exclusive);
    plan.settings.pace = Timings::Default;
    plan.settings.pool = workers.max(1);
    plan.partitions = partitions;
    plan.nodes.truncate(1);
    plan.nodes.resize(workers as usize, plan.nodes[0].clone());
    plan.faults = Faults::none();
    plan.actions.clear();
    plan.safety_ms = u64::from(hours) * 3_600_000;
    let started = Instant::now();
    let outcome = Sim::run(&plan)?;
    let (spent, stats) = (started.elapsed().as_secs_f64(), outcome.stats);
    let simulated = stats.simulated.as_secs_f64() / 3600.0;
    println!(
        "{partitions} partitions, {workers} workers, {simulated:.1} h in {spent:.1} s: {:.1} h/s, \
         {} events, {} generations, {} moves, {:.0} MiB",
        simulated / spent,
        stats.events,
        stats.generations,
        stats.moves,
        peak_memory_mib()
    );
    if outcome.violations.is_empty() {
        return Ok(());
    }
    let (plan, outcome) = (&plan, &outcome);
    Err(BugReport { plan, outcome }.to_string().into())
}
