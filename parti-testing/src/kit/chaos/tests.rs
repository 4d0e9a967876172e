//! Each verb does to its worker what it says, to no other, and healing ends it.

use std::collections::BTreeSet;

use parti_core::{
    Entry, Expect, Store, StoreError, StoreErrorKind, StoreOp, StoreReply, Watch, WatchEvent,
    WatchScope, Write,
};
use tokio::time::{Instant, timeout};

use super::*;
use crate::kit::conformance;
use crate::kit::memory_store::MemoryStore;

const SECOND: Duration = Duration::from_secs(1);

fn world() -> (FaultyStores, MemoryStore, FaultyStore, FaultyStore) {
    let memory = MemoryStore::new();
    let chaos = FaultyStores::new(memory.clone(), 7);
    let (a, b) = (chaos.worker("a"), chaos.worker("b"));
    (chaos, memory, a, b)
}

async fn put(store: &FaultyStore, key: &str) -> Result<StoreReply, StoreError> {
    let writes = vec![Write {
        key: key.to_owned(),
        value: Some(b"1".to_vec()),
        expect: Expect::Any,
    }];
    store.execute(StoreOp::Commit { writes }).await
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn watch(store: &FaultyStore) -> Box<dyn Watch> {
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    while !matches!(watch.next().await, WatchEvent::CaughtUp { .. }) {}
    watch
}

/// A wrapper that changes anything by itself is no control for what a fault changes.
#[tokio::test]
async fn without_faults_the_contract_is_kept() {
    let make = async || FaultyStores::new(MemoryStore::new(), 7).worker("a");
    let report = conformance::run(make).await;
    assert!(report.is_ok(), "{report}");
}

/// Delays and repetitions are within the contract; a store that breaks it proves nothing about a
/// worker. (A case that waits too long by the wall clock would fail.)
#[tokio::test(start_paused = true)]
async fn late_repeated_and_slow_messages_are_within_the_contract() {
    let make = async || {
        let chaos = FaultyStores::new(MemoryStore::new(), 7).request_timeout(60 * SECOND);
        let a = chaos.worker("a");
        let delay = chaos.delay_messages("a", SECOND / 100, SECOND / 100);
        delay.expect("a is known");
        let half = Share::percent(50).expect("a share");
        chaos.duplicate_messages("a", half).expect("a is known");
        chaos.slow_down_worker("a", SECOND / 100).expect("known");
        a
    };
    let report = conformance::run(make).await;
    assert!(report.is_ok(), "{report}");
}

/// A delay that hits the wrong worker, or none, shows nothing about leases.
#[tokio::test(start_paused = true)]
async fn a_delay_counts_in_each_direction_and_for_its_worker_only() {
    let (chaos, _, a, b) = world();
    chaos
        .delay_messages("a", SECOND / 4, Duration::ZERO)
        .expect("known");
    let begin = Instant::now();
    put(&b, "b").await.expect("not delayed");
    assert_eq!(begin.elapsed(), Duration::ZERO);
    put(&a, "a").await.expect("late");
    let spent = begin.elapsed();
    // The timers of paused time have a grain of a millisecond.
    assert!(
        spent >= SECOND / 2 && spent < SECOND * 51 / 100,
        "{spent:?}"
    );
    chaos
        .delay_messages("a", 3 * SECOND, Duration::ZERO)
        .expect("known");
    let error = put(&a, "late").await.expect_err("too late");
    assert_eq!(error.kind, StoreErrorKind::Unknown);
}

/// "Failed" for a write that is stored later lets its writer believe it lost.
#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_late_or_cut_off_is_unknown_and_stored() {
    let (chaos, memory, a, _) = world();
    chaos
        .delay_messages("a", 3 * SECOND, Duration::ZERO)
        .expect("known");
    let error = put(&a, "late").await.expect_err("too late");
    assert_eq!(error.kind, StoreErrorKind::Unknown);
    assert_eq!(memory.entry("late"), None, "not yet");
    tokio::time::sleep(2 * SECOND).await;
    assert!(memory.entry("late").is_some(), "applied late");
    chaos.heal();
    chaos
        .partition_network(&names(&["a"]), Blocked::Replies)
        .expect("known");
    let error = put(&a, "no-answers").await.expect_err("no answer");
    assert_eq!(error.kind, StoreErrorKind::Unknown);
    assert!(memory.entry("no-answers").is_some());
    chaos.heal();
    chaos
        .partition_network(&names(&["a"]), Blocked::Requests)
        .expect("known");
    let mut kinds = BTreeSet::new();
    for _ in 0..30 {
        let error = put(&a, "no-requests").await.expect_err("no answer");
        kinds.insert(error.kind);
    }
    // Some clients notice a cut soon and some late.
    let both = [StoreErrorKind::Unknown, StoreErrorKind::Unavailable];
    assert_eq!(kinds, BTreeSet::from(both));
    assert_eq!(memory.entry("no-requests"), None);
}

/// What a cut held is either lost or late; a fake that knows only one of them hides half the bugs.
#[tokio::test(start_paused = true)]
async fn what_a_cut_held_arrives_after_the_heal_or_never() {
    let (mut late, mut lost, mut resumed, mut broken) = (0, 0, 0, 0);
    for seed in 0..20 {
        let memory = MemoryStore::new();
        let chaos = FaultyStores::new(memory.clone(), seed);
        let (a, b) = (chaos.worker("a"), chaos.worker("b"));
        let mut watch = watch(&a).await;
        chaos
            .partition_network(&names(&["a"]), Blocked::Both)
            .expect("known");
        // Once it is sent and not only noticed.
        while put(&a, "a").await.expect_err("cut off").kind == StoreErrorKind::Unavailable {}
        put(&b, "b").await.expect("not cut off");
        let silent = timeout(10 * SECOND, watch.next()).await;
        assert!(silent.is_err(), "{silent:?}");
        chaos.heal();
        tokio::time::sleep(SECOND / 1000).await;
        if memory.entry("a").is_some() {
            late += 1;
        } else {
            lost += 1;
        }
        match watch.next().await {
            WatchEvent::Entry(entry) if entry.key == "b" => resumed += 1,
            WatchEvent::Lost { .. } => broken += 1,
            other @ (WatchEvent::Entry(_) | WatchEvent::CaughtUp { .. }) => {
                panic!("{other:?}")
            }
        }
        put(&a, "again").await.expect("healed");
    }
    assert!(late > 3 && lost > 3, "{late} late, {lost} lost");
    assert!(resumed > 3 && broken > 3, "{resumed} {broken}");
}

/// A lost message ends as unknown, and a lost event as the end of its watch: a silent gap would be a
/// broken contract.
#[tokio::test(start_paused = true)]
async fn dropped_messages_are_unknown_and_dropped_events_end_the_watch() {
    let (chaos, memory, a, b) = world();
    let mut seen = watch(&a).await;
    let some = Share::percent(40).expect("a share");
    chaos.drop_messages("a", some).expect("known");
    let mut unknown = 0;
    for number in 0..50 {
        if let Err(error) = put(&a, &format!("k{number}")).await {
            assert_eq!(error.kind, StoreErrorKind::Unknown);
            unknown += 1;
        }
    }
    let stored = memory.entries().len();
    assert!(stored < 50, "requests are lost: {stored}");
    assert!(unknown > 50 - stored, "answers are lost: {unknown}");
    let mut last = 0;
    loop {
        match seen.next().await {
            WatchEvent::Entry(Entry { revision, .. }) => {
                assert_eq!(revision.get(), last + 1, "a gap");
                last = revision.get();
            }
            WatchEvent::Lost { .. } => break,
            WatchEvent::CaughtUp { .. } => panic!("a second mark"),
        }
    }
    assert!(matches!(seen.next().await, WatchEvent::Lost { .. }));
    assert!((last as usize) < stored);
    put(&b, "b").await.expect("not dropped");
}

/// A worker that handles an event twice, or two answers in the wrong order, must be found.
#[tokio::test(start_paused = true)]
async fn events_are_repeated_and_requests_overtake_each_other() {
    let (chaos, memory, a, b) = world();
    let mut seen = watch(&a).await;
    chaos.duplicate_messages("a", Share::ALL).expect("known");
    put(&b, "twice").await.expect("written");
    let first = seen.next().await;
    assert_eq!(first, seen.next().await);
    chaos.reorder_messages("a", SECOND).expect("known");
    let keys: Vec<_> = (0..20).map(|number| format!("k{number:02}")).collect();
    let all = keys.iter().map(|key| put(&a, key));
    for answer in futures_util::future::join_all(all).await {
        answer.expect("written");
    }
    let mut entries = memory.entries();
    entries.sort_by_key(|entry| entry.revision);
    let order: Vec<_> = entries.into_iter().map(|entry| entry.key).collect();
    assert_ne!(order[1..], keys[..], "in the order they were sent");
}

/// A slow worker must be seen as slow under load, and alive.
#[tokio::test(start_paused = true)]
async fn a_slow_workers_messages_queue_up() {
    let (chaos, _, a, b) = world();
    chaos.slow_down_worker("a", SECOND / 10).expect("known");
    let begin = Instant::now();
    let all = ["x", "y", "z"].map(|key| put(&a, key));
    for answer in futures_util::future::join_all(all).await {
        answer.expect("slow and alive");
    }
    let spent = begin.elapsed();
    assert!(spent >= SECOND * 4 / 10, "three and an answer: {spent:?}");
    put(&b, "b").await.expect("not slow");
    assert_eq!(begin.elapsed(), spent);
}

/// A seed that gives another run each time is no bug report.
#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_fates() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let chaos = FaultyStores::new(MemoryStore::new(), seed);
        let a = chaos.worker("a");
        let half = Share::percent(50).expect("a share");
        chaos.drop_messages("a", half).expect("known");
        let mut fates = Vec::new();
        for number in 0..30 {
            fates.push(put(&a, &format!("k{number}")).await.is_ok());
        }
        runs.push(fates);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

/// A fault that is silently not injected is a test that silently tests nothing.
#[cfg(feature = "rig")]
#[tokio::test]
async fn what_cannot_be_done_is_an_error_on_either_side() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = listener.local_addr().expect("bound");
    let (faulty, _, _, _) = world();
    let proxies = crate::rig::proxies::Proxies::new(vec![server], 7);
    proxies.url("a").expect("a port");
    let both: [Box<dyn ChaosInjector>; 2] = [Box::new(faulty), Box::new(proxies)];
    for chaos in &both {
        let unknown = chaos.slow_down_worker("z", SECOND);
        assert!(
            matches!(unknown, Err(ChaosError::UnknownWorker { .. })),
            "{unknown:?}"
        );
        let partly = chaos.partition_network(&names(&["a", "z"]), Blocked::Both);
        assert!(partly.is_err());
        chaos.delay_messages("a", SECOND, SECOND).expect("can");
        chaos.drop_messages("a", Share::ALL).expect("can");
        chaos.drop_messages("a", Share::NONE).expect("can");
        chaos.slow_down_worker("a", SECOND).expect("can");
        chaos.heal();
    }
    for outcome in [
        both[1].duplicate_messages("a", Share::ALL),
        both[1].reorder_messages("a", SECOND),
        both[1].drop_messages("a", Share::percent(1).expect("a share")),
    ] {
        assert!(
            matches!(outcome, Err(ChaosError::Unsupported { .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(
        Share::percent(101),
        Err(ChaosError::NotAPercentage { found: 101 })
    );
}
