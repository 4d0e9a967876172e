//! What requests without an answer leave behind in the client: nothing.
//!
//! A program of its own, since it looks at the memory of its process.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use futures_util::future::join_all;
use parti_core::{GroupName, Store, StoreErrorKind, StoreOp};
use parti_nats::{NatsOptions, NatsStore};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use parti_testing::rig::proxy::{Direction, Proxy};
use tokio::time::{Instant, sleep};

/// How many subscriptions the server has, over all its clients.
fn subscriptions(monitor: SocketAddr) -> u64 {
    let mut stream = TcpStream::connect(monitor).expect("the server's monitor");
    let request = b"GET /subsz HTTP/1.0\r\n\r\n";
    stream.write_all(request).expect("is sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (_, body) = text.split_once("\r\n\r\n").expect("a body");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let count = body["num_subscriptions"].as_u64();
    count.expect("a number of subscriptions")
}

/// What the process has in memory, in kB; 0 where that is not told.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The client keeps each request of its own kind that is never answered for ever: a store that flaps for
/// weeks takes the memory of every worker.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_that_is_never_answered_is_kept() {
    const FLAPS: u64 = 60;
    const AT_ONCE: usize = 400;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    let monitor = free.expect("a free port");
    let options = ServerOptions::default().config(&format!("http: \"{monitor}\""));
    let server = NatsServer::start(options).unwrap_or_else(|error| panic!("{error}"));
    let proxy = Proxy::start(server.address(), 7).expect("a proxy");
    let hasty = NatsOptions::default().request_timeout(Duration::from_millis(50));
    let group = GroupName::new("orders").expect("valid");
    let store = NatsStore::connect(&proxy.url(), &group, hasty).await;
    let store = store.expect("opens");
    let begin = subscriptions(monitor);
    let (mut unanswered, mut before) = (0, 0);
    for flap in 0..FLAPS {
        if flap == FLAPS / 3 {
            before = resident();
        }
        // The server gets the requests of every other flap, and its answers go nowhere.
        let lost = [Direction::ToServer, Direction::ToClient];
        proxy.hold(lost[usize::from(flap % 2 == 0)]);
        let asked = (0..AT_ONCE).map(|_| store.execute(StoreOp::Info));
        let unknown = join_all(asked).await.into_iter().filter(|answer| {
            let error = answer.as_ref().err();
            error.is_some_and(|error| error.kind == StoreErrorKind::Unknown)
        });
        unanswered += unknown.count();
        // What is held is lost with the connection.
        proxy.reset();
        proxy.heal();
        until("it answers again", async || {
            store.execute(StoreOp::Info).await.is_ok()
        })
        .await;
    }
    assert!(unanswered > 10_000, "{unanswered} were not answered");
    // One inbox for each request that was made side by side with others stays for the next ones.
    until("the server has forgotten them", async || {
        subscriptions(monitor) <= begin + 32
    })
    .await;
    let grown = resident().saturating_sub(before);
    println!("{unanswered} unanswered requests, {grown} kB more in the last two thirds");
    // The client's own requests kept 400 bytes each, so about 6 MB of these.
    assert!(grown < 3000, "{grown} kB of {unanswered} requests are left");
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
