//! What an operator or a network does to a server that is in use: cut, slow, limited, switched off.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::{ConnectOptions, Subscriber};
use futures_util::StreamExt as _;
use parti_core::{Expect, Revision, Store, StoreErrorKind, StoreOp, Watch, WatchEvent, WatchScope};
use parti_nats::{NatsStore, OpenError, async_nats};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use parti_testing::rig::proxy::{Direction, Proxy};
use tokio::time::timeout;

use crate::relay::{Answers, Relay};
use crate::support::{
    PATIENCE, World, api, commit, connect, consumers, eventually, get, group, info, next, options,
    put, start, until, write,
};

/// A server, a proxy before it, and a store that knows only the proxy.
async fn behind_a_proxy(server: ServerOptions) -> (NatsServer, Proxy, NatsStore) {
    let server = start(server);
    let proxy = Proxy::start(server.address(), 7).expect("a proxy");
    let store = NatsStore::connect(&proxy.url(), &group(), options()).await;
    (server, proxy, store.expect("opens"))
}

fn connects(store: &NatsStore) -> u64 {
    store.client().statistics().connects.load(Ordering::Relaxed)
}

/// What a client has buffered when its connection breaks may still be sent on the next one. If a
/// write that was called "not sent" comes true later, two workers believe they won.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_buffers_over_a_reconnect_is_never_trusted_and_happens_once() {
    let (server, proxy, store) = behind_a_proxy(ServerOptions::default()).await;
    let direct = connect(&server, options()).await;
    let mut last = write(&store, put("a", "0", Expect::Absent)).await;
    for round in 1..=8 {
        let before = connects(&store);
        if round % 2 == 0 {
            proxy.hold(Direction::ToServer);
        } else {
            proxy.hold(Direction::ToClient);
        }
        let own = vec![put("a", &round.to_string(), Expect::Revision(last))];
        let error = commit(&store, own.clone()).await.expect_err("held");
        assert_eq!(error.kind, StoreErrorKind::Unknown, "{error}");
        proxy.reset();
        proxy.heal();
        eventually("it reconnects", PATIENCE, async || {
            connects(&store) > before
        })
        .await;
        // The same write again settles it: it happens now, or it has happened.
        eventually("it is settled", PATIENCE, async || {
            drop(commit(&store, own.clone()).await);
            let entry = get(&direct, "a").await.expect("there");
            entry.value == Some(round.to_string().into_bytes())
        })
        .await;
        let revision = get(&direct, "a").await.expect("there").revision;
        assert_eq!(revision, last.next(), "round {round}: it happened once");
        last = revision;
    }
    assert_eq!(info(&direct).await.last_revision, Revision::new(9));
}

/// Each reconnect replaces the consumer of each watch; one that is left each time brings a server
/// down within days.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reconnects_leave_no_consumer_and_lose_no_event() {
    let world = World::new().await;
    let store = &world.store;
    let direct = connect(&world.server, options()).await;
    let listen = async |what: &str| {
        let subject = format!("$JS.API.CONSUMER.{what}.>");
        let heard = direct.client().subscribe(subject).await;
        let heard = heard.expect("listens");
        direct.client().flush().await.expect("is sent");
        heard
    };
    let (mut made, mut deleted) = (listen("CREATE").await, listen("DELETE").await);
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    for round in 1..=100_u64 {
        let before = connects(store);
        store.client().force_reconnect().await.expect("asked for");
        eventually("it reconnects", PATIENCE, async || {
            connects(store) > before && store.execute(StoreOp::Info).await.is_ok()
        })
        .await;
        let revision = write(store, put("a", &round.to_string(), Expect::Any)).await;
        assert_eq!(next(&mut watch).await, format!("a={round}@{revision}"));
    }
    println!(
        "{} consumers right after 100 reconnects",
        consumers(store).await
    );
    eventually("one consumer is left", PATIENCE, async || {
        consumers(store).await == 1
    })
    .await;
    drop(watch);
    eventually("none is left", PATIENCE, async || {
        consumers(store).await == 0
    })
    .await;
    // The server's own idle limit must not be what removed them: each was asked to be deleted.
    let made = names(&mut made).await;
    assert!(made.len() > 2, "it was made again: {}", made.len());
    let mut asked = BTreeSet::new();
    eventually("each was to be deleted", PATIENCE, async || {
        asked.extend(names(&mut deleted).await);
        made.is_subset(&asked)
    })
    .await;
}

/// The consumers that the requests heard so far are about.
async fn names(requests: &mut Subscriber) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let moment = Duration::from_millis(100);
    while let Ok(Some(request)) = timeout(moment, requests.next()).await {
        let name = request.subject.rsplit('.').next().map(str::to_owned);
        names.extend(name);
    }
    names
}

/// How many requests JetStream has had.
async fn requests(store: &NatsStore) -> u64 {
    let total = api(store, "INFO", "").await["api"]["total"].as_u64();
    total.expect("a number")
}

/// A thousand watches that all come back at once, and again at once when they fail, keep a server
/// down that was about to recover.
#[tokio::test(flavor = "multi_thread")]
async fn watches_that_come_back_ask_a_bounded_number_of_times() {
    const WATCHES: u64 = 60;
    let mut server = start(account("enabled"));
    let url = format!("nats://u:p@{}", server.address());
    let open = async || {
        NatsStore::connect(&url, &group(), options())
            .await
            .expect("opens")
    };
    let store = open().await;
    let mut watches: Vec<Box<dyn Watch>> = Vec::new();
    for _ in 0..WATCHES {
        let mut watch = store.watch(WatchScope::All).await.expect("watches");
        assert_eq!(next(&mut watch).await, "caught up@0");
        watches.push(watch);
    }
    let (before, begun) = (requests(&store).await, Instant::now());
    store.client().force_reconnect().await.expect("asked for");
    // Written by another client, so that only a consumer made again brings it.
    let other = open().await;
    let revision = write(&other, put("a", "1", Expect::Any)).await;
    for watch in &mut watches {
        assert_eq!(next(watch).await, format!("a=1@{revision}"));
    }
    let asked = requests(&store).await - before;
    // Looking up the bucket, making a consumer, deleting the old one, and some room for retries; on a busy
    // machine attempts time out, each after a second, and are made again.
    let rounds = 1 + begun.elapsed().as_secs();
    assert!(
        asked <= WATCHES * 5 * rounds,
        "{asked} requests of {WATCHES} watches"
    );

    // While each attempt fails at once they become rare: about eight in the first four seconds.
    server.reload(&account("disabled")).expect("reloads");
    let sent = || {
        store
            .client()
            .statistics()
            .out_messages
            .load(Ordering::Relaxed)
    };
    let (begin, begun) = (sent(), Instant::now());
    eventually("they do try, for five seconds", PATIENCE, async || {
        sent() - begin >= WATCHES && begun.elapsed() >= Duration::from_secs(5)
    })
    .await;
    let (sent, lasted) = (sent() - begin, begun.elapsed().as_secs());
    println!("{sent} messages of {WATCHES} watches in {lasted} seconds");
    assert!(
        sent <= WATCHES * (16 + lasted - 5),
        "{sent} messages of {WATCHES} watches in {lasted} seconds"
    );
    server.reload(&account("enabled")).expect("reloads");
    eventually("the bucket is back", PATIENCE, async || {
        store.execute(StoreOp::Info).await.is_ok()
    })
    .await;
    let revision = write(&store, put("a", "2", Expect::Any)).await;
    for watch in &mut watches {
        assert_eq!(next(watch).await, format!("a=2@{revision}"));
    }
}

/// The server disconnects a client that reads too slowly; the watches must come back with everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_thrown_out_as_a_slow_consumer_misses_no_last_value() {
    let server = start(ServerOptions::default().config("write_deadline: \"500ms\""));
    let relay = Relay::new(server.address(), Answers::Held);
    let url = format!("nats://{}", relay.address);
    let store = NatsStore::connect(&url, &group(), options())
        .await
        .expect("opens");
    let direct = connect(&server, options()).await;
    // Flow control bounds what one watch has under way, so it takes many to fill a connection.
    let mut watches: Vec<Box<dyn Watch>> = Vec::new();
    for _ in 0..16 {
        let mut watch = store.watch(WatchScope::All).await.expect("watches");
        assert_eq!(next(&mut watch).await, "caught up@0");
        watches.push(watch);
    }
    relay.switch(true);
    let value = "x".repeat(200_000);
    let logged = || std::fs::read_to_string(server.log_path()).unwrap_or_default();
    let mut number = 0_u64;
    eventually(
        "the server calls it slow",
        Duration::from_secs(40),
        async || {
            number += 1;
            write(
                &direct,
                put(&format!("k.{}", number % 20), &value, Expect::Any),
            )
            .await;
            logged().contains("Slow Consumer")
        },
    )
    .await;
    relay.switch(false);
    let last = write(&direct, put("end", "1", Expect::Any)).await;
    for watch in &mut watches {
        let seen = until(watch, "end=").await;
        assert_eq!(seen.last(), Some(&format!("end=1@{last}")));
        let keys = seen.iter().filter_map(|event| event.split_once('='));
        let keys: BTreeSet<_> = keys.map(|(key, _)| key).collect();
        assert_eq!(
            keys.len() as u64,
            number.min(20) + 1,
            "the last value of every key"
        );
    }
}

/// A client whose buffer for a subscription is full drops messages without a word to its reader.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_the_client_drops_are_fetched_again() {
    let server = start(ServerOptions::default());
    let small = ConnectOptions::new().subscription_capacity(4);
    let store = NatsStore::connect_with(small, &server.url(), &group(), options()).await;
    let store = store.expect("opens");
    let direct = connect(&server, options()).await;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    for _ in 0..3 {
        let writes = (0..900).map(|n| put(&format!("k.{n}"), "1", Expect::Any));
        commit(&direct, writes.collect()).await.expect("a batch");
    }
    let last = write(&direct, put("end", "1", Expect::Any)).await;
    let seen = until(&mut watch, "end=").await;
    assert_eq!(
        seen.last(),
        Some(&format!("end=1@{last}")),
        "{:?}",
        seen.last()
    );
    let keys = seen.iter().filter_map(|event| event.split_once('='));
    let keys: BTreeSet<_> = keys.map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 901, "every key");
}

/// A limit that is lowered while workers run must be told in bytes, not cut connections for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_limit_is_followed_also_when_it_is_lowered() {
    let limited = |bytes: u32| ServerOptions::default().config(&format!("max_payload: {bytes}"));
    let mut server = start(limited(64_000));
    let store = connect(&server, options()).await;
    let most = info(&store).await.max_value;
    assert!((60_000..64_000).contains(&most), "{most}");
    let of = |bytes: usize| vec![put("a", &"x".repeat(bytes), Expect::Any)];
    commit(&store, of(most)).await.expect("the largest");
    let error = commit(&store, of(most + 1)).await.expect_err("too large");
    assert_eq!(error.kind, StoreErrorKind::Rejected, "{error}");
    assert!(error.message.contains(&most.to_string()), "{error}");

    server.reload(&limited(8_000)).expect("reloads");
    eventually("the new limit is known", PATIENCE, async || {
        let written = commit(&store, of(most)).await;
        written.expect_err("too large now").kind == StoreErrorKind::Rejected
    })
    .await;
    let most = info(&store).await.max_value;
    assert!(most < 8_000, "{most}");
    commit(&store, of(most)).await.expect("the largest now");
}

fn account(limits: &str) -> ServerOptions {
    ServerOptions::default().config(&format!(
        "accounts {{ A {{ jetstream {limits}, users: [ {{ user: u, password: p }} ] }} }}"
    ))
}

/// An account without room must say so, at the start and later.
#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_account_are_told_as_what_they_are() {
    let open = async |server: &NatsServer| {
        let url = format!("nats://u:p@{}", server.address());
        NatsStore::connect(&url, &group(), options()).await
    };
    let off = start(account("disabled"));
    let error = open(&off).await.map(drop).expect_err("no JetStream");
    assert!(matches!(error, OpenError::JetStreamOff { .. }), "{error:?}");

    let none = start(account("{ max_streams: 0 }"));
    // To the server zero means no limit, so this opens.
    open(&none).await.expect("opens");

    let small = start(account(
        "{ max_file: 2MB, max_streams: 1, max_consumers: 1 }",
    ));
    let store = open(&small).await.expect("opens");
    let other = parti_core::GroupName::new("other").expect("valid");
    let url = format!("nats://u:p@{}", small.address());
    let error = NatsStore::connect(&url, &other, options()).await.map(drop);
    let error = error.expect_err("one stream only").to_string();
    assert!(error.contains("maximum number of streams"), "{error}");

    let mut watch = store.watch(WatchScope::All).await.expect("the first");
    until(&mut watch, "caught up").await;
    let error = store
        .watch(WatchScope::All)
        .await
        .map(drop)
        .expect_err("one only");
    assert!(error.message.contains("consumers"), "{error}");
    assert_ne!(error.kind, StoreErrorKind::Refused, "{error}");

    let value = "x".repeat(200_000);
    let mut full = None;
    for number in 0..20 {
        let key = format!("k.{number}");
        full = commit(&store, vec![put(&key, &value, Expect::Absent)])
            .await
            .err();
        if full.is_some() {
            break;
        }
    }
    let error = full.expect("two megabytes are full");
    assert_ne!(
        error.kind,
        StoreErrorKind::Refused,
        "it lost no race: {error}"
    );
    assert!(
        error.message.contains("insufficient") || error.message.contains("exceeded"),
        "{error}"
    );
}

/// JetStream switched off and on again under a running group is an outage like another.
#[tokio::test(flavor = "multi_thread")]
async fn jetstream_switched_off_at_run_time_is_an_outage_that_ends() {
    let mut world = World::new().await;
    let store = world.store.clone();
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    write(&store, put("a", "1", Expect::Any)).await;
    assert_eq!(next(&mut watch).await, "a=1@1");
    let without = ServerOptions::default().without_jetstream();
    world.server.reload(&without).expect("reloads");
    for writes in [
        vec![put("a", "2", Expect::Any)],
        vec![put("a", "2", Expect::Any), put("b", "2", Expect::Any)],
    ] {
        let error = commit(&store, writes).await.expect_err("it is off");
        assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    }
    // For a question there is no answer at all, which leaves nothing behind either.
    let error = store.execute(StoreOp::Info).await.expect_err("it is off");
    let fair = [StoreErrorKind::Unavailable, StoreErrorKind::Unknown];
    assert!(fair.contains(&error.kind), "{error}");
    world
        .server
        .reload(&ServerOptions::default())
        .expect("reloads");
    eventually("it is back", PATIENCE, async || {
        store.execute(StoreOp::Info).await.is_ok()
    })
    .await;
    let revision = write(&store, put("a", "3", Expect::Any)).await;
    assert_eq!(revision.get(), 2, "nothing was written meanwhile");
    assert_eq!(next(&mut watch).await, "a=3@2");
}

/// A program drains the client it gave to the store, as at its own end. What was acknowledged stays,
/// everything after it fails at once and as an outage, and nothing is left at the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_its_owner_drains_is_an_outage_and_leaves_nothing_behind() {
    let world = World::new().await;
    let client = async_nats::connect(world.server.url()).await;
    let client = client.expect("connects");
    let store = NatsStore::with_client(client.clone(), &group(), options()).await;
    let store = store.expect("opens");
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    write(&store, put("a", "1", Expect::Absent)).await;
    assert_eq!(next(&mut watch).await, "a=1@1");
    client.drain().await.expect("is told to");
    // The client says of itself that it is connected, for ever.
    let again = async || commit(&store, vec![put("a", "1", Expect::Absent)]).await;
    eventually("the client is closed", PATIENCE, async || {
        again().await.expect_err("it is there").kind != StoreErrorKind::Refused
    })
    .await;
    let begun = Instant::now();
    for writes in [
        vec![put("a", "2", Expect::Any)],
        vec![put("a", "2", Expect::Any), put("b", "2", Expect::Any)],
    ] {
        let error = commit(&store, writes).await.expect_err("it is closed");
        let fair = [StoreErrorKind::Unavailable, StoreErrorKind::Unknown];
        assert!(fair.contains(&error.kind), "{error}");
    }
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    // No word of it may look like a change, however long somebody listens.
    let said = timeout(Duration::from_secs(2), watch.next()).await;
    assert!(
        matches!(said, Err(_) | Ok(WatchEvent::Lost { .. })),
        "{said:?}"
    );
    eventually("no consumer is left", PATIENCE, async || {
        consumers(&world.store).await == 0
    })
    .await;
    assert_eq!(info(&world.store).await.last_revision.get(), 1);
}
