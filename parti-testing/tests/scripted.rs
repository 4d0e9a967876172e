//! Scripted plans: what operators are promised, acted out second by second.

use parti_testing::simulator::{BugReport, Faults, Handoff, Leave, Outcome, Plan, Sim};
use serde_json::{Value, json};

/// A group in the default profile with sixty-four partitions, and what happens to it.
fn plan(mode: Handoff, workers: u64, safety_ms: u64, actions: Value) -> Plan {
    let node = |number: u64| {
        json!({
            "starts_ms": number * 20,
            "drift_ppm": 0,
            "capacity": 1,
            "hint": null,
            "survives": true,
        })
    };
    // Exactly the fields that the first stored plans had: later ones have defaults.
    let plan = json!({
        "seed": 7,
        "settings": {
            "pace": "default",
            "mode": mode.as_str(),
            "pool": 100,
            "clock_drift_ppm": 1_000,
            "lease_margin_ms": null,
            "drain_timeout_ms": null,
            "refresh_interval_ms": null,
            "expected_workers": null,
        },
        "nodes": (0..workers).map(node).collect::<Vec<_>>(),
        "partitions": 64,
        "safety_ms": safety_ms,
        "faults": Faults::none(),
        "actions": actions,
    });
    serde_json::from_value(plan).expect("complete")
}

fn run(plan: &Plan) -> Outcome {
    let outcome = Sim::run(plan).expect("coherent");
    let report = BugReport {
        plan,
        outcome: &outcome,
    };
    assert!(outcome.violations.is_empty(), "{report}");
    outcome
}

/// A store that is away for ten minutes must cost nothing once it is back: the same IDs, the same
/// assignment, no restart and no emergency.
#[test]
fn ten_minutes_without_a_store_leave_everything_as_it_was() {
    for mode in [Handoff::Exclusive, Handoff::Overlap] {
        let before = run(&plan(mode, 5, 120_000, json!([])));
        for answers in [true, false] {
            let outage = json!([{
                "at_ms": 120_000,
                "action": { "outage": { "for_ms": 600_000, "answers": answers } },
            }]);
            let after = run(&plan(mode, 5, 750_000, outage));
            assert_eq!(before.owners.len(), 64);
            assert_eq!(after.owners, before.owners, "{mode:?}, answers: {answers}");
            for never in [
                "commit_emergency",
                "identity_lost",
                "start_failed",
                "stopped",
            ] {
                assert_eq!(after.situations[never], 0, "{mode:?}: {never}");
            }
            assert!(
                after.situations["degraded"] > 0,
                "the outage was not noticed"
            );
        }
    }
}

/// Thousands of joins and leaves a second must neither panic nor leave anything behind.
#[test]
fn a_storm_of_joins_and_leaves_ends_in_a_settled_group() {
    for mode in [Handoff::Exclusive, Handoff::Overlap] {
        let mut actions = Vec::new();
        let (workers, round_ms) = (20_u64, 10);
        for round in 0..60 {
            for node in 0..workers {
                let at_ms = 2_000 + round * round_ms + node * round_ms / workers;
                let action = match (round + node) % 3 {
                    0 => json!({ "crash": { "node": node, "down_ms": 5, "after_effects": null } }),
                    1 => json!({ "stop": { "node": node, "leave": Leave::Now, "rejoin_ms": 5 } }),
                    _ => {
                        json!({ "stop": { "node": node, "leave": Leave::Handoff, "rejoin_ms": 5 } })
                    }
                };
                actions.push(json!({ "at_ms": at_ms, "action": action }));
            }
        }
        let outcome = run(&plan(mode, workers, 4_000, Value::Array(actions)));
        assert_eq!(outcome.owners.len(), 64);
        assert!(outcome.situations["stopped"] > 100, "nobody left");
    }
}

/// A large list that nobody touches must be shared out once: whatever goes on moving, or grows, in an
/// idle group would do so for weeks.
#[test]
fn ten_thousand_partitions_are_shared_out_once_and_left_alone() {
    let mut large = plan(Handoff::Exclusive, 5, 600_000, json!([]));
    large.partitions = 10_000;
    let outcome = run(&large);
    assert_eq!(outcome.owners.len(), 10_000);
    let first = plan(Handoff::Exclusive, 5, 30_000, json!([]));
    let generations = run(&first).stats.generations;
    assert_eq!(
        outcome.stats.generations, generations,
        "it was not left alone"
    );
}
