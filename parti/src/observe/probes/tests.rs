//! The endpoint as an orchestrator sees it.

use super::*;
use crate::observe::health::{Condition, HealthCode};

/// The status and the body of a path.
async fn get(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("{request} HTTP/1.1\r\nHost: worker\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    let read = timeout(Duration::from_secs(60), read).await;
    read.expect("it answers").expect("and closes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    (status.expect("a status"), body.to_owned())
}

fn ill(code: HealthCode) -> Health {
    let condition = Condition {
        code,
        lasting: None,
        detail: String::new(),
    };
    Health {
        conditions: vec![condition],
    }
}

/// An orchestrator that kills a worker because it takes long to start never sees it run.
#[tokio::test]
async fn a_worker_that_starts_is_live_and_not_ready() {
    let server = ProbeServer::bind("127.0.0.1:0").await.expect("binds");
    let address = server.address();
    assert_eq!(
        get(address, "GET /healthz").await,
        (200, "starting\n".to_owned())
    );
    assert_eq!(get(address, "GET /readyz").await.0, 503);
    server.watch(Health::default);
    assert_eq!(
        get(address, "GET /readyz?verbose").await,
        (200, "ok\n".to_owned())
    );
}

/// A lost lease is repaired by waiting; a restart would cost the slot as well.
#[tokio::test]
async fn only_a_dead_worker_is_restarted_and_only_a_working_one_is_ready() {
    let cases = [
        (HealthCode::LeaseLost, 200, 503),
        (HealthCode::DriverFailed, 503, 503),
        (HealthCode::StoreUnreachable, 200, 200),
    ];
    for (code, live, ready) in cases {
        let server = ProbeServer::bind("127.0.0.1:0").await.expect("binds");
        server.watch(move || ill(code));
        let address = server.address();
        let (status, body) = get(address, "GET /healthz").await;
        assert_eq!((status, body), (live, format!("{code}\n")));
        assert_eq!(get(address, "GET /readyz").await.0, ready, "{code}");
    }
}

/// What scans ports must not bring a worker down, nor be told what is not there.
#[tokio::test]
async fn what_is_no_probe_is_turned_away() {
    let server = ProbeServer::bind("127.0.0.1:0").await.expect("binds");
    let address = server.address();
    assert_eq!(get(address, "GET /metrics").await.0, 404);
    assert_eq!(get(address, "POST /healthz").await.0, 405);
    assert_eq!(get(address, "").await.0, 405);
    let long = format!("GET /{}", "a".repeat(HEAD));
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(long.as_bytes()).await.expect("it reads");
    assert_eq!(get(address, "HEAD /healthz").await, (200, String::new()));
}

/// One client that says nothing must not keep a probe waiting until the worker is killed.
#[tokio::test]
async fn silent_clients_keep_nobody_waiting_and_are_closed() {
    let server = ProbeServer::bind("127.0.0.1:0").await.expect("binds");
    let address = server.address();
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS - 1 {
        silent.push(TcpStream::connect(address).await.expect("it listens"));
    }
    assert_eq!(get(address, "GET /healthz").await.0, 200);
    let mut end = Vec::new();
    let closed = silent[0].read_to_end(&mut end);
    let closed = timeout(Duration::from_secs(60), closed).await;
    assert_eq!(closed.expect("it is closed").unwrap_or(0), 0);
}
