//! What operators and networks do to a group on a real server: in each case the health names what is wrong,
//! and a living worker keeps what it has.

#![cfg(feature = "nats")]

mod directory;
mod pieces;
#[path = "../support/recorder.rs"]
mod recorder;
mod twins;
mod vanishing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use parti::events::{ManagerNotice, Notice};
use parti::health::HealthCode;
use parti::nats::async_nats::{self, ConnectOptions};
use parti::nats::{NatsOptions, NatsStore};
use parti::sources::{StaticSource, source_fn};
use parti::{Config, GroupName, Manager, Partition, PartitionKey};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use recorder::{Recorder, fast, until};

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(120);

fn server(lines: &str) -> NatsServer {
    let options = ServerOptions::default().config(lines);
    NatsServer::start(options).unwrap_or_else(|error| panic!("{error}"))
}

/// The tokens of all that is validly held.
fn held(handler: &Recorder) -> BTreeMap<PartitionKey, u64> {
    let seen = handler.seen();
    let valid = seen.open.iter().filter(|(_, guard)| guard.is_valid());
    valid
        .map(|((partition, _), guard)| (partition.clone(), guard.token().get()))
        .collect()
}

/// Tokens are not asked for: who loses its lease on a busy machine goes on with the one it had.
fn never_twice(handler: &Recorder) {
    assert_eq!(handler.seen().overlaps, 0);
}

/// What the condition says, if it holds.
fn detail(worker: &Manager, code: HealthCode) -> Option<String> {
    let health = worker.health();
    let found = health.conditions.iter().find(|found| found.code == code);
    found.map(|found| found.detail.clone())
}

/// Quick timings with a lease that also a busy machine keeps, and looks often enough to be waited for.
fn config(expected: u32) -> Config {
    let config = fast(expected).lease(Duration::from_secs(3));
    let config = config.reconcile_interval(Duration::from_secs(1));
    config.build().expect("coherent")
}

/// A quota that is too small for the next generation: its reason stood in no log and no health, and
/// the step that was refused for certain was called one of unknown outcome.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_too_small_is_named_in_the_servers_words_and_owners_keep_theirs() {
    let server = server(
        "accounts { A { jetstream { max_file: 65536 }, users: [ { user: u, password: p } ] } }",
    );
    let url = format!("nats://u:p@{}", server.address());
    let (count, handler) = (Arc::new(AtomicUsize::new(12)), Recorder::new("all"));
    let mut workers = Vec::new();
    let mut notices = Vec::new();
    for _ in 0..3 {
        let count = Arc::clone(&count);
        let source = source_fn(move || {
            let count = count.load(Ordering::Relaxed);
            async move {
                let list = (0..count).map(|number| Partition::new([format!("{number:0>100}")]));
                Ok(list.collect::<Result<Vec<_>, _>>()?)
            }
        });
        let builder = Manager::builder(config(3), source, handler.clone()).nats(&url);
        notices.push(builder.subscribe());
        workers.push(builder.start().await.expect("starts"));
    }
    until("all are owned", PATIENCE, || held(&handler).len() == 12).await;
    let before = held(&handler);
    // A hundred times as many: the account has no room for their records.
    count.store(1_200, Ordering::Relaxed);
    let refresh = workers[0].refresh();
    let named = async {
        until("somebody names the reason", PATIENCE, || {
            let failing = workers
                .iter()
                .filter_map(|worker| detail(worker, HealthCode::CommitFailing));
            failing
                .into_iter()
                .any(|said| said.contains("resource limits exceeded"))
        })
        .await;
    };
    tokio::select! {
        done = refresh => panic!("there is no room: {done:?}"),
        () = named => {}
    }
    assert_eq!(held(&handler), before, "living owners keep theirs");
    for notices in &mut notices {
        let ready = tokio::time::timeout(Duration::from_millis(10), notices.next());
        if let Ok(Some(notice)) = ready.await
            && let ManagerNotice::Core(Notice::StepFailed { reason, .. }) = &*notice
        {
            assert!(!reason.contains("left its outcome open"), "{reason}");
        }
    }
    // What fits again is done, and the health is well.
    count.store(15, Ordering::Relaxed);
    workers[1].refresh().await.expect("is done");
    until("the group goes on", PATIENCE, || held(&handler).len() == 15).await;
    until("the condition ends", PATIENCE, || {
        let failing = |worker: &Manager| detail(worker, HealthCode::CommitFailing).is_some();
        !workers.iter().any(failing)
    })
    .await;
    never_twice(&handler);
}

/// A program gives its own client, with little room for messages, and others write to the bucket:
/// lists came short, and what was missing in them was taken for deleted, so that histories were lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_little_room_costs_nobody_a_partition() {
    const WORKERS: u32 = 6;
    const LISTS: u64 = 60;
    let server = server("");
    let group = GroupName::new("test").expect("valid");
    let plain = async_nats::connect(server.url()).await.expect("connects");
    let fill = NatsStore::connect(&server.url(), &group, NatsOptions::default()).await;
    let fill = fill.expect("opens");
    for number in 0..900 {
        let subject = format!("$KV.{}.x.{number}", fill.bucket());
        plain.request(subject, "x".into()).await.expect("is stored");
    }
    let lists = Arc::new(AtomicU64::new(0));
    let heard = Arc::clone(&lists);
    let asked = plain
        .subscribe(format!("$JS.API.DIRECT.GET.KV_{}", fill.bucket()))
        .await;
    let mut asked = asked.expect("listens");
    plain.flush().await.expect("is sent");
    tokio::spawn(async move {
        while asked.next().await.is_some() {
            heard.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (handler, mut workers, mut notices) = (Recorder::new("all"), Vec::new(), Vec::new());
    for number in 0..WORKERS {
        let source = StaticSource::numbered("p", 60).expect("valid");
        let builder = Manager::builder(config(WORKERS), source, handler.clone());
        let small = ConnectOptions::new().subscription_capacity(32);
        let builder = if number % 2 == 0 {
            // A client of the store's own: it makes the room it needs.
            builder.nats_with(&server.url(), small, NatsOptions::default())
        } else {
            let client = small.subscription_capacity(256).connect(server.url()).await;
            let client = client.expect("connects");
            let store = NatsStore::with_client(client, &group, NatsOptions::default()).await;
            builder.store(store.expect("opens"))
        };
        notices.push(builder.subscribe());
        workers.push(builder.start().await.expect("starts"));
    }
    until("all are owned", PATIENCE, || held(&handler).len() == 60).await;
    let before = held(&handler);
    let begin = lists.load(Ordering::Relaxed);
    until("everybody has compared often", PATIENCE, || {
        lists.load(Ordering::Relaxed) >= begin + LISTS
    })
    .await;
    workers[0].trigger_rebalance().await.expect("is done");
    assert_eq!(held(&handler), before, "nothing moved");
    for (worker, notices) in workers.iter().zip(&mut notices) {
        assert_eq!(detail(worker, HealthCode::HistoryLost), None);
        let lost = |notice: &Notice| {
            matches!(
                notice,
                Notice::HistoryLost { .. } | Notice::IdentityLost { .. }
            )
        };
        let ready = Duration::from_millis(10);
        while let Ok(Some(notice)) = tokio::time::timeout(ready, notices.next()).await {
            if let ManagerNotice::Core(notice) = &*notice {
                assert!(!lost(notice), "{notice:?}");
            }
        }
    }
    never_twice(&handler);
}
