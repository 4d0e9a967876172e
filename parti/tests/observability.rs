//! What operators are given, compared with what the code tells: documentation, dashboard, alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use parti::health::{HealthCode, Impact};
use parti::metrics::{CATALOGUE, Metric, MetricKind, MetricUnit};
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

/// What the roadmap asked for by name.
const ASKED_FOR: [&str; 12] = [
    "parti_calculator_rebalance_duration_seconds",
    "parti_calculator_rebalance_total",
    "parti_calculator_active_workers",
    "parti_calculator_partition_count",
    "parti_kv_operation_duration_seconds",
    "parti_kv_operation_errors_total",
    "parti_watcher_failures_total",
    "parti_circuit_breaker_state",
    "parti_circuit_breaker_calls_total",
    "parti_circuit_breaker_state_changes_total",
    "parti_retry_attempts_total",
    "parti_retry_exhausted_total",
];

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of the table rows of a page whose first cell is in backticks, by that cell.
fn rows(page: &str) -> BTreeMap<String, Vec<String>> {
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
        let name = cells
            .first()?
            .strip_prefix('`')?
            .strip_suffix('`')?
            .to_owned();
        Some((name, cells.iter().map(ToString::to_string).collect()))
    });
    rows.collect()
}

/// A name in a document that the code does not have sends the reader after a ghost.
#[test]
fn the_page_of_metrics_is_the_catalogue_in_both_directions() {
    let mut documented = rows(&read("docs/METRICS.md"));
    documented.retain(|name, _| name.starts_with("parti_"));
    let catalogue = CATALOGUE.iter().map(|metric: &Metric| {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let labels = if labels.is_empty() {
            "-".to_owned()
        } else {
            labels.join(", ")
        };
        let cells = vec![
            format!("`{}`", metric.name),
            metric.kind.to_string(),
            metric.unit.to_string(),
            labels,
            metric.meaning.to_owned(),
            String::new(),
        ];
        (metric.name.to_owned(), cells)
    });
    let catalogue: BTreeMap<_, _> = catalogue.collect();
    assert_eq!(catalogue.len(), CATALOGUE.len(), "each name once");
    assert_eq!(documented, catalogue);
}

/// Dashboards of an older system expect these names.
#[test]
fn every_name_the_roadmap_asked_for_exists_and_names_follow_the_rules() {
    let names: BTreeSet<&str> = CATALOGUE.iter().map(|metric| metric.name).collect();
    for name in ASKED_FOR {
        assert!(names.contains(name), "{name}");
    }
    for metric in CATALOGUE {
        let counter = metric.kind == MetricKind::Counter;
        assert_eq!(metric.name.ends_with("_total"), counter, "{}", metric.name);
        let timed = metric.unit == MetricUnit::Seconds;
        assert_eq!(metric.name.ends_with("_seconds"), timed, "{}", metric.name);
        for unbounded in ["partition", "worker", "session", "nonce", "key", "token"] {
            assert!(!metric.labels.contains(&unbounded), "{}", metric.name);
        }
    }
}

/// What is wrong with an expression, if anything: a name nobody tells, or a label it does not have.
fn faults(expression: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = expression;
    let mut found = 0;
    while let Some(at) = rest.find("parti_") {
        let (name, after) =
            rest[at..].split_at(rest[at..].find(|c| !is_word(c)).unwrap_or(rest.len() - at));
        found += 1;
        match metric(name) {
            None => faults.push(format!("{name} is not in the catalogue")),
            Some(metric) => {
                let selector = after.strip_prefix('{').and_then(|s| s.split_once('}'));
                for part in selector.map_or("", |(labels, _)| labels).split(',') {
                    let label = part
                        .split(['=', '!', '~'])
                        .next()
                        .unwrap_or_default()
                        .trim();
                    let known =
                        label.is_empty() || label == "group" || metric.labels.contains(&label);
                    if !known {
                        faults.push(format!("{name} has no label {label}"));
                    }
                }
            }
        }
        rest = after;
    }
    if found == 0 {
        faults.push(format!("no metric in {expression}"));
    }
    faults
}

/// The metric a series belongs to.
fn metric(series: &str) -> Option<&'static Metric> {
    let find = |name: &str| CATALOGUE.iter().find(|metric| metric.name == name);
    let of_histogram = ["_bucket", "_sum", "_count"]
        .into_iter()
        .find_map(|suffix| {
            let metric = find(series.strip_suffix(suffix)?)?;
            (metric.kind == MetricKind::Histogram).then_some(metric)
        });
    of_histogram.or_else(|| find(series).filter(|m| m.kind != MetricKind::Histogram))
}

/// The check itself must be able to fail.
#[test]
fn expressions_with_unknown_names_or_labels_are_found_out() {
    assert_eq!(
        faults("sum(rate(parti_moves_total{group=~\"$group\",cause=\"drain\"}[5m]))"),
        [""; 0]
    );
    assert_eq!(faults("parti_lease_margin_seconds_bucket"), [""; 0]);
    for wrong in [
        "parti_moves",
        "parti_moves_total{worker=\"a\"}",
        "parti_moves_total_sum",
        "parti_lease_margin_seconds",
        "up == 0",
    ] {
        assert_eq!(faults(wrong).len(), 1, "{wrong}");
    }
}

/// A panel on a metric that does not exist shows nothing, which looks like peace.
#[test]
fn the_dashboard_is_valid_and_uses_only_what_exists() {
    let dashboard: Value =
        serde_json::from_str(&read("docs/observability/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    let mut used = BTreeSet::new();
    for panel in panels {
        assert!(
            ids.insert(panel["id"].as_u64()),
            "each ID once: {}",
            panel["id"]
        );
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            let expression = target["expr"].as_str().expect("an expression");
            assert_eq!(faults(expression), [""; 0], "{}", panel["title"]);
            used.insert(expression.to_owned());
        }
    }
    for name in ASKED_FOR {
        let shown = used.iter().any(|expression| expression.contains(name));
        assert!(
            shown || name.contains("_calls_") || name.contains("_state_changes_"),
            "{name}"
        );
    }
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let lower = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = lower
        .chars()
        .filter(|&c| c.is_alphanumeric() || c == ' ' || c == '-');
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// An alert that wakes somebody must say what to do.
#[test]
fn every_alert_has_a_summary_a_severity_and_an_entry_in_the_runbook() {
    let operations = read("docs/OPERATIONS.md");
    let headings = operations.lines().filter(|line| line.starts_with('#'));
    let anchors: BTreeSet<String> = headings.map(anchor).collect();
    let rules = YamlLoader::load_from_str(&read("docs/observability/alerts.yaml")).expect("YAML");
    let groups = rules[0]["groups"].as_vec().expect("groups");
    let alerts: Vec<&Yaml> = groups
        .iter()
        .flat_map(|g| g["rules"].as_vec().expect("rules"))
        .collect();
    assert!(alerts.len() > 10);
    let mut names = BTreeSet::new();
    for alert in alerts {
        let name = alert["alert"].as_str().expect("a name");
        assert!(names.insert(name), "{name} is there twice");
        assert_eq!(
            faults(alert["expr"].as_str().expect("an expression")),
            [""; 0],
            "{name}"
        );
        let severity = alert["labels"]["severity"].as_str();
        assert!(
            matches!(severity, Some("info" | "warning" | "critical")),
            "{name}"
        );
        let time = alert["for"].as_str().expect("a time");
        assert!(
            time.ends_with('m') && time.trim_end_matches('m').parse::<u32>().is_ok(),
            "{name}"
        );
        let notes = &alert["annotations"];
        assert!(
            notes["summary"]
                .as_str()
                .is_some_and(|text| text.len() > 10),
            "{name}"
        );
        let runbook = notes["runbook"].as_str().expect("a runbook");
        let (page, to) = runbook.split_once('#').expect("an anchor");
        assert_eq!(page, "docs/OPERATIONS.md", "{name}");
        assert!(anchors.contains(to), "{name}: no heading makes #{to}");
    }
}

/// An operator who sets up probes by this table must get what it says.
#[test]
fn the_table_of_probes_is_the_code_in_both_directions() {
    let page = read("docs/OPERATIONS.md");
    let (_, section) = page
        .split_once("## Probes")
        .expect("a section about probes");
    let section = section.split("\n## ").next().unwrap_or_default();
    let documented = rows(section).into_iter().map(|(code, cells)| {
        let word = |cell: &String| cell.trim_matches('*').to_owned();
        (code, (word(&cells[1]), word(&cells[2])))
    });
    let yes = |holds: bool| if holds { "yes" } else { "no" }.to_owned();
    let codes = HealthCode::ALL.iter().map(|code| {
        let (ready, live) = match code.impact() {
            Impact::Report => (true, true),
            Impact::Unready => (false, true),
            Impact::Dead => (false, false),
        };
        (code.as_str().to_owned(), (yes(ready), yes(live)))
    });
    assert_eq!(
        documented.collect::<BTreeMap<_, _>>(),
        codes.collect::<BTreeMap<_, _>>()
    );
}

/// A condition that no alert looks at is seen by those who happen to ask, and that is nobody at night.
#[test]
fn every_condition_names_an_alert_that_looks_at_it() {
    let page = read("docs/OPERATIONS.md");
    let (_, section) = page
        .split_once("## Probes")
        .expect("a section about probes");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rules = YamlLoader::load_from_str(&read("docs/observability/alerts.yaml")).expect("YAML");
    let rules = rules[0]["groups"][0]["rules"].as_vec().expect("rules");
    for (code, cells) in rows(section) {
        let name = cells[4].trim_matches('`');
        if name == "-" {
            assert_eq!(code, "stopping", "only what somebody wanted needs no alert");
            continue;
        }
        let alert = rules
            .iter()
            .find(|rule| rule["alert"].as_str() == Some(name));
        let alert = alert.unwrap_or_else(|| panic!("{code}: there is no alert {name}"));
        let expression = alert["expr"].as_str().expect("an expression");
        let measured = METRICS_OF.iter().find(|(of, _)| *of == code);
        let mut words = expression.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        let looks = words.any(|word| word == code)
            || measured.is_some_and(|(_, metric)| expression.contains(metric));
        assert!(looks, "{code}: {name} looks at {expression}");
    }
}

/// Conditions with an alert on a metric that says the same more precisely.
const METRICS_OF: [(&str, &str); 4] = [
    ("lease_lost", "parti_leases_lost_total"),
    ("lease_margin_low", "parti_lease_margin_seconds_bucket"),
    ("circuit_open", "parti_circuit_breaker_state"),
    ("degraded", "parti_degraded"),
];

/// Each case that once left partitions without an owner or without work: what is said of it, and what
/// is measured. The core's own table plays them, see `parti-core/src/core/tests/leadership/cases.rs`.
const CASES: [(u8, &[&str], &str); 9] = [
    (1, &["partitions_parked"], "parti_parked_by_reason"),
    (2, &["source_failing"], "parti_problem_count"),
    (3, &["leaders_change"], "parti_recent_terms"),
    (
        4,
        &["no_leader", "partitions_unowned", "store_unfit"],
        "parti_unowned_partitions",
    ),
    (
        5,
        &["partitions_unowned", "plan_failing", "commit_failing"],
        "parti_unowned_partitions",
    ),
    (
        6,
        &["not_judging", "partitions_unowned", "leaders_change"],
        "parti_recent_terms",
    ),
    (
        7,
        &["commit_failing", "partitions_parked"],
        "parti_problem_count",
    ),
    (
        8,
        &["commit_failing", "partitions_parked"],
        "parti_parked_by_reason",
    ),
    (
        9,
        &["handler_failing", "partitions_parked"],
        "parti_unprocessed_partitions",
    ),
];

/// A case that is named only in a test of the core wakes nobody.
#[test]
fn every_case_has_its_conditions_its_metric_and_its_alerts() {
    let page = read("docs/OPERATIONS.md");
    let (_, section) = page.split_once("## Probes").expect("the section");
    let documented = rows(section.split("\n## ").next().unwrap_or_default());
    let played = read("parti-core/src/core/tests/leadership/cases.rs");
    let panels = read("docs/observability/dashboard.json");
    for (number, conditions, measured) in CASES {
        assert!(
            played.contains(&format!("number: {number},")),
            "case {number} is not played"
        );
        assert!(
            CATALOGUE.iter().any(|metric| metric.name == measured),
            "case {number}: {measured} does not exist"
        );
        let shown = panels.contains(measured);
        assert!(shown, "case {number}: no panel shows {measured}");
        for condition in conditions {
            let known = HealthCode::ALL
                .iter()
                .any(|code| code.as_str() == *condition);
            assert!(known, "case {number}: there is no condition {condition}");
            let alert = documented.get(*condition).map(|cells| cells[4].as_str());
            assert!(
                alert.is_some_and(|alert| alert != "-"),
                "case {number}: {condition} has no alert"
            );
        }
    }
}
