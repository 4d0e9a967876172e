//! What the store by itself costs on a real nats-server: `cargo bench -p parti-nats --bench store`.
//!
//! Figures are printed and nothing is asserted: what must hold is in the tests, whose server and words
//! this borrows.

#[allow(dead_code, reason = "a benchmark needs a part of what the tests share")]
#[path = "../tests/nats/support.rs"]
mod support;

use std::time::{Duration, Instant};

use parti_core::{Expect, Store, WatchScope};

use support::{World, commit, consumers, list, next, put, until, write};

fn median(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (middle, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{what}: median {middle:?}, p99 {p99:?}, of {}", times.len());
}

#[tokio::main]
async fn main() {
    // A build of all targets for tests must not wait for figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let world = World::new().await;
    let store = &world.store;
    let mut times = Vec::new();
    let mut last = Expect::Absent;
    for _ in 0..2000 {
        let begin = Instant::now();
        last = Expect::Revision(write(store, put("head", &"x".repeat(256), last)).await);
        times.push(begin.elapsed());
    }
    median("single commit, 256 B", std::mem::take(&mut times));
    for _ in 0..30 {
        let writes = (0..1000).map(|n| put(&format!("k.{n}"), &"x".repeat(256), Expect::Any));
        let writes = writes.collect();
        let begin = Instant::now();
        commit(store, writes).await.expect("a batch");
        times.push(begin.elapsed());
    }
    median("batch of 1000", std::mem::take(&mut times));
    for (what, prefix) in [("list of 1000", "k."), ("list of nothing", "none.")] {
        for _ in 0..100 {
            let begin = Instant::now();
            list(store, prefix).await;
            times.push(begin.elapsed());
        }
        median(what, std::mem::take(&mut times));
    }
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    until(&mut watch, "caught up").await;
    for _ in 0..2000 {
        let begin = Instant::now();
        write(store, put("head", "x", Expect::Any)).await;
        next(&mut watch).await;
        times.push(begin.elapsed());
    }
    median("commit to watch delivery", std::mem::take(&mut times));
    for _ in 0..50 {
        let begin = Instant::now();
        let mut watch = store.watch(WatchScope::All).await.expect("watches");
        until(&mut watch, "caught up").await;
        times.push(begin.elapsed());
    }
    median(
        "watch of 1001 keys until caught up",
        std::mem::take(&mut times),
    );
    let writes = (1000..2000).map(|n| put(&format!("k.{n}"), "x", Expect::Any));
    commit(store, writes.collect()).await.expect("a batch");
    for _ in 0..50 {
        let begin = Instant::now();
        list(store, "k.").await;
        times.push(begin.elapsed());
    }
    median("list of 2000 (by a consumer)", times);
    println!(
        "consumers left (one watch runs): {}",
        consumers(store).await
    );
}
