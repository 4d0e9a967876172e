//! Measures the simulator: five workers, sixty-four partitions, ordinary and faulty runs.

use std::time::Instant;

use parti_core::Mode;
use parti_testing::simulator::{Faults, Plan, Sim, Timings};

fn main() {
    for (name, pace, faulty) in [
        ("default, calm", Timings::Default, false),
        ("default, faults", Timings::Default, true),
        ("fast, calm", Timings::Fast, false),
        ("fast, faults", Timings::Fast, true),
    ] {
        let (mut simulated, mut events, started) = (0.0, 0, Instant::now());
        for seed in 0..20 {
            let mut plan = Plan::from_seed(seed, Mode::Exclusive);
            plan.settings.pace = pace;
            (plan.partitions, plan.settings.pool) = (64, 100);
            plan.nodes.resize(5, plan.nodes[0].clone());
            if !faulty {
                plan.faults = Faults::none();
                plan.actions.clear();
            }
            if let Ok(outcome) = Sim::run(&plan) {
                simulated += outcome.stats.simulated.as_secs_f64();
                events += outcome.stats.events;
            }
        }
        let spent = started.elapsed().as_secs_f64();
        let hours = simulated / 3600.0 / spent;
        let (rate, each) = (events as f64 / spent, events as f64 / simulated);
        println!("{name}: {hours:.1} h/s, {rate:.0} events/s, {each:.1} events per simulated s");
    }
}
