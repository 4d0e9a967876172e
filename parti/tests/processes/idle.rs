//! What a group costs that has nothing to do.

use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use futures_util::StreamExt as _;
use parti::nats::async_nats;

use super::{Group, LIMIT, Place, shares_are};

/// Idle polling once cost a fleet thousands of requests an hour; here it is one write a heartbeat.
#[test]
fn an_idle_group_costs_one_request_a_worker_and_heartbeat() {
    let group = Group::start("fast", 5);
    group.until("an even share", |lives| {
        shares_are(lives, &[20, 20, 20, 20, 20])
    });
    // The last acknowledgements and the first reconcile are not idling.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let client = async_nats::connect(group.server().url()).await;
        let client = client.expect("connects");
        let heard = client.subscribe("$KV.parti_demo.w.*").await;
        let mut heard = heard.expect("listens");
        client.flush().await.expect("is sent");
        let mut renewals = async |count: u32| {
            for _ in 0..count {
                let next = tokio::time::timeout(LIMIT, heard.next()).await;
                next.expect("in time").expect("a renewal");
            }
        };
        renewals(30).await;
        let before = requests(&group);
        let count = 150;
        renewals(count).await;
        let requests = requests(&group) - before;
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let ratio = requests as f64 / f64::from(count);
        eprintln!("{requests} requests for {count} heartbeats, {ratio:.2} each");
        assert!(ratio > 0.9, "it is not being counted: {ratio}");
        assert!(ratio < 1.25, "{ratio} requests a heartbeat");
    });
}

/// How many messages clients have sent to the server.
fn requests(group: &Group) -> u64 {
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(irrefutable_let_patterns, reason = "no other place")
    )]
    let Place::Server(_, port) = group.place else {
        panic!("a file tells nothing of itself");
    };
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("http");
    let request = b"GET /varz HTTP/1.0\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let varz: serde_json::Value = serde_json::from_str(body).expect("JSON");
    varz["in_msgs"].as_u64().expect("a number")
}
