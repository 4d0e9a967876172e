//! The numbers of a worker in virtual time, and that the catalogue is all of them.

#[path = "../examples/observed/faulty.rs"]
mod faulty;
#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/scrape.rs"]
mod scrape;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use faulty::FaultyStore;
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder as MetricsRecorder, SharedString,
    Unit,
};
use parti::events::ManagerNotice;
use parti::health::HealthCode;
use parti::metrics::{CATALOGUE, Metric, MetricKind, MetricUnit};
use parti::prometheus::Exporter;
use parti::store::LocalStore;
use parti::{Manager, Mode, State, StopMode};
use recorder::{Behaviour, Recorder, fast, heard, manager, until};
use scrape::{total, value};

const LIMIT: Duration = Duration::from_secs(60);

/// The label names of each name and kind.
type Registered = BTreeMap<(String, MetricKind), BTreeSet<Vec<String>>>;
/// The values of each label name.
type Values = BTreeMap<String, BTreeSet<String>>;
/// What a name was described as.
type Told = (MetricKind, Option<Unit>, String);

/// A recorder that keeps what was asked for: the kind of each name, its labels, and its unit.
#[derive(Clone, Debug, Default)]
struct Asked {
    registered: Arc<Mutex<Registered>>,
    /// The values of each label.
    values: Arc<Mutex<Values>>,
    described: Arc<Mutex<BTreeMap<String, Told>>>,
}

impl Asked {
    fn register(&self, key: &Key, kind: MetricKind) {
        let labels = key.labels().map(|label| label.key().to_owned()).collect();
        let mut registered = self.registered.lock().expect("not poisoned");
        let name = (key.name().to_owned(), kind);
        registered.entry(name).or_default().insert(labels);
        let mut values = self.values.lock().expect("not poisoned");
        for label in key.labels() {
            let known = values.entry(label.key().to_owned()).or_default();
            known.insert(label.value().to_owned());
        }
    }

    fn describe(&self, name: &KeyName, kind: MetricKind, unit: Option<Unit>, text: &SharedString) {
        let told = (kind, unit, text.to_string());
        let mut described = self.described.lock().expect("not poisoned");
        described.insert(name.as_str().to_owned(), told);
    }
}

impl MetricsRecorder for Asked {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, MetricKind::Counter, unit, &text);
    }
    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, MetricKind::Gauge, unit, &text);
    }
    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, MetricKind::Histogram, unit, &text);
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.register(key, MetricKind::Counter);
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.register(key, MetricKind::Gauge);
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.register(key, MetricKind::Histogram);
        Histogram::noop()
    }
}

/// A dashboard on a name that nobody measures shows a flat line, which looks like peace.
#[tokio::test(start_paused = true)]
async fn a_manager_measures_exactly_the_catalogue_and_describes_it() {
    let asked = Asked::default();
    let _recorder = metrics::set_default_local_recorder(&asked);
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let (hooks, _events) = parti::events::hook_channel(8);
    let worker = manager(fast(1), &store, 2, &handler)
        .hooks(hooks)
        .metric_label("slot", "1");
    let worker = worker.start().await.expect("starts");
    let registered = asked.registered.lock().expect("not poisoned").clone();
    let expected = CATALOGUE.iter().map(|metric: &Metric| {
        let own = metric.labels.iter().copied();
        let labels = ["group", "slot"]
            .into_iter()
            .chain(own)
            .map(str::to_owned)
            .collect();
        (
            (metric.name.to_owned(), metric.kind),
            BTreeSet::from([labels]),
        )
    });
    assert_eq!(registered, expected.collect::<BTreeMap<_, _>>());

    worker.wait_assigned().await.expect("is assigned");
    worker.stop(StopMode::Now).await.expect("clean");
    let later = asked.registered.lock().expect("not poisoned").clone();
    assert_eq!(
        registered, later,
        "everything is looked up when the manager is built"
    );

    let described = asked.described.lock().expect("not poisoned").clone();
    assert_eq!(described.len(), CATALOGUE.len(), "each name once");
    for metric in CATALOGUE {
        let unit = match metric.unit {
            MetricUnit::Seconds => Unit::Seconds,
            MetricUnit::Count | MetricUnit::Boolean | _ => Unit::Count,
        };
        let expected = (metric.kind, Some(unit), metric.meaning.to_owned());
        assert_eq!(
            described.get(metric.name),
            Some(&expected),
            "{}",
            metric.name
        );
    }
}

/// The words in backticks in the second cell of each row of the table of labels.
fn documented_values() -> Values {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/METRICS.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let (_, section) = page.split_once("\n## Labels\n").expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let words = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let label = cells.next()?.trim().trim_end_matches('`').to_owned();
        Some((label, words(cells.next()?)))
    });
    rows.collect()
}

/// A value that exists and is not documented is missing in every query that was written by the page;
/// one that is not known beforehand begins a series that no rate sees.
#[tokio::test(start_paused = true)]
async fn the_page_names_every_value_of_every_label_in_both_directions() {
    let asked = Asked::default();
    let _recorder = metrics::set_default_local_recorder(&asked);
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let (hooks, _events) = parti::events::hook_channel(8);
    let worker = manager(fast(1), &store, 2, &handler).hooks(hooks);
    let worker = worker.start().await.expect("starts");
    worker.stop(StopMode::Now).await.expect("clean");
    let mut registered = asked.values.lock().expect("not poisoned").clone();
    registered.remove("group");
    let mut documented = documented_values();
    // Two rows refer to pages with tests of their own.
    let states = State::ALL.map(|state| state.as_str().to_owned());
    let codes = HealthCode::ALL.iter().map(|code| code.as_str().to_owned());
    documented.insert("state".to_owned(), states.into());
    documented.insert("code".to_owned(), codes.collect());
    assert_eq!(registered, documented);
}

/// The exporter of this process; each test has a label of its own.
fn exporter() -> &'static Exporter {
    static EXPORTER: OnceLock<Exporter> = OnceLock::new();
    EXPORTER.get_or_init(|| Exporter::install().expect("the only one"))
}

/// Workers of one test.
struct Case {
    name: &'static str,
    store: LocalStore,
    handler: Recorder,
}

impl Case {
    fn new(name: &'static str) -> Self {
        exporter();
        let (store, handler) = (LocalStore::new(), Recorder::new(name));
        Self {
            name,
            store,
            handler,
        }
    }

    async fn start(&self, expected: u32, partitions: u32, name: &'static str) -> Manager {
        let builder = manager(
            fast(expected),
            &self.store,
            partitions,
            &self.handler.beside(name),
        );
        let builder = builder
            .metric_label("case", self.name)
            .metric_label("slot", name);
        builder.start().await.expect("starts")
    }

    fn total(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = [&[("case", self.name)], labels].concat();
        total(&exporter().render(), name, &labels)
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = [&[("case", self.name)], labels].concat();
        value(&exporter().render(), name, &labels)
    }
}

/// The two figures everybody asks for after a crash: how long, and how many.
#[tokio::test(start_paused = true)]
async fn a_crash_is_measured_from_the_silence_to_the_new_owners() {
    let case = Case::new("crash");
    let mut workers = Vec::new();
    for name in ["a", "b", "c"] {
        workers.push(case.start(3, 9, name).await);
    }
    until("everybody has three", LIMIT, || {
        workers.iter().all(|worker| worker.assignment().len() == 3)
    })
    .await;
    let done = [("cause", "cold_start"), ("outcome", "done")];
    assert_eq!(case.total("parti_calculator_rebalance_total", &done), 1.0);
    assert_eq!(
        case.total("parti_unowned_partition_seconds_count", &[]),
        0.0
    );
    assert_eq!(
        case.value("parti_calculator_active_workers", &[("slot", "a")]),
        Some(3.0)
    );
    assert_eq!(
        case.value("parti_calculator_partition_count", &[("slot", "a")]),
        Some(9.0)
    );

    let follower = workers.iter().position(|worker| !worker.is_leader());
    drop(workers.remove(follower.expect("one leads")));
    until("the others took over", LIMIT, || {
        workers
            .iter()
            .map(|worker| worker.assignment().len())
            .sum::<usize>()
            == 9
    })
    .await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(case.total("parti_silence_to_owner_seconds_count", &[]), 1.0);
    let silence = case.total("parti_silence_to_owner_seconds_sum", &[]);
    assert!(
        (1.0..1.5).contains(&silence),
        "{silence} s for a lease of 1 s"
    );
    let lost = [("end", "lost")];
    assert_eq!(
        case.total("parti_unowned_partition_seconds_count", &lost),
        3.0
    );
    let unowned = case.total("parti_unowned_partition_seconds_sum", &lost);
    assert!(
        (unowned - 3.0 * silence).abs() < 1e-6,
        "{unowned} partition-seconds"
    );
    assert_eq!(case.total("parti_evictions_total", &[]), 1.0);
    let emergency = [("cause", "emergency")];
    assert_eq!(case.total("parti_moves_total", &emergency), 3.0);
    assert_eq!(case.total("parti_moves_lower_bound_total", &emergency), 3.0);
    let duration = case.total(
        "parti_calculator_rebalance_duration_seconds_count",
        &emergency,
    );
    assert_eq!(duration, 1.0);
    assert_eq!(
        case.total("parti_leader", &[]),
        1.0,
        "the dropped one counts no more"
    );
    assert_eq!(case.total("parti_state", &[("state", "stable")]), 2.0);
}

/// A slow handoff must show which part of it is slow: the work, the way, or the leader.
#[tokio::test(start_paused = true)]
async fn a_handoff_is_measured_by_phase_and_never_overlaps() {
    let case = Case::new("handoff");
    let first = case.start(1, 8, "a").await;
    until("it has all", LIMIT, || first.assignment().len() == 8).await;
    let second = case.start(2, 8, "b").await;
    until("both have half", LIMIT, || second.assignment().len() == 4).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let count = |phase| case.total("parti_handoff_seconds_count", &[("phase", phase)]);
    assert_eq!((count("drain"), count("grant")), (4.0, 4.0));
    assert!(count("acknowledge") >= 1.0);
    let released = [("end", "released")];
    assert_eq!(
        case.total("parti_unowned_partition_seconds_count", &released),
        4.0
    );
    let grant = case.total("parti_handoff_seconds_sum", &[("phase", "grant")]);
    assert!(grant < 4.0 * 0.25, "{grant} s for four");
    assert_eq!(case.total("parti_overlap_seconds_count", &[]), 0.0);
    assert_eq!(case.total("parti_unfinished_partitions", &[]), 0.0);
    let highest = case.value("parti_highest_token", &[("slot", "b")]);
    let version = case.value("parti_version", &[("slot", "b")]);
    assert!(
        highest > Some(0.0) && highest <= version,
        "{highest:?} of {version:?}"
    );
    assert_eq!(
        case.value("parti_lease_seconds", &[("slot", "b")]),
        Some(first.config().lease().as_secs_f64())
    );
    let margins = case.total("parti_lease_margin_seconds_count", &[]);
    let margin = case.total("parti_lease_margin_seconds_sum", &[]) / margins;
    assert!(
        margins > 6.0 && (0.5..1.0).contains(&margin),
        "{margins} of {margin} s"
    );
    let ran = case.total(
        "parti_callback_duration_seconds_count",
        &[("callback", "on_assigned")],
    );
    assert_eq!(ran, 12.0);
    for worker in [&first, &second] {
        worker.stop(StopMode::Now).await.expect("clean");
    }
    assert_eq!(case.total("parti_assigned_partitions", &[]), 0.0);
    assert_eq!(case.total("parti_callbacks_running", &[]), 0.0);
}

/// In overlap mode two owners are the price; a price nobody measures is always too high.
#[tokio::test(start_paused = true)]
async fn the_overlap_of_overlap_mode_is_measured() {
    let case = Case::new("overlap");
    let mut workers = Vec::new();
    for (expected, name) in [(1, "a"), (2, "b")] {
        let handler = case.handler.beside(name);
        let builder = manager(fast(expected).mode(Mode::Overlap), &case.store, 4, &handler);
        let builder = builder.metric_label("case", case.name);
        workers.push(builder.start().await.expect("starts"));
        until("it has its share", LIMIT, || {
            !workers.last().expect("one").assignment().is_empty()
        })
        .await;
    }
    until("the handoff is over", LIMIT, || {
        workers[0].assignment().len() == 2
    })
    .await;
    assert_eq!(case.total("parti_overlap_seconds_count", &[]), 2.0);
    // Until a worker knows what the group obeys, it obeys the stricter rule, and has a lease.
    let margins = || case.total("parti_lease_margin_seconds_count", &[]);
    let before = margins();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(margins(), before, "there is no lease while overlap holds");
}

/// An outage must be visible as what it is, in its cause and in its cost.
#[tokio::test(start_paused = true)]
async fn an_outage_is_measured_as_errors_and_as_a_degraded_episode() {
    let case = Case::new("outage");
    let store = FaultyStore::new();
    let builder = manager(fast(1), &case.store, 2, &case.handler).metric_label("case", case.name);
    let worker = builder.store(store.clone()).start().await.expect("starts");
    worker.wait_assigned().await.expect("is assigned");
    let commits = [("operation", "commit")];
    assert!(case.total("parti_kv_operation_duration_seconds_count", &commits) > 0.0);
    assert_eq!(case.total("parti_kv_operation_errors_total", &[]), 0.0);
    store.set_down(true);
    until("the lease is lost", LIMIT, || {
        worker.assignment().is_empty()
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        case.total("parti_degraded", &[("reason", "lease_lost")]),
        1.0
    );
    // Conditions become numbers once a second.
    until("the condition is told", LIMIT, || {
        case.total("parti_health_condition", &[("code", "lease_lost")]) == 1.0
    })
    .await;
    let failed = [("circuit", "store"), ("outcome", "failed")];
    assert!(case.total("parti_circuit_breaker_calls_total", &failed) > 0.0);
    let to_open = [("circuit", "store"), ("to", "open")];
    assert!(case.total("parti_circuit_breaker_state_changes_total", &to_open) >= 1.0);
    assert!(case.total("parti_circuit_breaker_state", &[("circuit", "store")]) >= 1.0);
    assert!(case.total("parti_retry_attempts_total", &[("purpose", "session")]) > 0.0);
    let conditions = worker.health();
    assert!(conditions.has(HealthCode::CircuitOpen), "{conditions}");
    store.set_down(false);
    until("it has recovered", LIMIT, || {
        worker.state() == State::Stable
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let unavailable = [("operation", "commit"), ("kind", "unavailable")];
    assert!(case.total("parti_kv_operation_errors_total", &unavailable) > 0.0);
    assert_eq!(case.total("parti_leases_lost_total", &[]), 1.0);
    assert_eq!(case.total("parti_circuit_breaker_state", &[]), 0.0);
    assert_eq!(case.total("parti_degraded", &[]), 0.0);
    assert_eq!(case.total("parti_degraded_seconds_count", &[]), 1.0);
    let lasted = case.total("parti_degraded_seconds_sum", &[("reason", "lease_lost")]);
    assert!((1.0..10.0).contains(&lasted), "{lasted} s");
    until("every condition has cleared itself", LIMIT, || {
        case.total("parti_health_condition", &[]) == 0.0
    })
    .await;
    worker.stop(StopMode::Now).await.expect("clean");
}

/// What goes wrong in user code is counted where the operator looks.
#[tokio::test(start_paused = true)]
async fn panics_time_outs_and_slow_readers_are_counted() {
    let case = Case::new("trouble");
    let handler = case
        .handler
        .clone()
        .behaving(Behaviour::PanicOnAssigned("0"));
    let builder = manager(fast(1), &case.store, 2, &handler).metric_label("case", case.name);
    let worker = builder.start().await.expect("starts");
    let mut notices = worker.subscribe();
    let mut slow = worker.subscribe();
    let panicked =
        |notice: &ManagerNotice| matches!(notice, ManagerNotice::CallbackPanicked { .. });
    heard(&mut notices, panicked).await;
    let panics = [("callback", "on_assigned")];
    assert_eq!(case.total("parti_callback_panics_total", &panics), 1.0);
    for _ in 0..600 {
        worker.trigger_rebalance().await.expect("is done");
    }
    while slow.lost() == 0 {
        slow.next().await.expect("the manager goes on");
    }
    let dropped = [("reader", "subscription")];
    assert_eq!(
        case.total("parti_notices_dropped_total", &dropped),
        slow.lost() as f64
    );
    worker.stop(StopMode::Now).await.expect("clean");

    let hanging = case.handler.clone().behaving(Behaviour::HangOnRevoked);
    let builder = manager(fast(1), &LocalStore::new(), 2, &hanging);
    let worker = builder
        .metric_label("case", "hanging")
        .start()
        .await
        .expect("starts");
    worker.wait_assigned().await.expect("is assigned");
    worker.stop(StopMode::Now).await.expect_err("not drained");
    let text = exporter().render();
    assert_eq!(
        total(&text, "parti_drain_timeouts_total", &[("case", "hanging")]),
        2.0
    );
}
