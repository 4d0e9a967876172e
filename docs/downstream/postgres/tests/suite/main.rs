//! What a backend of one's own has to show, on a real server: the suite, outages, histories, and a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parti::sources::StaticSource;
use parti::{Config, Manager, Preset, StopMode};
use parti_core::{Store, StoreErrorKind, StoreOp};
use parti_testing::kit::conformance::{self, Rig, Unable};
use parti_testing::kit::history::{Promise, check};
use parti_testing::kit::workload::{WorkloadOptions, run};
use postgres_backend::Postgres;

mod server;

use server::Server;

/// A server, if its programs are known. Else nothing is tested, and `cargo xtask downstream` says so.
macro_rules! server {
    () => {
        match Server::start() {
            Some(server) => server,
            None => return,
        }
    };
}

/// A backend that is held to less than the others is where groups break.
#[tokio::test]
async fn postgresql_meets_every_requirement_of_a_backend() {
    let (server, count) = (server!(), AtomicU32::new(0));
    let report = conformance::run(async || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        open(&server, &format!("case-{number}")).await
    })
    .await;
    assert!(report.is_ok(), "{report}");
}

/// A wrong word while it crashes, is frozen or comes back lets two workers believe that they lead.
#[tokio::test]
async fn postgresql_says_nothing_wrong_while_it_is_gone() {
    if Server::start().is_none() {
        return;
    }
    let report = conformance::run_outages(async || {
        let server = Server::start().expect("it started a moment ago");
        let store = open(&server, "outages").await;
        Outages { server, store }
    })
    .await;
    assert!(report.is_ok(), "{report}");
}

/// Clients that share nothing but the server, as processes do, must see one order of all writes.
#[tokio::test]
async fn what_many_clients_see_is_one_history() {
    let server = server!();
    let mut clients: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..4 {
        clients.push(Arc::new(open(&server, "history").await));
    }
    let options = WorkloadOptions {
        duration: Duration::from_secs(1),
        ..WorkloadOptions::default()
    };
    let history = run(clients, options, async {}).await.expect("it ends");
    assert_eq!(check(&history, Promise::default()), []);
}

/// A group whose records were deleted must be told from one that is new.
#[tokio::test]
async fn a_group_that_was_deleted_is_missing_and_another_one_is_another_history() {
    let server = server!();
    let store = open(&server, "g").await;
    let before = store.execute(StoreOp::Info).await.expect("it is there");
    let (client, connection) = server.connect().await;
    tokio::spawn(connection);
    let deleted = client.execute("DELETE FROM parti_bucket", &[]).await;
    assert_eq!(deleted.expect("deleted"), 1);
    let error = store.execute(StoreOp::Info).await.expect_err("no group");
    assert_eq!(error.kind, StoreErrorKind::Missing);
    let after = store.execute(StoreOp::Create).await.expect("created");
    assert_ne!(before, after);
}

/// The suite says what a store does; whether a group lives on it is seen with a group.
#[tokio::test]
async fn a_group_on_postgresql_gives_what_a_crash_left_to_the_one_that_lives() {
    let server = server!();
    let mut workers = Vec::new();
    for _ in 0..2 {
        let config = Config::builder("g")
            .preset(Preset::Fast)
            .expected_workers(2);
        let source = StaticSource::numbered("p", 6).expect("valid");
        let worker =
            Manager::with_tasks(config.build().expect("valid"), source, |guard| async move {
                guard.revoking().await;
                Ok(())
            });
        let store = open(&server, "g").await;
        workers.push(worker.store(store).start().await.expect("starts"));
    }
    let survivor = workers.pop().expect("two");
    until(|| survivor.assignment().len() == 3).await;
    // Dropping a manager is a crash: nothing is handed over.
    drop(workers);
    until(|| survivor.assignment().len() == 6).await;
    survivor.stop(StopMode::Handoff).await.expect("stops");
}

/// On a busy machine a new server may be slower than a request may be; creating twice changes nothing.
async fn open(server: &Server, group: &str) -> Postgres {
    let opening = async {
        loop {
            match Postgres::open(server.config(), group).await {
                Ok(store) => return store,
                Err(error) => eprintln!("again: {error}"),
            }
        }
    };
    let opened = tokio::time::timeout(Duration::from_secs(60), opening).await;
    opened.expect("within a minute")
}

async fn until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("within a minute");
}

struct Outages {
    server: Server,
    store: Postgres,
}

#[async_trait]
impl Rig for Outages {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn stop(&mut self) -> Result<(), Unable> {
        self.server.crash().map_err(failed)
    }

    async fn start(&mut self) -> Result<(), Unable> {
        self.server.recover().map_err(failed)
    }

    async fn freeze(&mut self) -> Result<(), Unable> {
        self.server.freeze().map_err(failed)
    }

    async fn thaw(&mut self) -> Result<(), Unable> {
        self.server.thaw().map_err(failed)
    }

    async fn recreate(&mut self) -> Result<(), Unable> {
        let (client, connection) = self.server.connect().await;
        tokio::spawn(connection);
        let deleted = client.execute("DELETE FROM parti_bucket", &[]).await;
        deleted.map_err(|error| Unable::Failed(error.to_string()))?;
        let created = self.store.execute(StoreOp::Create).await;
        created
            .map(drop)
            .map_err(|error| Unable::Failed(error.to_string()))
    }
}

fn failed(error: std::io::Error) -> Unable {
    Unable::Failed(error.to_string())
}
