//! What the server says of a connection it does not want, and what it says too late.

use std::sync::atomic::Ordering;
use std::time::Duration;

use parti_core::{Expect, Store, StoreErrorKind, StoreOp};
use parti_nats::async_nats::{ConnectOptions, Event, ServerError};
use parti_nats::{ConnectionEvents, NatsStore, tuned};
use parti_testing::rig::nats_server::ServerOptions;

use crate::support::{PATIENCE, World, commit, eventually, get, group, options, put, start, write};

/// A password that was changed looked like a server that is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_while_workers_run_is_told_in_the_words_of_the_server() {
    let login = |password: &str| ServerOptions::default().user("u", password, &[], &[]);
    let mut server = start(login("one"));
    let url = format!("nats://u:one@{}", server.address());
    let store = NatsStore::connect(&url, &group(), options()).await;
    let store = store.expect("opens");
    write(&store, put("a", "1", Expect::Absent)).await;
    server.reload(&login("two")).expect("reloads");
    let mut last = String::new();
    let refused = eventually("the refusal is told", PATIENCE, async || {
        let error = commit(&store, vec![put("a", "2", Expect::Any)]).await.err();
        last = error.map_or_else(String::new, |error| error.message);
        last.to_lowercase().contains("authorization violation")
    });
    refused.await;
    server.reload(&login("one")).expect("reloads");
    eventually("the login is accepted again", PATIENCE, async || {
        commit(&store, vec![put("a", "3", Expect::Any)])
            .await
            .is_ok()
    })
    .await;
}

/// A user who asks the client to wait for its server gets that, and not an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_yet_is_waited_for_when_that_is_asked_for() {
    let mut world = World::new().await;
    let url = world.server.url();
    write(&world.store, put("a", "1", Expect::Absent)).await;
    world.server.kill().expect("dies");
    let connect = ConnectOptions::new().retry_on_initial_connect();
    let quick = options().connect_timeout(Duration::from_millis(200));
    let own = tokio::spawn({
        let (connect, url, quick) = (connect.clone(), url.clone(), quick.clone());
        async move { NatsStore::connect_with(connect, &url, &group(), quick).await }
    });
    let given = tuned(connect, &options())
        .connect(url)
        .await
        .expect("begins");
    let given =
        tokio::spawn(async move { NatsStore::with_client(given, &group(), options()).await });
    // Longer than a connection may take.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!own.is_finished() && !given.is_finished());
    world.server.restart().expect("comes back");
    for opening in [own, given] {
        let opened = tokio::time::timeout(PATIENCE, opening).await;
        let store = opened.expect("in time").expect("no panic").expect("opens");
        assert!(get(&store, "a").await.is_some());
    }
}

/// "Denied" means "never written". Said of a write that is stored, it would let its writer go on as if
/// nothing had happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_denial_of_an_earlier_write_says_nothing_of_the_next() {
    let world = World::new().await;
    let events = ConnectionEvents::new();
    let hasty = options().request_timeout(Duration::from_millis(500));
    let client = tuned(ConnectOptions::new(), &hasty)
        .connect(world.server.url())
        .await;
    let client = client.expect("connects");
    let statistics = client.statistics();
    let sent = || statistics.out_messages.load(Ordering::Relaxed);
    let store = NatsStore::with_client_events(client, events.clone(), &group(), hasty).await;
    let store = store.expect("opens");
    write(&store, put("a", "1", Expect::Absent)).await;
    for batch in [false, true] {
        let writes = |value: &str| {
            let mut writes = vec![put("a", value, Expect::Any)];
            writes.extend(batch.then(|| put("b", value, Expect::Any)));
            writes
        };
        commit(&store, writes("2"))
            .await
            .expect("the leader is known");
        world.server.pause().expect("pauses");
        let first = commit(&store, writes("3")).await.expect_err("no answer");
        assert_eq!(first.kind, StoreErrorKind::Unknown, "{first}");
        let before = sent();
        let second = tokio::spawn({
            let (store, writes) = (store.clone(), writes("4"));
            async move { commit(&store, writes).await }
        });
        eventually("the second is sent", PATIENCE, async || sent() > before).await;
        let late = r#"Permissions Violation for Publish to "$KV.parti_orders.a""#.to_owned();
        events.on_event(&Event::ServerError(ServerError::Other(late)));
        let second = second.await.expect("no panic").expect_err("no answer");
        assert_ne!(second.kind, StoreErrorKind::Rejected, "{second}");
        world.server.resume().expect("goes on");
        eventually("writes go on", PATIENCE, async || {
            commit(&store, writes("5")).await.is_ok()
        })
        .await;
        let read = store
            .execute(StoreOp::Get {
                key: "a".to_owned(),
            })
            .await;
        assert!(read.is_ok(), "{read:?}");
    }
}
