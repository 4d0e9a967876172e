//! Tests of the simulator itself.

use super::*;

/// Without determinism a seed is a rumour and shrinking is impossible.
#[test]
fn fifty_seeds_run_twice_give_the_same_digests() {
    for seed in 0..50 {
        let mut plan = Plan::from_seed(seed, Mode::Exclusive);
        (plan.settings.pace, plan.safety_ms) = (Pace::Fast, 20_000);
        let first = Sim::run_traced(&plan, Tracing::Off).expect("coherent");
        let second = Sim::run_traced(&plan, Tracing::Last).expect("coherent");
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_eq!(first.violations, second.violations, "seed {seed}");
    }
}

/// A bug once found is kept as a plan, since generators change.
#[test]
fn plans_survive_being_stored() {
    for seed in 0..100 {
        let plan = Plan::from_seed(seed, Mode::Overlap);
        let text = serde_json::to_string(&plan).expect("plain data");
        assert_eq!(
            serde_json::from_str::<Plan>(&text).expect("same shape"),
            plan
        );
    }
}
