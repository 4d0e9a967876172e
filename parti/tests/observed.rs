//! The example `observed` as a test: a group under faults, scraped and probed over HTTP.

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

async fn metrics(address: SocketAddr) -> String {
    let (status, body) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    body
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
    assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(address, "/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(address, "/nothing").await.0, 404);
    let text = metrics(address).await;
    assert_eq!(total(&text, "parti_assigned_partitions", &[]), 12.0);
    assert_eq!(total(&text, "parti_leader", &[]), 1.0);
    let cold = [("cause", "cold_start"), ("outcome", "done")];
    assert_eq!(total(&text, "parti_calculator_rebalance_total", &cold), 1.0);

    show.crash(2);
    show.settled().await.expect("the others take over");
    let text = metrics(address).await;
    let lost = [("end", "lost")];
    assert_eq!(total(&text, "parti_evictions_total", &[]), 1.0);
    assert_eq!(
        total(&text, "parti_unowned_partition_seconds_count", &lost),
        4.0
    );
    let silence = total(&text, "parti_silence_to_owner_seconds_sum", &[]);
    assert!(
        (1.0..5.0).contains(&silence),
        "{silence} s for a lease of 1 s"
    );

    show.set_outage(true);
    let paused = show.until("nobody owns anything", |workers| {
        workers.iter().all(|worker| worker.assignment().is_empty())
    });
    paused.await.expect("leases end");
    let (status, conditions) = get(address, "/readyz").await;
    assert_eq!(status, 503, "{conditions}");
    for code in ["lease_lost", "store_unreachable", "degraded"] {
        assert!(conditions.contains(code), "{code} in {conditions}");
    }
    assert_eq!(
        get(address, "/healthz").await.0,
        200,
        "a restart would not help"
    );
    let text = metrics(address).await;
    assert!(total(&text, "parti_leases_lost_total", &[]) >= 2.0);
    let unavailable = [("operation", "commit"), ("kind", "unavailable")];
    assert!(total(&text, "parti_kv_operation_errors_total", &unavailable) > 0.0);

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
    assert_eq!(get(address, "/readyz").await, (200, "ok\n".to_owned()));
    let text = metrics(address).await;
    let slot = [("slot", "0"), ("reason", "lease_lost")];
    let degraded = value(&text, "parti_degraded_seconds_sum", &slot);
    assert!(
        degraded.is_some_and(|seconds| seconds > 0.0),
        "{degraded:?}"
    );
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, show.close())
        .await
        .expect("in time")
        .expect("clean");
}
