//! The example `observed` as a test: a group under faults, scraped and probed over HTTP.

#[path = "../examples/observed/endpoint.rs"]
mod endpoint;
#[path = "../examples/observed/faulty.rs"]
mod faulty;
#[path = "support/scrape.rs"]
mod scrape;
#[path = "../examples/observed/show.rs"]
mod show;

use std::net::SocketAddr;
use std::time::Duration;

use scrape::{get, total, value};
use show::{Options, Show};

/// How long anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again until the answer is as it must become.
async fn becomes(
    what: &str,
    (address, path): (SocketAddr, &str),
    holds: impl Fn(u16, &str) -> bool,
) -> String {
    let mut last = (0, String::new());
    let waiting = async {
        loop {
            last = get(address, path).await;
            if holds(last.0, &last.1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "not within {PATIENCE:?}: {what}: {last:?}");
    last.1
}

/// The numbers, once they show what they must come to show.
async fn metrics(what: &str, address: SocketAddr, holds: impl Fn(&str) -> bool) -> String {
    let scraped = |status: u16, text: &str| status == 200 && holds(text);
    becomes(what, (address, "/metrics"), scraped).await
}

/// Numbers that are right in a unit test and missing in the scrape help nobody at three at night.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_under_faults_is_measured_and_probed_over_http() {
    let options = Options {
        listen: "127.0.0.1:0".parse().expect("an address"),
        workers: 3,
        partitions: 12,
        loud: false,
    };
    let show = Show::open(options).await.expect("opens");
    let address = show.address();
    show.settled().await.expect("settles");
    let well = |status: u16, text: &str| status == 200 && text.contains(r#""conditions":[]"#);
    becomes("it is live", (address, "/healthz"), well).await;
    becomes("it is ready", (address, "/readyz"), well).await;
    assert_eq!(get(address, "/nothing").await.0, 404);
    // A machine that is busy may cost a lease, and then there is more than one of anything.
    let cold = [("cause", "cold_start"), ("outcome", "done")];
    metrics("all are assigned under one leader", address, |text| {
        total(text, "parti_assigned_partitions", &[]) == 12.0
            && total(text, "parti_leader", &[]) == 1.0
            && total(text, "parti_calculator_rebalance_total", &cold) >= 1.0
    })
    .await;

    show.crash(2);
    show.settled().await.expect("the others take over");
    let lost = [("end", "lost")];
    let text = metrics("the loss is counted", address, |text| {
        total(text, "parti_evictions_total", &[]) >= 1.0
            && total(text, "parti_unowned_partition_seconds_count", &lost) >= 4.0
            && total(text, "parti_silence_to_owner_seconds_count", &[]) >= 1.0
    })
    .await;
    // Nobody replaces the dead one before its lease is over. Who lost a lease to a busy machine and came
    // back at once is counted beside it.
    let silence = total(&text, "parti_silence_to_owner_seconds_sum", &[]);
    assert!(silence >= 1.0, "{silence} s for a lease of 1 s");

    outage(&show).await;
    show.set_outage(false);
    show.settled().await.expect("recovers");
    show.start(2).await.expect("is replaced");
    show.settled().await.expect("settles");
    show.until("nobody is degraded", |workers| {
        workers
            .iter()
            .all(|worker| worker.health().conditions.is_empty())
    })
    .await
    .expect("every condition clears itself");
    becomes("it is ready again", (address, "/readyz"), well).await;
    let slot = [("slot", "0"), ("reason", "lease_lost")];
    metrics("the episode is measured", address, |text| {
        let degraded = value(text, "parti_degraded_seconds_sum", &slot);
        degraded.is_some_and(|seconds| seconds > 0.0)
    })
    .await;
    tokio::time::timeout(PATIENCE, show.close())
        .await
        .expect("in time")
        .expect("clean");
}

/// What an outage for longer than a lease shows while it lasts.
async fn outage(show: &Show) {
    let address = show.address();
    show.set_outage(true);
    let paused = show.until("nobody owns anything", |workers| {
        workers.iter().all(|worker| worker.assignment().is_empty())
    });
    paused.await.expect("leases end");
    let codes = ["lease_lost", "store_unreachable", "degraded"];
    becomes("it is not ready", (address, "/readyz"), |status, text| {
        status == 503 && codes.iter().all(|code| text.contains(code))
    })
    .await;
    assert_eq!(
        get(address, "/healthz").await.0,
        200,
        "a restart would not help"
    );
    let unavailable = [("operation", "commit"), ("kind", "unavailable")];
    metrics("the outage is counted", address, |text| {
        total(text, "parti_leases_lost_total", &[]) >= 2.0
            && total(text, "parti_kv_operation_errors_total", &unavailable) > 0.0
    })
    .await;
}
