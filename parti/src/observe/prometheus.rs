//! An exporter for Prometheus, and an HTTP endpoint for it and for health probes.
//!
//! It is separate and behind the feature `prometheus` because a program that exports its metrics
//! already needs only [`metrics`](crate::observe::metrics). What always holds: nothing here is needed by a
//! manager; without it the numbers go nowhere.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Before the first manager is built:
//! let server = parti::prometheus::serve("127.0.0.1:0".parse()?).await?;
//! println!("http://{}/metrics", server.address());
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::observe::health::Health;
use crate::observe::http::{Answer, Route, Routes, accept, plain};
use crate::observe::instrument::Instruments;

/// The upper bounds of histogram buckets, in seconds: from a local call to a long outage.
pub const BUCKETS: [f64; 16] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0,
];

/// How often samples are moved into their buckets, so that they do not pile up when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why nothing is exported or served. Nothing was left behind, except that the exporter stays
/// installed when only the address could not be bound.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The process has another recorder already; in words.
    Install(String),
    /// The address could not be bound.
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install(reason) => write!(
                f,
                "the exporter could not be installed: {reason}; a process has one recorder"
            ),
            Self::Bind { address, error } => write!(f, "{address} could not be bound: {error}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Install(_) => None,
            Self::Bind { error, .. } => Some(error),
        }
    }
}

/// Installs the exporter and serves `/metrics` on an address; port 0 takes a free one.
///
/// # Errors
/// [`ServeError`].
///
/// # Cancellation safety
/// Dropping the future leaves the exporter installed and the address free. As for every binding, there
/// is no deadline; it does not wait for anybody.
pub async fn serve(address: SocketAddr) -> Result<Server, ServeError> {
    Exporter::install()?.endpoint().serve(address).await
}

/// The recorder of this process, which keeps the numbers until they are scraped. Clones share it.
#[derive(Clone)]
pub struct Exporter(PrometheusHandle);

impl Exporter {
    /// Makes this the recorder of the process. Managers built before it are not measured.
    ///
    /// # Errors
    /// [`ServeError::Install`] when there is one already.
    pub fn install() -> Result<Self, ServeError> {
        let refused = |error: &dyn fmt::Display| ServeError::Install(error.to_string());
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS);
        let recorder = builder.map_err(|error| refused(&error))?.build_recorder();
        let handle = recorder.handle();
        ::metrics::set_global_recorder(recorder).map_err(|error| refused(&error))?;
        Instruments::describe();
        Ok(Self(handle))
    }

    /// The numbers in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// An endpoint that serves them under `/metrics`.
    pub fn endpoint(&self) -> Endpoint {
        let exporter = self.clone();
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        let render = move || Answer {
            status: 200,
            kind,
            body: exporter.render(),
        };
        Endpoint {
            exporter: self.clone(),
            routes: vec![("/metrics".to_owned(), Box::new(render))],
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

/// What is served beside `/metrics`.
#[must_use = "it serves nothing until `serve`"]
pub struct Endpoint {
    exporter: Exporter,
    routes: Vec<Route>,
}

impl Endpoint {
    /// Serves a health as `/healthz`, for liveness, and `/readyz`, for readiness: status 200 or 503,
    /// and the conditions as text, one a line. As a rule: `move || manager.health()`.
    pub fn health(mut self, health: impl Fn() -> Health + Clone + Send + Sync + 'static) -> Self {
        let probe =
            |health: &Health, well: bool| plain(if well { 200 } else { 503 }, health.to_string());
        let live = health.clone();
        let live = move || {
            let health = live();
            probe(&health, health.is_live())
        };
        let ready = move || {
            let health = health();
            probe(&health, health.is_ready())
        };
        self.routes.push(("/healthz".to_owned(), Box::new(live)));
        self.routes.push(("/readyz".to_owned(), Box::new(ready)));
        self
    }

    /// Binds an address and serves it until the answer is dropped; port 0 takes a free one.
    ///
    /// There is neither encryption nor authentication: bind an address that only scrapers and probes
    /// reach.
    ///
    /// # Errors
    /// [`ServeError::Bind`].
    ///
    /// # Cancellation safety
    /// Dropping the future leaves the address free. As for every binding, there is no deadline; it does
    /// not wait for anybody. Each request is bounded by 10 s.
    pub async fn serve(self, address: SocketAddr) -> Result<Server, ServeError> {
        let failed = |error| ServeError::Bind { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let serving = accept(listener, Routes::new(self.routes));
        let exporter = self.exporter;
        let task = tokio::spawn(async move {
            tokio::select! {
                () = serving => {}
                () = keep_up(&exporter) => {}
            }
        });
        Ok(Server { address, task })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<&str> = self.routes.iter().map(|(path, _)| path.as_str()).collect();
        f.debug_struct("Endpoint")
            .field("paths", &paths)
            .finish_non_exhaustive()
    }
}

/// A running endpoint. Dropping it ends it.
#[derive(Debug)]
#[must_use = "dropping it ends it"]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// The address it serves.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_up(exporter: &Exporter) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        exporter.0.run_upkeep();
    }
}
