//! What makes a running group's store unfit: settings that somebody changes, a server that is too old.

use parti_core::{Expect, Store, StoreErrorKind, WatchScope};
use parti_nats::{NatsStore, OpenError};

use crate::relay::{Answers, Relay};
use crate::support::{World, api, commit, group, info, next, options, put, write};

fn named(faults: &[parti_core::StoreFault]) -> Vec<&str> {
    faults.iter().map(|fault| &*fault.setting).collect()
}

/// A limit that is set for some seconds removes records without a trace: nobody noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_changed_while_workers_run_is_named_until_it_is_repaired() {
    let world = World::new().await;
    let store = &world.store;
    let stream = format!("KV_{}", store.bucket());
    let found = api(store, &format!("STREAM.INFO.{stream}"), "").await;
    let sound = &found["config"];
    assert_eq!(info(store).await.faults, []);
    for (setting, value) in [
        ("max_age", serde_json::json!(5_000_000_000_u64)),
        ("discard", serde_json::json!("old")),
        ("max_msgs_per_subject", serde_json::json!(5)),
        ("allow_direct", serde_json::json!(false)),
        ("allow_msg_ttl", serde_json::json!(true)),
    ] {
        let mut changed = sound.clone();
        changed[setting] = value;
        if setting == "max_age" {
            // The server takes no age below that of its window for duplicates.
            changed["duplicate_window"] = serde_json::json!(1_000_000_000_u64);
        }
        let method = format!("STREAM.UPDATE.{stream}");
        let answer = api(store, &method, &changed.to_string()).await;
        assert!(answer["error"].is_null(), "{setting}: {answer}");
        let faults = info(store).await.faults;
        assert_eq!(named(&faults), [setting], "{faults:?}");
        if setting == "allow_msg_ttl" {
            // It cannot be switched off again.
            break;
        }
        let answer = api(store, &method, &sound.to_string()).await;
        assert!(answer["error"].is_null(), "{setting}: {answer}");
        assert_eq!(info(store).await.faults, []);
    }
}

/// Makes `2.12.8` the older `2.12.0` in answers about the stream; messages are small, so that none is
/// cut where it matters.
fn mask(bytes: &mut [u8]) {
    const TOLD: &[u8] = b"\"_nats.ver\":\"";
    let at = bytes.windows(TOLD.len()).position(|window| window == TOLD);
    if let Some(at) = at.map(|at| at + TOLD.len()) {
        let end = at + bytes[at..].iter().position(|b| *b == b'"').unwrap_or(0);
        let mut old = b"2.12.0-------".iter().copied();
        bytes[at..end].fill_with(|| old.next().unwrap_or(b'-'));
    }
}

/// The client reaches a new server while an old one leads the stream, and checks the conditions.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_of_the_stream_that_is_too_old_is_named_and_gets_no_batch() {
    let world = World::new().await;
    let relay = Relay::new(world.server.address(), Answers::Changed(mask));
    let url = format!("nats://{}", relay.address);
    let open = async || NatsStore::connect(&url, &group(), options()).await;
    let store = open().await.expect("opens");
    let batch = |n: u32| {
        let value = n.to_string();
        vec![put("a", &value, Expect::Any), put("b", &value, Expect::Any)]
    };
    commit(&store, batch(1)).await.expect("a batch");
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    for event in ["a=1@1", "b=1@2", "caught up@2"] {
        assert_eq!(next(&mut watch).await, event);
    }

    relay.switch(true);
    let error = open().await.map(drop).expect_err("too old");
    assert!(matches!(error, OpenError::ServerTooOld { .. }), "{error:?}");
    assert!(error.to_string().contains("2.12.0"), "{error}");
    let faults = info(&store).await.faults;
    assert_eq!(
        named(&faults),
        ["the version of the stream's leader"],
        "{faults:?}"
    );
    let error = commit(&store, batch(2)).await.expect_err("too old");
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    assert!(error.message.contains("2.12.0"), "{error}");
    // Renewals are single writes, whose conditions every version keeps: who has something keeps it.
    write(&store, put("c", "1", Expect::Absent)).await;
    assert_eq!(next(&mut watch).await, "c=1@3");
    // A watch that comes back has looked at the leader again.
    store.client().force_reconnect().await.expect("asked for");
    write(&world.store, put("c", "2", Expect::Any)).await;
    assert_eq!(next(&mut watch).await, "c=2@4");

    relay.switch(false);
    commit(&store, batch(3)).await.expect("new enough again");
    assert_eq!(info(&store).await.faults, []);
}
