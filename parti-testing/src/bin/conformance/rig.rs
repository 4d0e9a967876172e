//! Real servers that are killed, frozen and replaced on demand.
//!
//! Separate because it is the only place that knows both the servers and the store on them. What
//! always holds: a rig begins with every node running and with a bucket of its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use parti_core::Store;
use parti_nats::NatsStore;
use parti_testing::kit::conformance::{Rig, SuiteReport, Unable, run_outages};
use parti_testing::rig::nats_cluster::NatsCluster;
use parti_testing::rig::nats_server::ServerError;
use tokio::task::spawn_blocking;

use super::targets::{HASTY, open};

/// Runs the cases of outages on these servers.
pub(super) async fn outages(cluster: NatsCluster) -> SuiteReport {
    let (url, nodes) = (cluster.url(), cluster.len());
    let cluster = Arc::new(Mutex::new(cluster));
    let count = AtomicU32::new(0);
    run_outages(async || {
        let group = format!("outage-{}", count.fetch_add(1, Ordering::Relaxed));
        let cluster = Arc::clone(&cluster);
        // A case that failed may have left nodes dead or frozen behind.
        let repaired = with(&cluster, repair).await;
        repaired.unwrap_or_else(|error| panic!("the servers do not come back: {error:?}"));
        let store = open(&url, &group, nodes, HASTY).await;
        let url = url.clone();
        NatsRig {
            cluster,
            store,
            url,
            group,
            nodes,
        }
    })
    .await
}

struct NatsRig {
    cluster: Arc<Mutex<NatsCluster>>,
    store: NatsStore,
    url: String,
    group: String,
    nodes: usize,
}

#[async_trait]
impl Rig for NatsRig {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn stop(&mut self) -> Result<(), Unable> {
        with(&self.cluster, |cluster| {
            (0..cluster.len()).try_for_each(|node| cluster.node(node).kill())
        })
        .await
    }

    async fn start(&mut self) -> Result<(), Unable> {
        with(&self.cluster, repair).await
    }

    async fn freeze(&mut self) -> Result<(), Unable> {
        with(&self.cluster, |cluster| {
            (0..cluster.len()).try_for_each(|node| cluster.node(node).pause())
        })
        .await
    }

    async fn thaw(&mut self) -> Result<(), Unable> {
        with(&self.cluster, repair).await
    }

    async fn fail_over(&mut self) -> Result<(), Unable> {
        if self.nodes == 1 {
            return Err(Unable::NotHere);
        }
        let stream = format!("KV_{}", self.store.bucket());
        with(&self.cluster, move |cluster| {
            let leader = cluster.wait_for_stream_leader(&stream)?;
            cluster.node(leader).kill()?;
            cluster.wait_for_stream_leader(&stream).map(drop)
        })
        .await
    }

    async fn recreate(&mut self) -> Result<(), Unable> {
        let subject = format!("$JS.API.STREAM.DELETE.KV_{}", self.store.bucket());
        let deleted = self.store.client().request(subject, "".into()).await;
        deleted.map_err(|error| Unable::Failed(error.to_string()))?;
        drop(open(&self.url, &self.group, self.nodes, HASTY).await);
        Ok(())
    }
}

/// Every node runs and the cluster is whole.
fn repair(cluster: &mut NatsCluster) -> Result<(), ServerError> {
    for node in 0..cluster.len() {
        let server = cluster.node(node);
        match server.pid() {
            Some(_) => server.resume()?,
            None => server.restart()?,
        }
    }
    cluster.wait_until_whole()
}

/// Does something to the servers on a thread that may wait.
async fn with(
    cluster: &Arc<Mutex<NatsCluster>>,
    act: impl FnOnce(&mut NatsCluster) -> Result<(), ServerError> + Send + 'static,
) -> Result<(), Unable> {
    let cluster = Arc::clone(cluster);
    let done = spawn_blocking(move || {
        // The servers are whatever they are; a panic of an earlier case changes nothing.
        let mut cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut cluster)
    });
    let done = done
        .await
        .map_err(|error| Unable::Failed(error.to_string()))?;
    done.map_err(|error| Unable::Failed(error.to_string()))
}
