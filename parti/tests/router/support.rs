//! What the router's tests share: workers that answer, and what all of them did with each request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parti::directory::Directory;
use parti::nats::async_nats;
use parti::nats::router::{Limits, Request, Responder, Router};
use parti::sources::StaticSource;
use parti::{Config, GroupName, HandlerError, Manager, PartitionKey, StopMode};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};

use crate::recorder::fast;

/// How long anything may take that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const PARTITIONS: u32 = 24;

pub(crate) fn server() -> NatsServer {
    NatsServer::start(ServerOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn group() -> GroupName {
    GroupName::new("test").expect("valid")
}

pub(crate) fn key(number: u32) -> PartitionKey {
    PartitionKey::new(["p".to_owned(), number.to_string()]).expect("valid")
}

/// Quick timings with a lease that also a busy machine keeps.
pub(crate) fn config() -> Config {
    let config = fast(1).lease(Duration::from_secs(10));
    config.build().expect("coherent")
}

/// What became of requests, at all workers together.
#[derive(Debug, Default)]
pub(crate) struct Handled {
    /// The tokens in whose name each request was handled.
    pub(crate) by_request: BTreeMap<u64, Vec<u64>>,
    /// The largest token that has handled something, by partition.
    newest: BTreeMap<PartitionKey, u64>,
    /// Requests that were handled in the name of an older token than one that had handled some.
    pub(crate) stale: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Mutex<Handled>>);

impl Board {
    pub(crate) fn handled(&self) -> MutexGuard<'_, Handled> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work of a worker: it takes a while, and is written down at its begin and at its end.
    async fn work(self, request: Request) -> Result<Vec<u8>, HandlerError> {
        let id = u64::from_le_bytes(request.payload().try_into()?);
        self.look(&request, Some(id));
        tokio::time::sleep(Duration::from_millis(id % 4)).await;
        self.look(&request, None);
        Ok(request.payload().to_vec())
    }

    fn look(&self, request: &Request, id: Option<u64>) {
        let (partition, token) = (request.partition().clone(), request.token().get());
        let mut handled = self.handled();
        let newest = handled.newest.entry(partition).or_default();
        let is_stale = token < *newest;
        *newest = (*newest).max(token);
        handled.stale += usize::from(is_stale);
        if let Some(id) = id {
            handled.by_request.entry(id).or_default().push(token);
        }
    }
}

/// A worker that answers.
pub(crate) struct Worker {
    pub(crate) manager: Manager,
    pub(crate) responder: Responder,
}

impl Worker {
    pub(crate) async fn start(server: &NatsServer, board: &Board) -> Self {
        let client = async_nats::connect(server.url()).await.expect("connects");
        let board = board.clone();
        let responder = Responder::builder(client, &group());
        let responder = responder
            .on_request(move |request| board.clone().work(request))
            .await;
        let responder = responder.expect("listens");
        let source = StaticSource::numbered("p", PARTITIONS).expect("valid");
        let builder = Manager::builder(config(), source, responder.clone());
        let builder = builder.nats(&server.url()).concurrency(100);
        let builder = builder.advertise(responder.endpoint().as_str());
        let manager = builder.start().await.expect("starts");
        Self { manager, responder }
    }

    pub(crate) async fn leave(self) {
        self.manager.stop(StopMode::Handoff).await.expect("stops");
        self.responder.close().await;
    }
}

pub(crate) async fn router(server: &NatsServer) -> Router {
    let router = Router::nats(&server.url(), &group()).await.expect("opens");
    router.with_limits(Limits::default().within(Duration::from_secs(60)))
}

/// Waits until the partitions are shared by so many workers.
pub(crate) async fn shared_by(directory: &Directory, workers: usize) {
    let shared = |directory: &Directory| {
        let owners: Vec<_> = (0..PARTITIONS)
            .filter_map(|number| directory.owner_of(&key(number)))
            .map(|owner| owner.worker)
            .collect();
        let distinct: std::collections::BTreeSet<_> = owners.iter().collect();
        owners.len() == PARTITIONS as usize && distinct.len() == workers
    };
    let waited = tokio::time::timeout(PATIENCE, directory.wait_for(shared)).await;
    assert!(waited.is_ok(), "{workers}: {:#?}", directory.view());
}
