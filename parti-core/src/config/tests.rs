//! Settings arrive where they are read, broken rules are named, derived times are the right sums.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;
use crate::resilience::backoff::RetryPolicy;
use crate::resilience::breaker::BreakerSettings;

/// A setter that writes the neighbouring field makes a setting that does nothing.
#[test]
fn every_setting_that_is_made_is_the_one_that_is_read() {
    macro_rules! check {
        ($($name:ident: $value:expr,)*) => {{
            let builder = Config::builder("g").preset(Preset::Patient);
            let before = builder.clone().build().expect("coherent");
            $(
                let value = $value;
                let changed = builder.clone().$name(value.clone()).build();
                let config = changed.unwrap_or_else(|e| panic!("{}: {e}", stringify!($name)));
                assert_ne!(before.$name(), value, "{}: set to its default", stringify!($name));
                assert_eq!(config.$name(), value, "{}", stringify!($name));
            )*
        }};
    }
    let retry = RetryPolicy::builder()
        .attempts(7)
        .build()
        .expect("coherent");
    check! {
        mode: Mode::Overlap,
        worker_id_prefix: "pod".to_string(),
        capacity: 3,
        heartbeat_interval: secs(4),
        lease: secs(21),
        lease_margin: millis(77),
        clock_drift_ppm: 77,
        request_timeout: secs(2),
        election_timeout: secs(9),
        election_jitter: millis(77),
        cold_start_window: secs(77),
        planned_scale_window: secs(78),
        emergency_grace_period: secs(6),
        recovery_grace_period: secs(79),
        restart_detection_ratio: 0.25,
        min_rebalance_threshold: 0.75,
        min_rebalance_interval: secs(80),
        operation_timeout: secs(81),
        startup_timeout: secs(82),
        shutdown_timeout: secs(83),
        drain_timeout: secs(11),
        handoff_timeout: secs(84),
        apply_timeout: secs(85),
        acknowledge_delay: millis(86),
        reconcile_interval: secs(87),
        leader_failure_limit: 9,
        retry: retry,
        circuit_breaker: BreakerSettings::new(3, 1, millis(500)).expect("coherent"),
    }
}

/// What has no default, or belongs together, must arrive as it was said.
#[test]
fn names_labels_and_the_pool_are_read_as_they_were_made() {
    let config = Config::builder("orders")
        .expected_workers(3)
        .refresh_interval(secs(88))
        .degraded(DegradedPreset::Aggressive)
        .worker_id_range(5, 8)
        .worker_id_hint("worker-6")
        .predecessor_is_dead(true)
        .label("zone", "a")
        .build()
        .expect("coherent");
    assert_eq!((config.group().as_str(), config.pool_size()), ("orders", 4));
    let shares = (config.expected_workers(), config.refresh_interval());
    assert_eq!(shares, (Some(3), Some(secs(88))));
    assert_eq!(config.degraded(), DegradedPreset::Aggressive.settings());
    assert_eq!(
        config.worker_id_hint().map(WorkerId::as_str),
        Some("worker-6")
    );
    assert!(config.predecessor_is_dead());
    assert_eq!(config.labels().get("zone").map(String::as_str), Some("a"));
    let named = |number| config.worker_id(number).map(|id| id.to_string());
    let (first, last) = (named(5), named(8));
    assert_eq!(
        (first.as_deref(), last.as_deref()),
        (Some("worker-5"), Some("worker-8"))
    );
    assert_eq!((named(4), named(9)), (None, None));
}

/// Thresholds that differ from the documented ones alert at the wrong time.
#[test]
fn the_degraded_presets_are_the_documented_ones_and_the_grace_can_be_set_alone() {
    let all = [
        DegradedPreset::Conservative,
        DegradedPreset::Balanced,
        DegradedPreset::Aggressive,
    ];
    let seconds = all.map(|preset| {
        let s = preset.settings();
        let times = [s.enter, s.exit, s.window, s.recovery_grace];
        (s.errors, times.map(|time| time.as_secs()))
    });
    let documented = [
        (10, [30, 10, 30, 20]),
        (5, [10, 5, 30, 15]),
        (3, [5, 3, 15, 10]),
    ];
    assert_eq!(seconds, documented);
    let builder = Config::builder("g").degraded(DegradedPreset::Conservative);
    let config = builder
        .recovery_grace_period(secs(1))
        .build()
        .expect("coherent");
    assert_eq!(config.degraded().recovery_grace, secs(1));
    assert_eq!(config.degraded().enter, secs(30));
}

fn slow_breaker() -> BreakerSettings {
    BreakerSettings::new(5, 2, secs(1)).expect("coherent")
}

type Change = fn(ConfigBuilder) -> ConfigBuilder;

const BEYOND_THE_STORE: [(Change, &str); 8] = [
    (
        |b| b.lease(secs(90_000)),
        "lease = 90000s is too large: use at most 86400s",
    ),
    (
        |b| b.request_timeout(millis(0)),
        "request_timeout = 0ns is too small: use at least 1ms",
    ),
    (
        |b| b.election_timeout(secs(25)),
        "election_timeout = 25s is too large: use at most 24s",
    ),
    (
        |b| b.acknowledge_delay(millis(1_001)),
        "acknowledge_delay = 1.001s is too large: use at most 1s",
    ),
    (
        |b| b.circuit_breaker(slow_breaker()),
        "circuit_breaker timeout = 1s is too large: use at most 947ms",
    ),
    (
        |b| b.reconcile_interval(secs(1)),
        "reconcile_interval = 1s is too small: use at least 2s",
    ),
    (
        |b| b.emergency_grace_period(secs(90_000)),
        "emergency_grace_period = 90000s is too large: use at most 86400s",
    ),
    (
        |b| b.operation_timeout(secs(0)),
        "operation_timeout = 0ns is too small",
    ),
];

const BEYOND_THE_STEPS: [(Change, &str); 14] = [
    (
        |b| b.restart_detection_ratio(0.0),
        "restart_detection_ratio = 0 is not allowed: use a number above 0 and up to 1",
    ),
    (
        |b| b.restart_detection_ratio(1.01),
        "restart_detection_ratio = 1.01 is not allowed",
    ),
    (
        |b| b.min_rebalance_threshold(-0.01),
        "min_rebalance_threshold = -0.01 is not allowed",
    ),
    (
        |b| b.min_rebalance_threshold(1.01),
        "min_rebalance_threshold = 1.01 is not allowed",
    ),
    (
        |b| b.lease_margin(millis(2_500)),
        "hold time = 3.488s is too small: use at least 4s",
    ),
    (
        |b| b.startup_timeout(secs(1)),
        "startup_timeout = 1s is too small: use at least 1.5s",
    ),
    (
        |b| b.shutdown_timeout(secs(0)),
        "shutdown_timeout = 0ns is too small",
    ),
    (
        |b| b.handoff_timeout(secs(1)),
        "handoff_timeout = 1s is too small: use at least 5s",
    ),
    (
        |b| b.apply_timeout(secs(1)),
        "apply_timeout = 1s is too small: use at least 4s",
    ),
    (
        |b| b.refresh_interval(millis(1)),
        "refresh_interval = 1ms is too small: use at least 100ms",
    ),
    (
        |b| b.leader_failure_limit(0),
        "leader_failure_limit = 0: use at least 1",
    ),
    (
        |b| b.expected_workers(0),
        "expected_workers = 0: use at least 1",
    ),
    (
        |b| b.heartbeat_interval(secs(0)),
        "heartbeat_interval = 0ns is too small: use at least",
    ),
    (
        |b| b.worker_id_range(0, MAX_POOL),
        "worker_id_range = 0..=100000: the range must hold 1 to 100000 IDs",
    ),
];

/// One wrong number in a file of forty: the message has to say which, and up to where it may go.
#[test]
fn each_limit_is_told_with_the_field_its_value_and_what_would_be_right() {
    for (change, wanted) in BEYOND_THE_STORE.into_iter().chain(BEYOND_THE_STEPS) {
        let error = change(Config::builder("g"))
            .build()
            .expect_err(wanted)
            .to_string();
        assert!(error.starts_with(wanted), "{error:?} instead of {wanted:?}");
    }
    // At the limit itself all is well.
    let day = secs(86_400);
    let widest = Config::builder("g")
        .worker_id_range(1, MAX_POOL)
        .emergency_grace_period(day);
    let widest = widest
        .restart_detection_ratio(1.0)
        .min_rebalance_threshold(1.0);
    assert_eq!(widest.build().expect("coherent").pool_size(), MAX_POOL);
}

/// The bounds are what an operator and the simulator wait for: each is added up here by hand.
#[test]
fn the_derived_bounds_are_the_sums_they_say_they_are() {
    let build = |mode: Mode| {
        let builder = Config::builder("g")
            .mode(mode)
            .heartbeat_interval(secs(1))
            .lease(secs(5));
        let builder = builder.lease_margin(millis(100)).request_timeout(secs(1));
        let builder = builder.election_timeout(secs(2)).cold_start_window(secs(3));
        let builder = builder
            .planned_scale_window(secs(4))
            .min_rebalance_interval(secs(6));
        let builder = builder.apply_timeout(secs(7)).handoff_timeout(secs(8));
        let builder = builder
            .drain_timeout(secs(2))
            .emergency_grace_period(millis(2_500));
        builder
            .recovery_grace_period(secs(9))
            .build()
            .expect("coherent")
    };
    let config = build(Mode::Exclusive);
    // 5 s less 0.1 s of margin less twice 1000 ppm of 5 s.
    assert_eq!(config.hold(), millis(4_890));
    assert_eq!(config.overdue_after(), millis(1_500));
    // Lease 5, eight requests 8, two intervals 2.
    assert_eq!(config.claim_bound(), secs(15));
    // And lease 5, election 2, four requests 4.
    assert_eq!(config.election_bound(), secs(26));
    // And lease 5, recovery 9, grace 2.5, cold start 3.
    assert_eq!(config.detection_bound(), millis(45_500));
    // 26 and 16.5, twice the longer window 8, cooldown 6, eight requests 8.
    assert_eq!(config.decision_bound(), millis(64_500));
    assert_eq!(config.application_bound(), millis(71_500));
    // 15, half a lease 2.5 to be well again, two intervals 2.
    assert_eq!(config.recovery_bound(), millis(19_500));
    // 64.5; handoff 8, apply 7, two leases 10; two drains 4; eight times apply 56.
    assert_eq!(config.convergence_bound(), millis(149_500));
    // In overlap mode apply 7 and one lease 5 instead of the handoff.
    assert_eq!(build(Mode::Overlap).convergence_bound(), millis(136_500));
}

/// A value that is not set has to follow the one that is, or one knob needs six others.
#[test]
fn what_is_not_set_follows_the_lease_and_the_heartbeat() {
    let config = Config::builder("g")
        .detect_within(secs(8))
        .build()
        .expect("coherent");
    let found = Vec::from([
        (config.heartbeat_interval(), secs(2)),
        (config.lease_margin(), secs(8) / 30),
        (config.request_timeout(), secs(2)),
        (config.election_timeout(), secs(4)),
        (config.election_jitter(), millis(50)),
        (config.cold_start_window(), secs(40)),
        (config.planned_scale_window(), secs(16)),
        (config.emergency_grace_period(), secs(3)),
        (config.handoff_timeout(), secs(13)),
        (config.apply_timeout(), secs(16)),
        (config.reconcile_interval(), secs(60)),
        (config.circuit_breaker().timeout(), millis(500)),
    ]);
    for (index, (value, expected)) in found.into_iter().enumerate() {
        assert_eq!(value, expected, "number {index}");
    }
    let fast = Config::builder("g")
        .preset(Preset::Fast)
        .build()
        .expect("coherent");
    assert_eq!(fast.min_rebalance_interval(), fast.planned_scale_window());
}
