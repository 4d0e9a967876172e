//! The order service as production runs it: two processes on a real server, one of which is killed.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parti::GroupName;
use parti::directory::{Change, Directory};
use parti::fence::sqlite::rusqlite::Connection;
use parti::nats::async_nats::{self, jetstream};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use parti_testing::rig::process::OwnProcess;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// How many keys the orders have.
const KEYS: usize = 20;

/// A service that loses, repeats or reorders what it books is why people look for a library.
#[tokio::test(flavor = "multi_thread")]
async fn each_order_is_booked_once_and_in_order_although_a_process_is_killed() {
    let server = NatsServer::start(ServerOptions::default()).expect("a server");
    let folder = Folder::new("service");
    let database = folder.0.join("orders.db");
    let context = orders_stream(&server.url()).await;
    let first = Service::start(&server.url(), &database, &[]);
    first.until_ready();
    let mut second = Service::start(&server.url(), &database, &[]);
    second.until_ready();
    publish(&context, 0..10).await;
    until("the first orders are booked", || {
        booked(&database) == 10 * KEYS
    });
    first.process.kill().expect("killed");
    publish(&context, 10..20).await;
    until("the others are booked", || booked(&database) == 20 * KEYS);

    let (status, numbers) = second.get("/metrics").expect("it answers");
    assert!(
        status == 200 && numbers.contains("parti_assigned_partitions"),
        "{numbers}"
    );
    assert_eq!(second.get("/healthz").expect("it answers").0, 200);
    second.process.terminate().expect("asked to end");
    assert!(second.process.wait().expect("ends").success());
    for key in 0..KEYS {
        let numbers = numbers_of(&database, key);
        assert_eq!(numbers, (0..20).collect::<Vec<_>>(), "of key {key}");
    }
}

/// A rollout that moves partitions twice makes an incident of every deployment.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_of_workers_that_hold_their_slots_moves_nothing() {
    let server = NatsServer::start(ServerOptions::default()).expect("a server");
    let folder = Folder::new("rollout");
    let database = folder.0.join("orders.db");
    orders_stream(&server.url()).await;
    // What docs/deploy/statefulset.yaml sets.
    let start = |number: u32| {
        let name = format!("orders-{number}");
        let held = [
            ("PARTI_EXPECTED_WORKERS", "2"),
            ("PARTI_WORKER_ID_PREFIX", "orders"),
            ("PARTI_WORKER_ID_HINT", &name),
            ("PARTI_PREDECESSOR_IS_DEAD", "true"),
            ("HOLD_SECONDS", "60"),
        ];
        Service::start(&server.url(), &database, &held)
    };
    let mut workers = [start(0), start(1)];
    for worker in &workers {
        worker.until_owns(8);
    }
    let group = GroupName::new("orders").expect("valid");
    let directory = Directory::nats(&server.url(), &group).await.expect("opens");
    directory.wait_for(|known| known.owners().len() == 16).await;
    let mut changes = directory.changes();
    for number in [1, 0] {
        let leaving = &mut workers[number as usize].process;
        leaving.terminate().expect("asked to end");
        assert!(leaving.wait().expect("ends").success());
        workers[number as usize] = start(number);
        workers[number as usize].until_owns(8);
    }
    directory.wait_for(|known| known.owners().len() == 16).await;
    drop(directory);
    let mut owners = BTreeMap::new();
    while let Some(change) = changes.next().await {
        if let Change::Owner {
            partition,
            from,
            to,
        } = change
        {
            let worker = to.map(|(worker, _)| worker).or(from);
            let before = owners.insert(partition.clone(), worker.clone());
            let moved = before.is_some_and(|before| before != worker);
            assert!(!moved, "{partition} is of {worker:?} now");
        }
    }
}

/// A running process of the service.
struct Service {
    process: OwnProcess,
    listen: SocketAddr,
}

impl Service {
    fn start(url: &str, database: &Path, settings: &[(&str, &str)]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let listen = free.expect("a free port");
        let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
        command.env("NATS_URL", url).env("ORDERS_DB", database);
        command
            .env("LISTEN", listen.to_string())
            .stdout(Stdio::null());
        command.envs([("PARTI_GROUP", "orders"), ("PARTI_PRESET", "fast")]);
        command.envs(settings.iter().copied());
        let process = OwnProcess::spawn(&mut command).expect("starts");
        Self { process, listen }
    }

    fn until_ready(&self) {
        until("the service is ready", || {
            self.get("/readyz").is_ok_and(|(status, _)| status == 200)
        });
    }

    fn until_owns(&self, partitions: usize) {
        let wanted = format!("parti_assigned_partitions{{group=\"orders\"}} {partitions}");
        until(&wanted, || {
            self.get("/metrics")
                .is_ok_and(|(_, numbers)| numbers.lines().any(|line| line == wanted))
        });
    }

    fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.listen)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Ok((status.unwrap_or_default(), answer))
    }
}

async fn orders_stream(url: &str) -> jetstream::Context {
    let client = async_nats::connect(url).await.expect("connects");
    let context = jetstream::new(client);
    let stream = jetstream::stream::Config {
        name: "ORDERS".to_owned(),
        subjects: vec!["orders.*".to_owned()],
        ..Default::default()
    };
    context.create_stream(stream).await.expect("a stream");
    context
}

/// Publishes these numbers for each key.
async fn publish(context: &jetstream::Context, numbers: std::ops::Range<u32>) {
    for number in numbers {
        for key in 0..KEYS {
            let subject = format!("orders.key-{key}");
            let sent = context.publish(subject, number.to_string().into()).await;
            sent.expect("sent").await.expect("stored");
        }
    }
}

fn booked(database: &Path) -> usize {
    let rows = Connection::open(database)
        .and_then(|rows| rows.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)));
    rows.unwrap_or(0)
}

/// What was booked for a key, in the order in which it was.
fn numbers_of(database: &Path, key: usize) -> Vec<u32> {
    let rows = Connection::open(database).expect("opens");
    let sql = "SELECT CAST(body AS TEXT) FROM orders WHERE subject LIKE ?1 ORDER BY sequence";
    let mut query = rows.prepare(sql).expect("a query");
    let found = query.query_map([format!("%.key-{key}")], |row| row.get::<_, String>(0));
    let texts = found.expect("rows").map(|row| row.expect("a row"));
    texts.map(|text| text.parse().expect("a number")).collect()
}

fn until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder that is removed again.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("parti-orders-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
