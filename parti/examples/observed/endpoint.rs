//! `/metrics`, `/healthz` and `/readyz`, with a web framework as any program would.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::routing::{Router, get};
use parti::health::Health;
use parti::prometheus::Exporter;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How often numbers are put in order that nobody has scraped.
const UPKEEP: Duration = Duration::from_secs(5);

/// A running endpoint. Dropping it ends it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves the numbers of an exporter and a health; port 0 takes a free one.
pub(crate) async fn serve(
    listen: SocketAddr,
    exporter: Exporter,
    health: impl Fn() -> Health + Clone + Send + Sync + 'static,
) -> io::Result<Server> {
    let (rendered, live, ready) = (exporter.clone(), health.clone(), health);
    let router = Router::new()
        .route("/metrics", get(move || async move { rendered.render() }))
        .route(
            "/healthz",
            get(move || async move { probe(live(), Health::is_live) }),
        )
        .route(
            "/readyz",
            get(move || async move { probe(ready(), Health::is_ready) }),
        );
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        tokio::select! {
            served = axum::serve(listener, router) => {
                if let Err(error) = served {
                    eprintln!("the endpoint ended: {error}");
                }
            }
            () = keep_up(&exporter) => {}
        }
    });
    Ok(Server { address, task })
}

/// What an orchestrator acts on is the status; the body is for people.
fn probe(health: Health, well: fn(&Health) -> bool) -> (StatusCode, Json<Health>) {
    let status = if well(&health) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health))
}

async fn keep_up(exporter: &Exporter) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        exporter.run_upkeep();
    }
}
