//! Workers that answer over HTTP for the partitions they own, and a front that sends each request to the
//! owner:
//!
//! `cargo run --example http_proxy -- worker nats://127.0.0.1:4222 127.0.0.1:8081`
//!
//! `cargo run --example http_proxy -- front nats://127.0.0.1:4222 127.0.0.1:8080`
//!
//! `curl http://127.0.0.1:8080/7`
//!
//! What always holds: a worker answers only for what it owns now and is not about to lose. Otherwise it
//! refuses before it has done anything, so that the front may ask the next owner.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parti::directory::Directory;
use parti::sources::StaticSource;
use parti::{
    Config, GroupName, Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preset,
    RevokeCause, async_trait,
};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const PARTITIONS: u32 = 32;
/// The token of the ownership that the caller knows, as a header.
const TOKEN: &str = "x-partition-token";
/// How long the front looks for an owner that answers.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it waits for news after a refusal: the worker may only be a little behind the directory.
const PAUSE: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let group = GroupName::new("http-proxy")?;
    match arguments[..] {
        ["worker", url, listen] => {
            let worker = worker(url, &group, TcpListener::bind(listen).await?).await?;
            worker.run_until(tokio::signal::ctrl_c()).await?;
        }
        ["front", url, listen] => {
            let routes = front(url, &group).await?;
            axum::serve(TcpListener::bind(listen).await?, routes).await?;
        }
        _ => return Err("usage: http_proxy worker URL LISTEN | front URL LISTEN".into()),
    }
    Ok(())
}

/// The partition that a path means.
fn partition(number: &str) -> Option<PartitionKey> {
    let number: u32 = number.parse().ok()?;
    let key = PartitionKey::new(["p".to_owned(), number.to_string()]).ok()?;
    (number < PARTITIONS).then_some(key)
}

/// What a worker owns.
#[derive(Clone, Default)]
struct Owned(Arc<Mutex<BTreeMap<PartitionKey, Guard>>>);

impl Owned {
    fn all(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, Guard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PartitionHandler for Owned {
    async fn on_assigned(&self, key: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        self.all().insert(key.clone(), guard);
        Ok(())
    }

    async fn on_revoked(&self, key: &PartitionKey, _: Guard, _: RevokeCause) {
        self.all().remove(key);
    }
}

/// Starts a worker that answers at a socket.
async fn worker(url: &str, group: &GroupName, listener: TcpListener) -> Outcome<Manager> {
    let owned = Owned::default();
    let endpoint = format!("http://{}", listener.local_addr()?);
    let routes = Router::new()
        .route("/{number}", get(answer))
        .with_state(owned.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let config = Config::builder(group.as_str());
    let config = config.preset(Preset::Fast).build()?;
    let source = StaticSource::numbered("p", PARTITIONS)?;
    let manager = Manager::builder(config, source, owned).nats(url);
    Ok(manager.advertise(&endpoint).start().await?)
}

/// A worker answers if the partition is its own, in no older ownership than the caller knows.
async fn answer(
    State(owned): State<Owned>,
    Path(number): Path<String>,
    headers: HeaderMap,
) -> Response {
    let known = headers.get(TOKEN).and_then(|token| token.to_str().ok());
    let known: u64 = known.and_then(|token| token.parse().ok()).unwrap_or(0);
    let guard = partition(&number).and_then(|key| owned.all().get(&key).cloned());
    let own = guard.filter(|guard| guard.is_valid() && !guard.is_revoking());
    match own.filter(|guard| known <= guard.token().get()) {
        // Pass the token to whatever this writes to.
        Some(guard) => {
            format!("{} with token {}", guard.partition(), guard.token()).into_response()
        }
        None => StatusCode::MISDIRECTED_REQUEST.into_response(),
    }
}

/// What the front asks with.
#[derive(Clone)]
struct Front {
    directory: Arc<Directory>,
    client: reqwest::Client,
}

/// The routes of the front.
async fn front(url: &str, group: &GroupName) -> Outcome<Router> {
    // The client can do TLS; which library does it is the program's choice, once.
    drop(rustls::crypto::ring::default_provider().install_default());
    let front = Front {
        directory: Arc::new(Directory::nats(url, group).await?),
        client: reqwest::Client::builder().no_proxy().build()?,
    };
    Ok(Router::new()
        .route("/{number}", get(forward))
        .with_state(front))
}

/// Asks the owner, and the next one after a refusal. A lost answer says nothing of what was done: this asks
/// again because a GET may be repeated.
async fn forward(State(front): State<Front>, Path(number): Path<String>) -> Response {
    let Some(key) = partition(&number) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let until = Instant::now() + PATIENCE;
    let token = || front.directory.owner_of(&key).map(|owner| owner.token);
    while Instant::now() < until {
        let owned = front.directory.wait_for(|of| of.owner_of(&key).is_some());
        if timeout_at(until, owned).await.is_err() {
            break;
        }
        let Some(owner) = front.directory.owner_of(&key) else {
            continue;
        };
        let Some(endpoint) = owner.endpoint else {
            return StatusCode::BAD_GATEWAY.into_response();
        };
        let asked = front.client.get(format!("{endpoint}/{number}"));
        let asked = asked.header(TOKEN, owner.token.get());
        match asked.timeout(PATIENCE).send().await {
            Ok(answer) if answer.status() != reqwest::StatusCode::MISDIRECTED_REQUEST => {
                let status = StatusCode::from_u16(answer.status().as_u16());
                let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
                let text = answer.text().await.unwrap_or_default();
                return (status, text).into_response();
            }
            // It owns it no more, or not yet; or it is gone.
            Ok(_) | Err(_) => {
                let news = front.directory.wait_for(|_| token() != Some(owner.token));
                let _ = timeout_at(Instant::now() + PAUSE, news).await;
            }
        }
    }
    (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use parti::StopMode;
    use parti_testing::rig::nats_server::{NatsServer, ServerOptions};

    async fn socket() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.expect("a free port")
    }

    /// Requests came back as errors while partitions moved, although an owner was there in a moment.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_request_is_answered_by_an_owner_while_workers_come_and_go() {
        let server = NatsServer::start(ServerOptions::default()).expect("starts");
        let (url, group) = (server.url(), GroupName::new("http-proxy").expect("valid"));
        let mut workers = Vec::new();
        for _ in 0..2 {
            workers.push(worker(&url, &group, socket().await).await.expect("starts"));
        }
        let listener = socket().await;
        let address = listener.local_addr().expect("bound");
        let routes = front(&url, &group).await.expect("opens");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        let ask = |number: u32| client.get(format!("http://{address}/{number}")).send();
        let missing = ask(PARTITIONS).await.expect("an answer");
        assert_eq!(missing.status().as_u16(), 404);
        for round in 0..3 {
            let last = workers.pop().expect("one runs");
            let leaving = tokio::spawn(async move { last.stop(StopMode::Handoff).await });
            for number in 0..PARTITIONS {
                let answer = ask(number).await.expect("an answer");
                assert_eq!(answer.status().as_u16(), 200, "round {round}, {number}");
                let text = answer.text().await.expect("read");
                assert!(text.contains(&format!("p/{number} with token")), "{text}");
            }
            leaving.await.expect("no panic").expect("stops");
            workers.push(worker(&url, &group, socket().await).await.expect("starts"));
        }
        for worker in workers {
            worker.stop(StopMode::Now).await.expect("stops");
        }
    }
}
