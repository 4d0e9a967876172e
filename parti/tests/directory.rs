//! A directory beside real managers: what a reader sees of a group that lives.

#[path = "support/recorder.rs"]
mod recorder;

use std::time::Duration;

use parti::directory::{Change, Directory, Endpoint, SessionState};
use parti::sources::StaticSource;
use parti::store::LocalStore;
use parti::{Manager, PartitionKey, StopMode, WorkerId};
use recorder::{Recorder, fast};

const PATIENCE: Duration = Duration::from_secs(120);

async fn start(store: &LocalStore, endpoint: &'static str) -> Manager {
    let config = fast(2).build().expect("coherent");
    let source = StaticSource::numbered("p", 12).expect("valid");
    let builder = Manager::builder(config, source, Recorder::new(endpoint));
    let builder = builder.store(store.clone()).advertise(endpoint);
    builder.start().await.expect("started")
}

fn key(number: u32) -> PartitionKey {
    PartitionKey::new(["p".to_owned(), number.to_string()]).expect("valid")
}

/// How many partitions a worker owns, as a caller of owners sees it.
fn owned(directory: &Directory, worker: &WorkerId) -> usize {
    let owners = (0..12).filter_map(|number| directory.owner_of(&key(number)));
    owners.filter(|owner| owner.worker == *worker).count()
}

async fn wait(directory: &Directory, what: &str, holds: impl FnMut(&Directory) -> bool) {
    let waited = tokio::time::timeout(PATIENCE, directory.wait_for(holds)).await;
    assert!(waited.is_ok(), "{what}: {:#?}", directory.view());
}

/// A caller that looks up an owner must reach it, and after a stop the one that took over.
#[tokio::test]
async fn owners_are_found_with_their_endpoints_and_follow_a_stop() {
    let store = LocalStore::new();
    let directory = Directory::open(store.clone());
    let mut changes = directory.changes();
    let a = start(&store, "http://a").await;
    let b = start(&store, "http://b").await;
    let ids = [&a, &b].map(|m| m.status().worker.expect("claimed"));
    wait(&directory, "both own", |d| {
        ids.iter().all(|id| owned(d, id) == 6)
    })
    .await;
    let endpoints = ["http://a", "http://b"].map(|text| Endpoint::new(text).expect("valid"));
    for number in 0..12 {
        let owner = directory.owner_of(&key(number)).expect("owned");
        let which = usize::from(owner.worker == ids[1]);
        assert_eq!(owner.endpoint.as_ref(), Some(&endpoints[which]));
    }
    let snapshot = directory.owners();
    b.stop(StopMode::Handoff).await.expect("stopped");
    wait(&directory, "a owns all", |d| owned(d, &ids[0]) == 12).await;
    let view = directory.view();
    let left = view.workers.iter().find(|worker| worker.worker == ids[1]);
    assert!(
        left.is_none_or(|left| !matches!(left.state, SessionState::Known(s) if s.is_living())),
        "{left:?}"
    );
    assert_eq!((view.nameless, view.handoffs.len()), (0, 0));
    assert!(!view.generations.is_empty() && view.leading.is_some());
    // What was handed out earlier is as it was.
    let before = (0..12).filter_map(|number| snapshot.owner_of(&key(number)));
    assert_eq!(before.filter(|owner| owner.worker == ids[1]).count(), 6);
    let first = changes.next().await;
    assert!(first.is_some());
    a.stop(StopMode::Now).await.expect("stopped");
}

/// A reader that takes an ID or writes would disturb the group it looks at.
#[tokio::test]
async fn reading_writes_nothing_and_ends_when_it_is_dropped() {
    let store = LocalStore::new();
    let directory = Directory::open(store.clone());
    wait(&directory, "complete", |d| d.as_of().is_some()).await;
    let info = parti::store::Store::execute(&store, parti::store::StoreOp::Info).await;
    let parti::store::StoreReply::Info(info) = info.expect("there") else {
        panic!("no facts")
    };
    assert_eq!(info.last_revision, parti::store::Revision::ZERO);
    let mut changes = directory.changes();
    drop(directory);
    let end = tokio::time::timeout(PATIENCE, changes.next()).await;
    assert_eq!(end, Ok(None::<Change>));
}
