//! The permissions a group needs: with exactly these everything works, and each one that is missing
//! is named to the user who lacks it.

use async_nats::ConnectOptions;
use parti_core::{Expect, GroupName, Store, StoreErrorKind, StoreOp, WatchEvent, WatchScope};
use parti_nats::{ConnectionEvents, NatsStore, OpenError, async_nats, tuned};
use parti_testing::rig::nats_server::ServerOptions;
use tokio::time::{Duration, timeout};

use crate::support::{
    Log, PATIENCE, World, commit, eventually, get, group, info, list, options, put, start, write,
};

/// What a worker of the group `orders` may publish to; as docs/OPERATIONS.md says.
pub(crate) const PUBLISH: [&str; 8] = [
    "$KV.parti_orders.>",
    "$JS.API.STREAM.INFO.KV_parti_orders",
    "$JS.API.STREAM.CREATE.KV_parti_orders",
    "$JS.API.STREAM.MSG.GET.KV_parti_orders",
    "$JS.API.DIRECT.GET.KV_parti_orders",
    "$JS.API.CONSUMER.CREATE.KV_parti_orders.>",
    "$JS.API.CONSUMER.DELETE.KV_parti_orders.>",
    "$JS.FC.KV_parti_orders.>",
];
/// What it may subscribe to.
pub(crate) const SUBSCRIBE: &str = "_INBOX_orders.>";
/// Enough to make the server ask for flow control.
const VALUES: usize = 48;
const VALUE_BYTES: usize = 100_000;

fn allowing(publish: &[&str], subscribe: &[&str]) -> ServerOptions {
    ServerOptions::default().config(&format!(
        "authorization {{ users: [ {{ user: u, password: p, permissions: {{ \
         publish: {{ allow: {publish:?} }}, subscribe: {{ allow: {subscribe:?} }} }} }} ] }}"
    ))
}

pub(crate) fn client() -> ConnectOptions {
    ConnectOptions::new()
        .user_and_password("u".to_owned(), "p".to_owned())
        .custom_inbox_prefix("_INBOX_orders")
}

/// Everything a store is asked for by a group; the first failure in words.
async fn use_all(url: &str) -> Result<(), String> {
    let hasty = options().connect_timeout(Duration::from_secs(2));
    let opened = NatsStore::connect_with(client(), url, &group(), hasty).await;
    let store = opened.map_err(|error| error.to_string())?;
    let said = |error: parti_core::StoreError| error.to_string();
    let value = "x".repeat(VALUE_BYTES);
    for number in 0..VALUES {
        let key = format!("v.{number}");
        commit(&store, vec![put(&key, &value, Expect::Any)])
            .await
            .map_err(said)?;
    }
    let batch = vec![put("a", "1", Expect::Absent), put("b", "1", Expect::Absent)];
    commit(&store, batch).await.map_err(said)?;
    for op in [
        StoreOp::Get {
            key: "a".to_owned(),
        },
        StoreOp::List {
            prefix: "a".to_owned(),
        },
        StoreOp::List {
            prefix: "none.".to_owned(),
        },
        StoreOp::Info,
    ] {
        store.execute(op).await.map_err(said)?;
    }
    let mut watch = store.watch(WatchScope::All).await.map_err(said)?;
    loop {
        let event = timeout(PATIENCE, watch.next()).await;
        match event.map_err(|_| "the watch says nothing".to_owned())? {
            WatchEvent::CaughtUp { .. } => return Ok(()),
            WatchEvent::Lost { reason } => return Err(reason),
            WatchEvent::Entry(_) => {}
        }
    }
}

/// Permissions that are documented and wrong are found in production, one outage each.
#[tokio::test]
async fn exactly_the_documented_permissions_are_enough_and_each_missing_one_is_named() {
    let documented = include_str!("../../../docs/OPERATIONS.md");
    for subject in PUBLISH.iter().chain([&SUBSCRIBE]) {
        assert!(documented.contains(&format!("\"{subject}\"")), "{subject}");
    }
    let url = |server: &parti_testing::rig::nats_server::NatsServer| {
        format!("nats://{}", server.address())
    };
    let server = start(allowing(&PUBLISH, &[SUBSCRIBE]));
    assert_eq!(use_all(&url(&server)).await, Ok(()));
    for missing in PUBLISH {
        let (log, _guard) = Log::begin();
        let rest: Vec<_> = PUBLISH
            .into_iter()
            .filter(|subject| *subject != missing)
            .collect();
        let server = start(allowing(&rest, &[SUBSCRIBE]));
        let outcome = use_all(&url(&server)).await;
        let named = missing.trim_end_matches('>');
        if missing.contains("DELETE") {
            // The server drops what is left behind by itself, so only the log tells it.
            assert_eq!(outcome, Ok(()));
        } else {
            let error = outcome.expect_err(missing);
            assert!(
                error.contains(named) && error.contains("permissions"),
                "{error}"
            );
        }
        eventually("the log names it", PATIENCE, async || {
            let text = log.text();
            text.lines()
                .any(|line| line.contains("WARN") && line.contains(named))
        })
        .await;
    }
    let server = start(allowing(&PUBLISH, &["other.>"]));
    let error = use_all(&url(&server)).await.expect_err("no inbox");
    assert!(
        error.contains("_INBOX_orders") && error.contains("permissions"),
        "{error}"
    );
}

/// A permission error that shows as a time-out sends people after the network.
#[tokio::test(flavor = "multi_thread")]
async fn over_a_given_client_a_missing_permission_is_named_or_at_least_suspected() {
    let missing = "$JS.API.STREAM.INFO.KV_parti_orders";
    let rest: Vec<_> = PUBLISH
        .into_iter()
        .filter(|subject| *subject != missing)
        .collect();
    let server = start(allowing(&rest, &[SUBSCRIBE]));
    let url = format!("nats://{}", server.address());
    let hasty = options().connect_timeout(Duration::from_secs(1));
    let events = ConnectionEvents::new();
    let heard = events.clone();
    let connect = tuned(client(), &hasty).event_callback(move |event| {
        heard.on_event(&event);
        std::future::ready(())
    });
    let given = connect.connect(&url).await.expect("connects");
    let opened = NatsStore::with_client_events(given, events, &group(), hasty.clone()).await;
    let error = opened.map(drop).expect_err("not allowed");
    let OpenError::Denied { subject, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(subject, missing);

    let given = tuned(client(), &hasty)
        .connect(&url)
        .await
        .expect("connects");
    let opened = NatsStore::with_client(given, &group(), hasty).await;
    let error = opened.map(drop).expect_err("not allowed").to_string();
    assert!(error.contains("missing permission"), "{error}");
}

/// An operator narrows the rights of a running group, and widens them again.
#[tokio::test(flavor = "multi_thread")]
async fn permissions_revoked_at_run_time_are_told_and_their_return_is_noticed() {
    let mut server = start(allowing(&PUBLISH, &[SUBSCRIBE]));
    let url = format!("nats://{}", server.address());
    let store = NatsStore::connect_with(client(), &url, &group(), options()).await;
    let store = store.expect("opens");
    write(&store, put("a", "1", Expect::Absent)).await;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    crate::support::until(&mut watch, "caught up").await;

    server
        .reload(&allowing(&PUBLISH[1..], &[SUBSCRIBE]))
        .expect("reloads");
    let error = commit(&store, vec![put("a", "2", Expect::Any)])
        .await
        .expect_err("revoked");
    assert_eq!(error.kind, StoreErrorKind::Rejected, "{error}");
    assert!(error.message.contains("$KV.parti_orders.a"), "{error}");
    server
        .reload(&allowing(&PUBLISH, &[SUBSCRIBE]))
        .expect("reloads");
    let revision = write(&store, put("a", "3", Expect::Any)).await;
    assert_eq!(
        crate::support::next(&mut watch).await,
        format!("a=3@{revision}")
    );

    // Without answers nothing works, and the client subscribes to them only once a connection.
    server
        .reload(&allowing(&PUBLISH, &["other.>"]))
        .expect("reloads");
    eventually("it is told", PATIENCE, async || {
        let error = store.execute(StoreOp::Info).await.map(drop);
        error.is_err_and(|error| error.message.contains("_INBOX_orders"))
    })
    .await;
    server
        .reload(&allowing(&PUBLISH, &[SUBSCRIBE]))
        .expect("reloads");
    eventually("it works again", Duration::from_secs(20), async || {
        store.execute(StoreOp::Info).await.is_ok()
    })
    .await;
    let revision = write(&store, put("a", "4", Expect::Any)).await;
    let seen = crate::support::until(&mut watch, "a=4").await;
    assert_eq!(seen.last(), Some(&format!("a=4@{revision}")), "{seen:?}");
}

/// A crafted name of a group or bucket must be refused before anything is asked.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_of_groups_and_buckets_are_refused() {
    for name in [
        "",
        ".",
        "a.b",
        "*",
        ">",
        "a>",
        "a b",
        "a\r\nPUB x 0\r\n",
        "ü",
        "a/b",
        "\0",
    ] {
        assert!(GroupName::new(name).is_err(), "{name:?}");
    }
    for prefix in ["a.", "*", ">", "a b", "$KV", "a\r\n"] {
        let named = options().bucket_prefix(prefix);
        // Nothing listens there, and nobody asks.
        let opened = NatsStore::connect("nats://127.0.0.1:1", &group(), named).await;
        let error = opened.map(drop).expect_err(prefix);
        assert!(matches!(error, OpenError::InvalidOption { .. }), "{error}");
    }
}

/// A crafted key must reach no other bucket, whatever the server permits.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_keys_reach_nothing_outside_the_bucket() {
    let world = World::new().await;
    let store = &world.store;
    let neighbour = GroupName::new("orders2").expect("valid");
    let neighbour = NatsStore::connect(&world.server.url(), &neighbour, options()).await;
    let neighbour = neighbour.expect("opens");
    write(&neighbour, put("head", "theirs", Expect::Absent)).await;
    let rejected = |outcome: Result<(), parti_core::StoreError>, what: &str| {
        let error = outcome.expect_err(what);
        assert_eq!(error.kind, StoreErrorKind::Rejected, "{what:?}: {error}");
    };
    for key in [
        "",
        ">",
        "*",
        "a.*",
        "a.>",
        "..parti_orders2.head",
        "a..b",
        "head\r\nPUB x 0",
        "a b",
    ] {
        let bad = put(key, "ours", Expect::Any);
        for op in [
            StoreOp::Get {
                key: key.to_owned(),
            },
            StoreOp::Commit {
                writes: vec![bad.clone()],
            },
            StoreOp::Commit {
                writes: vec![put("fine", "1", Expect::Any), bad],
            },
        ] {
            rejected(store.execute(op).await.map(drop), key);
        }
        let scope = WatchScope::Keys(vec![key.to_owned()]);
        rejected(store.watch(scope).await.map(drop), key);
    }
    for prefix in [">", "*", "w.*", "..", "a b"] {
        let op = StoreOp::List {
            prefix: prefix.to_owned(),
        };
        rejected(store.execute(op).await.map(drop), prefix);
    }
    assert_eq!(
        info(store).await.last_revision.get(),
        0,
        "nothing was written"
    );
    assert_eq!(list(&neighbour, "").await.0, ["head"]);
    let theirs = get(&neighbour, "head").await.expect("there");
    assert_eq!(theirs.value.as_deref(), Some(&b"theirs"[..]));
}
