//! A group that is well, for tests of what is made from a look at one.

use std::time::Duration;

use parti::sources::StaticSource;
use parti::store::LocalStore;
use parti::{
    Config, Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preset, RevokeCause,
    async_trait,
};

use super::Look;

const PATIENCE: Duration = Duration::from_secs(30);

struct Idle;

#[async_trait]
impl PartitionHandler for Idle {
    async fn on_assigned(&self, _: &PartitionKey, _: Guard) -> Result<(), HandlerError> {
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
}

/// So many workers that share twelve partitions evenly, all of them settled.
pub(crate) async fn well(workers: u32) -> Look {
    let store = LocalStore::new();
    let mut managers = Vec::new();
    for _ in 0..workers {
        let config = Config::builder("orders").preset(Preset::Fast);
        let config = config.expected_workers(workers).build().expect("coherent");
        let source = StaticSource::numbered("p", 12).expect("valid");
        let builder = Manager::builder(config, source, Idle).store(store.clone());
        managers.push(builder.start().await.expect("starts"));
    }
    let (count, share) = (managers.len(), 12 / managers.len());
    let begun = std::time::Instant::now();
    loop {
        let look = Look::at(&store, PATIENCE).await.expect("there");
        let view = look.view();
        let settled = |worker: &parti::directory::WorkerView| {
            worker.behind.is_none() && worker.granted == share
        };
        if view.workers.len() == count && view.workers.iter().all(settled) {
            return look;
        }
        assert!(begun.elapsed() < PATIENCE, "{view:#?}");
        tokio::task::yield_now().await;
    }
}
