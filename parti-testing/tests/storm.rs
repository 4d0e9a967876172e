//! A store that fails half of all requests for ten minutes must not be asked more for it, and the
//! group must be well soon after.

use std::time::Duration;

use parti_testing::sim::{
    BugReport, Faults, HandOver, NodePlan, Outcome, Pace, Plan, Settings, Sim,
};

const TEN_MINUTES_MS: u64 = 600_000;

/// A group of eight that has nothing to suffer but `fail_ppm`.
fn plan(seed: u64, mode: HandOver, fail_ppm: u32) -> Plan {
    let node = |number: u32| NodePlan {
        starts_ms: u64::from(number) * 50,
        drift_ppm: 0,
        capacity: 1,
        hint: Some(number),
        survives: true,
    };
    Plan {
        seed,
        settings: Settings {
            pace: Pace::Default,
            mode,
            pool: 16,
            clock_drift_ppm: 1_000,
            lease_margin_ms: None,
            drain_timeout_ms: None,
            refresh_interval_ms: None,
            expected_workers: Some(8),
        },
        nodes: (0..8).map(node).collect(),
        partitions: 64,
        safety_ms: TEN_MINUTES_MS,
        faults: Faults {
            fail_ppm,
            ..Faults::none()
        },
        actions: Vec::new(),
    }
}

fn run(plan: &Plan) -> Outcome {
    let outcome = Sim::run(plan).expect("the plan is coherent");
    assert!(
        outcome.violations.is_empty(),
        "{}",
        BugReport {
            plan,
            outcome: &outcome
        }
    );
    outcome
}

fn storm(mode: HandOver) {
    for seed in 0..5 {
        let healthy = run(&plan(seed, mode, 0)).stats.requests;
        let storm = run(&plan(seed, mode, 500_000));
        let ratio = storm.stats.requests as f64 / healthy as f64;
        eprintln!(
            "seed {seed}: {healthy} -> {} = {ratio:.2}, generations {}, lease_lost {:?} evicted {:?} settled {:?} {:?}",
            storm.stats.requests,
            storm.stats.generations,
            storm.sometimes.get("lease_lost"),
            storm.sometimes.get("evicted_silent"),
            storm.stats.settled_after,
            storm.sometimes.get("commit_takeover"),
        );
        assert!(ratio < 1.5, "seed {seed}: {ratio} times the requests");
    }
}

/// Retries once tripled the load on a store exactly while it could not bear it.
#[test]
fn a_store_that_fails_half_of_all_requests_is_not_asked_half_as_often_again_in_exclusive_mode() {
    storm(HandOver::Exclusive);
}

/// See above; in overlap mode nothing is revoked meanwhile either.
#[test]
fn a_store_that_fails_half_of_all_requests_is_not_asked_half_as_often_again_in_overlap_mode() {
    storm(HandOver::Overlap);
}

#[allow(dead_code)]
const UNUSED: Duration = Duration::ZERO;
