//! The conformance suite, and random mixes while the server dies, freezes and is cut off: whatever
//! the store says must be something a correct store can have said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parti_core::{GroupName, Store};
use parti_nats::NatsStore;
use parti_testing::kit::conformance;
use parti_testing::kit::history::{Batches, Promise, Reads, Tally, check};
use parti_testing::kit::workload::{WorkloadOptions, run};
use parti_testing::rig::nats_server::ServerOptions;
use parti_testing::rig::nemesis::{Arena, schedule};

use crate::support::{World, group, options};

/// The fake and the real store are held to the same table, so that neither drifts.
#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_the_contract() {
    let world = World::new().await;
    let count = AtomicU32::new(0);
    let report = conformance::run(async || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let group = GroupName::new(&format!("case-{number}")).expect("a valid name");
        let store = NatsStore::connect(&world.server.url(), &group, options()).await;
        store.expect("the store opens")
    })
    .await;
    assert!(report.is_ok(), "{report}");
}

/// Every fault at once is what production looks like; a gap or a lost write shows only there.
#[tokio::test(flavor = "multi_thread")]
async fn what_clients_see_under_chaos_is_what_a_correct_store_can_say() {
    let (seed, clients, duration) = (1, 4, Duration::from_secs(8));
    let arena = Arena::start(
        1,
        &ServerOptions::default(),
        clients,
        seed,
        "KV_parti_orders",
    );
    let mut arena = arena.unwrap_or_else(|error| panic!("{error}"));
    let hasty = options().request_timeout(Duration::from_millis(500));
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for client in 0..clients {
        let url = arena.url(client).expect("a proxy");
        let store = NatsStore::connect(&url, &group(), hasty.clone()).await;
        stores.push(Arc::new(store.expect("the store opens")));
    }
    let steps = schedule(seed, duration, clients, 1);
    let running = tokio::task::spawn_blocking(move || {
        let ended = arena.run_faults(&steps, &mut |step| println!("{step}"));
        ended.map(|()| arena)
    });
    let options = WorkloadOptions {
        seed,
        duration,
        ..WorkloadOptions::default()
    };
    let (tell_end, faults_ended) = tokio::sync::oneshot::channel();
    let faults = async { tell_end.send(running.await).expect("the test waits") };
    let history = run(stores, options, faults).await;
    let arena = faults_ended.await.expect("it ended").expect("no panic");
    let _arena = arena.unwrap_or_else(|error| panic!("{error}"));
    let history = history.unwrap_or_else(|error| panic!("{error}"));
    let promise = Promise {
        reads: Reads::MayBeStale,
        batches: Batches::Consecutive,
    };
    assert_eq!(check(&history, promise), []);
    let tally = Tally::from(&history);
    println!("{tally}");
    assert!(tally.unknown > 0 && tally.not_sent > 0, "no fault: {tally}");
}
