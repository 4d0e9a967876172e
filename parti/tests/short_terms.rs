//! Leaders that come and go, on a store in memory and in virtual time: what they waited for, and what they
//! knew of the partitions, goes on under the next one.

#[path = "support/recorder.rs"]
mod recorder;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parti::clock::Clock;
use parti::health::HealthCode;
use parti::sources::{SourceError, source_fn};
use parti::store::LocalStore;
use parti::{Manager, Partition, StopMode};
use recorder::{Recorder, fast, manager, until};

const LIMIT: Duration = Duration::from_secs(30);

/// How many different partitions are validly owned.
fn owned(handler: &Recorder) -> usize {
    let seen = handler.seen();
    let valid = seen.open.iter().filter(|(_, guard)| guard.is_valid());
    let partitions: BTreeSet<_> = valid.map(|((partition, _), _)| partition).collect();
    partitions.len()
}

/// A manager whose source can be switched off.
async fn with_a_source(store: &LocalStore, down: &Arc<AtomicBool>, handler: Recorder) -> Manager {
    let down = Arc::clone(down);
    let source = source_fn(move || {
        let down = down.load(Ordering::Relaxed);
        async move {
            if down {
                return Err(SourceError::Unavailable("the database is down".to_owned()));
            }
            let list =
                (0..40).map(|number: u32| Partition::new(["p".to_owned(), number.to_string()]));
            Ok(list.collect::<Result<_, _>>()?)
        }
    });
    let config = fast(4).build().expect("coherent");
    Manager::builder(config, source, handler)
        .store(store.clone())
        .clock(Clock::tokio())
        .start()
        .await
        .expect("starts")
}

/// While a database was down, the partitions of a leader that crashed had no owner until it was back.
#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_while_the_source_is_down_is_replaced_with_its_partitions() {
    let (store, down) = (LocalStore::new(), Arc::new(AtomicBool::new(false)));
    let handler = Recorder::new("0");
    let mut managers = Vec::new();
    for name in ["0", "1", "2", "3"] {
        managers.push(with_a_source(&store, &down, handler.beside(name)).await);
    }
    until("all owned", LIMIT, || owned(&handler) == 40).await;
    down.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let leads = managers.iter().position(Manager::is_leader).expect("led");
        drop(managers.remove(leads));
        until("owned again", LIMIT, || owned(&handler) == 40).await;
    }
    let named = || {
        managers
            .iter()
            .all(|m| m.health().has(HealthCode::SourceFailing))
    };
    until("named everywhere", LIMIT, named).await;
    let term = managers[0].status().term;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(managers[0].status().term, term, "nobody resigns for it");
    down.store(false, Ordering::Relaxed);
    let healthy = || managers.iter().all(|m| m.health().conditions.is_empty());
    until("all is well", LIMIT, healthy).await;
    assert_eq!((owned(&handler), handler.seen().overlaps), (40, 0));
}

/// A rolling update right after the first deployment: the window began again with each leader, and
/// nobody was ever assigned anything.
#[tokio::test(start_paused = true)]
async fn a_first_assignment_comes_although_leaders_are_replaced_faster_than_the_window() {
    let (store, handler) = (LocalStore::new(), Recorder::new("0"));
    let window = Duration::from_secs(3);
    let begin = |name| {
        let config = fast(100).cold_start_window(window);
        manager(config, &store, 30, &handler.beside(name)).start()
    };
    let mut managers = Vec::new();
    for name in ["0", "1", "2"] {
        managers.push(begin(name).await.expect("starts"));
    }
    let begun = tokio::time::Instant::now();
    for name in ["3", "4", "5", "6", "7", "8", "9"] {
        tokio::time::sleep(Duration::from_secs(2)).await;
        if owned(&handler) > 0 {
            break;
        }
        managers.push(begin(name).await.expect("starts"));
        let leads = managers.iter().position(Manager::is_leader).expect("led");
        let leading = managers.remove(leads);
        leading.stop(StopMode::Handoff).await.expect("stops");
    }
    assert!(begun.elapsed() < window * 3, "after {:?}", begun.elapsed());
    until("all owned", LIMIT, || owned(&handler) == 30).await;
}
