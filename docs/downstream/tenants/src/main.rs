//! A polling job per tenant. Tenants are rows of a table; each is polled by exactly one process, and those
//! that come or go are taken up within seconds. Run as many as wanted on one machine:
//!
//! `TENANTS_DB=tenants.db GROUP_DB=group.db PARTI_GROUP=tenants tenants`

use std::error::Error;
use std::time::Duration;

use parti::config::Settings;
use parti::fence::sqlite::rusqlite::{Connection, params};
use parti::fence::sqlite::{prepare, write_as_owner};
use parti::sources::{SourceError, source_fn};
use parti::{Guard, HandlerError, Manager, Partition};
use tokio::signal::unix::{SignalKind, signal};

/// Between two polls of a tenant.
const EVERY: Duration = Duration::from_millis(100);

/// How soon a tenant that was added is polled, and one that was removed is not.
const REFRESH: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let (file, group) = (std::env::var("TENANTS_DB")?, std::env::var("GROUP_DB")?);
    prepare(&Connection::open(&file)?)?;
    let list = file.clone();
    let source = source_fn(move || std::future::ready(tenants(&list)));
    let config = Settings::from_env("PARTI")?.to_builder()?;
    let config = config.refresh_interval(REFRESH).build()?;
    let worker = Manager::with_tasks(config, source, move |guard| poll(file.clone(), guard));
    let worker = worker.sqlite(group).start().await?;
    let mut terminate = signal(SignalKind::terminate())?;
    worker.run_until(terminate.recv()).await?;
    Ok(())
}

/// All tenants, or an error: half a list would end the jobs of the other half.
fn tenants(file: &str) -> Result<Vec<Partition>, SourceError> {
    let read = || -> Result<Vec<Partition>, Box<dyn Error>> {
        let database = Connection::open(file)?;
        let mut select = database.prepare("SELECT name FROM tenants")?;
        let names = select.query_map([], |row| row.get::<_, String>(0))?;
        names.map(|name| Ok(Partition::new([name?])?)).collect()
    };
    read().map_err(|error| SourceError::Unavailable(error.to_string()))
}

/// Polls one tenant for as long as it is this process's.
async fn poll(file: String, guard: Guard) -> Result<(), HandlerError> {
    let mut database = Connection::open(file)?;
    let tenant = guard.partition().to_string();
    while !guard.is_revoking() {
        // Here the tenant's system would be asked for what is new since the position.
        write_as_owner(&mut database, &guard, |change| {
            let sql = "UPDATE tenants SET position = position + 1, process = ?2 WHERE name = ?1";
            change.execute(sql, params![tenant, std::process::id()])
        })?;
        tokio::select! {
            () = guard.revoking() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    Ok(())
}
