//! A stream that the group consumes: who publishes into it, the sink that handlers tell, and what the
//! cursors say.
//!
//! It is separate from the group because most scenarios own partitions and do nothing with them. What always
//! holds: what is published is known with its sequence, so that what is missing can be named; publisher and
//! sink are no part of what is hurt.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use parti_nats::async_nats::jetstream::{self, Context};
use parti_nats::async_nats::{self, ConnectOptions, ServerAddr};
use parti_nats::consume::{Cursor, partition_of};
use parti_testing::rig::fenced_sink::{Call, Verdict};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

mod bench;
mod faults;
mod publisher;
mod sink_server;
mod verdict;

pub(super) use bench::{moves, take_overs};
pub(super) use faults::{alone, cluster};

use crate::group::{GROUP, Setup, Step, ensure, words};
use publisher::Publisher;
use sink_server::SinkServer;

/// The stream's name.
pub(super) const STREAM: &str = "ORDERS";
/// How long a request may take.
const REQUEST: Duration = Duration::from_secs(2);
/// How long the stream may take to be there: a cluster elects leaders first.
const CREATION: Duration = Duration::from_secs(30);
/// How long the rest of the messages may take when nothing is done to the group any more.
const REST: Duration = Duration::from_secs(60);

/// What is consumed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// What the stream keeps its messages by.
    pub(super) retention: &'static str,
    /// How many servers keep it.
    pub(super) replicas: usize,
    /// How many keys there are.
    pub(super) keys: usize,
    /// How many messages are published a second.
    pub(super) rate: usize,
}

/// Which positions were written under which token of a partition.
type Positions = BTreeMap<(u32, u64), BTreeSet<u64>>;

/// The stream of a group, its publisher and its sink.
pub(super) struct Consumption {
    pub(super) stream: Stream,
    partitions: u32,
    sink: SinkServer,
    positions: Arc<Mutex<Positions>>,
    publisher: Option<Publisher>,
    context: Context,
    /// Ends what runs on it.
    runtime: Runtime,
}

impl Consumption {
    /// Creates the stream on these servers, and listens.
    pub(super) fn start(url: &str, stream: Stream, setup: &Setup) -> Step<Self> {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(words("a runtime"))?;
        let context = runtime.block_on(connect(url))?;
        let partitions = u32::try_from(setup.partitions).unwrap_or(u32::MAX);
        let consumption = Self {
            stream,
            partitions,
            sink: SinkServer::start().map_err(words("the sink"))?,
            positions: Arc::default(),
            publisher: None,
            context,
            runtime,
        };
        consumption.create()?;
        consumption.runtime.block_on(consumption.watch())?;
        Ok(consumption)
    }

    /// The sink's address.
    pub(super) const fn sink(&self) -> SocketAddr {
        self.sink.address()
    }

    /// Begins to publish: from now on there is load.
    pub(super) fn publish(&mut self) {
        let context = self.context.clone();
        let publisher = Publisher::start(self.runtime.handle(), context, self.stream);
        self.publisher = Some(publisher);
    }

    /// Holds the publisher when everything that it has sent is stored; until what is answered is dropped.
    fn hold(&self) -> Option<publisher::Held> {
        let publisher = self.publisher.as_ref()?;
        Some(self.runtime.block_on(publisher.hold()))
    }

    /// Asks the server for something.
    fn ask(&self, method: &str, body: &Value) -> Step<Value> {
        let asked = self.context.request(method.to_owned(), body);
        let answer = self
            .runtime
            .block_on(async { timeout(REQUEST, asked).await });
        let answer = answer.map_err(words(method))?.map_err(words(method))?;
        let answer: Value = answer;
        ensure(answer.get("error").is_none(), || {
            format!("{method}: {answer}")
        })?;
        Ok(answer)
    }

    fn create(&self) -> Step<()> {
        let Stream {
            retention,
            replicas,
            ..
        } = self.stream;
        let config = json!({ "name": STREAM, "subjects": ["orders.>"], "storage": "file",
            "retention": retention, "num_replicas": replicas, "allow_direct": true });
        let deadline = Instant::now() + CREATION;
        loop {
            match self.ask(&format!("STREAM.CREATE.{STREAM}"), &config) {
                Ok(_) => return Ok(()),
                Err(reason) if Instant::now() > deadline => return Err(reason),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Writes down the positions that owners write, or try to.
    async fn watch(&self) -> Step<()> {
        let client = self.context.client();
        let subject = format!("$KV.parti_cursors_{STREAM}.{GROUP}.>");
        let writes = client.subscribe(subject).await;
        let mut writes = writes.map_err(words("the cursors"))?;
        let positions = Arc::clone(&self.positions);
        self.runtime.spawn(async move {
            while let Some(write) = writes.next().await {
                let last = write.subject.rsplit('.').next();
                let partition = last.and_then(|last| last.parse().ok());
                let cursor = Cursor::decode(&write.payload);
                if let (Some(partition), Ok(cursor)) = (partition, cursor) {
                    let place = (partition, cursor.owner.token);
                    let mut positions = locked(&positions);
                    positions.entry(place).or_default().insert(cursor.position);
                }
            }
        });
        Ok(())
    }

    /// How many calls there were.
    fn count(&self) -> usize {
        self.sink.look(|sink| sink.calls().len())
    }

    /// The calls since then.
    fn calls<T>(&self, since: usize, at: impl FnOnce(&[Call]) -> T) -> T {
        self.sink.look(|sink| at(&sink.calls()[since..]))
    }

    /// Whether every partition had something stored since then.
    fn flows(&self, since: usize) -> bool {
        self.calls(since, |calls| {
            let stored = calls.iter().filter(|call| call.verdict == Verdict::Stored);
            let partitions: BTreeSet<u32> = stored.map(|call| call.effect.partition).collect();
            partitions.len() == self.partitions as usize
        })
    }

    /// How many calls since then repeated something.
    fn repeats(&self, since: usize) -> usize {
        self.calls(since, |calls| {
            let repeats = calls.iter();
            repeats
                .filter(|call| call.verdict == Verdict::Repeated)
                .count()
        })
    }

    /// Stops publishing, waits for the rest, and says what is wrong.
    pub(super) fn end(&mut self) -> Vec<String> {
        let Some(publisher) = self.publisher.take() else {
            return vec!["nothing was published".to_owned()];
        };
        let published = match self.runtime.block_on(publisher.end()) {
            Ok(published) => published,
            Err(reason) => return vec![reason],
        };
        let all: usize = published.values().map(Vec::len).sum();
        let deadline = Instant::now() + REST;
        while self.sink.look(|sink| sink.stored()) < all as u64 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let positions = locked(&self.positions).clone();
        let of = |key: &str| partition_of(key, self.partitions);
        self.calls(0, |calls| verdict::of(calls, &published, &positions, of))
    }

    /// All calls, a line each, for people.
    pub(super) fn log(&self) -> String {
        self.calls(0, |calls| {
            let begun = calls.first().map(|call| call.at);
            let lines = calls.iter().map(|call| {
                let at = begun.map(|begun| call.at.duration_since(begun).as_micros());
                let (at, verdict) = (at.unwrap_or_default(), call.verdict.as_str());
                json!({ "at_us": at as u64, "effect": call.effect, "verdict": verdict }).to_string()
            });
            lines.collect::<Vec<_>>().join("\n")
        })
    }
}

async fn connect(url: &str) -> Step<Context> {
    let servers = url.split(',').map(str::parse);
    let servers: Vec<ServerAddr> = servers
        .collect::<Result<_, _>>()
        .map_err(words("the servers"))?;
    let options = ConnectOptions::new();
    let options = options.reconnect_delay_callback(|_| Duration::from_millis(50));
    let client = options.connect(servers).await;
    let client: async_nats::Client = client.map_err(words("a connection"))?;
    Ok(jetstream::new(client))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
