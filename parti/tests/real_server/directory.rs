//! A reader of a group on a real server: it sees who joins, dies and leaves, also after it was cut off.

use parti::directory::Directory;
use parti::nats::{NatsOptions, NatsStore};
use parti::sources::StaticSource;
use parti::{GroupName, Manager, PartitionKey, StopMode, WorkerId};
use parti_testing::rig::proxy::{Admission, Proxy};

use crate::recorder::Recorder;
use crate::{PATIENCE, config, server};

async fn start(url: &str, endpoint: &'static str) -> (Manager, WorkerId) {
    let source = StaticSource::numbered("p", 12).expect("valid");
    let builder = Manager::builder(config(2), source, Recorder::new(endpoint));
    let manager = builder.nats(url).advertise(endpoint).start().await;
    let manager = manager.expect("starts");
    let worker = manager.status().worker.expect("claimed");
    (manager, worker)
}

async fn owns(directory: &Directory, worker: &WorkerId, count: usize) {
    let keys = (0..12).map(|n| PartitionKey::new(["p".to_owned(), n.to_string()]).expect("valid"));
    let keys: Vec<_> = keys.collect();
    let holds = |directory: &Directory| {
        let owners = keys.iter().filter_map(|key| directory.owner_of(key));
        owners.filter(|owner| owner.worker == *worker).count() == count
    };
    let waited = tokio::time::timeout(PATIENCE, directory.wait_for(holds)).await;
    assert!(waited.is_ok(), "{worker} {count}: {:#?}", directory.view());
}

/// Callers that were cut off went on with the owners of before, or with none at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_a_join_a_death_and_a_drain_and_comes_back_after_it_was_cut_off() {
    let server = server("");
    let url = format!("nats://{}", server.address());
    let proxy = Proxy::start(server.address(), 1).expect("a proxy");
    let (a, worker_a) = start(&url, "http://a").await;
    let group = GroupName::new(config(2).group().as_str()).expect("valid");
    let store = NatsStore::connect(&proxy.url(), &group, NatsOptions::default()).await;
    let directory = Directory::open(store.expect("opens"));
    owns(&directory, &worker_a, 12).await;
    let (b, worker_b) = start(&url, "http://b").await;
    owns(&directory, &worker_b, 6).await;
    // Killed: nothing is released, the lease has to end.
    drop(b);
    owns(&directory, &worker_a, 12).await;
    // Cut off: what was known stays, and what happened meanwhile is seen afterwards.
    proxy.set_admission(Admission::Refuse);
    proxy.reset();
    let (c, worker_c) = start(&url, "http://c").await;
    owns(&directory, &worker_a, 12).await;
    proxy.set_admission(Admission::Forward);
    owns(&directory, &worker_c, 6).await;
    a.stop(StopMode::Handoff).await.expect("stops");
    owns(&directory, &worker_c, 12).await;
    c.stop(StopMode::Now).await.expect("stops");
}
