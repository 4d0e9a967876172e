//! Two releases in one group, with real managers: updates, downgrades, and values at the store's limit.

#[path = "support/recorder.rs"]
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use parti::clock::Clock;
use parti::sources::StaticSource;
use parti::store::{LocalStore, Store};
use parti::{ConfigBuilder, Manager, ManagerBuilder, Partition, StopMode};
use parti_core::Formats;
use parti_testing::kit::kv::Limits;
use parti_testing::kit::memory_store::MemoryStore;
use recorder::{Recorder, fast, manager, until};

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: usize = 12;

/// This release, or the next one: it reads and writes one format more.
fn release(config: ConfigBuilder, next: bool) -> ConfigBuilder {
    if next {
        config.formats(Formats::NEXT_RELEASE)
    } else {
        config
    }
}

/// How many partitions are held by a valid guard.
fn valid(seen: &Recorder) -> usize {
    let seen = seen.seen();
    seen.open.values().filter(|guard| guard.is_valid()).count()
}

/// Replaces every worker, one after another, and checks that nothing is lost or held twice.
async fn roll(
    workers: &mut Vec<Manager>,
    seen: &Recorder,
    start: &dyn Fn(bool, &'static str) -> ManagerBuilder,
    (next, names): (bool, [&'static str; 3]),
) {
    for name in names {
        let joined = start(next, name).start().await.expect("starts");
        workers.push(joined);
        until("the joiner has its share", LIMIT, || {
            workers
                .last()
                .is_some_and(|worker| !worker.assignment().is_empty())
        })
        .await;
        let old = workers.remove(0);
        old.stop(StopMode::Handoff).await.expect("clean");
        until("everything is owned", LIMIT, || valid(seen) == PARTITIONS).await;
    }
}

/// The procedure of `docs/OPERATIONS.md`, there and back.
async fn there_and_back(start: &dyn Fn(bool, &'static str) -> ManagerBuilder, seen: &Recorder) {
    let mut workers = Vec::new();
    for name in ["a", "b", "c"] {
        workers.push(start(false, name).start().await.expect("starts"));
    }
    until("everything is owned", LIMIT, || valid(seen) == PARTITIONS).await;
    roll(&mut workers, seen, start, (true, ["d", "e", "f"])).await;
    roll(&mut workers, seen, start, (false, ["g", "h", "i"])).await;
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("clean");
    }
    let seen = seen.seen();
    assert_eq!((seen.overlaps, seen.stale_tokens), (0, 0));
}

/// An update that has to stop the whole group is an outage, and a bad one needs a way back.
#[tokio::test(start_paused = true)]
async fn a_group_is_updated_and_downgraded_worker_by_worker() {
    let (store, seen) = (LocalStore::new(), Recorder::new("all"));
    let start = |next: bool, name: &'static str| {
        let config = release(fast(3), next);
        manager(config, &store, PARTITIONS as u32, &seen.beside(name))
    };
    there_and_back(&start, &seen).await;
}

/// The same on a real server.
#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread")]
async fn a_group_on_a_real_server_is_updated_and_downgraded_worker_by_worker() {
    use parti_testing::rig::nats_server::{NatsServer, ServerOptions};

    let server = NatsServer::start(ServerOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let seen = Recorder::new("all");
    let url = server.url();
    let start = |next: bool, name: &'static str| {
        let config = release(fast(3), next).build().expect("coherent");
        let source = StaticSource::numbered("p", PARTITIONS as u32).expect("valid");
        Manager::builder(config, source, seen.beside(name)).nats(&url)
    };
    there_and_back(&start, &seen).await;
}

/// Twenty workers whose records are all small were never assigned anything, because the one audit entry
/// that names all changes was larger than the store takes.
#[tokio::test(start_paused = true)]
async fn long_keys_are_assigned_although_the_audit_cannot_name_them_all() {
    let limits = Limits {
        max_value: 64 << 10,
        ..Limits::default()
    };
    let store: Arc<dyn Store> = Arc::new(MemoryStore::with_limits(limits));
    let list = (0..400).map(|number| Partition::new([format!("{number:0>1000}")]));
    let list: Vec<Partition> = list.collect::<Result<_, _>>().expect("valid");
    let seen = Recorder::new("all");
    let mut workers = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] {
        let config = fast(12).build().expect("coherent");
        let source = StaticSource::new(list.clone()).expect("valid");
        let builder = Manager::builder(config, source, seen.beside(name))
            .store(Arc::clone(&store))
            .clock(Clock::tokio());
        workers.push(builder.start().await.expect("starts"));
    }
    until("everything is owned", LIMIT, || valid(&seen) == 400).await;
    let history = workers[0].history(256).await.expect("readable");
    let cut = history.iter().filter(|entry| entry.truncated);
    assert!(cut.count() > 0, "all of it fitted");
}
