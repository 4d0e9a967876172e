//! A polling job per tenant with a warm-up: what a tenant needs takes long to load, so a process that is to
//! take it over loads it while the present owner still polls. Run as many as wanted on one machine:
//!
//! `TENANTS_DB=tenants.db GROUP_DB=group.db PARTI_GROUP=tenants warm`

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parti::config::Settings;
use parti::fence::sqlite::rusqlite::{Connection, params};
use parti::fence::sqlite::{prepare, write_as_owner};
use parti::sources::{SourceError, source_fn};
use parti::{Guard, HandlerError, Manager, Partition, PartitionHandler, PartitionKey};
use parti::{Preparation, RevokeCause, async_trait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

/// Between two polls of a tenant.
const EVERY: Duration = Duration::from_millis(50);

/// How long it takes to load what a tenant needs. Half a minute is common; `prepare_timeout` bounds it.
const LOAD: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let (file, group) = (std::env::var("TENANTS_DB")?, std::env::var("GROUP_DB")?);
    prepare(&Connection::open(&file)?)?;
    let list = file.clone();
    let source = source_fn(move || std::future::ready(tenants(&list)));
    let config = Settings::from_env("PARTI")?.to_builder()?.build()?;
    let jobs = Jobs {
        file,
        loaded: Mutex::default(),
        running: Mutex::default(),
    };
    let worker = Manager::builder(config, source, jobs).sqlite(group);
    let worker = worker.start().await?;
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

/// What is kept of a tenant in memory: everything up to a position.
struct Tenant {
    position: u64,
}

impl Tenant {
    /// Reads only: another process may own the tenant and write.
    async fn load(file: &str, name: &str) -> Result<Self, HandlerError> {
        let sql = "SELECT position FROM tenants WHERE name = ?1";
        let position = Connection::open(file)?.query_row(sql, [name], |row| row.get(0))?;
        // Here its history up to the position would be read.
        tokio::time::sleep(LOAD).await;
        Ok(Self { position })
    }
}

struct Jobs {
    file: String,
    loaded: Mutex<BTreeMap<PartitionKey, Tenant>>,
    running: Mutex<BTreeMap<PartitionKey, JoinHandle<Result<(), HandlerError>>>>,
}

#[async_trait]
impl PartitionHandler for Jobs {
    fn prepares(&self) -> bool {
        true
    }

    async fn on_prepare(&self, key: &PartitionKey, _: Preparation) -> Result<(), HandlerError> {
        let tenant = Tenant::load(&self.file, &key.to_string()).await?;
        lock(&self.loaded).insert(key.clone(), tenant);
        Ok(())
    }

    async fn on_prepare_cancelled(&self, key: &PartitionKey, _: Preparation) {
        lock(&self.loaded).remove(key);
    }

    async fn on_assigned(&self, key: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        let loaded = lock(&self.loaded).remove(key);
        let job = tokio::spawn(poll(self.file.clone(), loaded, guard));
        lock(&self.running).insert(key.clone(), job);
        Ok(())
    }

    async fn on_revoked(&self, key: &PartitionKey, _: Guard, _: RevokeCause) {
        let job = lock(&self.running).remove(key);
        if let Some(job) = job
            && let Ok(Err(error)) = job.await
        {
            eprintln!("the job of {key}: {error}");
        }
    }
}

/// Polls one tenant for as long as it is this process's.
async fn poll(file: String, loaded: Option<Tenant>, guard: Guard) -> Result<(), HandlerError> {
    let name = guard.partition().to_string();
    let mut tenant = match loaded {
        Some(tenant) => tenant,
        // What has no owner comes at once, such as after a crash: nobody would be served by waiting.
        None => Tenant::load(&file, &name).await?,
    };
    let mut database = Connection::open(file)?;
    while !guard.is_revoking() {
        // Here what came since the position would be read, from the present owner's last polls as well.
        let sql = "UPDATE tenants SET position = position + 1, process = ?2,
                   behind = max(behind, position - ?3) WHERE name = ?1 RETURNING position";
        let known = tenant.position;
        let polled = write_as_owner(&mut database, &guard, |change| {
            let values = params![name, std::process::id(), known];
            change.query_row(sql, values, |row| row.get(0))
        });
        // A database that is busy is tried again, and an owner of the past is about to be told.
        match polled {
            Ok(position) => tenant.position = position,
            Err(error) => eprintln!("{name}: {error}"),
        }
        tokio::select! {
            () = guard.revoking() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    Ok(())
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
