//! What is measured of each notice, and what measuring costs, with a recorder that keeps it.

use std::collections::BTreeSet;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use parti_core::{
    Boot, CircuitState, Config, Core, Epoch, FailedStep, StoreReply, StrategyId, Term, Version,
    WorkerId,
};

use super::*;

const RENEWALS: u64 = 2_000;

/// A meter, and where a worker stands that has just renewed.
fn meter() -> (Meter, Status, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let instruments = Instruments::new("g", &[]);
    let config = Config::builder("g").build().expect("coherent");
    let meter = ::metrics::with_local_recorder(&recorder, || Meter::new(&instruments, &config));
    let boot = Boot {
        now: Instant::ORIGIN,
        wall_ms: 0,
        seed: 1,
        strategy: StrategyId::new("s"),
        software: String::new(),
        endpoint: None,
        prepares: false,
    };
    let mut status = Core::new(config, boot).status();
    status.deadline = Some(Instant::from_millis(6_000));
    (meter, status, recorder.handle())
}

/// What the driver measures of one renewal.
fn renew(meter: &mut Meter, before: &Status, after: &Status) {
    let revisions = Vec::new();
    let result = Ok(StoreReply::Committed { revisions });
    meter
        .store
        .asked(Operation::Commit, Duration::from_millis(1), &result);
    meter.store.judge(&result);
    meter.on_status(Instant::from_millis(2_000), before, after);
}

/// The renewal is the hot path: of a thousand workers one is measured every two milliseconds.
#[test]
fn measuring_a_renewal_allocates_next_to_nothing() {
    let (mut meter, before, _) = meter();
    let mut after = before.clone();
    after.deadline = Some(Instant::from_millis(8_000));
    renew(&mut meter, &before, &after);
    let cost = allocation_counter::measure(|| {
        for _ in 0..RENEWALS {
            renew(&mut meter, &before, &after);
        }
    });
    // Samples of histograms are kept in blocks of a few dozen.
    let most = RENEWALS / 16;
    assert!(cost.count_total < most, "{} allocations", cost.count_total);
}

/// The series and their values.
fn series(text: &PrometheusHandle) -> BTreeSet<String> {
    let text = text.render();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// What is different after a deed, each as `name{labels} value`.
fn changed(text: &PrometheusHandle, deed: impl FnOnce()) -> Vec<String> {
    let before = series(text);
    deed();
    series(text).difference(&before).cloned().collect()
}

/// Notices and the series that each is a step of.
fn plain() -> Vec<(Notice, String)> {
    let worker = || WorkerId::new("worker-1").expect("valid");
    let (epoch, term) = (Epoch::default(), Term::new(1));
    let (key, reason) = ("key".to_owned(), "words".to_owned());
    let lost = reason.clone();
    let leader = None;
    let cases = [
        (
            Notice::IdentityLost {
                worker: worker(),
                epoch,
            },
            "identities_lost",
        ),
        (Notice::LeaseLost { worker: worker() }, "leases_lost"),
        (Notice::LeaderChanged { leader, term }, "leader_changes"),
        (
            Notice::EvictionCancelled { worker: worker() },
            "evictions_cancelled",
        ),
        (
            Notice::SuspicionCancelled { worker: worker() },
            "suspicions_cancelled",
        ),
        (Notice::RecordIgnored { key, reason }, "ignored_records"),
        (Notice::WatchRenewed { reason: lost }, "watcher_failures"),
    ];
    let series = |name| format!("parti_{name}_total{{group=\"g\"}} 1");
    cases.map(|(notice, name)| (notice, series(name))).into()
}

/// The same for those that differ by a label.
fn labelled() -> Vec<(Notice, String)> {
    let series = |name: &str, label: &str, value: &str| {
        format!("parti_{name}_total{{group=\"g\",{label}=\"{value}\"}} 1")
    };
    let steps = FailedStep::ALL.map(|step| {
        let (failures, reason) = (1, "words".to_owned());
        let notice = Notice::StepFailed {
            step,
            failures,
            reason,
        };
        let series = series("leader_step_failures", "step", step.as_str());
        (notice, series)
    });
    let owners = [
        OpOwner::Claim,
        OpOwner::Session,
        OpOwner::Candidate,
        OpOwner::Reconcile,
        OpOwner::Request,
        OpOwner::Leader,
    ];
    let tried = owners.into_iter().flat_map(|owner| {
        let (tries, pause, purpose) = (1, Duration::ZERO, owner.as_str());
        let again = Notice::Retry {
            owner,
            tries,
            pause,
        };
        let exhausted = Notice::RetriesExhausted { owner, tries };
        [
            (again, series("retry_attempts", "purpose", purpose)),
            (exhausted, series("retry_exhausted", "purpose", purpose)),
        ]
    });
    steps.into_iter().chain(tried).collect()
}

/// What seldom happens is measured for the first time in an incident; it must be right then.
#[test]
fn each_notice_is_one_step_of_its_own_series_and_of_no_other() {
    let (mut meter, _, text) = meter();
    for (notice, expected) in plain().into_iter().chain(labelled()) {
        let told = changed(&text, || meter.on_notice(Instant::ORIGIN, &notice));
        assert_eq!(told, [expected], "{notice:?}");
    }
}

/// A panel that shows a circuit closed while it is open sends people to the wrong place.
#[test]
fn a_circuit_is_shown_where_it_stands_and_how_often_it_came_there() {
    let (mut meter, _, text) = meter();
    let from = CircuitState::Closed;
    for (circuit, word) in [(Circuit::Store, "store"), (Circuit::Watch, "watch")] {
        for (to, name, value) in [
            (CircuitState::Open, "open", 2),
            (CircuitState::HalfOpen, "half_open", 1),
            (CircuitState::Closed, "closed", 0),
        ] {
            let notice = Notice::CircuitChanged { circuit, from, to };
            let told = changed(&text, || meter.on_notice(Instant::ORIGIN, &notice));
            let labels = format!("group=\"g\",circuit=\"{word}\"");
            let expected = [
                format!("parti_circuit_breaker_state_changes_total{{{labels},to=\"{name}\"}} 1"),
                format!("parti_circuit_breaker_state{{{labels}}} {value}"),
            ];
            assert_eq!(told, expected);
        }
    }
}

/// Term and versions are how one tells which of two workers is behind.
#[test]
fn what_a_status_says_is_shown_as_it_is() {
    let (mut meter, before, text) = meter();
    let mut after = before.clone();
    after.term = Term::new(7);
    after.version = Version::new(41);
    after.applied = Version::new(40);
    after.is_leader = true;
    after.assigned = 5;
    after.group.workers = 3;
    after.group.partitions = 12;
    after.group.unfinished = 2;
    let told = changed(&text, || meter.on_status(Instant::ORIGIN, &before, &after));
    let expected = [
        "parti_applied_version{group=\"g\"} 40",
        "parti_assigned_partitions{group=\"g\"} 5",
        "parti_calculator_active_workers{group=\"g\"} 3",
        "parti_calculator_partition_count{group=\"g\"} 12",
        "parti_leader{group=\"g\"} 1",
        "parti_state{group=\"g\",state=\"init\"} 1",
        "parti_term{group=\"g\"} 7",
        "parti_unfinished_partitions{group=\"g\"} 2",
        "parti_version{group=\"g\"} 41",
    ];
    assert_eq!(told, expected);
}
