//! Settings and lists that differ between the workers of a group: who may not join is told why, all else is
//! a condition, and a worker that was there keeps what it has.

#[path = "support/recorder.rs"]
mod recorder;

use std::collections::BTreeMap;
use std::time::Duration;

use parti::clock::Clock;
use parti::health::HealthCode;
use parti::sources::StaticSource;
use parti::store::LocalStore;
use parti::{Manager, Mode, PartitionKey, StopMode};
use recorder::{Recorder, fast, until};

const LIMIT: Duration = Duration::from_secs(60);

/// The tokens of what a worker validly holds.
fn held(worker: &Manager) -> BTreeMap<PartitionKey, u64> {
    let guards = worker.assignment().into_iter();
    let valid = guards.filter(|guard| guard.is_valid());
    valid
        .map(|guard| (guard.partition().clone(), guard.token().get()))
        .collect()
}

/// Half a rolling update: an overlap worker in an exclusive group gave partitions two valid guards.
#[tokio::test(start_paused = true)]
async fn a_worker_of_another_mode_is_refused_with_both_and_costs_the_others_nothing() {
    let (store, handler) = (LocalStore::new(), Recorder::new("first"));
    for (there, here) in [
        (Mode::Exclusive, Mode::Overlap),
        (Mode::Overlap, Mode::Exclusive),
    ] {
        let begin = |mode, handler: &Recorder| {
            let config = fast(1).mode(mode);
            recorder::manager(config, &store, 10, handler)
        };
        let first = begin(there, &handler).start().await.expect("starts");
        until("all are owned", LIMIT, || held(&first).len() == 10).await;
        let before = held(&first);
        let refused = begin(here, &handler.beside("second")).start().await;
        let error = refused.map(drop).expect_err("another mode").to_string();
        for word in ["exclusive", "overlap", "rolling_from"] {
            assert!(error.contains(word), "{error}");
        }
        tokio::time::sleep(first.config().lease() * 5).await;
        assert_eq!(held(&first), before, "nothing moved");
        assert!(first.health().conditions.is_empty(), "{}", first.health());
        first.stop(StopMode::Handoff).await.expect("stops");
    }
    assert_eq!(handler.seen().overlaps, 0);
}

/// Two applications with one group name got each other's partitions, and nobody said so.
#[tokio::test(start_paused = true)]
async fn another_list_under_the_same_name_is_a_condition_of_both_workers() {
    let (store, handler) = (LocalStore::new(), Recorder::new("orders"));
    let begin = async |list: &str, application: &str, handler: &Recorder| {
        let config = fast(1).application(application).build().expect("coherent");
        let source = StaticSource::numbered(list, 8).expect("valid");
        let builder = Manager::builder(config, source, handler.clone())
            .store(store.clone())
            .clock(Clock::tokio());
        builder.start().await
    };
    let orders = begin("orders", "shop", &handler).await.expect("starts");
    until("all are owned", LIMIT, || held(&orders).len() == 8).await;
    let before = held(&orders);
    // Of another application it is no mistake in a list: it does not belong here.
    let refused = begin("invoices", "books", &handler.beside("invoices")).await;
    let error = refused.map(drop).expect_err("another application");
    let error = error.to_string();
    assert!(error.contains("shop") && error.contains("books"), "{error}");
    assert_eq!(held(&orders), before);
    // Nobody said which application it is of: the lists differ, and both say so.
    let invoices = begin("invoices", "shop", &handler.beside("invoices")).await;
    let invoices = invoices.expect("starts");
    for worker in [&orders, &invoices] {
        until("it is a condition", LIMIT, || {
            worker.health().has(HealthCode::OtherList)
        })
        .await;
    }
    let kept = held(&orders);
    assert!(
        kept.iter()
            .all(|(key, token)| before.get(key) == Some(token)),
        "what it still has it has had all the time"
    );
    invoices.stop(StopMode::Handoff).await.expect("stops");
    until("the condition ends", LIMIT, || {
        !orders.health().has(HealthCode::OtherList)
    })
    .await;
    until("all are owned again", LIMIT, || held(&orders).len() == 8).await;
    assert_eq!(handler.seen().overlaps, 0);
}
