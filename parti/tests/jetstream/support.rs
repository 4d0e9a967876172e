//! A server with a stream, publishers with numbers per key, and what handlers were given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use parti::jetstream::{PartitionMessage, Partitioned, PartitionedBuilder};
use parti::nats::async_nats::jetstream::Context;
use parti::nats::async_nats::{self, Client};
use parti::{Config, Manager, Preset, StopMode};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long anything may take that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const PARTITIONS: u32 = 8;
/// What a stream may keep its messages by.
pub(crate) const RETENTIONS: [&str; 3] = ["limits", "workqueue", "interest"];

pub(crate) struct World {
    pub(crate) server: NatsServer,
    pub(crate) client: Client,
    pub(crate) context: Context,
}

impl World {
    /// A server with the stream `ORDERS` on `orders.>`, without a transform.
    pub(crate) async fn new() -> Self {
        Self::with("limits").await
    }

    /// The same with another retention.
    pub(crate) async fn with(retention: &str) -> Self {
        if std::env::var_os("SHOW").is_some() {
            let _ = tracing_subscriber::fmt()
                .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
                .try_init();
        }
        let server = NatsServer::start(ServerOptions::default());
        let server = server.unwrap_or_else(|error| panic!("{error}"));
        let client = connect(&server.url()).await;
        let context = async_nats::jetstream::new(client.clone());
        let world = Self {
            server,
            client,
            context,
        };
        let config = json!({ "retention": retention });
        world.create("ORDERS", config).await;
        world
    }

    /// The names of the stream's consumers.
    pub(crate) async fn consumers(&self) -> Vec<String> {
        let names = self.api("CONSUMER.NAMES.ORDERS", json!({})).await;
        let names = names["consumers"].as_array().cloned().unwrap_or_default();
        let text = |name: &Value| name.as_str().expect("a name").to_owned();
        names.iter().map(text).collect()
    }

    /// Nothing that was handled is left where acknowledgements remove messages, after one more owner, which
    /// handles nothing.
    pub(crate) async fn emptied(&self, retention: &str, orders: &Partitioned) {
        if retention == "limits" {
            return;
        }
        let handled = orders.status().handled;
        let manager = self.worker(orders).await;
        let mut left = json!(0);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let info = self.api("STREAM.INFO.ORDERS", json!({})).await;
            left.clone_from(&info["state"]);
            if left["messages"] == json!(0) {
                break;
            }
            assert!(Instant::now() < deadline, "{retention}: {left}");
            sleep(Duration::from_millis(10)).await;
        }
        manager.stop(StopMode::Handoff).await.expect("it stops");
        assert_eq!(orders.status().handled, handled, "nothing was left to do");
    }

    pub(crate) async fn create(&self, name: &str, more: Value) {
        let subject = format!("{}.>", name.to_lowercase());
        let mut config =
            json!({ "name": name, "subjects": [subject], "storage": "file", "allow_direct": true });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let made = self.api(&format!("STREAM.CREATE.{name}"), config).await;
        assert!(made.get("error").is_none(), "{made}");
    }

    pub(crate) async fn api(&self, method: &str, body: Value) -> Value {
        let subject = format!("$JS.API.{method}");
        let answer = self.client.request(subject, body.to_string().into()).await;
        let answer: Value =
            serde_json::from_slice(&answer.expect("an answer").payload).expect("JSON");
        // A reader may be gone already.
        let is_fine = answer["error"]["err_code"]
            .as_u64()
            .is_none_or(|code| code == 10014);
        assert!(is_fine, "{method}: {answer}");
        answer
    }

    /// Publishes `count` messages in all, numbered per key; each says its number.
    pub(crate) async fn publish(&self, keys: usize, numbers: std::ops::Range<u64>) {
        publish(&self.context, keys, numbers).await;
    }

    pub(crate) fn builder(&self) -> PartitionedBuilder {
        Self::consumption(self.context.clone())
    }

    pub(crate) fn consumption(context: Context) -> PartitionedBuilder {
        Partitioned::builder(context, "ORDERS")
            .group("billing")
            .partitions(PARTITIONS)
            .transform("orders.*")
            .commit(20, Duration::from_millis(50))
    }

    /// A worker of the group that consumes with this.
    pub(crate) async fn worker(&self, orders: &Partitioned) -> Manager {
        worker(&self.server.url(), orders).await
    }
}

pub(crate) async fn connect(url: &str) -> Client {
    let options =
        async_nats::ConnectOptions::new().reconnect_delay_callback(|_| Duration::from_millis(50));
    let servers = url.split(',').map(|url| url.parse().expect("a server"));
    let servers: Vec<async_nats::ServerAddr> = servers.collect();
    options.connect(servers).await.expect("a connection")
}

pub(crate) async fn publish(context: &Context, keys: usize, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let mut acks = Vec::new();
        for key in 0..keys {
            let subject = format!("orders.key-{key}");
            let sent = context.publish(subject, number.to_string().into()).await;
            acks.push(sent.expect("it is sent"));
        }
        for ack in acks {
            ack.await.expect("it is stored");
        }
    }
}

pub(crate) async fn worker(url: &str, orders: &Partitioned) -> Manager {
    let config = Config::builder("billing")
        .preset(Preset::Fast)
        .lease(Duration::from_secs(3))
        .expected_workers(1)
        .build()
        .expect("a configuration");
    let manager = Manager::builder(config, orders.source(), orders.clone());
    let manager = manager.nats(url).start().await.expect("it starts");
    manager.wait_assigned().await.expect("it is assigned");
    manager
}

/// One call of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) sequence: u64,
    pub(crate) number: u64,
    pub(crate) token: u64,
    pub(crate) may_repeat: bool,
}

/// What handlers of all workers were given, by key, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<BTreeMap<String, Vec<Call>>>>);

impl Log {
    pub(crate) fn add(&self, message: &PartitionMessage) {
        let key = message.subject().rsplit('.').next().unwrap_or_default();
        let number = std::str::from_utf8(message.payload()).expect("text");
        let call = Call {
            sequence: message.sequence(),
            number: number.parse().expect("a number"),
            token: message.token().get(),
            may_repeat: message.may_repeat(),
        };
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.entry(key.to_owned()).or_default().push(call);
    }

    pub(crate) fn calls(&self) -> BTreeMap<String, Vec<Call>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.calls().values().map(Vec::len).sum()
    }

    /// Every key's numbers from zero on, in order; how many calls were repeats. A repeat begins with a
    /// new token, goes back to where that owner's predecessor had committed, and says so.
    pub(crate) fn check(&self, keys: usize, numbers: u64) -> usize {
        let calls = self.calls();
        assert_eq!(calls.len(), keys, "{:?}", calls.keys());
        let mut repeats = 0;
        for (key, calls) in calls {
            let mut due = 0;
            let mut token = 0;
            for (index, call) in calls.iter().enumerate() {
                assert!(
                    call.token >= token,
                    "{key}: an older owner at {index}: {calls:?}"
                );
                let is_new = call.token > token;
                if call.number < due
                    && (is_new || index > 0 && calls[index - 1].number + 1 == call.number)
                {
                    assert!(
                        call.may_repeat,
                        "{key}: {call:?} does not say that it repeats"
                    );
                    repeats += 1;
                } else {
                    assert_eq!(call.number, due, "{key} at {index}: {calls:?}");
                    due += 1;
                }
                token = call.token;
            }
            assert_eq!(due, numbers, "{key}: {calls:?}");
        }
        repeats
    }
}

/// A consumption that writes down what it is given.
pub(crate) async fn recording(builder: PartitionedBuilder, log: &Log) -> Partitioned {
    let log = log.clone();
    let orders = builder.on_message(move |message| {
        log.add(&message);
        async { Ok(()) }
    });
    orders
        .build()
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Asks until the answer is yes.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
