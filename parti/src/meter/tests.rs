//! What measuring costs, with a recorder that keeps what it is told.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use parti_core::{Boot, Config, Core, StoreReply, StrategyId};

use super::*;

const RENEWALS: u64 = 2_000;

/// A meter, and where a worker stands that has just renewed.
fn meter() -> (Meter, Status) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let instruments = Instruments::new("g", &[]);
    let meter =
        ::metrics::with_local_recorder(&recorder, || Meter::new(&instruments, Mode::Exclusive));
    let config = Config::builder("g").build().expect("coherent");
    let boot = Boot {
        now: Instant::ORIGIN,
        wall_ms: 0,
        seed: 1,
        strategy: StrategyId::new("s"),
        software: String::new(),
    };
    let status = Status {
        deadline: Some(Instant::from_millis(6_000)),
        ..Core::new(config, boot).status()
    };
    (meter, status)
}

/// What the driver measures of one renewal.
fn renew(meter: &Meter, before: &Status, after: &Status) {
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
    let (meter, before) = meter();
    let after = Status {
        deadline: Some(Instant::from_millis(8_000)),
        ..before.clone()
    };
    renew(&meter, &before, &after);
    let cost = allocation_counter::measure(|| {
        for _ in 0..RENEWALS {
            renew(&meter, &before, &after);
        }
    });
    // Samples of histograms are kept in blocks of a few dozen.
    let most = RENEWALS / 16;
    assert!(cost.count_total < most, "{} allocations", cost.count_total);
}
