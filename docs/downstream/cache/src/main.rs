//! A node of a cache that is spread over many. Keys belong to shards, each shard to one node; any node that
//! is asked answers by itself or says where the owner is: `curl -L` any of them.
//!
//! `NATS_URL=nats://127.0.0.1:4222 LISTEN=127.0.0.1:8080 PARTI_GROUP=cache cache`

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Router, routing::get};
use parti::config::Settings;
use parti::directory::Directory;
use parti::sources::StaticSource;
use parti::{
    Guard, HandlerError, Manager, PartitionHandler, PartitionKey, RevokeCause, async_trait,
};
use tokio::signal::unix::{SignalKind, signal};

/// Never changes while a node runs: it decides which shard a key belongs to.
const SHARDS: u32 = 64;

/// The shards of this node, each with the guard of its ownership.
#[derive(Clone, Default)]
struct Shards(Arc<Mutex<HashMap<PartitionKey, (Guard, HashMap<String, String>)>>>);

impl Shards {
    fn all(&self) -> MutexGuard<'_, HashMap<PartitionKey, (Guard, HashMap<String, String>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key, loaded at the first time; `None` if its shard is not this node's.
    fn value(&self, shard: &PartitionKey, key: &str) -> Option<String> {
        let mut shards = self.all();
        let (_, entries) = shards
            .get_mut(shard)
            .filter(|(guard, _)| guard.is_valid())?;
        Some(
            entries
                .entry(key.to_owned())
                .or_insert_with(|| load(key))
                .clone(),
        )
    }
}

#[async_trait]
impl PartitionHandler for Shards {
    async fn on_assigned(&self, shard: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        self.all().insert(shard.clone(), (guard, HashMap::new()));
        Ok(())
    }

    async fn on_revoked(&self, shard: &PartitionKey, _: Guard, _: RevokeCause) {
        self.all().remove(shard);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let (url, listen) = (std::env::var("NATS_URL")?, std::env::var("LISTEN")?);
    let config = Settings::from_env("PARTI")?.build()?;
    let (group, shards) = (config.group().clone(), Shards::default());
    let source = StaticSource::numbered("shard", SHARDS)?;
    let worker = Manager::builder(config, source, shards.clone());
    let worker = worker
        .advertise(&format!("http://{listen}"))
        .nats(&url)
        .start()
        .await?;
    let directory = Arc::new(Directory::nats(&url, &group).await?);
    let routes = Router::new()
        .route("/{key}", get(answer))
        .with_state((shards, directory));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut terminate = signal(SignalKind::terminate())?;
    worker.run_until(terminate.recv()).await?;
    Ok(())
}

async fn answer(
    State((shards, directory)): State<(Shards, Arc<Directory>)>,
    Path(key): Path<String>,
) -> Response {
    let shard = key.bytes().fold(7_u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(byte.into())
    });
    let Ok(shard) = PartitionKey::new(["shard", &(shard % SHARDS).to_string()]) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if let Some(value) = shards.value(&shard, &key) {
        return value.into_response();
    }
    match directory.owner_of(&shard).and_then(|owner| owner.endpoint) {
        Some(endpoint) => Redirect::temporary(&format!("{endpoint}/{key}")).into_response(),
        // It is on its way, or its owner died: ask again.
        None => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response(),
    }
}

/// Here the value would come from where it is kept, which takes long.
fn load(key: &str) -> String {
    format!("{key} by {}", std::process::id())
}
