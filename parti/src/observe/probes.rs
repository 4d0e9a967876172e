//! An endpoint for orchestrators and scrapers: `/healthz`, `/readyz` and, with an exporter, `/metrics`.
//!
//! It is separate because a program with a web framework answers these with its own routes; the other ones
//! would write the same forty lines. What always holds: an answer is made from what is known at once, and no
//! client can keep others waiting or hold memory: heads, connections and times are bounded.
//!
//! ```no_run
//! # use parti::sources::StaticSource;
//! # use parti::{Config, Manager};
//! use parti::health::ProbeServer;
//!
//! # async fn run(builder: parti::ManagerBuilder) -> Result<(), Box<dyn std::error::Error>> {
//! // First of all: while the worker starts it is live and not ready.
//! let probes = ProbeServer::bind("0.0.0.0:8080").await?;
//! let worker = builder.start().await?;
//! probes.watch(worker.health_reader());
//! worker.run_until(tokio::signal::ctrl_c()).await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};

use crate::observe::health::Health;
#[cfg(feature = "prometheus")]
use crate::observe::prometheus::Exporter;

/// How long one request may take in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many requests are answered at once; what comes beside them is closed.
const CONNECTIONS: usize = 32;

/// The most bytes of a request's head.
const HEAD: usize = 8 << 10;

/// How often numbers are put in order that nobody has scraped.
const UPKEEP: Duration = Duration::from_secs(5);

/// Between two tries when the system gives no more connections.
const PAUSE: Duration = Duration::from_millis(50);

/// A running endpoint. Dropping it ends it.
///
/// | path | answer |
/// |---|---|
/// | `/healthz` | 200 as long as a restart would not help ([`Health::is_live`]), else 503 |
/// | `/readyz` | 200 while the worker takes part ([`Health::is_ready`]), else 503 |
/// | `/metrics` | the numbers of an exporter, or 404 |
///
/// The body of a probe is a line per condition, for people. As long as it watches no worker it is live and
/// not ready.
pub struct ProbeServer {
    address: SocketAddr,
    served: Arc<Served>,
    task: JoinHandle<()>,
}

/// What is looked at for an answer.
#[derive(Default)]
struct Served {
    health: OnceLock<Box<dyn Fn() -> Health + Send + Sync>>,
    #[cfg(feature = "prometheus")]
    exporter: OnceLock<Exporter>,
}

impl ProbeServer {
    /// Listens at an address such as `0.0.0.0:8080`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the system does not give the address; nothing is left behind.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves nothing behind. It is bounded by what the system takes to look up a name.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let served = Arc::new(Served::default());
        let task = tokio::spawn(serve(listener, Arc::clone(&served)));
        Ok(Self {
            address,
            served,
            task,
        })
    }

    /// Answers probes for a worker from now on, as a rule with
    /// [`Manager::health_reader`](crate::Manager::health_reader). The first one stays.
    pub fn watch(&self, health: impl Fn() -> Health + Send + Sync + 'static) {
        let _ = self.served.health.set(Box::new(health));
    }

    /// Answers `/metrics` with these numbers, and keeps them in order. The first one stays.
    #[cfg(feature = "prometheus")]
    pub fn metrics(&self, exporter: Exporter) {
        let _ = self.served.exporter.set(exporter);
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ProbeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for ProbeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

async fn serve(listener: TcpListener, served: Arc<Served>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut upkeep = interval(UPKEEP);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = upkeep.tick() => {
                served.keep_up();
                continue;
            }
        };
        let Ok((stream, _)) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            // A client that is slow or gone gets nothing, and is no business of ours.
            let _ = timeout(PATIENCE, converse(stream, &served)).await;
            drop(place);
        });
    }
}

/// Reads one request and answers it.
async fn converse(mut stream: TcpStream, served: &Served) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let answer = served.answer(&String::from_utf8_lossy(line));
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

impl Served {
    /// The whole answer to a request by its first line.
    fn answer(&self, line: &str) -> String {
        let mut words = line.split(' ');
        let (method, target) = (words.next(), words.next().unwrap_or_default());
        let (status, body) = match method {
            Some("GET" | "HEAD") => self.look(target.split('?').next().unwrap_or_default()),
            _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
        };
        let length = body.len();
        let body = if method == Some("HEAD") { "" } else { &body };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    }

    fn look(&self, path: &str) -> (&'static str, String) {
        match path {
            "/healthz" => self.probe(Health::is_live, true),
            "/readyz" => self.probe(Health::is_ready, false),
            #[cfg(feature = "prometheus")]
            "/metrics" if self.exporter.get().is_some() => {
                let numbers = self.exporter.get().map(Exporter::render);
                ("200 OK", numbers.unwrap_or_default())
            }
            _ => ("404 Not Found", "no such page\n".to_owned()),
        }
    }

    fn probe(&self, is_well: fn(&Health) -> bool, at_first: bool) -> (&'static str, String) {
        let (well, body) = match self.health.get() {
            None => (at_first, "starting\n".to_owned()),
            Some(health) => {
                let health = health();
                (is_well(&health), health.to_string())
            }
        };
        let status = if well {
            "200 OK"
        } else {
            "503 Service Unavailable"
        };
        (status, body)
    }

    fn keep_up(&self) {
        #[cfg(feature = "prometheus")]
        if let Some(exporter) = self.exporter.get() {
            exporter.run_upkeep();
        }
    }
}

#[cfg(test)]
mod tests;
