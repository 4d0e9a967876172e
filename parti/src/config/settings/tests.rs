//! Settings from JSON and from variables, against the builder's own methods and errors.

use super::*;

mod page;

/// Every setting, with a value that is not its default.
const ALL: &str = r#"{
    "group": "orders", "application": "shop", "worker_id_prefix": "w", "worker_id_range": "1-20",
    "worker_id_hint": "w-7", "predecessor_is_dead": true, "preset": "patient", "mode": "exclusive",
    "rolling_from": "overlap", "on_bucket_lost": "halt", "degraded": "aggressive",
    "sinks_compare_tokens": true,
    "capacity": 3, "expected_workers": 5, "clock_drift_ppm": 500, "leader_failure_limit": 9,
    "restart_detection_ratio": 0.7, "min_rebalance_threshold": 0.3,
    "labels": { "zone": "a", "rack": "7" },
    "heartbeat_interval": "3s", "lease": "12s", "max_lease": "13s", "lease_margin": "500ms",
    "request_timeout": "2500ms", "election_timeout": "7s", "election_jitter": "60ms",
    "cold_start_window": "40s", "planned_scale_window": "11s", "emergency_grace_period": "6s",
    "recovery_grace_period": "14s", "min_rebalance_interval": "12s", "operation_timeout": "9s",
    "startup_timeout": "1m", "shutdown_timeout": "12s", "drain_timeout": "8s",
    "prepare_timeout": "45s", "max_moves_in_flight": 12, "max_hold": "5m",
    "handoff_timeout": "15s", "apply_timeout": "25s", "acknowledge_delay": "5ms",
    "reconcile_interval": "2m", "refresh_interval": "1h",
    "probe_interval": "40ms", "suspect_after": "450ms",
    "retry": { "attempts": 4, "initial": "200ms", "maximum": "4s", "factor": 3, "jitter": "half" },
    "circuit_breaker": { "failure_threshold": 4, "success_threshold": 3, "timeout": "600ms" }
}"#;

fn all() -> ConfigBuilder {
    let (secs, millis) = (Duration::from_secs, Duration::from_millis);
    let retry = RetryPolicy::builder().attempts(4).initial(millis(200));
    let retry = retry.maximum(secs(4)).factor(3).jitter(Jitter::Half);
    Config::builder("orders")
        .application("shop")
        .worker_id_prefix("w".to_owned())
        .worker_id_range(1, 20)
        .worker_id_hint("w-7")
        .predecessor_is_dead(true)
        .preset(Preset::Patient)
        .mode(Mode::Exclusive)
        .rolling_from(Mode::Overlap)
        .on_bucket_lost(OnBucketLost::Halt)
        .degraded(DegradedPreset::Aggressive)
        .sinks_compare_tokens(true)
        .capacity(3)
        .expected_workers(5)
        .clock_drift_ppm(500)
        .leader_failure_limit(9)
        .restart_detection_ratio(0.7)
        .min_rebalance_threshold(0.3)
        .label("zone", "a")
        .label("rack", "7")
        .heartbeat_interval(secs(3))
        .lease(secs(12))
        .max_lease(secs(13))
        .lease_margin(millis(500))
        .request_timeout(millis(2500))
        .election_timeout(secs(7))
        .election_jitter(millis(60))
        .cold_start_window(secs(40))
        .planned_scale_window(secs(11))
        .emergency_grace_period(secs(6))
        .recovery_grace_period(secs(14))
        .min_rebalance_interval(secs(12))
        .operation_timeout(secs(9))
        .startup_timeout(secs(60))
        .shutdown_timeout(secs(12))
        .drain_timeout(secs(8))
        .prepare_timeout(secs(45))
        .max_moves_in_flight(12)
        .max_hold(secs(300))
        .handoff_timeout(secs(15))
        .apply_timeout(secs(25))
        .acknowledge_delay(millis(5))
        .reconcile_interval(secs(120))
        .refresh_interval(secs(3600))
        .probe_interval(millis(40))
        .suspect_after(millis(450))
        .retry(retry.build().expect("works"))
        .circuit_breaker(BreakerSettings::new(4, 3, millis(600)).expect("works"))
}

fn json(text: &str) -> Result<Settings, serde_json::Error> {
    serde_json::from_str(text)
}

/// The same settings as variables: what is nested is joined.
fn variables(text: &str) -> Vec<(String, String)> {
    let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let plain = |value: &serde_json::Value| {
        let text = value.as_str().map(ToString::to_string);
        text.unwrap_or_else(|| value.to_string())
    };
    let mut vars = Vec::new();
    for (name, value) in value.as_object().expect("an object") {
        let name = format!("PARTI_{}", name.to_uppercase());
        match value.as_object() {
            Some(labels) if name == "PARTI_LABELS" => {
                let pairs = labels
                    .iter()
                    .map(|(name, value)| format!("{name}={}", plain(value)));
                vars.push((name, pairs.collect::<Vec<_>>().join(", ")));
            }
            Some(inner) => {
                vars.extend(inner.iter().map(|(inner, value)| {
                    (format!("{name}__{}", inner.to_uppercase()), plain(value))
                }))
            }
            None => vars.push((name, plain(value))),
        }
    }
    vars
}

/// A setting that a file takes and nobody uses costs a night; a new one that is forgotten here fails too.
#[test]
fn every_setting_arrives_from_a_file_and_from_variables() {
    let expected = all().build().expect("coherent");
    let file = json(ALL).expect("known names").build();
    assert_eq!(file.expect("coherent"), expected);
    let vars = Settings::from_vars("PARTI", variables(ALL)).expect("known names");
    assert_eq!(vars.build().expect("coherent"), expected);
    // `detect_within` is what most of the others are instead of.
    let short = json(r#"{ "group": "g", "detect_within": "8s" }"#).expect("known names");
    assert_eq!(
        short.build().expect("coherent").lease(),
        Duration::from_secs(8)
    );
    // Every field of the builder but that one is set above, or this test has to learn it.
    let unset = format!("{:?}", all());
    let unset: Vec<&str> = unset
        .split(", ")
        .filter(|field| field.ends_with(": None"))
        .collect();
    assert_eq!(
        unset.iter().filter(|field| !is_tests_own(field)).count(),
        1,
        "{unset:?}"
    );
}

/// Fields of the builder that only tests have.
fn is_tests_own(field: &str) -> bool {
    field.starts_with("planted") || field.starts_with("formats")
}

/// A misspelt or impossible setting has to be found from the error alone.
#[test]
fn errors_name_the_setting_and_the_value() {
    let said = |text: &str| match json(text) {
        Ok(settings) => settings.build().expect_err("refused").to_string(),
        Err(error) => error.to_string(),
    };
    for (text, words) in [
        (
            r#"{ "group": "g", "leese": "6s" }"#,
            vec!["unknown field `leese`"],
        ),
        (r#"{ "lease": "6s" }"#, vec!["missing field `group`"]),
        (
            r#"{ "group": "g", "lease": "6x" }"#,
            vec!["lease = \"6x\"", "such as 6s"],
        ),
        (
            r#"{ "group": "g", "lease": "100ms" }"#,
            vec!["lease = 100ms"],
        ),
        (r#"{ "group": "a b", "lease": "6s" }"#, vec!["\"a b\""]),
        (
            r#"{ "group": "g", "worker_id_range": "9" }"#,
            vec!["worker_id_range = \"9\"", "0-99"],
        ),
        (
            r#"{ "group": "g", "mode": "both" }"#,
            vec!["both", "exclusive"],
        ),
        (
            r#"{ "group": "g", "retry": { "initial": "-" } }"#,
            vec!["retry.initial = \"-\""],
        ),
        (
            r#"{ "group": "g", "retry": { "attempts": 0 } }"#,
            vec!["retry: "],
        ),
        (
            r#"{ "group": "g", "circuit_breaker": { "timeout": "0s" } }"#,
            vec!["circuit_breaker: "],
        ),
    ] {
        let said = said(text);
        assert!(
            words.iter().all(|word| said.contains(word)),
            "{text}: {said}"
        );
    }
}

/// As for files, by the names that the operator has typed.
#[test]
fn errors_name_the_variable_and_the_setting() {
    let said = |vars: &[(&str, &str)]| {
        let vars = vars
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        match Settings::from_vars("PARTI", vars) {
            Ok(settings) => settings.build().expect_err("refused").to_string(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(
        said(&[("PARTI_LEASE", "6s")]),
        "PARTI_GROUP: group is not set and has no default"
    );
    for (name, value, words) in [
        (
            "PARTI_CAPACITY",
            "many",
            "PARTI_CAPACITY: capacity = \"many\": not a whole number",
        ),
        (
            "PARTI_MODE",
            "both",
            "PARTI_MODE: mode = \"both\": unknown variant `both`",
        ),
        (
            "PARTI_LABELS",
            "zone",
            "PARTI_LABELS: labels = \"zone\": labels are such as",
        ),
        (
            "PARTI_RETRY__ATTEMPTS",
            "-1",
            "PARTI_RETRY__ATTEMPTS: retry.attempts = \"-1\": not a whole",
        ),
        ("PARTI_LEASE", "6x", "PARTI_LEASE: lease = \"6x\""),
        ("PARTI_LEASE", "1ms", "PARTI_LEASE: lease = 1ms is too"),
        (
            "PARTI_RETRY__INITIAL",
            "now",
            "PARTI_RETRY__INITIAL: retry.initial = \"now\"",
        ),
        ("PARTI_RETRY__ATTEMPTS", "0", "PARTI_RETRY: retry: "),
        ("PARTI_GROUP", "a b", "PARTI_*: "),
    ] {
        let said = said(&[("PARTI_GROUP", "g"), (name, value)]);
        assert!(said.starts_with(words), "{said}");
    }
}

/// Kubernetes sets variables of its own for a service that is called like the prefix.
#[test]
fn other_variables_are_left_alone() {
    let vars = [
        "PARTI_GROUP",
        "PARTI_SERVICE_HOST",
        "PARTI_PORT_80_TCP",
        "GROUP",
        "PARTI_LEASE_X",
    ];
    let vars = vars.map(|name| (name.to_owned(), "g".to_owned()));
    let config = Settings::from_vars("PARTI", vars).expect("read").build();
    assert_eq!(config, Ok(Config::builder("g").build().expect("coherent")));
}
