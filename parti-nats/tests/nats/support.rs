//! A server and a store for a test, and short words for what tests do with them.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use parti_core::{
    Entry, Expect, GroupName, Revision, Store, StoreError, StoreInfo, StoreOp, StoreReply, Watch,
    WatchEvent, Write,
};
use parti_nats::{NatsOptions, NatsStore};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use tokio::time::{Instant, sleep, timeout};
use tracing_subscriber::filter::DynFilterFn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

/// How long anything may take that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server with a store on it.
pub(crate) struct World {
    pub(crate) store: NatsStore,
    pub(crate) server: NatsServer,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(options()).await
    }

    pub(crate) async fn with(options: NatsOptions) -> Self {
        let server = start(ServerOptions::default());
        let store = connect(&server, options).await;
        Self { store, server }
    }
}

pub(crate) fn start(options: ServerOptions) -> NatsServer {
    NatsServer::start(options).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn options() -> NatsOptions {
    NatsOptions::default()
        .request_timeout(Duration::from_secs(1))
        .watch_heartbeat(Duration::from_millis(200))
}

pub(crate) fn group() -> GroupName {
    GroupName::new("orders").expect("a valid name")
}

pub(crate) async fn connect(server: &NatsServer, options: NatsOptions) -> NatsStore {
    let store = NatsStore::connect(&server.url(), &group(), options).await;
    store.expect("the store opens")
}

pub(crate) fn put(key: &str, value: &str, expect: Expect) -> Write {
    Write {
        key: key.to_owned(),
        value: Some(value.as_bytes().to_vec()),
        expect,
    }
}

pub(crate) fn delete(key: &str, expect: Expect) -> Write {
    Write {
        key: key.to_owned(),
        value: None,
        expect,
    }
}

pub(crate) async fn commit(
    store: &NatsStore,
    writes: Vec<Write>,
) -> Result<Vec<Revision>, StoreError> {
    let reply = store.execute(StoreOp::Commit { writes }).await?;
    let StoreReply::Committed { revisions } = reply else {
        panic!("a commit was answered with {reply:?}")
    };
    Ok(revisions)
}

/// One write that must succeed; its revision.
pub(crate) async fn write(store: &NatsStore, write: Write) -> Revision {
    commit(store, vec![write])
        .await
        .expect("the write succeeds")[0]
}

pub(crate) async fn get(store: &NatsStore, key: &str) -> Option<Entry> {
    let key = key.to_owned();
    match store.execute(StoreOp::Get { key }).await {
        Ok(StoreReply::Entry(entry)) => entry,
        other => panic!("a read was answered with {other:?}"),
    }
}

/// The keys with a prefix in order, and the revision of the list.
pub(crate) async fn list(store: &NatsStore, prefix: &str) -> (Vec<String>, u64) {
    let prefix = prefix.to_owned();
    match store.execute(StoreOp::List { prefix }).await {
        Ok(StoreReply::Entries {
            entries,
            last_revision,
        }) => {
            let mut keys: Vec<_> = entries.into_iter().map(|entry| entry.key).collect();
            keys.sort();
            (keys, last_revision.get())
        }
        other => panic!("a list was answered with {other:?}"),
    }
}

pub(crate) async fn info(store: &NatsStore) -> StoreInfo {
    match store.execute(StoreOp::Info).await {
        Ok(StoreReply::Info(info)) => info,
        other => panic!("a question for facts was answered with {other:?}"),
    }
}

/// The next event as text: `key=value@revision`, `key-@revision`, `caught up@revision`, `lost`.
pub(crate) async fn next(watch: &mut Box<dyn Watch>) -> String {
    let event = timeout(PATIENCE, watch.next()).await;
    match event.expect("an event comes") {
        WatchEvent::Entry(Entry {
            key,
            revision,
            value: Some(value),
            ..
        }) => format!("{key}={}@{revision}", String::from_utf8_lossy(&value)),
        WatchEvent::Entry(Entry { key, revision, .. }) => format!("{key}-@{revision}"),
        WatchEvent::CaughtUp { revision } => format!("caught up@{revision}"),
        WatchEvent::Lost { reason } => format!("lost: {reason}"),
    }
}

/// Reads the watch up to and including the event.
pub(crate) async fn until(watch: &mut Box<dyn Watch>, wanted: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let event = next(watch).await;
        let end = event.starts_with(wanted) || event.starts_with("lost");
        seen.push(event);
        if end {
            return seen;
        }
    }
}

/// Asks until the answer is yes.
pub(crate) async fn eventually(what: &str, within: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Calls the JetStream API beside the store.
pub(crate) async fn api(store: &NatsStore, method: &str, body: &str) -> serde_json::Value {
    let subject = format!("$JS.API.{method}");
    let answer = store
        .client()
        .request(subject, body.to_owned().into())
        .await;
    serde_json::from_slice(&answer.expect("an answer").payload).expect("JSON")
}

pub(crate) async fn consumers(store: &NatsStore) -> u64 {
    let info = api(store, &format!("STREAM.INFO.KV_{}", store.bucket()), "").await;
    let count = info["state"]["consumer_count"].as_u64();
    count.expect("a number of consumers")
}

thread_local! {
    static LOGGED: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// What is logged on this thread, down to the client's protocol, while the guard lives.
///
/// There is one subscriber for all tests of the program: several that come and go side by side
/// would switch each other's lines off.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

/// Ends a [`Log`].
pub(crate) struct LogGuard;

impl Drop for LogGuard {
    fn drop(&mut self) {
        LOGGED.with_borrow_mut(Option::take);
    }
}

impl Log {
    pub(crate) fn begin() -> (Self, LogGuard) {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            let is_wanted = DynFilterFn::new(|_, _| LOGGED.with_borrow(Option::is_some));
            let lines = tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_writer(|| LOGGED.with_borrow(Clone::clone).unwrap_or_default());
            let subscriber = tracing_subscriber::registry().with(lines.with_filter(is_wanted));
            tracing::subscriber::set_global_default(subscriber).expect("the only one");
        });
        let log = Self::default();
        LOGGED.replace(Some(log.clone()));
        (log, LogGuard)
    }

    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
