//! What `docs/deploy` tells orchestrators, compared with what the code does: settings, probes, times.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use parti::Config;
use parti::config::{Settings, SettingsError};
use yaml_rust2::{Yaml, YamlLoader};

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a manifest that have this kind.
fn of_kind(file: &str, kind: &str) -> Vec<Yaml> {
    let documents = YamlLoader::load_from_str(&read(file)).expect("YAML");
    let is_kind = |document: &Yaml| document["kind"].as_str() == Some(kind);
    documents.into_iter().filter(is_kind).collect()
}

/// The variables of a container; what Kubernetes fills in is the name of a pod.
fn variables(container: &Yaml) -> BTreeMap<String, String> {
    let list = container["env"].as_vec().expect("variables");
    let pair = |variable: &Yaml| {
        let name = variable["name"].as_str().expect("a name").to_owned();
        let value = variable["value"].as_str().unwrap_or("orders-3");
        (name, value.to_owned())
    };
    list.iter().map(pair).collect()
}

fn configured(variables: &BTreeMap<String, String>) -> Result<Config, SettingsError> {
    Settings::from_vars("PARTI", variables.clone())?.build()
}

/// The configuration of these variables, each of which must have an effect: a misspelt one has none.
fn effective(variables: &BTreeMap<String, String>) -> Config {
    let config = configured(variables).expect("coherent");
    let own = variables.keys().filter(|name| name.starts_with("PARTI_"));
    for name in own.filter(|name| *name != "PARTI_GROUP") {
        let mut fewer = variables.clone();
        fewer.remove(name);
        let without = configured(&fewer);
        let is_same = without.is_ok_and(|without| format!("{without:?}") == format!("{config:?}"));
        assert!(!is_same, "{name} changes nothing");
    }
    config
}

/// How long a worker may take to leave, as `Manager::stop` says.
fn leaving(config: &Config) -> Duration {
    config.shutdown_timeout() + config.drain_timeout() * 3 + config.lease()
}

fn seconds(value: i64) -> Duration {
    Duration::from_secs(u64::try_from(value).expect("a time"))
}

/// A grace period that is too short kills a worker in the middle of its handoff, in each rollout; a liveness
/// probe of readiness restarts everything in an outage of the store.
#[test]
fn pods_are_configured_probed_and_given_the_time_that_leaving_takes() {
    for (file, kind) in [
        ("docs/deploy/statefulset.yaml", "StatefulSet"),
        ("docs/deploy/deployment.yaml", "Deployment"),
    ] {
        let found = of_kind(file, kind);
        let pod = &found.first().expect(kind)["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let variables = variables(container);
        let config = effective(&variables);
        let grace = pod["terminationGracePeriodSeconds"].as_i64();
        assert!(
            seconds(grace.expect("a time")) >= leaving(&config),
            "{file}"
        );
        let path = |probe: &str| container[probe]["httpGet"]["path"].as_str();
        assert_eq!(path("readinessProbe"), Some("/readyz"), "{file}");
        assert_eq!(path("livenessProbe"), Some("/healthz"), "{file}");
        let is_bounded = !container["resources"]["limits"]["cpu"].is_badvalue();
        assert!(!is_bounded, "{file}: a throttled worker renews late");
        let hold = variables.get("HOLD_SECONDS");
        assert_eq!(hold.is_some(), kind == "StatefulSet", "{file}");
        if let Some(hold) = hold {
            assert!(seconds(hold.parse().expect("a time")) <= config.max_hold());
            assert!(config.worker_id_hint().is_some() && config.predecessor_is_dead());
        }
    }
}

/// As for pods.
#[test]
fn units_are_configured_and_given_the_time_that_leaving_takes() {
    let unit = read("docs/deploy/orders@.service");
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    let mut variables = BTreeMap::new();
    let mut limit = None;
    for (name, value) in lines {
        if name == "Environment" {
            let (name, value) = value.split_once('=').expect("a variable");
            variables.insert(name.to_owned(), value.replace("%i", "3"));
        } else if name == "TimeoutStopSec" {
            limit = value.parse().ok();
        }
    }
    let config = effective(&variables);
    assert!(seconds(limit.expect("a time")) >= leaving(&config));
}

/// An autoscaler whose expression nobody has tried scales on whatever it answers.
#[test]
fn the_expression_that_scales_is_the_one_that_is_tested() {
    let scaled = of_kind("docs/deploy/keda.yaml", "ScaledObject");
    let spec = &scaled.first().expect("one")["spec"];
    let query = spec["triggers"][0]["metadata"]["query"].as_str();
    let tests = YamlLoader::load_from_str(&read("docs/observability/alerts_test.yaml"));
    let tests = tests.expect("YAML");
    let mut expressions = tests[0]["tests"].as_vec().expect("tests").iter();
    let is_tried = expressions.any(|test| {
        let tried = test["promql_expr_test"].as_vec().expect("expressions");
        tried.iter().any(|tried| tried["expr"].as_str() == query)
    });
    assert!(query.is_some() && is_tried, "{query:?}");
    // What does not come back would leave what it has to nobody until its hold is over.
    assert_eq!(spec["scaleTargetRef"]["kind"].as_str(), Some("Deployment"));
}
