//! What the worker does when it consumes a stream: each message is told to a sink, which answers whether it
//! is stored.
//!
//! It is separate because only some groups consume. What always holds: a message counts as handled only when
//! the sink has answered, and an older owner's call is never taken for stored.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use parti::HandlerError;
use parti::jetstream::{ConsumeError, PartitionMessage, Partitioned};
use parti::nats::async_nats::{self, ConnectOptions, ServerAddr};
use parti_testing::rig::fenced_sink::Effect;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long servers may take to elect leaders for what was just made.
const LEADERS: Duration = Duration::from_secs(20);

/// The consumption of the stream by the group.
pub(crate) async fn consume(
    (url, group): (&str, &str),
    stream: &str,
    sink: SocketAddr,
    partitions: u32,
) -> Result<Partitioned, Box<dyn Error>> {
    let servers = url.split(',').map(str::parse);
    let servers: Vec<ServerAddr> = servers.collect::<Result<_, _>>()?;
    let options = ConnectOptions::new();
    let options = options.reconnect_delay_callback(|_| Duration::from_millis(50));
    let context = async_nats::jetstream::new(options.connect(servers).await?);
    let sink = Arc::new(Sink {
        address: sink,
        idle: Mutex::default(),
    });
    let builder = || {
        let sink = Arc::clone(&sink);
        Partitioned::builder(context.clone(), stream)
            .group(group)
            .partitions(partitions)
            .transform(&format!("{}.*", stream.to_lowercase()))
            .retry_pauses(Duration::from_millis(20), Duration::from_millis(500))
            .attempts(u32::MAX)
            .on_message(move |message| {
                let sink = Arc::clone(&sink);
                async move { sink.tell(&message).await }
            })
    };
    let deadline = Instant::now() + LEADERS;
    loop {
        match builder().build().await {
            // Replicated cursors that were just made have no leader yet.
            Err(ConsumeError::Unavailable { .. }) if Instant::now() < deadline => {}
            built => return Ok(built?),
        }
    }
}

/// The way to the sink: partitions ask beside each other, each over a connection that is idle.
struct Sink {
    address: SocketAddr,
    idle: Mutex<Vec<BufReader<TcpStream>>>,
}

impl Sink {
    async fn tell(&self, message: &PartitionMessage) -> Result<(), HandlerError> {
        let key = message.subject().rsplit('.').next().unwrap_or_default();
        let number = std::str::from_utf8(message.payload())?.parse()?;
        let partition = message.partition();
        let (token, sequence) = (message.token().get(), message.sequence());
        let mut effect = Effect::new(partition, token, sequence, key, number);
        effect.may_repeat = message.may_repeat();
        let line = serde_json::to_string(&effect)? + "\n";
        let idle = self.idle().pop();
        let mut way = match idle {
            Some(way) => way,
            None => {
                let way = TcpStream::connect(self.address).await?;
                way.set_nodelay(true)?;
                BufReader::new(way)
            }
        };
        way.write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        way.read_line(&mut answer).await?;
        self.idle().push(way);
        match answer.trim() {
            "stored" | "repeated" => Ok(()),
            other => Err(HandlerError::new(format!("the sink says `{other}`"))),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<BufReader<TcpStream>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
