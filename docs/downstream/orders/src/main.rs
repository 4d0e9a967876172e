//! The order service: JetStream in, SQLite with a fence out, with probes and metrics. Run as many as wanted:
//!
//! `NATS_URL=nats://127.0.0.1:4222 ORDERS_DB=orders.db LISTEN=0.0.0.0:8080 PARTI_GROUP=orders orders`
//!
//! Each order is booked once and in the order of its key, whatever crashes: the token refuses owners of the
//! past, and the sequence in the stream is the primary key. With `HOLD_SECONDS` it leaves its slot to a
//! replacement of the same name instead of handing its partitions over.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use parti::fence::sqlite::{prepare, rusqlite::Connection, write_as_owner};
use parti::jetstream::{PartitionMessage, Partitioned};
use parti::nats::async_nats::{connect, jetstream};
use parti::{HandlerError, Manager, StopMode};
use parti::{config::Settings, health::ProbeServer, prometheus::Exporter};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let probes = ProbeServer::bind(std::env::var("LISTEN")?).await?;
    probes.metrics(Exporter::install()?);
    let url = std::env::var("NATS_URL")?;
    let database = Arc::new(Mutex::new(open(&std::env::var("ORDERS_DB")?)?));
    let context = jetstream::new(connect(&url).await?);
    let orders = Partitioned::builder(context, "ORDERS")
        .partitions(16)
        .transform("orders.*")
        .measure_lag(Duration::from_secs(15))
        .on_message(move |order| {
            let database = Arc::clone(&database);
            async move { tokio::task::block_in_place(|| book(&database, &order)) }
        })
        .build()
        .await?;
    let config = Settings::from_env("PARTI")?.build()?;
    let worker = Manager::builder(config, orders.source(), orders);
    let worker = worker.nats(&url).start().await?;
    probes.watch(worker.health_reader());
    let mut terminate = signal(SignalKind::terminate())?;
    // A pod of a StatefulSet comes back under its name; one of a Deployment does not.
    let leaving = match std::env::var("HOLD_SECONDS") {
        Ok(hold) => StopMode::Restart {
            hold: Duration::from_secs(hold.parse()?),
        },
        Err(_) => StopMode::Handoff,
    };
    worker.run_until_with(terminate.recv(), leaving).await?;
    Ok(())
}

fn open(path: &str) -> Result<Connection, Box<dyn Error>> {
    let database = Connection::open(path)?;
    prepare(&database)?;
    let table = "CREATE TABLE IF NOT EXISTS orders (sequence INTEGER PRIMARY KEY, subject, body)";
    database.execute_batch(table)?;
    Ok(database)
}

fn book(database: &Mutex<Connection>, order: &PartitionMessage) -> Result<(), HandlerError> {
    let mut database = database.lock().unwrap_or_else(PoisonError::into_inner);
    write_as_owner(&mut database, order.guard(), |change| {
        let row = (order.sequence(), order.subject(), order.payload());
        change.execute("INSERT OR IGNORE INTO orders VALUES (?1, ?2, ?3)", row)
    })?;
    Ok(())
}
