//! Three nodes on a real server: any of them leads to a key's owner, and others load what a dead one had.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use parti_testing::rig::process::OwnProcess;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Two nodes with a copy each of one key answer differently; a node that dies must not take its keys along.
#[test]
fn any_node_leads_to_the_one_owner_of_a_key_and_a_dead_one_is_replaced() {
    let server = NatsServer::start(ServerOptions::default()).expect("a server");
    let mut nodes: Vec<_> = (0..3).map(|_| Node::start(&server.url())).collect();
    let keys: Vec<String> = (0..100).map(|number| format!("key-{number}")).collect();
    let owners = || -> Option<BTreeMap<&String, String>> {
        keys.iter()
            .map(|key| Some((key, nodes[0].value(key)?)))
            .collect()
    };
    let loaders = |values: &BTreeMap<&String, String>| {
        let mut pids: Vec<_> = values
            .values()
            .filter_map(|value| value.rsplit(' ').next())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids.len()
    };
    until("three nodes answer", || {
        owners().is_some_and(|values| loaders(&values) == 3)
    });
    let before = owners().expect("all are answered");
    for node in &nodes {
        for (key, value) in &before {
            assert_eq!(node.value(key).as_ref(), Some(value));
        }
    }
    let before: BTreeMap<String, String> = before
        .into_iter()
        .map(|(key, value)| (key.clone(), value))
        .collect();
    let dead = nodes.remove(2);
    let pid = format!(" {}", dead.process.pid());
    dead.process.kill().expect("killed");
    for (key, value) in &before {
        until(key, || {
            let found = nodes[0].value(key);
            found.is_some_and(|found| found == *value || value.ends_with(&pid))
        });
    }
}

/// A running node.
struct Node {
    process: OwnProcess,
    listen: String,
}

impl Node {
    fn start(url: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let listen = free.expect("a free port").to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cache"));
        command.env("NATS_URL", url).env("LISTEN", &listen);
        command.envs([("PARTI_GROUP", "cache"), ("PARTI_PRESET", "fast")]);
        command
            .env("PARTI_EXPECTED_WORKERS", "3")
            .stdout(Stdio::null());
        let process = OwnProcess::spawn(&mut command).expect("starts");
        Self { process, listen }
    }

    /// What this node says of a key, or the one that it leads to.
    fn value(&self, key: &str) -> Option<String> {
        let mut listen = self.listen.clone();
        for _ in 0..3 {
            let (status, head, body) = get(&listen, key)?;
            match status {
                200 => return Some(body),
                307 => {
                    let to = head
                        .lines()
                        .find_map(|line| line.strip_prefix("location: http://"));
                    listen = to?.split('/').next()?.to_owned();
                }
                _ => return None,
            }
        }
        None
    }
}

fn get(listen: &str, key: &str) -> Option<(u16, String, String)> {
    let mut stream = TcpStream::connect(listen).ok()?;
    let request = format!("GET /{key} HTTP/1.1\r\nHost: cache\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, head.to_owned(), body.to_owned()))
}

fn until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
