//! A whole group with the least permissions: what docs/OPERATIONS.md shows, taken as it stands there.

#![cfg(feature = "nats")]

#[path = "support/recorder.rs"]
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use parti::nats::async_nats::ConnectOptions;
use parti::nats::{NatsOptions, NatsStore};
use parti::sources::{KvSource, StaticSource};
use parti::{Config, GroupName, LaunchError, Manager, Partition, Preset, StopMode};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use recorder::{Recorder, until};

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The permissions as the documentation shows them, without the lines that hold `left_out`.
fn documented(left_out: &str) -> String {
    let docs = include_str!("../../docs/OPERATIONS.md");
    let begin = docs.find("permissions: {").expect("they are shown");
    let shown = docs[begin..].split("```").next().unwrap_or_default();
    let kept = shown
        .lines()
        .filter(|line| left_out.is_empty() || !line.contains(left_out));
    kept.collect::<Vec<_>>().join("\n")
}

fn server(permissions: &str) -> NatsServer {
    let options = ServerOptions::default().config(&format!(
        "authorization {{ users: [ {{ user: u, password: p\n{permissions}\n}} ] }}"
    ));
    NatsServer::start(options).unwrap_or_else(|error| panic!("{error}"))
}

fn login() -> ConnectOptions {
    ConnectOptions::new()
        .user_and_password("u".to_owned(), "p".to_owned())
        .custom_inbox_prefix("_INBOX_orders")
}

fn config() -> Config {
    let config = Config::builder("orders")
        .preset(Preset::Fast)
        .expected_workers(1);
    config.build().expect("coherent")
}

/// A permission that only a handoff or a report needs is otherwise missed months after the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_does_all_it_does_with_the_documented_permissions() {
    let server = server(&documented(""));
    let group = GroupName::new("orders").expect("valid");
    let url = server.url();
    let store = NatsStore::connect_with(login(), &url, &group, NatsOptions::default()).await;
    let store = Arc::new(store.expect("opens"));
    let list = KvSource::new(store.clone());
    let partitions = (0..12).map(|n| Partition::new([format!("p{n}")]).expect("valid"));
    list.create(partitions.collect()).await.expect("stored");

    let first = Manager::builder(config(), list.clone(), Recorder::new("a")).store(store);
    let first = first.start().await.expect("claims");
    until("it leads and owns", PATIENCE, || {
        first.assignment().len() == 12
    })
    .await;
    assert!(first.is_leader());
    let second = Manager::builder(config(), list.clone(), Recorder::new("b"))
        .nats_with(&url, login(), NatsOptions::default())
        .start()
        .await
        .expect("claims");
    until("they share", PATIENCE, || {
        (first.assignment().len(), second.assignment().len()) == (6, 6)
    })
    .await;
    second.refresh().await.expect("a request to the leader");
    second
        .trigger_rebalance()
        .await
        .expect("a request to the leader");
    let new = Partition::new(["new"]).expect("valid");
    list.add(vec![new.clone()]).await.expect("added");
    until("they follow the list", PATIENCE, || {
        first.assignment().len() + second.assignment().len() == 13
    })
    .await;
    first.stop(StopMode::Handoff).await.expect("hands over");
    until("the other leads and owns", PATIENCE, || {
        second.is_leader() && second.assignment().len() == 13
    })
    .await;
    let history = second.history(10).await.expect("reads the audit");
    assert!(!history.is_empty());
    let explained = second.explain(&new.key).await.expect("reads the audit");
    assert!(explained.owner.is_some(), "{explained:?}");
    second.stop(StopMode::Handoff).await.expect("stops");
}

/// An operator who starts the first worker must read which line is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_a_permission_names_it() {
    for missing in ["STREAM.INFO", "STREAM.CREATE", "\"$KV."] {
        let server = server(&documented(missing));
        let source = StaticSource::numbered("p", 4).expect("valid");
        let config = Config::builder("orders")
            .preset(Preset::Fast)
            .startup_timeout(Duration::from_secs(4));
        let config = config.build().expect("coherent");
        let started = Manager::builder(config, source, Recorder::new("a"))
            .nats_with(&server.url(), login(), NatsOptions::default())
            .start()
            .await;
        let error: LaunchError = started.map(drop).expect_err(missing);
        let text = error.to_string();
        assert!(text.contains(missing.trim_start_matches('"')), "{text}");
        assert!(text.contains("permissions"), "{text}");
    }
}
